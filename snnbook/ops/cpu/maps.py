"""The CPU engine's passes around the neurons: folding and standardising weights, and currents spike by spike.

Weights take one pass over memory, where torch makes many. Sums run in another order than torch's, so currents agree
with those of the reference up to the last digits of float32.
"""

import numpy as np
from numba import prange

from .jit import compiled
from .llvm_rows import add_rows, aligned

_run_kernel = compiled()
_plain_driver = compiled(parallel=True)
_driver = compiled(parallel=True, fastmath={"contract"})

PARTS = 64
"""Partial sums of a row. Their order is written down, not left to the compiler, so that results repeat to the bit."""


@_run_kernel
def _sum_of_products(a, b, middle, part):
    """Sum of a (b - middle), all of one length; `part` is scratch, (PARTS,)."""
    part[:] = 0
    whole = len(a) // PARTS * PARTS
    for i in range(0, whole, PARTS):
        for lane in range(PARTS):
            part[lane] += a[i + lane] * (b[i + lane] - middle)
    for i in range(whole, len(a)):
        part[i - whole] += a[i] * (b[i] - middle)
    total = part[0]
    for lane in range(1, PARTS):
        total += part[lane]
    return total


@_run_kernel
def _sum(a, part):
    """Sum of a; `part` is scratch, (PARTS,)."""
    part[:] = 0
    whole = len(a) // PARTS * PARTS
    for i in range(0, whole, PARTS):
        for lane in range(PARTS):
            part[lane] += a[i + lane]
    for i in range(whole, len(a)):
        part[i - whole] += a[i]
    total = part[0]
    for lane in range(1, PARTS):
        total += part[lane]
    return total


@_run_kernel
def _fold(c, weight, threshold, gamma, beta, bound):
    """Channel c's threshold and beta over gamma, gamma to 1, weights to within +- bound."""
    row = weight[c]
    beyond = 0
    threshold[c] /= gamma[c]
    beta[c] /= gamma[c]
    gamma[c] = 1
    for i in range(len(row)):
        beyond += abs(row[i]) > bound
    # Weights are seldom beyond the bound, and reading them costs less than writing them all.
    if beyond > 0:
        for i in range(len(row)):
            if row[i] > bound:
                row[i] = bound
            elif row[i] < -bound:
                row[i] = -bound


@_run_kernel
def _standardise(row, gamma, beta, floor, to, part):
    """W_hat of a channel, its raw weights' mean and standard deviation; `part` is scratch, (PARTS,)."""
    size = len(row)
    middle = _sum(row, part) / row.dtype.type(size)
    for i in range(size):
        to[i] = row[i] - middle
    squares = _sum_of_products(to, row, middle, part)
    std = np.sqrt(squares / row.dtype.type(size - 1) + floor)
    scale = gamma / std
    for i in range(size):
        to[i] = to[i] * scale + beta
    return middle, std


@_plain_driver
def fold(weight, threshold, gamma, beta, bound):
    """threshold and beta over gamma, gamma to 1, weights to within +- bound, all in place. Eq. (eq-fold)."""
    for c in prange(len(weight)):
        _fold(c, weight, threshold, gamma, beta, bound)


@_plain_driver
def standardise(weight, gamma, beta, floor, out, mean, std):
    """W_hat, the raw weights' means and their standard deviations. Eq. (eq-standardise). Weights are (C, fan-in)."""
    for c in prange(len(weight)):
        mean[c], std[c] = _standardise(weight[c], gamma[c], beta[c], floor, out[c], np.empty(PARTS, weight.dtype))


@_plain_driver
def make_ready(weight, threshold, gamma, beta, bound, floor, out, mean, std):
    """`fold`, then `standardise`, row by row: what the first has read is still near for the second."""
    for c in prange(len(weight)):
        _fold(c, weight, threshold, gamma, beta, bound)
        mean[c], std[c] = _standardise(weight[c], gamma[c], beta[c], floor, out[c], np.empty(PARTS, weight.dtype))


