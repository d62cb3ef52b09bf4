"""Layers: weight-standardised spiking convolution and linear map, adjusted pooling, dropout over time.

Whatever the next step depends on is a parameter (weight, gamma, beta) or a buffer (threshold), so that a state_dict
holds it all. App. 1 of Zhu et al. 2023; the released settings where it is silent.
"""

import math
import os
import threading
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn

from . import inputs, ops
from .devices import SideStream, is_on_cpu, without_autocast
from .errors import UserError, choice, instance, real, shown, switch, whole
from .events import Affine, Convolution, Force, FullyConnected, check_affine, currents, spiking_affine
from .neuron import NeuronParameters
from .ops import engines, reference
from .shards import Shard, samples_of

WEIGHT_BOUND = 4.0
"""Raw weights are clipped to +- this in every forward pass (released settings)."""


_folding = threading.Lock()
"""One thread folds at a time, since two of them would divide the same threshold twice by the same gamma."""


def _after_fork() -> None:
    """Renew the lock in a forked child, where a thread that held it does not go on."""
    global _folding
    _folding = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def _not_finite(what: str, title: str) -> UserError:
    """The error for a layer whose weights or thresholds are spoilt."""
    return UserError(
        f"training broke down: {what} of {title} is NaN or infinite: it came in with images, loss or too large a step; "
        "begin anew with finite weights and finite images, and where they were finite with a lower "
        "learning rate"
    )


class _Standardise(torch.autograd.Function):
    """Pass standardised weights on, and carry their gradient back to raw weights, gamma and beta."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        standardised: Tensor,
        mean: Tensor,
        std: Tensor,
        engine: ops.Engine,
    ) -> Tensor:
        ctx.save_for_backward(weight, gamma, mean, std)
        ctx.engine = engine
        return standardised.view_as(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, gamma, mean, std = ctx.saved_tensors
        grads = ctx.engine.standardise_backward(grad.flatten(1), weight.flatten(1), gamma, mean, std)
        grad_weight, grad_gamma, grad_beta = grads
        return grad_weight.view_as(weight), grad_gamma, grad_beta, None, None, None, None


def _check_channels(title: str, weight: Tensor, **channels: Tensor) -> None:
    """Raise a UserError unless a layer's weight (C, ...) and what has one entry per channel are of one type and fit."""
    inputs.weights(f"the weight of {title}", weight)
    count = weight.size(0) if weight.dim() > 1 else 0
    if count == 0 or weight.numel() < 2 * count:
        raise UserError(f"weight must have two inputs or more per neuron, shape (C, ...), not {tuple(weight.shape)}")
    for name, value in channels.items():
        if not inputs.ready(weight, value):
            raise UserError(f"{name} must be a tensor of the weight's type and device, not {shown(value)}")
        if value.dim() != 1 or value.size(0) != count:
            raise UserError(f"{name} must have one entry per channel, ({count},), not {tuple(value.shape)}")


