"""Spiking neurons forward and backward, by the engine that fits the device or the one asked for.

`forward` and `backward` are the neurons alone. `forward_pooled` and `backward_pooled` end in average pooling, for
layers; the others make currents, weights and gradients, by an engine's own way if it has one. Tests hold all equal.
"""

from collections.abc import Callable, Sequence
from types import ModuleType, NoneType
from typing import Any

import torch
from torch import Tensor

from .. import inputs
from ..errors import UserError, instance, real, shown, switch, whole
from ..neuron import NeuronParameters
from .engines import CHOICES, ENGINES, engine_name, module_of, untracked
from .saved import Saved, put_back, take_out

__all__ = [
    "CHOICES",
    "ENGINES",
    "Saved",
    "backward",
    "backward_events",
    "backward_image",
    "backward_pooled",
    "engine_name",
    "event_currents",
    "fold",
    "forward",
    "forward_pooled",
    "image_currents",
    "make_ready",
    "put_back",
    "standardise",
    "standardise_backward",
    "take_out",
]


def _for_currents(
    current: Tensor, threshold: Tensor, neuron: NeuronParameters, engine: str
) -> tuple[ModuleType, Tensor, Tensor]:
    """The engine of a layer, and its currents and thresholds as they are computed with."""
    sound = inputs.ready(current, threshold)
    current = current if sound else inputs.tensor("current", current)
    if current.dim() < 3:
        raise UserError(f"current must have shape (T, N, C, ...), not {tuple(current.shape)}")
    if len(current) == 0:
        raise UserError("current has no time step: T must be 1 or more")
    if not current.is_floating_point():
        raise UserError(f"current must hold floating-point numbers, not {current.dtype}; call .float()")
    module = module_of(engine_name(engine, current.device, current.dtype))
    if not sound:
        current = inputs.weights("current", current)
        threshold = inputs.floats("threshold", threshold, like=current)
    if threshold.shape != current.shape[2:3]:
        raise UserError(
            f"threshold must have one entry per channel, shape ({current.shape[2]},), not {tuple(threshold.shape)}"
        )
    instance("neuron", neuron, NeuronParameters)
    return module, current, threshold


def _gradient(name: str, grad: Tensor, saved: Any, like: torch.Size) -> Tensor:
    """The gradient of a pass's output as it is computed with."""
    held = getattr(saved, "neurons", saved)
    values = held.spikes if isinstance(held, Saved) else saved.current
    grad = inputs.floats(name, grad, like=values)
    if grad.shape != like:
        raise UserError(f"{name}: the gradient has shape {tuple(grad.shape)}, the output {tuple(like)}")
    return grad


def _pooled_gradient(grad: Tensor, saved: Any) -> Tensor:
    """The same for what `forward_pooled` returned."""
    if not all(hasattr(saved, name) for name in ("engine", "output_shape")):
        raise UserError(f"saved must be what forward_pooled returned, not {shown(saved)}")
    return _gradient("grad_pooled", grad, saved, saved.output_shape)


def _layer(x: Tensor, weight: Tensor, padding: int) -> tuple[Tensor, Tensor, int]:
    """Input, weight and padding of a layer as they are computed with."""
    if not inputs.ready(weight, x):
        weight = inputs.weights("weight", weight)
        x = inputs.floats("x", x, like=weight)
    return x, weight, whole("padding", padding, 0)


def _rows(weight: Tensor, **channels: Tensor) -> list[Tensor]:
    """A weight (C, ...), and what has one entry per channel, as they are computed with."""
    given = channels.values()
    if not inputs.ready(weight, *given):
        weight = inputs.weights("weight", weight)
        given = [inputs.floats(name, value, like=weight) for name, value in channels.items()]
    count = weight.size(0) if weight.dim() > 1 else 0
    if count == 0 or weight.numel() < 2 * count:
        raise UserError(f"weight must have two inputs or more per neuron, shape (C, ...), not {tuple(weight.shape)}")
    for name, value in zip(channels, given, strict=True):
        if value.dim() != 1 or value.size(0) != count:
            raise UserError(f"{name} must have one entry per channel, ({count},), not {tuple(value.shape)}")
    return [weight, *given]


