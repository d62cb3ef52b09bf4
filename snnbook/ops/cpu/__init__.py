"""The engine for processors: tensors in, tensors out, around the compiled passes of neurons.py, events.py,
connected.py and maps.py; those of a first layer stand in images.py with theirs.

From equal currents spikes are equal to the reference's to the bit; currents, weights and gradients agree up to the
order of sums.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...neuron import NeuronParameters
from ..reference import VARIANCE_FLOOR
from ..saved import Saved
from . import connected, events, neurons
from . import maps as cpu_maps
from .calls import as_maps, call, constants, currents_and_thresholds, number, runs_of, shares
from .images import NARROW, backward_image, image_currents
from .llvm_rows import LANES

__all__ = [
    "backward",
    "backward_events",
    "backward_image",
    "backward_pooled",
    "event_currents",
    "fold",
    "forward",
    "forward_pooled",
    "image_currents",
    "make_ready",
    "standardise",
    "standardise_backward",
]

EVENT_LIMIT = 0.3
"""Spikes per neuron and step up to which the event-driven backward is the faster one (benchmarks/crossover.py)."""

NEAR_BYTES = 2**22
"""Weights of a convolution up to which that limit holds."""

FAR_SHARE = 2 / 3
"""Of the limit, where a convolution has more than that, so that every spike fetches its own from further away, and in
fully connected layers, whose dense way is one large matrix product, with no windows to gather."""

INPUT_LIMIT = 0.5
"""Share of inputs that are not 0 up to which a convolution's currents are made spike by spike (same benchmark)."""

FEWEST = 320
"""Outputs of a fully connected layer up to which its currents are never made so; above, its limit is INPUT_LIMIT times
1 - FEWEST / outputs."""

BLOCK_BYTES = 48 * 1024
"""Weights of a row of a kernel above which its outputs are parted into blocks: they should stay in the first cache."""

ROWS_BYTES = 64 * 1024
"""Weights, of one block, up to which several rows of a kernel are gone over together."""

PART = (128, 64)
"""Inputs and outputs of a fully connected map whose weights are worked on at a time: they fill the first cache."""


@dataclass(frozen=True, eq=False)
class SavedPooled:
    """What `forward_pooled` leaves: currents (S, R, L), spike bits (bytes, R, L)."""

    current: Tensor
    bits: Tensor
    neuron: NeuronParameters
    window: int
    current_shape: torch.Size
    output_shape: torch.Size
    engine: str = "cpu"


def start() -> None:
    """Run the smallest pass, which every layer needs, so that what cannot start fails here."""
    ones = np.ones((4, 1), np.float32)  # no tensors: torch may be in any mode
    call(cpu_maps.fold, ones[:1], ones[1], ones[2], ones[3], np.float32(1))


