"""Products spike by spike, tensors in and tensors out: around the compiled passes of maps.py, events.py, connected.py.

Each function returns None where the dense product is faster (tuning.py), or where it does not apply.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ..engine import Pass
from . import connected, events, maps, tuning
from .calls import as_maps, call, constants, runs_of, shares
from .llvm_rows import LANES


def currents(x: Tensor, weight: Tensor, padding: int) -> Tensor | None:
    """Input currents (T, N, C_out, ...) of x (T, N, C_in, ...), one row of weights for each input that is not 0."""
    if weight.dim() == 2:
        return _connected_currents(x.flatten(0, 1), weight, x.shape[:2])
    outputs, inputs, side, width = weight.shape
    if inputs < tuning.NARROW or not padding < side == width:
        return None
    rows = x.movedim(2, -1).flatten(0, 1).contiguous()
    if _count_entries(rows.flatten(1), math.prod(rows.shape[1:])).sum() > tuning.INPUT_LIMIT * rows.numel():
        return None
    shape = [size + 2 * padding - side + 1 for size in x.shape[3:]]
    if min(shape) < 1:
        return None  # the dense way raises the error
    blocks = _blocks(outputs, side * inputs * outputs * weight.element_size())
    turned = _in_lines(weight.flip(2, 3).unflatten(0, (blocks, -1)).permute(0, 3, 2, 4, 1))
    together = min(max(tuning.ROWS_BYTES // turned[0, 0].nbytes, 1), side)
    current = x.new_empty((len(rows), *shape, outputs))
    call(maps.convolution, rows, len(x), turned, padding, together, current)
    return current.unflatten(0, x.shape[:2]).movedim(-1, 2)


def _blocks(outputs: int, row_bytes: int) -> int:
    """Number of equal blocks of outputs, so that a row of the kernel's weights stays in the first cache."""
    for count in range(1, outputs + 1):
        is_small = row_bytes <= tuning.BLOCK_BYTES * count or outputs <= 16 * count
        if outputs % count == 0 and is_small:
            return count
    return outputs


def _in_lines(x: Tensor) -> Tensor:
    """Copy (..., A, B) to (..., A B or more), with rows so long that each begins on a cache line."""
    length = x.shape[-2] * x.shape[-1]
    rows = x.new_empty((*x.shape[:-2], math.ceil(length / LANES) * LANES))
    rows[..., :length].unflatten(-1, x.shape[-2:]).copy_(x)
    return rows


def _count_entries(rows: Tensor, span: int) -> np.ndarray:
    """Count the entries of rows (B, L) that are not 0, by stretches of `span` columns and rows, (stretches, B)."""
    counts = np.empty((math.ceil(rows.shape[1] / span), len(rows)), np.int64)
    call(maps.count, rows, span, counts)
    return counts


def _connected_currents(x: Tensor, weight: Tensor, batch: torch.Size) -> Tensor | None:
    """Input currents of a fully connected map, for x (B, F_in) with this batch shape."""
    if len(weight) <= tuning.FEWEST:
        return None
    span, width = tuning.PART
    x = x.contiguous()
    counts = _count_entries(x, span)
    if counts.sum() > tuning.INPUT_LIMIT * (1 - tuning.FEWEST / len(weight)) * x.numel():
        return None
    # Every stretch has an entry to spare, into which the kernel may write without a branch.
    ends = counts.cumsum().reshape(counts.shape) + np.arange(len(counts))[:, None]
    bounds = np.concatenate((ends[:, :1] - counts[:, :1], ends), 1)
    offsets = np.empty(bounds[-1, -1] + 1, np.int64)
    factors = x.new_empty(bounds[-1, -1] + 1)
    call(connected.list_entries, x, span, width, bounds, offsets, factors)
    current = x.new_zeros((len(x), len(weight)))
    call(connected.connected, weight.contiguous(), span, width, bounds, offsets, factors, current)
    return current.unflatten(0, batch)


def backward(
    grad_out: Tensor, pass_: Pass, x: Tensor, weight: Tensor, padding: int, need_x: bool
) -> tuple[Tensor | None, Tensor] | None:
    """Gradients of x, if wanted, and of the weight: one row of weights for each output spike."""
    runs, bits = pass_.tensors
    neuron, window, shape, _ = pass_.plan
    # The exact kernel's G_t does not follow from spikes alone, as a trace does.
    if neuron.kernel == "exact" or 0 in shape:
        return None
    height = math.prod(shape[3:-1])
    first = np.empty((shape[1], shape[0], height), np.int64)
    bounds = np.empty((shape[1], shape[0] + 1), np.int64)
    call(events.number_spikes, bits, height, first, bounds)
    spikes = int(bounds[-1, -1])
    is_near = weight.dim() == 4 and weight.nbytes <= tuning.NEAR_BYTES
    limit = tuning.EVENT_LIMIT if is_near else tuning.EVENT_LIMIT * tuning.FAR_SHARE
    if spikes > limit * math.prod(shape):
        return None
    grad = runs_of(grad_out.to(runs.dtype))
    place = np.empty(spikes, np.int32)
    channel = np.empty(spikes, np.int32)
    timing, membrane, synaptic = (grad.new_empty(spikes) for _ in range(3))
    k = constants(neuron, runs.dtype)
    inputs = x.shape[2]
    is_map = weight.dim() == 4
    line = (x.shape[-1] + 2 * padding) * inputs if is_map else 0
    settings = (k, height, line, inputs, shape[2], window, shares(grad.shape[1]), bits, first)
    call(events.impulses, runs, grad, *settings, place, channel, timing, membrane, synaptic)
    where = (place, channel) if is_map else (channel,)
    to_input = (bounds, *where, timing, k[2])
    to_weight = (bounds, *where, membrane, synaptic, k)
    if is_map:
        return _convolution_backward(to_input, to_weight, x, weight, padding, need_x)
    return _connected_backward(to_input, to_weight, x, weight, need_x)


def _convolution_backward(
    to_input: tuple, to_weight: tuple, x: Tensor, weight: Tensor, padding: int, need_x: bool
) -> tuple[Tensor | None, Tensor]:
    """x W^T G_t and the weight's gradient of a convolution, from the impulses of its output spikes."""
    rows = x.movedim(2, -1).contiguous().flatten(-2)
    outputs, inputs, height, width = weight.shape
    geometry = (inputs, padding, rows)
    grad_x = None
    if need_x:
        grad_x = torch.empty_like(rows)
        lines = _in_lines(weight.permute(2, 0, 3, 1))
        call(events.convolution_input, *to_input, lines, width * inputs, *geometry, grad_x)
        grad_x = as_maps(grad_x.flatten(1, 2), x.shape)
    partial = weight.new_empty((shares(x.shape[1]), outputs, height, width * inputs))
    call(events.convolution_weight, *to_weight, *geometry, partial)
    return grad_x, partial.sum(0).view(outputs, height, width, inputs).movedim(-1, 1)


def _connected_backward(
    to_input: tuple, to_weight: tuple, x: Tensor, weight: Tensor, need_x: bool
) -> tuple[Tensor | None, Tensor]:
    """As `_convolution_backward`, for a fully connected map."""
    x = x.contiguous()
    weight = weight.contiguous()
    grad_w = torch.empty_like(weight)
    grad_x = None
    if need_x:
        grad_x = torch.empty_like(x)
        call(connected.connected_input, *to_input, weight, x, torch.get_num_threads(), grad_x)
    call(connected.connected_weight, *to_weight, x, torch.get_num_threads(), grad_w)
    return grad_x, grad_w
