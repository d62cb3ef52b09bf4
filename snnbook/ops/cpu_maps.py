"""The CPU engine's passes around the neurons: weights standardised in place of torch's many sweeps over memory, and
the currents of a convolution whose input holds few spikes, spike by spike.

Their sums run in another order than torch's, so currents agree with the reference's to float32's last digits.
"""

import numpy as np
from numba import njit, prange

from .cpu_rows import add_rows

_run_kernel = njit(error_model="numpy", cache=True)
_plain_driver = njit(error_model="numpy", cache=True, parallel=True)
_driver = njit(error_model="numpy", cache=True, parallel=True, fastmath={"contract"})

LANES = 16
"""Partial sums of a row. Their order is written down, not left to the compiler, so that results repeat to the bit."""


@_run_kernel
def _sum_of_products(a, b, middle, part):
    """Sum of a (b - middle), all of one length; `part` is scratch, (LANES,)."""
    part[:] = 0
    whole = len(a) // LANES * LANES
    for i in range(0, whole, LANES):
        for lane in range(LANES):
            part[lane] += a[i + lane] * (b[i + lane] - middle)
    for i in range(whole, len(a)):
        part[i - whole] += a[i] * (b[i] - middle)
    total = part[0]
    for lane in range(1, LANES):
        total += part[lane]
    return total


@_run_kernel
def _sum(a, part):
    """Sum of a; `part` is scratch, (LANES,)."""
    part[:] = 0
    whole = len(a) // LANES * LANES
    for i in range(0, whole, LANES):
        for lane in range(LANES):
            part[lane] += a[i + lane]
    for i in range(whole, len(a)):
        part[i - whole] += a[i]
    total = part[0]
    for lane in range(1, LANES):
        total += part[lane]
    return total


@_plain_driver
def standardise(weight, gamma, beta, floor, out, mean, std):
    """W_hat, the raw weights' means and their standard deviations. Eq. (eq-standardise). Weights are (C, fan-in)."""
    channels, size = weight.shape
    for c in prange(channels):
        row, to, part = weight[c], out[c], np.empty(LANES, weight.dtype)
        middle = _sum(row, part) / row.dtype.type(size)
        for i in range(size):
            to[i] = row[i] - middle
        squares = _sum_of_products(to, row, middle, part)
        mean[c], std[c] = middle, np.sqrt(squares / row.dtype.type(size - 1) + floor)
        scale = gamma[c] / std[c]
        for i in range(size):
            to[i] = to[i] * scale + beta[c]


@_plain_driver
def standardise_backward(grad, weight, gamma, mean, std, grad_weight, grad_gamma, grad_beta):
    """Gradients of raw weights, gamma and beta, as in `reference.standardise_backward`."""
    channels, size = weight.shape
    for c in prange(channels):
        g, row, to, middle, part = grad[c], weight[c], grad_weight[c], mean[c], np.empty(LANES, weight.dtype)
        total, product = _sum(g, part), _sum_of_products(g, row, middle, part)
        grad_beta[c], grad_gamma[c] = total, product / std[c]
        scale = gamma[c] / std[c]
        evenly = scale * total / row.dtype.type(size)
        along = scale * product / (row.dtype.type(size - 1) * std[c] * std[c])
        for i in range(size):
            to[i] = scale * g[i] - evenly - along * (row[i] - middle)


@_driver
def count(x, counts):
    """Entries of every row of x (rows, L) that are not 0."""
    for r in prange(len(x)):
        total = 0
        for i in range(x.shape[1]):
            total += x[r, i] != 0
        counts[r] = total


@_driver
def convolution(x, weight, padding, current):
    """Currents (B, H', W', C_out) of the entries of x (B, H, W, C_in) that are not 0.

    Args:
        weight: turned by 180 degrees, (blocks, K, C_in, K C_block): what an entry adds to a row of the output map, for
            a block of output channels, is one run; those of a block and a row should lie in the first cache
        padding: zeros on every side of x, at most K - 1
    """
    images, rows, columns, inputs = x.shape
    blocks, side, _, span = weight.shape
    # An entry reaches side - 1 columns to either side; those beyond the map are summed up too, and cut off at the end.
    height, outputs, cut = current.shape[1], span // side, side - 1 - padding
    line, weights = (columns + side - 1) * outputs, weight.reshape(-1)
    for image in prange(images):
        whole = np.zeros((blocks, height, line), x.dtype)
        total = whole.reshape(-1)
        offsets, factors = np.empty(columns * inputs + 1, np.int64), np.empty(columns * inputs + 1, x.dtype)
        ends = np.zeros(columns + 1, np.int64)
        for y in range(rows):
            end = 0
            for column in range(columns):
                found = x[image, y, column]
                for c in range(inputs):
                    offsets[end], factors[end] = c * span, found[c]
                    end += found[c] != 0
                ends[column + 1] = end
            for block in range(blocks):
                for to in range(max(0, y - cut), min(height, y - cut + side)):
                    at = (block * height + to) * line
                    shift = (block * side + to + cut - y) * inputs * span
                    for column in range(columns):
                        if ends[column] < ends[column + 1]:
                            first, last = ends[column], ends[column + 1]
                            add_rows(total, at + column * outputs, weights, shift, offsets, factors, first, last, span)
        for y in range(height):
            for column in range(current.shape[2]):
                start = (column + cut) * outputs
                for block in range(blocks):
                    to = block * outputs
                    current[image, y, column, to : to + outputs] = whole[block, y, start : start + outputs]
