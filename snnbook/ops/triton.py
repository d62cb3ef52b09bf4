"""The GPU engine, fused: host side of triton_kernels.py.

Spikes are equal to the reference's to the bit, gradients up to the order of sums. Without a GPU the kernels run in
Triton's interpreter (TRITON_INTERPRET=1), which is for tests.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from ..neuron import SLOPE_BOUND_TIMING, SLOPE_BOUND_WEIGHT, NeuronParameters
from . import triton_kernels as kernels
from .saved import Saved

BLOCK = 512
"""Neurons a program works on."""

KERNELS = ("forward", "backward", "forward_pooled", "backward_pooled", "backward_summed")
"""Those that are launched."""

OPTIONS = {"enable_fp_fusion": False}
"""Of the compiler: a fused multiply-add would move spikes away from the reference's."""


@dataclass(frozen=True, eq=False)
class SavedPooled:
    """What `forward_pooled` leaves: currents (S, size), spike bits (bytes, size), means (T, count), channels last."""

    current: Tensor
    bits: Tensor
    pooled: Tensor
    neuron: NeuronParameters
    window: int
    current_shape: torch.Size
    output_shape: torch.Size
    engine: str = "triton"


def _flat(x: Tensor) -> Tensor:
    """(T, N, C, ...) -> contiguous (T, size); no copy where memory has channels last already."""
    return x.movedim(2, -1).contiguous().flatten(1)


def _currents(current: Tensor) -> tuple[Tensor, int]:
    """Currents (S, size), S = 1 where one step is expanded over time, and how far apart steps are: 0 or size."""
    repeats = current.stride(0) == 0
    flat = _flat(current[:1] if repeats else current)
    return flat, 0 if repeats else flat.shape[1]


def _like(flat: Tensor, shape: torch.Size) -> Tensor:
    """(T, size) -> (T, N, C, ...) of the given shape, a view."""
    return flat.view(len(flat), shape[1], *shape[3:], shape[2]).movedim(-1, 2)


def _decays(neuron: NeuronParameters) -> tuple[float, ...]:
    return neuron.decay_m, neuron.decay_s, neuron.decay_g, neuron.gain


def _geometry(shape: torch.Size) -> tuple[int, int, int, int]:
    """Height, width, channels and steps of (T, N, C, ...)."""
    height, width = shape[3:] if len(shape) == 5 else (1, math.prod(shape[3:]))
    return height, width, shape[2], shape[0]


def _launch(kernel: Any, outputs: int, *arguments: Any, positions: int = 1, **constants: Any) -> None:
    """Start a program for every block of outputs, on the device that holds the tensors."""
    wide = max(1, BLOCK // positions)
    with torch.cuda.device_of(arguments[0]):
        kernel[(triton.cdiv(outputs, wide),)](*arguments, **constants, WIDE=wide, **OPTIONS)


def positions(window: int) -> int:
    """The power of two that holds the positions of a window of this side."""
    return triton.next_power_of_2(window * window)


def _window(window: int) -> dict[str, int]:
    """A window's side and positions, as the kernels take them."""
    return {"WINDOW": window, "POSITIONS": positions(window)}


def forward(current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
    """Arguments and results as in `snnbook.ops.forward`."""
    (flat, stride), size = _currents(current), current[0].numel()
    spikes, du, dg = (flat.new_empty((len(current), size)) for _ in range(3))
    settings = (size, stride, len(threshold), len(current), *_decays(neuron))
    kind = {"LEAKY": neuron.leaky, "EXACT": neuron.kernel == "exact"}
    _launch(kernels.forward, size, flat, threshold.contiguous(), spikes, du, dg, *settings, **kind)
    spikes, du, dg = (_like(x, current.shape) for x in (spikes, du, dg))
    return spikes, Saved(spikes, du, dg, neuron, "triton")


def backward(grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.backward`."""
    inputs = [_flat(x) for x in (grad_times, saved.spikes, saved.du, saved.dg)]
    timing, weight = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
    steps, size = inputs[0].shape
    bounds = (SLOPE_BOUND_WEIGHT, SLOPE_BOUND_TIMING)
    settings = (size, steps, *_decays(saved.neuron), *bounds)
    _launch(kernels.backward, size, *inputs, timing, weight, *settings, EXACT=saved.neuron.kernel == "exact")
    return _like(timing, grad_times.shape), _like(weight, grad_times.shape)


def forward_pooled(
    current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
) -> tuple[Tensor, SavedPooled]:
    """Arguments and results as in `snnbook.ops.forward_pooled`."""
    (flat, stride), shape, size = _currents(current), current.shape, current[0].numel()
    output = shape if window == 1 else torch.Size((*shape[:3], shape[3] // window, shape[4] // window))
    bits = flat.new_zeros((math.ceil(len(current) / 8), size), dtype=torch.uint8)
    pooled = flat.new_empty((len(current), math.prod(output[1:])))
    settings = (size, stride, pooled.shape[1], *_geometry(shape), *_decays(neuron))
    kind = {"LEAKY": neuron.leaky, **_window(window)}
    arguments = (flat, threshold.contiguous(), bits, pooled, *settings)
    _launch(kernels.forward_pooled, pooled.shape[1], *arguments, positions=kind["POSITIONS"], **kind)
    return _like(pooled, output), SavedPooled(flat, bits, pooled, neuron, window, shape, output)


def backward_pooled(grad_pooled: Tensor, saved: SavedPooled, sum_weight: bool) -> tuple[Tensor | None, Tensor]:
    """Arguments and results as in `snnbook.ops.backward_pooled`."""
    shape, neuron, (steps, count) = saved.current_shape, saved.neuron, saved.pooled.shape
    size, stride = saved.bits.shape[1], 0 if len(saved.current) < steps else saved.bits.shape[1]
    whole = all(side % saved.window == 0 for side in shape[3:])
    empty = saved.current.new_empty if whole else saved.current.new_zeros  # what fills no window stays 0
    settings = (size, stride, count, *_geometry(shape), *_decays(neuron), SLOPE_BOUND_WEIGHT)
    kind = {"LEAKY": neuron.leaky, **_window(saved.window)}
    inputs = (saved.current, _flat(grad_pooled), saved.pooled, saved.bits)
    if sum_weight:
        weight = empty((1, size))
        _launch(kernels.backward_summed, count, *inputs, weight, *settings, positions=kind["POSITIONS"], **kind)
        return None, _like(weight, torch.Size((1, *shape[1:])))
    timing, weight = empty((steps, size)), empty((steps, size))
    kind["EXACT"] = neuron.kernel == "exact"
    arguments = (*inputs, timing, weight, *settings, SLOPE_BOUND_TIMING)
    _launch(kernels.backward_pooled, count, *arguments, positions=kind["POSITIONS"], **kind)
    return _like(timing, shape), _like(weight, shape)
