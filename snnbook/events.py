"""Between two layers: an affine map followed by spiking neurons, whose backward carries gradients on spike times.

One autograd function serves convolutions and fully connected layers. Its output's gradient is e = dL/dt at every
output spike; its input x gets W^T G_t at the input spikes (eq-grad-timing), its weight gets G_w x (eq-grad-weight).
An engine computes all of it (ops/engine.py).
"""

from typing import Any

import torch
from torch import Tensor

from . import gradient_kinds, inputs, ops
from .devices import without_autocast
from .errors import UserError, instance, shown, whole
from .neuron import NeuronParameters
from .ops import Engine, Force, Layer, Pass, dense
from .ops.affine import Affine, Convolution, FullyConnected, check_affine

__all__ = [
    "Affine",
    "Convolution",
    "Force",
    "FullyConnected",
    "check_affine",
    "currents",
    "distinct_steps",
    "spiking_affine",
]


class _SpikingAffine(torch.autograd.Function):
    """One layer for autograd: `Engine.layer_forward` and `Engine.layer_backward`."""

    takes_times = True  # read by `gradient_kinds`

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, threshold: Tensor, layer: Layer, engine: Engine, force: Force | None
    ) -> tuple[Tensor, Tensor]:
        spikes, own, pass_ = engine.layer_forward(x, weight, threshold, layer, force)
        ctx.save_for_backward(x, weight, *pass_.tensors)
        ctx.plan = pass_.plan
        ctx.layer = layer
        ctx.engine = engine
        # The node's own outputs must not be what it saves for backward, so they are detached.
        own = own.detach()
        ctx.mark_non_differentiable(own)
        ctx.set_materialize_grads(False)  # no zeros for `own`
        return spikes.detach(), own

    @staticmethod
    @torch.autograd.function.once_differentiable
    @without_autocast
    def backward(ctx: Any, grad_times: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient_kinds.check_arrival(ctx, ctx.layer.affine)  # every layer has a map object of its own
        x, weight, *tensors = ctx.saved_tensors
        pass_ = Pass(tuple(tensors), ctx.plan)
        need_x, need_weight, *_ = ctx.needs_input_grad
        grads = ctx.engine.layer_backward(grad_times, pass_, x, weight, ctx.layer, need_x, need_weight)
        return *grads, None, None, None, None


@ops.uncompiled
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
    """Run one layer: currents, neurons, and average pooling where the window is above 1.

    Args:
        x: spikes, or an image expanded over time (direct coding), (T, N, ...)
        weight: W_hat
        threshold: theta, (C,)
        affine: which map the weight belongs to
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
    _check_steps(x)
    if weight.dim() > 1 and threshold.shape != weight.shape[:1]:
        raise UserError(
            f"threshold must have one entry per channel, shape ({len(weight)},), not {tuple(threshold.shape)}"
        )
    window = whole("window", window, 1)
    if force is not None and not callable(force):
        raise UserError(f"force must be a function of the layer's pass or None, not {shown(force)}")
    if force is not None and window > 1:
        raise UserError(f"force goes with window 1, not with {window}: it replaces spikes that are not pooled")
    layer = Layer(check_affine(affine), instance("neuron", neuron, NeuronParameters), window)
    chosen = ops.get(engine, weight.device, weight.dtype)
    gradient_kinds.pass_on(x, affine)
    return _SpikingAffine.apply(x, weight, threshold, layer, chosen, force)


@ops.uncompiled
@without_autocast
def currents(x: Tensor, weight: Tensor, affine: Affine, engine: str = "auto") -> Tensor:
    """Compute the input currents of every step, (T, N, C, ...). An input that repeats is mapped once and expanded.

    Where a gradient of the currents is wanted, torch computes them by dense products, and records it.

    Args:
        x: spikes or an expanded image, (T, N, ...)
        weight, affine: the map
        engine: see `snnbook.ops`; it may have a faster way
    Raises:
        UserError: for another number of input channels than the weight has
    """
    weight = inputs.weights("weight", weight)
    x = inputs.floats("x", x, like=weight)
    _check_steps(x)
    affine = check_affine(affine)
    is_tracked = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    chosen = ops.get("reference" if is_tracked else engine, weight.device, weight.dtype)
    return chosen.currents(x, weight, affine)


def distinct_steps(x: Tensor) -> Tensor:
    """Return the steps that differ: all of them, or the first where x is one step expanded over time (stride 0).

    Raises:
        UserError: if x is no tensor with a first axis
    """
    x = inputs.tensor("x", x)
    if not x.dim():
        raise UserError(f"x must have time as its first axis, not shape {tuple(x.shape)}")
    return dense.distinct(x)


def _check_steps(x: Tensor) -> None:
    """Raise a UserError unless x has the axes of an input over time."""
    if x.dim() < 3 or 0 in x.shape[:1]:
        raise UserError(f"x must have shape (T, N, ...) with one step or more, not {tuple(x.shape)}")