class SpikingLayer(nn.Module):
    """An affine map with standardised weights, neurons with thresholds of their own, and pooling if asked for.

    Eq. (eq-standardise), (eq-fold) of the book; App. 1.

    Args:
        weight: raw W, (C_out, ...)
        affine: which map the weight stands for
        neuron: time constants, steps
        pool: side of an adjusted average pooling's window after the neurons; 1 for none
        engine: see `snnbook.ops`
    Attributes:
        title: what errors call it; `networks.build` says which one it is
    """

    threshold: Tensor
    title = "a layer"

    def __init__(self, weight: Tensor, affine: Affine, neuron: NeuronParameters, pool: int, engine: str) -> None:
        super().__init__()
        weight = inputs.axes("weight", inputs.weights("weight", weight), "(C_out, ...)", *range(2, 9))
        self.affine = check_affine(affine)
        self.neuron = instance("neuron", neuron, NeuronParameters)
        self.pool = whole("pool", pool, 1)
        self.engine = choice("engine", engine, ops.CHOICES)
        self.weight = nn.Parameter(weight.detach().clone())
        self.gamma = nn.Parameter(torch.ones(len(weight)))
        self.beta = nn.Parameter(torch.zeros(len(weight)))
        self.register_buffer("threshold", torch.ones(len(weight)))

    @torch.no_grad()
    def fold(self) -> None:
        """Move gamma into the threshold, theta <- theta/gamma, beta <- beta/gamma, gamma <- 1; clip the raw weights.

        The layer's output is unchanged by the folding: the neuron is linear up to its threshold. Eq. (eq-fold).
        Nothing is folded where gamma or beta is no parameter of the layer (`_owns_gamma`).

        Raises:
            UserError: if a gamma is not above 0, or one of gamma, beta and the threshold is not finite (looked at on
                the CPU only: elsewhere it would halt the device)
        """
        self._check_state()
        if not self._owns_gamma():
            return
        with _folding:
            self._engine().fold(self.weight, self.threshold, self.gamma, self.beta, WEIGHT_BOUND)

    def _engine(self) -> ops.Engine:
        """The engine that runs on the device of the weights."""
        return ops.get(self.engine, self.weight.device, self.weight.dtype)

    def _owns_gamma(self) -> bool:
        """Whether gamma and beta are the layer's own parameters, which may be changed together with the threshold.

        Others are computed at every pass, by a parametrization, or are the caller's, by `torch.func.functional_call`:
        they would keep their value, and the threshold would be divided at every pass.
        """
        return isinstance(self.gamma, nn.Parameter) and isinstance(self.beta, nn.Parameter)

    def _check_state(self) -> None:
        """Raise what `fold` raises."""
        _check_channels(self.title, self.weight, gamma=self.gamma, beta=self.beta, threshold=self.threshold)
        gamma = self.gamma.detach()
        beta = self.beta.detach()
        if not is_on_cpu(gamma):
            return
        least, largest = gamma.aminmax()  # NaN where one is
        if least.item() > 0 and largest.item() < math.inf and math.isfinite((beta + self.threshold).sum().item()):
            return
        for name, values in (("gamma", gamma), ("beta", beta), ("threshold", self.threshold)):
            if not bool(values.isfinite().all()):
                raise _not_finite(name, self.title)
        if not least > 0:
            raise UserError(
                f"training broke down: gamma of {self.title} fell to {least.item():.3g}, and thresholds are divided by "
                "it; try a lower learning rate"
            )

    def _ready(self) -> tuple[Tensor, Tensor]:
        """Return W_hat and theta for a pass. Training folds them first; evaluation changes nothing in the layer."""
        self._check_state()
        if self.training and torch.is_grad_enabled() and self._owns_gamma():
            # `fold`, then standardised weights, in one go. Folding comes before the gradients are defined and repeats
            # nothing, so it leaves autograd's version counters alone: an earlier pass may still run its backward.
            state = self.weight, self.threshold, self.gamma, self.beta
            with torch.no_grad(), _folding:
                prepared = self._engine().prepare(*state, WEIGHT_BOUND)
            return self._through_autograd(self.weight, self.gamma, self.beta, prepared), self.threshold
        if self._is_folded():
            return self._standardised(self.weight, self.gamma, self.beta), self.threshold
        # What `fold` would leave, to the bit, with the gradients that gamma and beta have as they are.
        scale = self.gamma.detach()
        weight = self.weight.clamp(-WEIGHT_BOUND, WEIGHT_BOUND)
        return self._standardised(weight, self.gamma / scale, self.beta / scale), self.threshold / scale

    def _standardised(self, weight: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """Standardise a weight, with its gradient."""
        with torch.no_grad():
            prepared = self._engine().standardise(weight.flatten(1), gamma, beta)
        return self._through_autograd(weight, gamma, beta, prepared)

    def _through_autograd(
        self, weight: Tensor, gamma: Tensor, beta: Tensor, prepared: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Give standardised weights, with mean and deviation of the raw ones, the gradient of `standardise`."""
        std = prepared[2]
        if is_on_cpu(std) and not math.isfinite(std.sum().item()):  # NaN where a weight of the row is
            raise _not_finite("a weight", self.title)
        return _Standardise.apply(weight, gamma, beta, *prepared, self._engine())

    def _is_folded(self) -> bool:
        """Whether `fold` would change nothing; on a GPU, where a look would halt the device, it is not known."""
        if not is_on_cpu(self.gamma):
            return False
        least, largest = self.weight.detach().aminmax()
        return bool((self.gamma == 1).all()) and bool(least >= -WEIGHT_BOUND) and bool(largest <= WEIGHT_BOUND)

    @without_autocast
    def standardised(self, scale: float = 1.0) -> Tensor:
        """W_hat = gamma (W - mean) / sqrt(var + 1e-5) + beta per output channel. Eq. (eq-standardise).

        Args:
            scale: multiplies gamma, as the search for a first threshold does
        Returns:
            the shape of the raw weight
        """
        _check_channels(self.title, self.weight, gamma=self.gamma, beta=self.beta)
        scale = real("scale", scale)
        gamma = self.gamma if scale == 1 else scale * self.gamma
        return self._standardised(self.weight, gamma, self.beta)

    def current(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Input currents, (T, N, C, ...), for x (T, N, ...) and gamma multiplied by `scale`."""
        return currents(x, self.standardised(scale), self.affine, self.engine)

    @engines.uncompiled
    @without_autocast
    def forward(self, x: Tensor, force: Force | None = None, ahead: SideStream | None = None) -> Any:
        """Spikes, averaged over pooling windows where the layer pools.

        Args:
            x: spikes, or an image expanded over time, (T, N, ...)
            force: replaces the output spikes, as supervision does; then the neurons' own are returned too
            ahead: where the weights are made ready, so that they need not wait for x
        Returns:
            (T, N, C, ...); with `force` a pair of them
        Raises:
            UserError: as `fold`, which comes before every pass in training (and with gradients enabled); for x of
                another shape or type; and for weights of float16 or bfloat16
        """
        weight = self.weight
        if not inputs.ready(weight, x):
            inputs.weights(f"the weight of {self.title}", weight)
            x = inputs.floats("x", x, like=weight, hint="normalise it first, or call .float() on spikes")
        instance("ahead", ahead, (SideStream, NoneType), "a SideStream or None")
        if ahead is None:  # a network has looked at its input already
            inputs.finite("x", x)
            ahead = SideStream(x.device)
        with ahead.work():
            weight, threshold = self._ready()
        ahead.join(weight, threshold)
        spikes, raw = spiking_affine(x, weight, threshold, self.affine, self.neuron, self.pool, self.engine, force)
        return spikes if force is None else (spikes, raw)


def _first_weight(shape: tuple[int, ...]) -> Tensor:
    """Weights of this shape (C_out, C_in, ...), as torch's own layers draw them."""
    outputs, fan_in, *kernel = shape
    try:
        if kernel:
            return nn.Conv2d(fan_in, outputs, kernel, bias=False).weight
        return nn.Linear(fan_in, outputs, bias=False).weight
    except RuntimeError as error:  # torch raises nothing narrower where memory is too small
        raise UserError(f"a weight of shape {shape} does not fit into memory; take a smaller layer") from error


class SpikingConv2d(SpikingLayer):
    """Convolution of stride 1, then neurons, then pooling if asked for.

    Args:
        in_channels, out_channels: as in `torch.nn.Conv2d`
        kernel_size: side of the kernel, or a pair of equal ones
        padding: zeros on every side of the input, a pair of equal ones, "same" (odd kernels) or "valid"
        neuron, pool, engine: as in `SpikingLayer`
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: int = 0,
        neuron: NeuronParameters | None = None,
        pool: int = 1,
        engine: str = "auto",
    ) -> None:
        kernel = inputs.square("kernel_size", kernel_size, 1)
        shape = whole("out_channels", out_channels, 1), whole("in_channels", in_channels, 1), kernel, kernel
        if neuron is None:
            neuron = NeuronParameters()
        affine = Convolution(inputs.padding("padding", padding, kernel))
        super().__init__(_first_weight(shape), affine, neuron, pool, engine)


class SpikingLinear(SpikingLayer):
    """Fully connected map, then neurons.

    Args:
        in_features, out_features: as in `torch.nn.Linear`
        neuron, engine: as in `SpikingLayer`
    """

    def __init__(
        self, in_features: int, out_features: int, neuron: NeuronParameters | None = None, engine: str = "auto"
    ) -> None:
        shape = whole("out_features", out_features, 1), whole("in_features", in_features, 1)
        if neuron is None:
            neuron = NeuronParameters()
        super().__init__(_first_weight(shape), FullyConnected(), neuron, 1, engine)


class _AdjustedPooling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor, window: int) -> Tensor:
        ctx.save_for_backward(spikes)
        ctx.window = window
        return reference.pool_forward(spikes, window)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor) -> tuple[Tensor, None]:
        return reference.pool_backward(grad_pooled, ctx.saved_tensors[0], ctx.window), None


class AdjustedAvgPool2d(nn.Module):
    """Average pooling whose backward shares a window's gradient among its spikes. Eq. (eq-pool).

    Args:
        window: side of the window, positions
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = whole("window", window, 1)

    def forward(self, spikes: Tensor) -> Tensor:
        """(T, N, C, H, W) -> (T, N, C, H // window, W // window)."""
        spikes = _maps(spikes, self.window)
        return _AdjustedPooling.apply(spikes, self.window)


def _maps(spikes: Tensor, window: int) -> Tensor:
    """Maps (T, N, C, H, W) that a window fits into, as they are computed with."""
    spikes = inputs.floats("spikes", spikes)
    if spikes.dim() != 5 or 0 in spikes.shape or min(spikes.shape[3:]) < window:
        raise UserError(
            f"spikes must have shape (T, N, C, H, W), H and W no smaller than the window of {window}, not "
            f"{tuple(spikes.shape)}"
        )
    return spikes


class PlainPool2d(nn.Module):
    """Average or max pooling with torch's own backward, for comparison: it does not conserve the gradients' sum.

    Args:
        window: side of the window, positions
        kind: "avg" or "max"
    """

    def __init__(self, window: int, kind: str) -> None:
        super().__init__()
        kinds = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}
        self.pool = kinds[choice("kind of pooling", kind, kinds)](whole("window", window, 1))

    def forward(self, spikes: Tensor) -> Tensor:
        """(T, N, C, H, W) -> (T, N, C, H // window, W // window)."""
        spikes = _maps(spikes, self.pool.kernel_size)
        return self.pool(spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2])


