"""The GPU engine's products: convolutions and matrix products of float32 accuracy, by half-precision units.

A float32 number, scaled so that the largest of its tensor is near the top of float16, is the sum of two halves to the
last bit or the last but one: its nearest float16, and the nearest float16 of what that leaves. The units multiply
halves exactly and add in float32, so that two or three products of halves are one of float32, several times as fast.
Spikes and their means over windows of 2 x 2 or 4 x 4 are halves already; a flag, which stays on the device, says so.

Maps lie with channels last here, (pixels, channels), weights as (C_out, K * K, C_in): then a stretch of channels is a
stretch of memory, whatever the shift. A fully connected layer is a convolution of maps of one pixel.
"""

import triton
import triton.language as tl

from .step import magnitude


@triton.jit
def _exponent(largest):
    """Exponent bits of the power of two that brings the largest magnitude, given in bits, to 2^14; at most 2^126."""
    return tl.minimum(268 - (tl.load(largest) >> 23), 253)


@triton.jit
def _unscaled(value, largest):
    """A product with what `_exponent` scaled, back in its own scale."""
    return value * ((254 - _exponent(largest)) << 23).to(tl.float32, bitcast=True)


@triton.jit
def largest(x, out, size, WIDE: tl.constexpr):
    """The largest magnitude, as the bits of a float32; `out` begins at 0."""
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    tl.atomic_max(out, tl.max(magnitude(tl.load(x + at, at < size, 0.0)), 0))


