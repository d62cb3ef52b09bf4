"""The GPU engine's kernels for weights: gamma folded into the threshold, weights standardised, and backward.

A program works on one output channel's row of weights, `fan` of them, which it reads again from the cache for every
sum that it needs. This takes three launches; torch's operations would make some thirty sweeps over memory.
"""

import triton
import triton.language as tl


@triton.jit
def _part(pointer, start, fan, WIDE: tl.constexpr):
    """A stretch of this program's row, 0 beyond its end; where it lies, and which of it there is."""
    column = start + tl.arange(0, WIDE)
    there = column < fan
    at = tl.cast(tl.program_id(0), tl.int64) * fan + column
    return tl.load(pointer + at, there, 0.0), at, there


@triton.jit
def fold(weight, threshold, gamma, beta, bound, fan, WIDE: tl.constexpr):
    """theta and beta over gamma, gamma to 1, weights to within +- bound, all in place. Eq. (eq-fold)."""
    row = tl.program_id(0)
    by = tl.load(gamma + row)
    theta = tl.load(threshold + row)
    shift = tl.load(beta + row)
    tl.debug_barrier()  # every thread has read them
    tl.store(threshold + row, tl.div_rn(theta, by))
    tl.store(beta + row, tl.div_rn(shift, by))
    tl.store(gamma + row, 1.0)
    for start in range(0, fan, WIDE):
        w, at, there = _part(weight, start, fan, WIDE)
        clipped = tl.where(w > bound, bound, tl.where(w < -bound, -bound, w))  # NaN stays
        tl.store(weight + at, clipped, there & (clipped != w))


@triton.jit
def standardise(weight, gamma, beta, out, mean_out, std_out, floor, fan, WIDE: tl.constexpr):
    """gamma (W - mean) / sqrt(var + floor) + beta, and the mean and this root. Eq. (eq-standardise)."""
    row = tl.program_id(0)
    total = tl.zeros((WIDE,), tl.float32)
    for start in range(0, fan, WIDE):
        w, _at, _there = _part(weight, start, fan, WIDE)
        total += w
    mean = tl.div_rn(tl.sum(total, 0), tl.cast(fan, tl.float32))
    squares = tl.zeros((WIDE,), tl.float32)
    for start in range(0, fan, WIDE):
        w, _at, there = _part(weight, start, fan, WIDE)
        centred = tl.where(there, w - mean, 0.0)
        squares += centred * centred
    std = tl.sqrt_rn(tl.div_rn(tl.sum(squares, 0), tl.cast(fan - 1, tl.float32)) + floor)
    tl.store(mean_out + row, mean)
    tl.store(std_out + row, std)
    scale = tl.load(gamma + row)
    shift = tl.load(beta + row)
    for start in range(0, fan, WIDE):
        w, at, there = _part(weight, start, fan, WIDE)
        tl.store(out + at, tl.div_rn(scale * (w - mean), std) + shift, there)


@triton.jit
def standardise_backward(
    grad, weight, gamma, mean_in, std_in, by_weight, by_gamma, by_beta, fan, WIDE: tl.constexpr
):  # fmt: skip
    """Gradients of raw weights, gamma and beta, as in `reference.standardise_backward`."""
    row = tl.program_id(0)
    mean = tl.load(mean_in + row)
    std = tl.load(std_in + row)
    total = tl.zeros((WIDE,), tl.float32)
    product = tl.zeros((WIDE,), tl.float32)
    for start in range(0, fan, WIDE):
        g, _at, _there = _part(grad, start, fan, WIDE)
        w, _at, _there = _part(weight, start, fan, WIDE)
        total += g
        product += g * (w - mean)  # g is 0 beyond the row's end
    total = tl.sum(total, 0)
    product = tl.sum(product, 0)
    tl.store(by_beta + row, total)
    tl.store(by_gamma + row, tl.div_rn(product, std))
    scale = tl.div_rn(tl.load(gamma + row), std)
    evenly = tl.div_rn(scale * total, tl.cast(fan, tl.float32))
    along = tl.div_rn(scale * product, tl.cast(fan - 1, tl.float32) * std * std)
    for start in range(0, fan, WIDE):
        g, _at, _there = _part(grad, start, fan, WIDE)
        w, at, there = _part(weight, start, fan, WIDE)
        tl.store(by_weight + at, scale * g - evenly - along * (w - mean), there)