@_plain_driver
def standardise_backward(grad, weight, gamma, mean, std, grad_weight, grad_gamma, grad_beta):
    """Gradients of raw weights, gamma and beta, as in `reference.standardise_backward`."""
    channels, size = weight.shape
    for c in prange(channels):
        g = grad[c]
        row = weight[c]
        to = grad_weight[c]
        middle = mean[c]
        part = np.empty(PARTS, weight.dtype)
        total = _sum(g, part)
        product = _sum_of_products(g, row, middle, part)
        grad_beta[c] = total
        grad_gamma[c] = product / std[c]
        scale = gamma[c] / std[c]
        evenly = scale * total / row.dtype.type(size)
        along = scale * product / (row.dtype.type(size - 1) * std[c] * std[c])
        for i in range(size):
            to[i] = scale * g[i] - evenly - along * (row[i] - middle)


@_driver
def count(x, span, counts):
    """Entries of x (rows, L) that are not 0, by stretches of `span` columns and rows: (stretches, rows)."""
    for k in prange(len(counts)):
        columns = slice(k * span, min((k + 1) * span, x.shape[1]))
        for r in range(len(x)):
            row = x[r, columns]
            total = 0
            for i in range(len(row)):
                total += row[i] != 0
            counts[k, r] = total


@_driver
def convolution(x, steps, weight, padding, together, current):
    """Currents (B, H', W', C_out) of the entries of x (B, H, W, C_in) that are not 0.

    Args:
        steps: T, where the B maps are those of step 0, then those of step 1, ...
        weight: turned by 180 degrees, (blocks, K, C_in, K C_block or more): what an entry adds to a row of the output
            map, for a block of output channels, is one run
        padding: zeros on every side of x, at most K - 1
        together: rows of the kernel that are gone over in one go: the more, the fewer and longer sums
    """
    images, rows, columns, inputs = x.shape
    blocks, side, _, span = weight.shape
    _, height, width, channels = current.shape
    # An entry adds to `side` columns of the output map from `column - cut` on, but for those that lie beside it; to
    # output row `to` with row `to + cut - y` of the turned kernel.
    outputs = channels // blocks
    cut = side - 1 - padding
    line = width * outputs
    apart = inputs * span
    weights = weight.reshape(-1)
    for number in prange(images):
        # Threads get stretches of numbers. Some steps hold more spikes than others: a stretch has an image's steps.
        image = number % steps * (images // steps) + number // steps
        total = aligned(blocks * height * line, x) if blocks > 1 else current[image].reshape(-1)
        total[:] = 0
        # The list goes column by column, so that what meets one stretch of an output row lies side by side. An offset
        # says where the weights would begin for `to + cut` = 0: it may be negative, until `shift` is added.
        places = rows * columns * inputs  # zeros are written, too, and the next entry over them
        offsets = np.empty(places, np.int64)
        factors = np.empty(places, x.dtype)
        ends = np.zeros(columns * rows + 1, np.int64)
        end = 0
        for column in range(columns):
            for y in range(rows):
                found = x[image, y, column]
                for c in range(inputs):
                    offsets[end] = c * span - y * apart
                    factors[end] = found[c]
                    end += found[c] != 0
                ends[column * rows + y + 1] = end
        for block in range(blocks):
            for begin in range(0, side, together):
                stop = min(begin + together, side)
                for to in range(height):
                    top = max(0, to + cut - stop + 1)
                    bottom = min(rows, to + cut - begin + 1)
                    at = (block * height + to) * line
                    shift = (block * side + to + cut) * apart
                    for column in range(columns if top < bottom else 0):
                        first = ends[column * rows + top]
                        last = ends[column * rows + bottom]
                        left = max(0, cut - column)
                        right = min(side, width + cut - column)
                        if first < last and left < right:
                            add_rows(
                                total, at + (column - cut + left) * outputs, weights, shift + left * outputs,
                                offsets, factors, first, last, (right - left) * outputs,
                            )  # fmt: skip
        if blocks > 1:
            parts = total.reshape((blocks, height, width, outputs))
            for block in range(blocks):
                current[image, :, :, block * outputs : (block + 1) * outputs] = parts[block]