@triton.jit
def split(
    x, halves, largest, more, pixels, channels, height, width, padding, SCALED: tl.constexpr, ROWS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """Maps (B, C, H, W) as two halves with channels last, (2, pixels, C), pixels of the maps with zeros around them.

    Of scaled maps `largest` gives the scale; for others `more` becomes 1 where the second half holds anything.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    high_of = height + 2 * padding
    wide_of = width + 2 * padding
    b = row // wide_of // high_of
    y = row // wide_of % high_of - padding
    x_of = row % wide_of - padding
    inside = (y >= 0) & (y < height) & (x_of >= 0) & (x_of < width)
    there = (row < pixels)[:, None] & (channel < channels)[None, :]
    start = b.to(tl.int64) * channels * height * width + y * width + x_of
    at = start[:, None] + (channel * (height * width))[None, :]
    value = tl.load(x + at, there & inside[:, None], 0.0)
    if SCALED:
        value = value * (_exponent(largest) << 23).to(tl.float32, bitcast=True)
    first = value.to(tl.float16)
    second = (value - first.to(tl.float32)).to(tl.float16)
    at = (row.to(tl.int64) * channels)[:, None] + channel[None, :]
    tl.store(halves + at, first, there)
    tl.store(halves + tl.cast(pixels, tl.int64) * channels + at, second, there)
    if not SCALED:
        some = tl.max(tl.max((second != 0).to(tl.int32), 1), 0)  # NaN, too, is not 0
        tl.store(more, 1, some != 0)


@triton.jit
def _corner(pixel, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, SIDE: tl.constexpr):
    """Where the first input of an output pixel's window lies in maps with zeros around them, in pixels."""
    x = pixel % WIDTH
    y = pixel // WIDTH % HEIGHT
    b = pixel // WIDTH // HEIGHT
    return (b * (HEIGHT + SIDE - 1) + y) * (WIDTH + SIDE - 1) + x


@triton.jit
def _shift(tap, WIDTH: tl.constexpr, SIDE: tl.constexpr):
    """From there to the input that a tap of the kernel meets."""
    tap = tl.minimum(tap, SIDE * SIDE - 1)
    return tap // SIDE * (WIDTH + SIDE - 1) + tap % SIDE


@triton.jit
def _product(
    maps, corner, weight, start, rows, total,
    BACK: tl.constexpr, SIDE: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """`total`, (pixels, channels), and DEEP more products of every sum in it, from `start` on."""
    TAPS: tl.constexpr = SIDE * SIDE
    FAN: tl.constexpr = TAPS * CHANNELS
    k = start + tl.arange(0, DEEP)
    tap = k // CHANNELS
    channel = k % CHANNELS
    of_weight = (channel * TAPS + (TAPS - 1 - tap)) * rows if BACK else k
    if FAN % DEEP == 0:
        w = tl.load(weight[:, None] + of_weight[None, :])
    else:
        w = tl.load(weight[:, None] + of_weight[None, :], (k < FAN)[None, :], 0.0)
    of_map = _shift(tap, WIDTH, SIDE) * CHANNELS + channel
    return tl.dot(tl.load(maps + (corner[:, None] + of_map[None, :])), tl.trans(w), total)


@triton.jit
def convolve(
    halves, weight, factor, out, scale_x, scale_w, more, pixels, count, rows,
    BACK: tl.constexpr, SIDE: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """Maps convolved with weights, (B, rows, HEIGHT, WIDTH).

    BACK: the maps are gradients, scaled, and the weights' map is transposed; the result is multiplied by `factor`.
    A program works on WIDE pixels and BLOCK of the `rows` channels that come out, DEEP products of a sum at a time:
    the maps' first halves with both of the weights', whose sums are kept apart, then the maps' second, where there are
    any, with the weights' first. Second halves among themselves make less than the last bit.
    """
    pixel = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = pixel < count
    pixel = tl.minimum(pixel, count - 1)
    corner = _corner(pixel, HEIGHT, WIDTH, SIDE) * CHANNELS
    FAN: tl.constexpr = SIDE * SIDE * CHANNELS
    double = tl.arange(0, 2 * BLOCK)
    single = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.program_id(1) * BLOCK + double % BLOCK
    both = weight + (double // BLOCK).to(tl.int64) * rows * FAN + row * (1 if BACK else FAN)
    total = tl.zeros((WIDE, 2 * BLOCK), tl.float32)
    for start in range(0, FAN, DEEP):
        total = _product(halves, corner, both, start, rows, total, BACK, SIDE, WIDTH, CHANNELS, DEEP)
    result = _unscaled(tl.sum(tl.reshape(total, (WIDE, 2, BLOCK)), 1), scale_w)
    if BACK:  # noqa: SIM108 - of the two values one is a constant and one is not, which an expression cannot hold
        end = FAN
    else:
        end = FAN * tl.load(more)
    halves += tl.cast(pixels, tl.int64) * CHANNELS
    one = weight + single * (1 if BACK else FAN)
    total = tl.zeros((WIDE, BLOCK), tl.float32)
    for start in range(0, end, DEEP):
        total = _product(halves, corner, one, start, rows, total, BACK, SIDE, WIDTH, CHANNELS, DEEP)
    result += _unscaled(total, scale_w)
    AREA: tl.constexpr = HEIGHT * WIDTH
    at = ((pixel // AREA).to(tl.int64) * rows * AREA + pixel % AREA)[:, None] + (single * AREA)[None, :]
    if BACK:
        result = _unscaled(result, scale_x) * tl.load(factor + at)
    tl.store(out + at, result, there[:, None])


@triton.jit
def correlate(
    grad, halves, out, scale, more, pixels, count, rows, share,
    SIDE: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """Gradients of weights from shares of the pixels, (shares, rows, K * K, C_in), summed over DEEP pixels at a time.

    A program works on BLOCK channels of the gradient, which come in halves, and WIDE pairs of shift and input channel.
    """
    pair = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    PAIRS: tl.constexpr = SIDE * SIDE * CHANNELS
    of_pair = _shift(pair // CHANNELS, WIDTH, SIDE) * CHANNELS + pair % CHANNELS
    double = tl.arange(0, 2 * BLOCK)
    grad += (double // BLOCK).to(tl.int64) * count * rows + tl.program_id(1) * BLOCK + double % BLOCK
    first = tl.program_id(2) * share
    total = tl.zeros((2 * BLOCK, WIDE), tl.float32)
    for half in range(1 + tl.load(more)):
        maps = halves + tl.cast(half, tl.int64) * pixels * CHANNELS
        for start in range(first, tl.minimum(first + share, count), DEEP):
            pixel = start + tl.arange(0, DEEP)
            g = tl.load(grad[None, :] + (pixel * rows)[:, None], (pixel < count)[:, None], 0.0)
            corner = _corner(tl.minimum(pixel, count - 1), HEIGHT, WIDTH, SIDE) * CHANNELS
            total = tl.dot(tl.trans(g), tl.load(maps + (corner[:, None] + of_pair[None, :])), total)
    result = _unscaled(tl.sum(tl.reshape(total, (2, BLOCK, WIDE)), 0), scale)
    row = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    start = (tl.program_id(2).to(tl.int64) * rows + row) * PAIRS
    tl.store(out + start[:, None] + pair[None, :], result, (pair < PAIRS)[None, :])


@triton.jit
def collect(parts, out, rows, channels, area, shares, WIDE: tl.constexpr):
    """Sum over shares, (shares, rows, K * K, C_in) -> (rows, C_in, K * K)."""
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    size = rows * area * channels
    total = tl.zeros((WIDE,), tl.float32)
    for share in range(shares):
        total += tl.load(parts + tl.cast(share, tl.int64) * size + at, at < size, 0.0)
    row = at // channels // area
    tap = at // channels % area
    channel = at % channels
    tl.store(out + (row * channels + channel) * area + tap, total, at < size)
