"""The GPU engine, fused: host side of neurons.py and weights.py.

From equal currents spikes are equal to the reference's to the bit; weights and gradients agree up to the order of
sums and the last bits of divisions. Without a GPU the kernels run in Triton's interpreter (TRITON_INTERPRET=1), which
is for tests.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from ...neuron import SLOPE_BOUND_TIMING, SLOPE_BOUND_WEIGHT, NeuronParameters
from .. import reference
from ..reference import VARIANCE_FLOOR
from ..saved import Saved
from . import maps, weights
from . import neurons as kernels

BLOCK, BLOCK_BACK = 512, 256
"""Neurons a program works on, and back, where each takes more registers."""

ROW = 4096
"""Weights of a row that a program works on at once."""

KERNELS = {
    **{name: kernels for name in ("forward", "backward", "forward_pooled", "backward_pooled", "backward_summed")},
    **{name: weights for name in ("fold", "standardise", "standardise_backward")},
}
"""Those that are launched, and where each is."""

LONGEST, SHORT = 12, 8
"""The most steps that make one chunk of the kernels' time, and how many do where there are more. Bits come in bytes."""

INTERPRETED = 8
"""So many times as many where programs are interpreted, which costs by their number."""

WRITTEN_OUT = 72
"""Steps times neurons of a window that `forward_pooled` writes out; where there are more, pooling is torch's."""

OPTIONS = {"enable_fp_fusion": False}
"""Of the compiler: a fused multiply-add would move spikes away from the reference's."""


@dataclass(frozen=True, eq=False)
class SavedPooled:
    """What `forward_pooled` leaves: currents (S, size), spike bits (bytes, size), means (T, count)."""

    current: Tensor
    bits: Tensor
    pooled: Tensor
    neuron: NeuronParameters
    window: int
    current_shape: torch.Size
    output_shape: torch.Size
    engine: str = "triton"


def _flat(x: Tensor) -> Tensor:
    """(T, N, C, ...) -> contiguous (T, size)."""
    return x.contiguous().flatten(1)


def _currents(current: Tensor) -> tuple[Tensor, int]:
    """Currents (S, size), S = 1 where one step is expanded over time, and how far apart steps are: 0 or size."""
    repeats = current.stride(0) == 0
    flat = _flat(current[:1] if repeats else current)
    return flat, 0 if repeats else flat.shape[1]


def _decays(neuron: NeuronParameters) -> tuple[float, ...]:
    return neuron.decay_m, neuron.decay_s, neuron.decay_g, neuron.gain


def _sides(shape: torch.Size) -> tuple[int, int]:
    """Height and width of (T, N, C, ...)."""
    return tuple(shape[3:]) if len(shape) == 5 else (1, math.prod(shape[3:]))