def _in_place(weight: Tensor, bound: float, **channels: Tensor) -> float:
    """Check what is changed in place: tensors of one type, since a copy would be changed in their stead."""
    given = channels.values()
    if inputs.ready(weight, *given) and weight.dim() > 1 and weight.numel() >= 2 * weight.size(0) > 0:
        count = weight.size(0)
        if all(value.dim() == 1 and value.size(0) == count for value in given):
            return real("bound", bound, above=0)
    taken = _rows(weight, **channels)
    for name, given, found in zip(("weight", *channels), (weight, *channels.values()), taken, strict=True):
        if given is not found:
            raise UserError(
                f"{name} must be a tensor of the weight's type, as it is changed in place, not {shown(given)}"
            )
    return real("bound", bound, above=0)


@untracked
def forward(current: Tensor, threshold: Tensor, neuron: NeuronParameters, engine: str = "auto") -> tuple[Tensor, Saved]:
    """Let the neurons of one layer integrate and fire.

    Eq. (eq-neuron) of the book; App. 1 of Zhu et al. 2023.

    Args:
        current: input current c, (T, N, C, ...), any strides
        threshold: theta, (C,)
        neuron: time constants, steps
        engine: "auto", "reference", "cpu" or "triton"
    Returns:
        spikes (T, N, C, ...) of 0 and 1, and what `backward` needs
    Raises:
        UserError: for wrong shapes, or an engine that cannot run here
    """
    module, current, threshold = _for_currents(current, threshold, neuron, engine)
    return module.forward(current, threshold, neuron)


