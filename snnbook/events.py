"""Between two layers: an affine map followed by spiking neurons, whose backward carries gradients on spike times.

One autograd function serves convolutions and fully connected layers. Its output's gradient is e = dL/dt at every
output spike; its input x gets W^T G_t at the input spikes (eq-grad-timing), its weight gets G_w x (eq-grad-weight).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from . import gradient_kinds, inputs, ops
from .devices import is_on_cpu, without_autocast
from .errors import UserError, shown, whole
from .neuron import NeuronParameters
from .ops.dense import FEW, image_products, map_gradient, needs_care, product


class Affine(Protocol):
    """A linear map without bias, and its two transposes. Inputs and currents have the batch axis first."""

    @property
    def padding(self) -> int:
        """Zeros on every side of the input map, positions."""
        ...

    @property
    def backward_dtype(self) -> torch.dtype | None:
        """What both factors of the transposes are rounded to; None leaves them as they are."""
        ...

    def current(self, x: Tensor, weight: Tensor) -> Tensor:
        """Input currents c = W x."""
        ...

    def grad_input(self, grad: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """W^T grad, in the shape of x."""
        ...

    def grad_weight(self, grad: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        """Sum over the batch of grad (x) x, in the shape of W."""
        ...


def _rounded(made: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype | None, a: Tensor, b: Tensor) -> Tensor:
    """What is made of a and b in this type, as a's own type again."""
    return made(a, b) if dtype is None else made(a.to(dtype), b.to(dtype)).to(a.dtype)


def _taken(x: Tensor, weight: Tensor, padding: int | None) -> tuple[Tensor, Tensor]:
    """Inputs (B, ...) and the weight of one map as they are computed with; padding is None where there is no map."""
    if not inputs.ready(weight, x):
        weight = inputs.weights("weight", weight)
        x = inputs.floats("x", x, like=weight)
    axes = 2 if padding is None else 4
    if 0 in weight.shape:
        raise UserError(f"weight must have no empty axis, not shape {tuple(weight.shape)}")
    if weight.dim() != axes or x.dim() != axes or x.shape[1] != weight.shape[1]:
        raise UserError(
            f"a weight of shape {tuple(weight.shape)} takes no input x of shape {tuple(x.shape)} at each step: "
            f"both have {axes} axes, and axis 1 is channels or features on both"
        )
    if padding is not None and min(_sides(x.shape[2:], weight.shape[2:], padding)) < 1:
        raise UserError(
            f"x of shape {tuple(x.shape)} with padding {padding} is smaller than the kernel of {tuple(weight.shape)}"
        )
    return x, weight


def _taken_back(grad: Tensor, x: Sequence[int], weight: Sequence[int], like: Tensor, padding: int | None) -> Tensor:
    """The gradient of a map's output as it is computed with, for inputs and a weight of these shapes."""
    grad = inputs.floats("grad", grad, like=like)
    axes = 2 if padding is None else 4
    fit = len(x) == len(weight) == axes and x[1] == weight[1]
    if not fit or tuple(grad.shape) != (x[0], weight[0], *_sides(x[2:], weight[2:], padding or 0)):
        raise UserError(
            f"grad of shape {tuple(grad.shape)} belongs to no output of inputs x of shape {tuple(x)} under a weight of "
            f"shape {tuple(weight)} with padding {padding or 0}"
        )
    return grad


def _sides(map_: Sequence[int], kernel: Sequence[int], padding: int) -> list[int]:
    """Sides of a convolution's output map."""
    return [side + 2 * padding - k + 1 for side, k in zip(map_, kernel, strict=True)]


def _backward_dtype(value: torch.dtype | None) -> None:
    """Check what both factors of the transposes are rounded to."""
    if value is not None and not (isinstance(value, torch.dtype) and value in inputs.FLOATS):
        raise UserError(f"backward_dtype must be None or a floating-point type of torch, not {shown(value)}")


