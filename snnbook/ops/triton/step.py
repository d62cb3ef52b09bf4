"""One step of neurons on a GPU, forward and back, and how a program of neurons.py reads what it works on.

The reference's equations, on blocks of neurons.
"""

import triton
import triton.language as tl


@triton.jit
def row(pointer, t, size):
    """Where step t of an array (T, size) starts; in 64 bits, which T times a large layer needs."""
    return pointer + tl.cast(t, tl.int64) * size


@triton.jit
def chunk(x, start, size, at, there, steps, CHUNK: tl.constexpr):
    """The rows of an array (T, size) from step `start` on, as a tuple; 0 after the last step."""
    rows = ()
    for i in tl.static_range(CHUNK):
        rows += (tl.load(row(x, start + i, size) + at, there & (start + i < steps), 0),)
    return rows


@triton.jit
def step(m, s, g, before, c, decay_m, decay_s, decay_g, gain, LEAKY: tl.constexpr, EXACT: tl.constexpr):
    """Traces, potential and slopes after one step of input c. Eq. (eq-neuron)."""
    m = (m + c) * decay_m
    s = (s + c) * decay_s
    g = (g + c) * decay_g
    if LEAKY:
        u = (m - s) * gain
        du = u - before
    else:
        u = before + g
        du = g
    dg = du if EXACT else g
    return m, s, g, u, du, dg


@triton.jit
def reset(fired, m, s, g, u):
    """What the next step begins with: traces and potential, and 0 where the neuron fired."""
    return tl.where(fired, 0.0, m), tl.where(fired, 0.0, s), tl.where(fired, 0.0, g), tl.where(fired, 0.0, u)


@triton.jit
def moved(slope, bound):
    """How far a spike moves: min(1 / slope, bound), and 0 where the slope does not rise. Minus eq. (eq-time-slope)."""
    return tl.where(slope > 0, tl.minimum(1.0 / slope, bound), 0.0)


@triton.jit
def carry_back(
    e, fired, du, dg, a, b, f, h, earlier, decay_m, decay_s, decay_g, gain, bound_weight, bound_timing,
    EXACT: tl.constexpr,
):  # fmt: skip
    """Traces of the neuron run backwards, one step; G_t, G_w are last of what returns.

    Eq. (eq-grad-timing), (eq-grad-weight). a and b are the two traces of G_w, f and h those of G_t, of which
    the exponential kernel needs the first alone.
    """
    started = e * moved(du, bound_weight)
    credited = e * moved(dg, bound_timing)
    a = tl.where(fired, started, a) * decay_m
    b = tl.where(fired, started, b) * decay_s
    if EXACT:
        f = tl.where(fired, credited, f) * decay_m
        h = tl.where(fired, credited, h) * decay_s
        response = (f - h) * gain
        timing = response - tl.where(fired, 0.0, earlier)
        earlier = response
    else:
        f = tl.where(fired, credited, f) * decay_g
        timing = f
    return a, b, f, h, earlier, timing, (b - a) * gain


@triton.jit
def window_of(at, height, width, WINDOW: tl.constexpr):
    """Which output a neuron's window makes, and whether it lies in a window at all."""
    if WINDOW == 1:
        return at, at >= 0
    high = height // WINDOW
    wide = width // WINDOW
    plane = at // width // height
    y = at // width % height // WINDOW
    x = at % width // WINDOW
    return (plane * high + y) * wide + x, (y < high) & (x < wide)


@triton.jit
def first_of(output, height, width, WINDOW: tl.constexpr):
    """The first neuron of an output's window."""
    if WINDOW == 1:
        return output
    high = height // WINDOW
    wide = width // WINDOW
    return (output // wide // high * height + output // wide % high * WINDOW) * width + output % wide * WINDOW


@triton.jit
def mean(total, WINDOW: tl.constexpr):
    """Of a window's spikes, rounded as a division is: by a power of two, a product is that too."""
    if WINDOW & (WINDOW - 1) == 0:
        return total * (1.0 / (WINDOW * WINDOW))
    return tl.div_rn(total, tl.full(total.shape, WINDOW * WINDOW, tl.float32))


@triton.jit
def fired(bits, at, there, start, steps, size, CHUNK: tl.constexpr):
    """Whether the neurons fired at the steps of a chunk, from their bits, as a tuple."""
    byte = start // 8
    last = (tl.minimum(start + CHUNK, steps) - 1) // 8
    word = tl.load(row(bits, byte, size) + at, there, 0).to(tl.int32)
    word = word | (tl.load(row(bits, last, size) + at, there & (last > byte), 0).to(tl.int32) << 8)
    word = word >> (start % 8)
    fired = ()
    for i in tl.static_range(CHUNK):
        fired += (((word >> i) & 1) > 0,)
    return fired


@triton.jit
def shares(grad, pooled, start, output, exist, count, steps, WINDOW: tl.constexpr, CHUNK: tl.constexpr):
    """The windows' gradients at the steps of a chunk, shared among their spikes, as a tuple. Eq. (eq-pool).

    Where a window has no spike, what stands here belongs to nobody.
    """
    shares = chunk(grad, start, count, output, exist, steps, CHUNK)
    if WINDOW > 1:
        whole = shares
        means = chunk(pooled, start, count, output, exist, steps, CHUNK)
        shares = ()
        for i in tl.static_range(CHUNK):
            shares += (whole[i] / (means[i] * (WINDOW * WINDOW)),)
    return shares


@triton.jit
def magnitude(x):
    """The bits of |x|, which compare as it does. NaN is largest."""
    return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
