"""The CPU engine's way through a first layer, whose maps have few channels: dense, with what it reads in registers.

A library's convolution is made for many channels. Here every entry of an image is a factor, and what it meets, the
weights of up to LANES outputs or the gradients of one place, is a vector: see `plain.add_products`. With places as p
and the kernel's entries as r and j that is a row of currents; with the kernel's entries as p and the places of a row as
j, what that row adds to the gradient of the weights.
"""

import math

import numpy as np
from numba import prange
from torch import Tensor
from torch.nn import functional as F

from ..engine import Pass
from . import tuning
from .calls import call, constants, runs_of, shares
from .groups import Extent, Rows, Taps, Walk
from .inner_loops import add_products
from .jit import compiled
from .memory import LANES, aligned
from .neurons import _sum_back, _unpack_window, _widen

_driver = compiled(parallel=True, fastmath={"contract"})


@_driver
def _currents(image, weight, taps, channels, current):
    """Currents (B, H', W' C_out) of padded images (B, H, W C_in).

    Args:
        weight: (blocks, K K C_in, LANES), for a block of output channels each
        taps: K and C_in, a `Taps`
        channels: C_out
    """
    images, height, length = current.shape
    blocks, count, _ = weight.shape
    line = image.shape[2]
    span = taps.side * taps.inputs
    width = length // channels
    factors = image.reshape(-1)
    weights = weight.reshape(-1)
    total = current.reshape(-1)
    for r in prange(images * height):
        at = r * length
        total[at : at + length] = 0
        start = (r // height * image.shape[1] + r % height) * line
        for block in range(blocks):
            first = block * LANES
            add_products(
                Walk(total, at + first, 0, 0, channels),
                Walk(weights, block * count * LANES, LANES, span * LANES, 0),
                Walk(factors, start, 1, line, taps.inputs),
                Extent(taps.side, span, width, min(LANES, channels - first)),
            )


@_driver
def _weight_gradient(current, grad, neuron, rows, bits, image, taps, partial):
    """grad_W of a layer whose input, a padded image (N, H, W C_in), repeats at every step. Eq. (eq-grad-weight).

    Arguments up to `bits` as in `neurons.backward_pooled`. Each share of the rows adds to its part of `partial`,
    (shares, blocks, K K C_in, LANES), where channels that there are not get 0.
    """
    steps, pooled_rows, _ = grad.shape
    length = current.shape[2]
    map_rows = rows.height // rows.window
    _, blocks, count, _ = partial.shape
    line = image.shape[2]
    span = taps.side * taps.inputs
    width = length // rows.channels
    factors = image.reshape(-1)
    for share in prange(rows.shares):
        total = partial[share].reshape(-1)
        total[:] = 0
        scratch = np.empty((3, length), current.dtype)
        gradient = aligned(length, current)
        wide = np.empty((steps, length), current.dtype)
        sums = np.empty((steps, length), current.dtype)
        fired = np.empty((rows.window, steps, length), np.uint8)
        for row in range(pooled_rows * share // rows.shares, pooled_rows * (share + 1) // rows.shares):
            n = row // map_rows
            top = row % map_rows * rows.window
            _unpack_window(bits, n * rows.height + top, fired, sums)
            _widen(grad, row, sums, rows, wide)
            for offset in range(rows.window):
                y = top + offset
                _sum_back(wide, fired[offset], current[0, n * rows.height + y], neuron, gradient, scratch)
                for i in range(taps.side):
                    start = (n * image.shape[1] + y + i) * line
                    for block in range(blocks):
                        first = block * LANES
                        add_products(
                            Walk(total, (block * count + i * span) * LANES, 0, 0, LANES),
                            Walk(gradient, first, rows.channels, 0, 0),
                            Walk(factors, start, taps.inputs, 0, 1),
                            Extent(1, width, span, min(LANES, rows.channels - first)),
                        )


def currents(x: Tensor, weight: Tensor, padding: int) -> Tensor | None:
    """Input currents of a first layer, or None where torch's product is faster.

    Args:
        x: the steps that differ, (S, N, C_in, H, W)
        weight: W_hat, (C_out, C_in, K, K)
        padding: zeros on every side of the map, positions
    Returns:
        (S, N, C_out, H', W')
    """
    if not _of_images(x, weight, padding):
        return None
    outputs, inputs, side, _ = weight.shape
    map_ = [size + 2 * padding - side + 1 for size in x.shape[3:]]
    if min(map_) < 1:
        return None
    taps = weight.new_zeros((side * side * inputs, math.ceil(outputs / LANES) * LANES))
    taps[:, :outputs] = weight.permute(2, 3, 1, 0).flatten(0, 2)
    taps = taps.unflatten(1, (-1, LANES)).movedim(1, 0).contiguous()
    current = x.new_empty((x.shape[0] * x.shape[1], map_[0], map_[1] * outputs))
    call(_currents, _framed(x, padding), taps, Taps(side, inputs), outputs, current)
    return current.view(*x.shape[:2], *map_, outputs).movedim(-1, 2)


def backward(grad_out: Tensor, pass_: Pass, x: Tensor, weight: Tensor, padding: int) -> tuple[None, Tensor] | None:
    """Gradient of the weight of a first layer whose image repeats at every step; None where this way does not apply.

    Args:
        grad_out, pass_: as in `Engine.layer_backward`
        x: the image, (1, N, C_in, H, W)
        weight, padding: as in `currents`
    """
    runs, bits = pass_.tensors
    neuron, window, shape, _ = pass_.plan
    if not _of_images(x, weight, padding) or len(runs) > 1:
        return None
    outputs, inputs, side, _ = weight.shape
    grad = runs_of(grad_out.to(x.dtype))
    rows = Rows(shape[3], outputs, window, shares(grad.shape[1]))
    partial = x.new_empty((rows.shares, math.ceil(outputs / LANES), side * side * inputs, LANES))
    k = constants(neuron, x.dtype)
    call(_weight_gradient, runs, grad, k, rows, bits, _framed(x, padding), Taps(side, inputs), partial)
    taps = partial.sum(0).movedim(0, 1).flatten(1)[:, :outputs]
    return None, taps.view(side, side, inputs, outputs).permute(3, 2, 0, 1)


def _of_images(x: Tensor, weight: Tensor, padding: int) -> bool:
    """Whether this is a first layer that the products here are made for."""
    return (
        weight.dim() == 4
        and weight.shape[1] < tuning.NARROW
        and len(weight) <= tuning.FEW_OUTPUTS
        and padding < weight.shape[2] == weight.shape[3]
        and x.dtype == weight.dtype
    )


def _framed(x: Tensor, padding: int) -> Tensor:
    """Maps (T, N, C, H, W) with their zeros around them, (T N, H + 2 padding, (W + 2 padding) C)."""
    maps = x.flatten(0, 1).movedim(1, -1)
    if padding:
        maps = F.pad(maps, (0, 0, padding, padding, padding, padding))
    return maps.contiguous().flatten(2)