@untracked
def backward(grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """Carry gradients on spike times back to the input currents.

    Eq. (eq-grad-timing), (eq-grad-weight) of the book; App. 1-2 of Zhu et al. 2023.

    Args:
        grad_times: e = dL/dt at every output spike, (T, N, C, ...), 1/step; elsewhere it is not read
        saved: what `forward` returned
    Returns:
        grad_timing G_t and grad_weight G_w, both (T, N, C, ...)
    Raises:
        UserError: if the shapes differ
    """
    instance("saved", saved, Saved, "what forward returned")
    grad_times = _gradient("grad_times", grad_times, saved, saved.spikes.shape)
    return module_of(saved.engine).backward(grad_times, saved)


@untracked
def forward_pooled(
    current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int, engine: str = "auto"
) -> tuple[Tensor, Any]:
    """`forward`, then average pooling over windows of `window` x `window`. Eq. (eq-pool).

    Args:
        current: (T, N, C, H, W); with window 1 any (T, N, C, ...)
        threshold, neuron, engine: as for `forward`
        window: side of the pooling window, positions; 1 for none
    Returns:
        means (T, N, C, H // window, W // window), or with window 1 the spikes; and what
        `backward_pooled` needs (the engine's own)
    Raises:
        UserError: as `forward`, and for a map that is smaller than the window
    """
    module, current, threshold = _for_currents(current, threshold, neuron, engine)
    window = whole("window", window, 1)
    if window > 1 and (current.dim() != 5 or min(current.shape[3:]) < window):
        raise UserError(f"windows of {window} x {window} do not fit into currents of shape {tuple(current.shape)}")
    return module.forward_pooled(current, threshold, neuron, window)


@untracked
def backward_pooled(grad_pooled: Tensor, saved: Any, sum_weight: bool = False) -> tuple[Tensor | None, Tensor]:
    """Backward of `forward_pooled`: adjusted pooling, then the neurons. Eq. (eq-pool), (eq-grad-timing).

    Args:
        grad_pooled: dL/dt at the pooled outputs, (T, N, C, H // window, W // window), 1/step
        saved: what `forward_pooled` returned
        sum_weight: True where the input repeats at every step and its times are given: then G_w comes summed over
            time, (1, N, C, H, W), and G_t, which nobody needs, as None
    Returns:
        grad_timing G_t and grad_weight G_w, (T, N, C, H, W)
    """
    grad_pooled = _pooled_gradient(grad_pooled, saved)
    return module_of(saved.engine).backward_pooled(grad_pooled, saved, switch("sum_weight", sum_weight))


@untracked
def event_currents(
    x: Tensor, weight: Tensor, padding: int, engine: str = "auto", kept: list[Tensor] | None = None
) -> Tensor | None:
    """Input currents of a layer, by the engine's own way where it has one for this layer and input.

    On a CPU that goes spike by spike where the input holds few of them; on a GPU through products of halves.

    Args:
        x, weight, padding: as for `backward_events`
        engine: see `forward`
        kept: a list that gets what `backward_events` would else make again; None to keep nothing
    Returns:
        currents (T, N, C_out, ...), up to the order of sums; or None where the dense product is the better choice
    """
    x, weight, padding = _layer(x, weight, padding)
    instance("kept", kept, (list, NoneType), "a list or None")
    way = getattr(module_of(engine_name(engine, x.device, x.dtype)), "event_currents", None)
    return None if way is None or not _fits(x, weight) else way(x, weight, padding, [] if kept is None else kept)


@untracked
def backward_events(
    grad_pooled: Tensor,
    saved: Any,
    x: Tensor,
    weight: Tensor,
    padding: int,
    need_input: bool,
    kept: Sequence[Tensor] = (),
) -> tuple[Tensor | None, Tensor] | None:
    """Backward of a whole layer, by the engine's own way where it has one for this layer.

    On a CPU that goes spike by spike where the layer's spikes are few; on a GPU through products of halves.

    Eq. (eq-grad-timing), (eq-grad-weight) of the book: the same gradients as `backward_pooled` followed by the two
    transposed maps, up to the order of sums.

    Args:
        grad_pooled, saved: as for `backward_pooled`
        x: the layer's input, (T, N, C_in, H, W) or (T, N, F_in)
        weight: W_hat, (C_out, C_in, K, K) or (F_out, F_in)
        padding: zeros on every side of the input map, positions; 0 for a fully connected layer
        need_input: whether the gradient to x is wanted
        kept: what `event_currents` kept of the same input and weight, if it was asked to
    Returns:
        x W^T G_t (None where not wanted) and the weight's gradient; or None in place of both where the dense
        products are the better choice
    Raises:
        UserError: if the shapes do not make one layer
    """
    grad_pooled = _pooled_gradient(grad_pooled, saved)
    x, weight, padding = _layer(x, weight, padding)
    need_input = switch("need_input", need_input)
    instance("kept", kept, (list, tuple), "a list")
    way = getattr(module_of(saved.engine), "backward_events", None)
    if way is None:
        return None
    _check_layer(x, weight, padding, saved, saved.current_shape[0])
    return way(grad_pooled, saved, x, weight, padding, need_input, kept)


def _fits(x: Tensor, weight: Tensor) -> bool:
    """Whether x (T, N, C_in, ...) is an input of a convolution or a fully connected map; torch refuses others."""
    return x.dim() == weight.dim() + 1 and x.shape[2] == weight.shape[1]


def _check_layer(x: Tensor, weight: Tensor, padding: int, saved: Any, steps: int) -> None:
    """That an input of so many steps, a weight and a pass belong together."""
    map_ = tuple(side + 2 * padding - k + 1 for side, k in zip(x.shape[3:], weight.shape[2:], strict=False))
    made = len(x), x.shape[1], len(weight), *map_
    if not _fits(x, weight) or made != (steps, *saved.current_shape[1:]):
        raise UserError(
            f"an input of shape {tuple(x.shape)} under a weight of shape {tuple(weight.shape)} with padding {padding} "
            f"does not make currents of shape {tuple(saved.current_shape)}"
        )


@untracked
def image_currents(x: Tensor, weight: Tensor, padding: int, engine: str = "auto") -> Tensor | None:
    """Input currents of a first layer, whose maps have few channels, by the engine's own way where it has one.

    Args:
        x: the steps that differ, (S, N, C_in, H, W)
        weight, padding: as for `backward_events`
        engine: see `forward`
    Returns:
        currents (S, N, C_out, H', W'), up to the order of sums; or None where torch's way is the better choice
    """
    x, weight, padding = _layer(x, weight, padding)
    way = getattr(module_of(engine_name(engine, x.device, x.dtype)), "image_currents", None)
    return None if way is None or not _fits(x, weight) else way(x, weight, padding)


@untracked
def backward_image(grad_pooled: Tensor, saved: Any, x: Tensor, weight: Tensor, padding: int) -> Tensor | None:
    """The weight's gradient of a first layer whose image repeats at every step, by the engine's own way if it has one.

    Args:
        grad_pooled, saved: as for `backward_pooled`
        x: the image, (1, N, C_in, H, W)
        weight, padding: as for `backward_events`
    Returns:
        the same as `backward_pooled` with `sum_weight` and the transposed map give, up to the order of sums; or None
    Raises:
        UserError: if the shapes do not make one layer
    """
    grad_pooled = _pooled_gradient(grad_pooled, saved)
    x, weight, padding = _layer(x, weight, padding)
    way = getattr(module_of(saved.engine), "backward_image", None)
    if way is None:
        return None
    _check_layer(x, weight, padding, saved, 1)
    return way(grad_pooled, saved, x, weight, padding)


@untracked
def standardise(weight: Tensor, gamma: Tensor, beta: Tensor, engine: str = "auto") -> tuple[Tensor, Tensor, Tensor]:
    """Standardised weights, as in `reference.standardise`, by the engine's own pass over memory where it has one.

    Args:
        weight, gamma, beta: (C_out, fan-in), (C_out,), (C_out,)
        engine: see `forward`
    Returns:
        W_hat, and the raw weights' mean and standard deviation
    Raises:
        UserError: for other shapes or types
    """
    weight, gamma, beta = _rows(weight, gamma=gamma, beta=beta)
    inputs.axes("weight", weight, "(C_out, fan-in)", 2)
    return _own("standardise", engine, weight)(weight, gamma, beta)


@untracked
def standardise_backward(
    grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor, engine: str = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """Backward of `standardise`: gradients of raw weights, gamma and beta, as in `reference.standardise_backward`."""
    weight, gamma, mean, std = _rows(weight, gamma=gamma, mean=mean, std=std)
    inputs.axes("weight", weight, "(C_out, fan-in)", 2)
    grad = inputs.floats("grad", grad, like=weight)
    if grad.shape != weight.shape:
        raise UserError(f"grad must have the weight's shape {tuple(weight.shape)}, not {tuple(grad.shape)}")
    return _own("standardise_backward", engine, weight)(grad, weight, gamma, mean, std)


@untracked
def fold(weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float, engine: str = "auto") -> None:
    """Move gamma into the threshold and clip the raw weights, all in place, as in `reference.fold`.

    Autograd's version counters stay as they are, with every engine: who changed gamma or a weight before moved them.

    Args:
        weight, threshold, gamma, beta: (C_out, ...), (C_out,), (C_out,), (C_out,)
        bound: largest magnitude of a raw weight
        engine: see `forward`
    """
    bound = _in_place(weight, bound, threshold=threshold, gamma=gamma, beta=beta)
    tensors = [x.data for x in (weight, threshold, gamma, beta)]
    # an engine's own pass takes memory in order; of other memory it would change a copy
    own = _own("fold", engine, weight) if all(x.is_contiguous() for x in tensors) else module_of("reference").fold
    own(*tensors, bound)


@untracked
def make_ready(
    weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float, engine: str = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """`fold`, then `standardise`, by the engine's own way through both where it has one.

    Args:
        weight, threshold, gamma, beta, bound, engine: as for `fold`
    Returns:
        as `standardise`
    """
    bound = _in_place(weight, bound, threshold=threshold, gamma=gamma, beta=beta)
    own = getattr(module_of(engine_name(engine, weight.device, weight.dtype)), "make_ready", None)
    tensors = [x.data for x in (weight, threshold, gamma, beta)]
    if own is not None and all(x.is_contiguous() for x in tensors):
        return own(*tensors, bound)
    fold(weight, threshold, gamma, beta, bound, engine)
    return standardise(weight.flatten(1), gamma, beta, engine)


def _own(name: str, engine: str, weight: Tensor) -> Callable[..., Any]:
    """A function of the engine that runs here, or the reference's where the engine has none of its own."""
    module = module_of(engine_name(engine, weight.device, weight.dtype))
    return getattr(module, name, None) or getattr(module_of("reference"), name)