def forward(current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
    """Arguments and results as in `snnbook.ops.forward`."""
    runs, theta = currents_and_thresholds(current, threshold)
    spikes, du, dg = (runs.new_empty((len(current), *runs.shape[1:])) for _ in range(3))
    call(neurons.forward, runs, theta, constants(neuron, runs.dtype), spikes, du, dg)
    spikes, du, dg = (as_maps(x, current.shape) for x in (spikes, du, dg))
    return spikes, Saved(spikes, du, dg, neuron, "cpu")


def backward(grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.backward`."""
    inputs = [runs_of(x) for x in (grad_times, saved.spikes, saved.du, saved.dg)]
    timing, weight = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
    call(neurons.backward, *inputs, constants(saved.neuron, grad_times.dtype), timing, weight)
    return as_maps(timing, grad_times.shape), as_maps(weight, grad_times.shape)


def forward_pooled(
    current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
) -> tuple[Tensor, SavedPooled]:
    """Arguments and results as in `snnbook.ops.forward_pooled`."""
    (runs, theta), shape = currents_and_thresholds(current, threshold), current.shape
    output = shape if window == 1 else torch.Size((*shape[:3], shape[3] // window, shape[4] // window))
    empty = runs.new_empty if math.prod(shape[3:-1]) % window == 0 else runs.new_zeros  # rows of no window: no spikes
    bits = empty((math.ceil(len(current) / 8), *runs.shape[1:]), dtype=torch.uint8)
    pooled = runs.new_empty((shape[0], shape[1] * math.prod(output[3:-1]), math.prod(output[3:][-1:]) * shape[2]))
    k, height = constants(neuron, runs.dtype), math.prod(shape[3:-1])
    call(neurons.forward_pooled, runs, theta, k, height, shape[2], window, shares(pooled.shape[1]), bits, pooled)
    return as_maps(pooled, output), SavedPooled(runs, bits, neuron, window, shape, output)


def backward_pooled(grad_pooled: Tensor, saved: SavedPooled, sum_weight: bool) -> tuple[Tensor | None, Tensor]:
    """Arguments and results as in `snnbook.ops.backward_pooled`."""
    runs, shape, grad_pooled = saved.current, saved.current_shape, grad_pooled.to(saved.current.dtype)
    if sum_weight and len(runs) > 1:  # currents that differ
        return None, backward_pooled(grad_pooled, saved, False)[1].sum(0, keepdim=True)
    whole = all(side % saved.window == 0 for side in shape[3:])
    empty = runs.new_empty if whole else runs.new_zeros
    weight = empty((1 if sum_weight else len(grad_pooled), *runs.shape[1:]))
    timing = empty((0 if sum_weight else len(grad_pooled), *runs.shape[1:]))
    k, height = constants(saved.neuron, runs.dtype), math.prod(shape[3:-1])
    grad = runs_of(grad_pooled)
    settings = (k, height, shape[2], saved.window, shares(grad.shape[1]), saved.bits, sum_weight)
    call(neurons.backward_pooled, runs, grad, *settings, timing, weight)
    if sum_weight:
        return None, as_maps(weight, torch.Size((1, *shape[1:])))
    return as_maps(timing, shape), as_maps(weight, shape)


def event_currents(x: Tensor, weight: Tensor, padding: int, _kept: list[Tensor]) -> Tensor | None:
    """Arguments and results as in `snnbook.ops.event_currents`; nothing is kept."""
    if weight.dim() == 2:
        return _currents_of_connected(x.flatten(0, 1), weight, x.shape[:2])
    if weight.shape[1] < NARROW or not padding < weight.shape[2] == weight.shape[3]:
        return None
    (outputs, inputs, side, _), maps = weight.shape, x.movedim(2, -1).flatten(0, 1).contiguous()
    if _entries(maps.flatten(1), math.prod(maps.shape[1:])).sum() > INPUT_LIMIT * maps.numel():
        return None
    shape = [size + 2 * padding - side + 1 for size in x.shape[3:]]
    if min(shape) < 1:
        return None  # torch says what is wrong
    row = inputs * side * outputs * weight.element_size()
    blocks = next(
        n for n in range(1, outputs + 1) if outputs % n == 0 and (row <= BLOCK_BYTES * n or outputs <= 16 * n)
    )
    turned = _in_lines(weight.flip(2, 3).unflatten(0, (blocks, -1)).permute(0, 3, 2, 4, 1))
    current = x.new_empty((len(maps), *shape, outputs))
    together = min(max(ROWS_BYTES // turned[0, 0].nbytes, 1), side)
    call(cpu_maps.convolution, maps, len(x), turned, padding, together, current)
    return current.unflatten(0, x.shape[:2]).movedim(-1, 2)


def _in_lines(x: Tensor) -> Tensor:
    """(..., A, B) -> (..., A B or more), contiguous: rows have as much more as lets each begin on a cache line."""
    length = x.shape[-2] * x.shape[-1]
    rows = x.new_empty((*x.shape[:-2], math.ceil(length / LANES) * LANES))
    rows[..., :length].unflatten(-1, x.shape[-2:]).copy_(x)
    return rows


def _entries(rows: Tensor, span: int) -> np.ndarray:
    """Entries of rows (B, L) that are not 0, by stretches of `span` columns and rows, (stretches, B)."""
    counts = np.empty((math.ceil(rows.shape[1] / span), len(rows)), np.int64)
    call(cpu_maps.count, rows, span, counts)
    return counts


def _currents_of_connected(x: Tensor, weight: Tensor, batch: torch.Size) -> Tensor | None:
    """Currents of a fully connected map, x (B, F_in)."""
    if len(weight) <= FEWEST:
        return None
    (span, width), x = PART, x.contiguous()
    counts = _entries(x, span)
    if counts.sum() > INPUT_LIMIT * (1 - FEWEST / len(weight)) * x.numel():
        return None
    ends = counts.cumsum().reshape(counts.shape) + np.arange(len(counts))[:, None]  # each stretch has a place to spare
    bounds = np.concatenate((ends[:, :1] - counts[:, :1], ends), 1)
    offsets, factors = np.empty(bounds[-1, -1] + 1, np.int64), x.new_empty(bounds[-1, -1] + 1)
    call(connected.list_entries, x, span, width, bounds, offsets, factors)
    current = x.new_zeros((len(x), len(weight)))
    call(connected.connected, weight.contiguous(), span, width, bounds, offsets, factors, current)
    return current.unflatten(0, batch)


def fold(weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float) -> None:
    """Arguments as in `snnbook.ops.fold`."""
    call(cpu_maps.fold, weight.view(len(weight), -1), threshold, gamma, beta, number(bound, weight.dtype))


def standardise(weight: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.standardise`."""
    weight = weight.contiguous()
    out, mean, std = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(gamma)
    floor = number(VARIANCE_FLOOR, weight.dtype)
    call(cpu_maps.standardise, weight, gamma.contiguous(), beta.contiguous(), floor, out, mean, std)
    return out, mean, std


def make_ready(
    weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.make_ready`."""
    rows = weight.view(len(weight), -1)
    results = torch.empty_like(rows), torch.empty_like(gamma), torch.empty_like(gamma)
    settings = number(bound, weight.dtype), number(VARIANCE_FLOOR, weight.dtype)
    call(cpu_maps.make_ready, rows, threshold, gamma, beta, *settings, *results)
    return results


def standardise_backward(
    grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.standardise_backward`."""
    results = (
        torch.empty_like(grad, memory_format=torch.contiguous_format),
        torch.empty_like(gamma),
        torch.empty_like(gamma),
    )
    inputs = (grad.contiguous(), weight.contiguous(), gamma.contiguous(), mean, std)
    call(cpu_maps.standardise_backward, *inputs, *results)
    return results


def backward_events(
    grad_pooled: Tensor,
    saved: SavedPooled,
    x: Tensor,
    weight: Tensor,
    padding: int,
    need_input: bool,
    _kept: Sequence[Tensor],
) -> tuple[Tensor | None, Tensor] | None:
    """Arguments and results as in `snnbook.ops.backward_events`."""
    if saved.neuron.kernel == "exact":
        return None  # the exact kernel's G_t is no trace of its spikes alone
    shape, grad_pooled = saved.current_shape, grad_pooled.to(saved.current.dtype)
    if 0 in shape:
        return None
    height = math.prod(shape[3:-1])
    first, bounds = np.empty((shape[1], shape[0], height), np.int64), np.empty((shape[1], shape[0] + 1), np.int64)
    call(events.number_spikes, saved.bits, height, first, bounds)
    spikes = int(bounds[-1, -1])
    limit = EVENT_LIMIT * (1 if weight.dim() == 4 and weight.nbytes <= NEAR_BYTES else FAR_SHARE)
    if spikes > limit * math.prod(shape):
        return None
    place, channel = np.empty(spikes, np.int32), np.empty(spikes, np.int32)
    timing, membrane, synaptic = impulses = [grad_pooled.new_empty(spikes) for _ in range(3)]
    k = constants(saved.neuron, grad_pooled.dtype)
    inputs = x.shape[2]
    line = (x.shape[-1] + 2 * padding) * inputs if weight.dim() == 4 else 0
    grad = runs_of(grad_pooled)
    settings = (k, height, line, inputs, shape[2], saved.window, shares(grad.shape[1]), saved.bits, first)
    call(events.impulses, saved.current, grad, *settings, place, channel, *impulses)

    where = (place, channel) if weight.dim() == 4 else (channel,)
    to_input, to_weight = (bounds, *where, timing, k[2]), (bounds, *where, membrane, synaptic, k)
    if weight.dim() == 4:
        grad_x, grad_w = _back_through_convolution(to_input, to_weight, x, weight, padding, need_input)
    else:
        grad_x, grad_w = _back_through_connected(to_input, to_weight, x, weight, need_input)
    return grad_x, grad_w


def _back_through_convolution(
    to_input: tuple, to_weight: tuple, x: Tensor, weight: Tensor, padding: int, need_input: bool
) -> tuple[Tensor | None, Tensor]:
    """x W^T G_t and grad_W of a convolution."""
    maps = x.movedim(2, -1).contiguous().flatten(-2)
    outputs, inputs, *side = weight.shape
    geometry = (inputs, padding, maps)
    grad_x = None
    if need_input:
        grad_x = torch.empty_like(maps)
        rows, span = _in_lines(weight.permute(2, 0, 3, 1)), side[1] * inputs
        call(events.convolution_input, *to_input, rows, span, *geometry, grad_x)
        grad_x = as_maps(grad_x.flatten(1, 2), x.shape)
    partial = weight.new_empty((shares(x.shape[1]), outputs, side[0], side[1] * inputs))
    call(events.convolution_weight, *to_weight, *geometry, partial)
    return grad_x, partial.sum(0).view(outputs, *side, inputs).movedim(-1, 1)


def _back_through_connected(
    to_input: tuple, to_weight: tuple, x: Tensor, weight: Tensor, need_input: bool
) -> tuple[Tensor | None, Tensor]:
    """As `_back_through_convolution`, without a map."""
    x, weight = x.contiguous(), weight.contiguous()
    grad_x, grad_w = torch.empty_like(x) if need_input else None, torch.empty_like(weight)
    if need_input:
        call(connected.connected_input, *to_input, weight, x, torch.get_num_threads(), grad_x)
    call(connected.connected_weight, *to_weight, x, torch.get_num_threads(), grad_w)
    return grad_x, grad_w