@dataclass(frozen=True)
class Convolution:
    """x (B, C_in, H, W), weight (C_out, C_in, K, K), stride 1, `padding` zeros on every side."""

    padding: int = 0
    backward_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", whole("padding", self.padding, 0))
        _backward_dtype(self.backward_dtype)

    @without_autocast
    def current(self, x: Tensor, weight: Tensor) -> Tensor:
        """Input currents, (B, C_out, H', W')."""
        x, weight = _taken(x, weight, self.padding)
        return F.conv2d(_channels_last(x), weight, padding=self.padding)

    @without_autocast
    def grad_input(self, grad: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """(B, C_in, H, W)."""
        weight = inputs.weights("weight", weight)
        shape = torch.Size(inputs.sizes("shape", shape, 4, "the shape of x, (B, C_in, H, W)"))
        grad = _taken_back(grad, shape, weight.shape, weight, self.padding)
        return _rounded(lambda g, w: map_gradient(g, w, shape, self.padding), self.backward_dtype, grad, weight)

    @without_autocast
    def grad_weight(self, grad: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        """(C_out, C_in, K, K)."""
        x = inputs.weights("x", x)
        shape = torch.Size(inputs.sizes("shape", shape, 4, "the shape of the weight, (C_out, C_in, K, K)"))
        grad = _taken_back(grad, x.shape, shape, x, self.padding)

        def made(g: Tensor, x: Tensor) -> Tensor:
            if needs_care(g, shape):
                return image_products(g, x, shape, self.padding)
            return conv2d_weight(_channels_last(x), shape, g, padding=self.padding)

        return _rounded(made, self.backward_dtype, grad, x)


def _channels_last(x: Tensor) -> Tensor:
    """Maps (B, C_in, H, W) of few channels so that a CPU's convolution leaves channels last, as its engine wants them.

    With one channel both orders are the same memory, and strides tell which is meant. A GPU's engine wants the other.
    """
    if x.shape[1] >= FEW or not is_on_cpu(x):
        return x
    if x.shape[1] == 1:
        height, width = x.shape[2:]
        return x.contiguous().as_strided(x.shape, (height * width, 1, width, 1))
    return x.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class FullyConnected:
    """x (B, F_in), weight (F_out, F_in)."""

    backward_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        _backward_dtype(self.backward_dtype)

    @property
    def padding(self) -> int:
        """None: there is no map to pad."""
        return 0

    @without_autocast
    def current(self, x: Tensor, weight: Tensor) -> Tensor:
        """Input currents, (B, F_out)."""
        x, weight = _taken(x, weight, None)
        return product(x, weight)

    @without_autocast
    def grad_input(self, grad: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """(B, F_in)."""
        weight = inputs.weights("weight", weight)
        grad = _taken_back(
            grad, inputs.sizes("shape", shape, 2, "the shape of x, (B, F_in)"), weight.shape, weight, None
        )
        return _rounded(product, self.backward_dtype, grad, weight.T)

    @without_autocast
    def grad_weight(self, grad: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        """(F_out, F_in)."""
        x = inputs.weights("x", x)
        shape = inputs.sizes("shape", shape, 2, "the shape of the weight, (F_out, F_in)")
        grad = _taken_back(grad, x.shape, shape, x, None)
        return _rounded(product, self.backward_dtype, grad.T, x.T)


Force = Callable[[ops.Saved], Tensor]
"""Takes a layer's own pass, returns the spikes (T, N, C) to pass on in its place: the supervisory spike."""


def distinct_steps(x: Tensor) -> Tensor:
    """The steps that differ: all of them, or the first alone where x is one step expanded over time (stride 0).

    Raises:
        UserError: if x is no tensor with a first axis
    """
    x = inputs.tensor("x", x)
    if not x.dim():
        raise UserError(f"x must have time as its first axis, not shape {tuple(x.shape)}")
    return _distinct(x)


def _distinct(x: Tensor) -> Tensor:
    """`distinct_steps` of a checked argument."""
    return x[:1] if len(x) > 1 and x.stride(0) == 0 else x


@without_autocast
def currents(
    x: Tensor, weight: Tensor, affine: Affine, engine: str = "auto", kept: list[Tensor] | None = None
) -> Tensor:
    """Input currents of every step, (T, N, C, ...); an input that repeats is mapped once and expanded again.

    Where a gradient is wanted of them, torch makes them, and carries it.

    Args:
        x: spikes or an expanded image, (T, N, ...)
        weight, affine: the map
        engine: see `snnbook.ops`; one may have a faster way
        kept: see `ops.event_currents`
    Raises:
        UserError: for another number of input channels than the weight has
    """
    weight = inputs.weights("weight", weight)
    x = inputs.floats("x", x, like=weight)
    if x.dim() < 3 or 0 in x.shape[:1]:
        raise UserError(f"x must have shape (T, N, ...) with one step or more, not {tuple(x.shape)}")
    return _currents(x, weight, check_affine(affine), engine, kept)


def _currents(x: Tensor, weight: Tensor, affine: Affine, engine: str, kept: list[Tensor] | None) -> Tensor:
    """`currents` of checked arguments."""
    steps, current = _distinct(x), None
    if not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        if len(steps) == len(x):
            by_engine = ops.event_currents(x, weight, affine.padding, engine, kept)
            if by_engine is not None:
                return by_engine
        current = ops.image_currents(steps, weight, affine.padding, engine)
    if current is None:
        current = affine.current(steps.flatten(0, 1), weight).unflatten(0, steps.shape[:2])
    return current.expand(len(x), *current.shape[1:])


def check_affine(affine: Affine) -> Affine:
    """The affine map, if it is one of the two, or has what they have; else a UserError."""
    wanted = ("padding", "backward_dtype", "current", "grad_input", "grad_weight")
    if not isinstance(affine, (Convolution, FullyConnected)) and not all(hasattr(affine, name) for name in wanted):
        raise UserError(f"affine must be a Convolution, a FullyConnected or another Affine, not {shown(affine)}")
    return affine


class _SpikingAffine(torch.autograd.Function):
    takes_times = True  # read by `gradient_kinds`

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        threshold: Tensor,
        affine: Affine,
        neuron: NeuronParameters,
        window: int,
        engine: str,
        force: Force | None,
    ) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        current = _currents(x, weight, affine, engine, kept)
        if force is None:
            raw, saved = ops.forward_pooled(current, threshold, neuron, window, engine)
            spikes = raw
        else:
            raw, saved = ops.forward(current, threshold, neuron, engine)
            spikes = force(saved)
            saved = saved.with_spikes(spikes)
        ctx.pass_, tensors = ops.take_out(saved)
        ctx.save_for_backward(x, weight, *kept, *tensors)
        ctx.kept = len(kept)
        ctx.affine = affine
        raw = raw.detach()
        ctx.mark_non_differentiable(raw)
        ctx.set_materialize_grads(False)  # no zeros for raw
        return spikes.detach(), raw  # detached: what is kept for backward must not be the node's own outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(ctx: Any, grad_times: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient_kinds.check_arrival(ctx, ctx.affine)  # a layer has a map of its own
        x, weight, *tensors = ctx.saved_tensors
        kept, tensors = tensors[: ctx.kept], tensors[ctx.kept :]
        pass_ = ops.put_back(ctx.pass_, tensors)
        need_input, need_weight = ctx.needs_input_grad[:2]
        steps = x if need_input else _distinct(x)
        repeats = len(_distinct(x)) < len(x)  # then summing over time leaves one dense product, which is less
        dense = ctx.affine.backward_dtype is not None or isinstance(pass_, ops.Saved)
        if repeats and need_weight and not (need_input or dense):
            by_engine = ops.backward_image(grad_times, pass_, steps, weight, ctx.affine.padding)
            if by_engine is not None:
                return None, by_engine, None, None, None, None, None, None
        elif need_weight and not (repeats or dense):
            by_engine = ops.backward_events(grad_times, pass_, x, weight, ctx.affine.padding, need_input, kept)
            if by_engine is not None:
                return *by_engine, None, None, None, None, None, None
        if isinstance(pass_, ops.Saved):
            grad_timing, grad_weight = ops.backward(grad_times, pass_)
            grad_weight = grad_weight if len(steps) == len(x) else grad_weight.sum(0, keepdim=True)
        else:
            grad_timing, grad_weight = ops.backward_pooled(grad_times, pass_, sum_weight=len(steps) < len(x))
        grad_x = grad_w = None
        if need_input:
            back = ctx.affine.grad_input(grad_timing.flatten(0, 1), weight, x.flatten(0, 1).shape)
            grad_x = back.unflatten(0, x.shape[:2]) * x
        if need_weight:
            grad_w = ctx.affine.grad_weight(grad_weight.flatten(0, 1), steps.flatten(0, 1), weight.shape)
        return grad_x, grad_w, None, None, None, None, None, None


@without_autocast
def spiking_affine(
    x: Tensor,
    weight: Tensor,
    threshold: Tensor,
    affine: Affine,
    neuron: NeuronParameters,
    window: int = 1,
    engine: str = "auto",
    force: Force | None = None,
) -> tuple[Tensor, Tensor]:
    """One layer: currents, neurons, and average pooling where the window is above 1.

    Args:
        x: spikes, or an image expanded over time (direct coding), (T, N, ...)
        weight: W_hat
        threshold: theta, (C,)
        affine: which map the weight stands for
        neuron: time constants, steps
        window: side of the adjusted average pooling's window; 1 for none
        engine: see `snnbook.ops`
        force: replaces the output spikes, as supervision does; goes with window 1
    Returns:
        spikes to pass on and the neurons' own, both (T, N, C, ...); only the first carries gradients
    Raises:
        UserError: for wrong shapes and types, or a force where the window is above 1
    """
    if not inputs.ready(weight, x, threshold):
        weight = inputs.weights("weight", weight)
        x = inputs.floats("x", x, like=weight)
        threshold = inputs.floats("threshold", threshold, like=weight)
    if x.dim() < 3 or 0 in x.shape[:1]:
        raise UserError(f"x must have shape (T, N, ...) with one step or more, not {tuple(x.shape)}")
    window = whole("window", window, 1)
    if force is not None and not callable(force):
        raise UserError(f"force must be a function of the layer's pass or None, not {shown(force)}")
    if force is not None and window > 1:
        raise UserError(f"force goes with window 1, not with {window}: it replaces spikes that are not pooled")
    gradient_kinds.pass_on(x, affine)
    return _SpikingAffine.apply(x, weight, threshold, check_affine(affine), neuron, window, engine, force)
