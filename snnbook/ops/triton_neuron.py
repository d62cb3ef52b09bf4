"""One step of neurons on a GPU, forward and back, and how a program of triton_kernels.py reads what it works on.

The reference's equations, on blocks of neurons: arrays of the shape (positions of a pooling window, outputs of a
block).
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
    rises = slope > 0
    inverse = tl.div_rn(tl.full(slope.shape, 1.0, tl.float32), tl.where(rises, slope, 1.0))
    return tl.where(rises, tl.minimum(inverse, bound), 0.0)


@triton.jit
def carry_back(
    e, fired, du, dg, a, b, f, h, earlier, decay_m, decay_s, decay_g, gain, bound_weight, bound_timing,
    EXACT: tl.constexpr,
):  # fmt: skip
    """Traces of the neuron run backwards, one step; G_t, G_w are last of what returns.

    Eq. (eq-grad-timing), (eq-grad-weight). a and b are the two traces of G_w, f and h those of G_t, of which
    the exponential kernel needs the first alone.
    """
    started, credited = e * moved(du, bound_weight), e * moved(dg, bound_timing)
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
def neurons(outputs, height, width, WINDOW: tl.constexpr, POSITIONS: tl.constexpr):
    """Which neurons stand behind a block of outputs, and which of them there are: (positions, outputs), twice."""
    position = tl.arange(0, POSITIONS)[:, None]
    if WINDOW == 1:
        return position + outputs[None, :], (position < 1) & (outputs >= 0)[None, :]
    rows, columns = height // WINDOW, width // WINDOW
    x, y, plane = outputs % columns, outputs // columns % rows, outputs // columns // rows
    y_of = (plane * height + y * WINDOW)[None, :] + position // WINDOW
    x_of = (x * WINDOW)[None, :] + position % WINDOW
    return y_of * width + x_of, (position < WINDOW * WINDOW) & (outputs >= 0)[None, :]


@triton.jit
def mean(fired, WINDOW: tl.constexpr):
    """Mean of the spikes in a window, rounded as a division is: by a power of two, a product is that too."""
    total = tl.sum(fired.to(tl.float32), 0)
    if WINDOW & (WINDOW - 1) == 0:
        return total * (1.0 / (WINDOW * WINDOW))
    return tl.div_rn(total, tl.full(total.shape, WINDOW * WINDOW, tl.float32))


@triton.jit
def fired(bits, at, there, start, steps, size, CHUNK: tl.constexpr):
    """Whether the neurons fired at the steps of a chunk, from their bits, as a tuple."""
    fired = ()
    for i in tl.static_range(CHUNK):
        if i % 8 == 0:
            byte = tl.load(row(bits, (start + i) // 8, size) + at, there & (start + i < steps), 0).to(tl.int32)
        fired += (((byte >> ((start + i) % 8)) & 1) > 0,)
    return fired


@triton.jit
def shares(grad, pooled, start, outputs, exist, count, steps, WINDOW: tl.constexpr, CHUNK: tl.constexpr):
    """A window's gradients at the steps of a chunk, shared among its spikes, (1, outputs) each. Eq. (eq-pool)."""
    shares = chunk(grad, start, count, outputs, exist, steps, CHUNK)
    if WINDOW > 1:
        means, whole = chunk(pooled, start, count, outputs, exist, steps, CHUNK), shares
        shares = ()
        for i in tl.static_range(CHUNK):
            some = means[i] > 0
            share = tl.div_rn(whole[i], tl.where(some, means[i] * (WINDOW * WINDOW), 1.0))
            shares += (tl.where(some, share, 0.0),)
    return shares


@triton.jit
def magnitude(x):
    """The bits of |x|, which compare as it does. NaN is largest."""
    return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