class _Mask(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor, factor: Tensor, grad_factor: Tensor) -> Tensor:
        ctx.save_for_backward(grad_factor)
        return spikes * factor

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.saved_tensors[0], None, None


class TimeDropout(nn.Module):
    """Dropout of whole channels or features, one mask for all time steps of a sample. Eq. (eq-dropout).

    The plain backward (released settings) multiplies by mask/(1 - p) once more, on top of the factor that the layer
    above has already put in by multiplying with its input; the sum of e comes out about 1/(1 - p) times too large at
    every dropout. With `conserving` backward multiplies by the mask alone.

    Args:
        p: share dropped, in [0, 1)
        conserving: keep the sum of the gradients on spike times
    """

    def __init__(self, p: float, conserving: bool = False) -> None:
        super().__init__()
        self.p = real("dropout", p, least=0, below=1)
        self.conserving = switch("conserving", conserving)

    def forward(self, spikes: Tensor, shard: Shard | None = None) -> Tensor:
        """Drop channels or features in training; return the spikes unchanged in evaluation mode.

        Args:
            spikes: (T, N, C, ...)
            shard: the samples that this process computes of a joint batch, for which one mask is drawn; None for all
        Returns:
            the shape of `spikes`
        """
        spikes = inputs.floats("spikes", spikes)
        if spikes.dim() < 3:
            raise UserError(f"spikes must have shape (T, N, C, ...), not {tuple(spikes.shape)}")
        if not self.training or self.p == 0:
            return spikes
        samples = samples_of(spikes, shard)
        shape = (samples, spikes.shape[2], *[1] * (spikes.dim() - 3))
        mask = torch.empty(shape, device=spikes.device, dtype=spikes.dtype).bernoulli_(1 - self.p)
        if shard is not None:
            mask = mask[shard.rows]
        factor = mask / (1 - self.p)
        return _Mask.apply(spikes, factor, mask if self.conserving else factor)