def _launch(kernel: Any, outputs: int, *arguments: Any, block: int = BLOCK, each: int = 1, **constants: Any) -> None:
    """Start a program for every block of outputs, of so many neurons each, on the device that holds the tensors."""
    block = block if arguments[0].is_cuda else INTERPRETED * block
    wide = max(32, block // triton.next_power_of_2(each))
    with torch.cuda.device_of(arguments[0]):
        kernel[(triton.cdiv(outputs, wide),)](*arguments, **constants, WIDE=wide, **OPTIONS)


def chunk(steps: int, back: bool = False) -> int:
    """How many steps the kernels take at once."""
    if back:  # of nearly equal length: all chunks but the last are gone through twice
        return triton.cdiv(steps, triton.cdiv(steps, SHORT))
    return steps if steps <= LONGEST else SHORT


def forward(current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
    """Arguments and results as in `snnbook.ops.forward`."""
    (flat, stride), size = _currents(current), current[0].numel()
    spikes, du, dg = (flat.new_empty((len(current), size)) for _ in range(3))
    settings = (size, stride, math.prod(current.shape[3:]), len(threshold), len(current), *_decays(neuron))
    kind = {"LEAKY": neuron.leaky, "EXACT": neuron.kernel == "exact", "CHUNK": chunk(len(current))}
    _launch(kernels.forward, size, flat, threshold.contiguous(), spikes, du, dg, *settings, **kind)
    spikes, du, dg = (x.view(current.shape) for x in (spikes, du, dg))
    return spikes, Saved(spikes, du, dg, neuron, "triton")


def backward(grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.backward`."""
    inputs = [_flat(x) for x in (grad_times, saved.spikes, saved.du, saved.dg)]
    timing, weight = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
    steps, size = inputs[0].shape
    bounds = (SLOPE_BOUND_WEIGHT, SLOPE_BOUND_TIMING)
    settings = (size, steps, *_decays(saved.neuron), *bounds)
    kind = {"EXACT": saved.neuron.kernel == "exact", "CHUNK": chunk(steps)}
    _launch(kernels.backward, size, *inputs, timing, weight, *settings, **kind)
    return timing.view(grad_times.shape), weight.view(grad_times.shape)


def forward_pooled(
    current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
) -> tuple[Tensor, SavedPooled]:
    """Arguments and results as in `snnbook.ops.forward_pooled`."""
    (flat, stride), shape, size = _currents(current), current.shape, current[0].numel()
    output = shape if window == 1 else torch.Size((*shape[:3], shape[3] // window, shape[4] // window))
    if window > 1 and window**2 * chunk(len(current)) > WRITTEN_OUT:
        spikes, alone = forward_pooled(current, threshold, neuron, 1)
        pooled = reference.pool_forward(spikes, window)
        return pooled, SavedPooled(flat, alone.bits, _flat(pooled), neuron, window, shape, output)
    bits = flat.new_empty((math.ceil(len(current) / 8), size), dtype=torch.uint8)
    pooled = flat.new_empty((len(current), math.prod(output[1:])))
    settings = (size, stride, pooled.shape[1], *_sides(shape), shape[2], len(current), *_decays(neuron))
    kind = {"LEAKY": neuron.leaky, "WINDOW": window, "CHUNK": chunk(len(current))}
    arguments = (flat, threshold.contiguous(), bits, pooled, *settings)
    _launch(kernels.forward_pooled, pooled.shape[1], *arguments, each=window**2, **kind)
    return pooled.view(output), SavedPooled(flat, bits, pooled, neuron, window, shape, output)


def backward_pooled(
    grad_pooled: Tensor, saved: SavedPooled, sum_weight: bool, largest: Tensor | None = None
) -> tuple[Tensor | None, Tensor]:
    """Arguments and results as in `snnbook.ops.backward_pooled`.

    Where they do not come summed, `largest`, two int32 of 0, gets the largest magnitudes of G_t and G_w, as bits.
    """
    shape, neuron, (steps, count) = saved.current_shape, saved.neuron, saved.pooled.shape
    size, stride = saved.bits.shape[1], 0 if len(saved.current) < steps else saved.bits.shape[1]
    empty = saved.current.new_empty
    settings = (size, stride, count, *_sides(shape), steps, *_decays(neuron), SLOPE_BOUND_WEIGHT)
    kind = {"LEAKY": neuron.leaky, "WINDOW": saved.window, "CHUNK": chunk(steps, back=True)}
    inputs = (saved.current, _flat(grad_pooled), saved.pooled, saved.bits)
    if sum_weight:
        weight = empty((1, size))
        _launch(kernels.backward_summed, size, *inputs, weight, *settings, **kind)
        return None, weight.view(1, *shape[1:])
    timing, weight = empty((steps, size)), empty((steps, size))
    kind["EXACT"] = neuron.kernel == "exact"
    largest = timing.new_zeros(2, dtype=torch.int32) if largest is None else largest
    arguments = (*inputs, timing, weight, largest, *settings, SLOPE_BOUND_TIMING)
    _launch(kernels.backward_pooled, size, *arguments, block=BLOCK_BACK, **kind)
    return timing.view(shape), weight.view(shape)


def event_currents(x: Tensor, weight: Tensor, padding: int, kept: list[Tensor]) -> Tensor | None:
    """Arguments and results as in `snnbook.ops.event_currents`."""
    if not maps.fits(x, weight, padding):
        return None
    halves = maps.of_layer(x, weight, padding)
    for each in halves:
        kept += (each.values, each.largest, each.more)
    sides = [side + 2 * padding - weight.shape[2] + 1 for side in x.shape[3:]]
    return maps.current(*halves, torch.Size((len(x) * x.shape[1], len(weight), *sides))).unflatten(0, x.shape[:2])


def backward_events(
    grad_pooled: Tensor,
    saved: SavedPooled,
    x: Tensor,
    weight: Tensor,
    padding: int,
    need_input: bool,
    kept: Sequence[Tensor],
) -> tuple[Tensor | None, Tensor] | None:
    """Arguments and results as in `snnbook.ops.backward_events`."""
    if not maps.fits(x, weight, padding):
        return None
    inputs, weights = maps.put_together(kept) if kept else maps.of_layer(x, weight, padding)
    largest = grad_pooled.new_zeros(2, dtype=torch.int32)
    timing, steady = (grad.flatten(0, 1) for grad in backward_pooled(grad_pooled, saved, False, largest))
    grad_x, around = None, weight.shape[-1] - 1 - padding if weight.dim() == 4 else 0
    if need_input:
        halves = maps.split(timing, True, around, largest[0])
        grad_x = maps.grad_input(halves, weights, x.flatten(0, 1)).view(x.shape)
    halves = maps.split(steady, True, 0, largest[1])
    return grad_x, maps.grad_weight(halves, inputs, weight.shape, maps.sides(steady.shape))


def _launch_rows(kernel: Any, weight: Tensor, *arguments: Any) -> None:
    """Start a program for every row of weights; `arguments` end before the row's length."""
    fan = weight[0].numel()
    wide = min(ROW, triton.next_power_of_2(fan))
    with torch.cuda.device_of(weight):
        kernel[(len(weight),)](*arguments, fan, WIDE=wide, num_warps=8 if wide == ROW else 4, **OPTIONS)


def fold(weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float) -> None:
    """Arguments as in `snnbook.ops.fold`."""
    _launch_rows(weights.fold, weight, weight, threshold, gamma, beta, bound)


def standardise(weight: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.standardise`."""
    weight = weight.contiguous()
    out, mean, std = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(gamma)
    arguments = (weight, gamma.contiguous(), beta.contiguous(), out, mean, std, VARIANCE_FLOOR)
    _launch_rows(weights.standardise, weight, *arguments)
    return out, mean, std


def standardise_backward(
    grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.standardise_backward`."""
    inputs = [each.contiguous() for each in (grad, weight, gamma, mean, std)]
    results = [torch.empty_like(each) for each in (inputs[1], inputs[2], inputs[2])]  # rows, as the kernel writes them
    _launch_rows(weights.standardise_backward, inputs[1], *inputs, *results)
    return tuple(results)
