"""The GPU engine's kernels: the reference's equations, the time loop inside, a neuron's state in registers.

A program works on a block of outputs, and where the layer pools on the window of neurons behind each: its arrays have
the shape (positions of a window, outputs of a block). Memory is in the order of the shapes, (T, N, C, H, W), as
convolutions leave it (results/LOG.md has what channels last cost); `area` is H times W. As on the CPU, a pass keeps its
currents and one bit per neuron and step, and replays the slopes. Weights are standardised in triton_weights.py.

Spikes are equal to the reference's to the bit: divisions are rounded as IEEE 754 says, and `triton._launch` forbids
the contraction to fused multiply-adds.
"""

import triton
import triton.language as tl


@triton.jit
def _row(pointer, t, size):
    """Where step t of an array (T, size) starts; in 64 bits, which T times a large layer needs."""
    return pointer + tl.cast(t, tl.int64) * size


@triton.jit
def _step(m, s, g, before, c, decay_m, decay_s, decay_g, gain, LEAKY: tl.constexpr, EXACT: tl.constexpr):
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
def _moved(slope, bound):
    """How far a spike moves: min(1 / slope, bound), and 0 where the slope does not rise. Minus eq. (eq-time-slope)."""
    rises = slope > 0
    inverse = tl.div_rn(tl.full(slope.shape, 1.0, tl.float32), tl.where(rises, slope, 1.0))
    return tl.where(rises, tl.minimum(inverse, bound), 0.0)


@triton.jit
def _neurons(outputs, height, width, WINDOW: tl.constexpr, POSITIONS: tl.constexpr):
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
def _mean(fired, WINDOW: tl.constexpr):
    """Mean of the spikes in a window, rounded as a division is: by a power of two, a product is that too."""
    total = tl.sum(fired.to(tl.float32), 0)
    if WINDOW & (WINDOW - 1) == 0:
        return total * (1.0 / (WINDOW * WINDOW))
    return tl.div_rn(total, tl.full(total.shape, WINDOW * WINDOW, tl.float32))


@triton.jit
def _fired(bits, at, there, t, size):
    """Whether the neurons fired at step t, from their bits."""
    byte = tl.load(_row(bits, t // 8, size) + at, there, 0).to(tl.int32)
    return ((byte >> (t % 8)) & 1) > 0


@triton.jit
def _share(grad, pooled, t, outputs, exist, count, WINDOW: tl.constexpr):
    """A window's gradient at step t, shared among its spikes: (1, outputs). Eq. (eq-pool)."""
    e = tl.load(_row(grad, t, count) + outputs, exist, 0.0)
    if WINDOW > 1:
        mean = tl.load(_row(pooled, t, count) + outputs, exist, 0.0)
        e = tl.where(mean > 0, tl.div_rn(e, tl.where(mean > 0, mean * (WINDOW * WINDOW), 1.0)), 0.0)
    return e[None, :]


@triton.jit
def forward(
    current, theta, spikes, du_out, dg_out, size, stride, area, channels, steps, decay_m, decay_s, decay_g, gain,
    LEAKY: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Spikes and slopes of every neuron, (T, size); `stride` is 0 where one step of currents repeats."""
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = at < size
    threshold = tl.load(theta + at // area % channels, there, 0.0)
    m = tl.zeros((WIDE,), tl.float32)
    s, g, before = m, m, m
    for t in range(steps):
        c = tl.load(_row(current, t, stride) + at, there, 0.0)
        m, s, g, u, du, dg = _step(m, s, g, before, c, decay_m, decay_s, decay_g, gain, LEAKY, EXACT)
        fired = u >= threshold
        tl.store(_row(spikes, t, size) + at, fired.to(tl.float32), there)
        tl.store(_row(du_out, t, size) + at, du, there)
        tl.store(_row(dg_out, t, size) + at, dg, there)
        m, s = tl.where(fired, 0.0, m), tl.where(fired, 0.0, s)
        g, before = tl.where(fired, 0.0, g), tl.where(fired, 0.0, u)


@triton.jit
def forward_pooled(
    current, theta, bits, pooled, size, stride, count, height, width, channels, steps,
    decay_m, decay_s, decay_g, gain, LEAKY: tl.constexpr, WINDOW: tl.constexpr, POSITIONS: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """Spike bits of every neuron, (bytes, size), and their means over windows, (T, count)."""
    outputs = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    exist = outputs < count
    at, there = _neurons(outputs, height, width, WINDOW, POSITIONS)
    there = there & exist[None, :]
    plane = outputs // ((height // WINDOW) * (width // WINDOW))
    threshold = tl.load(theta + plane % channels, exist, 0.0)[None, :]
    m = tl.zeros((POSITIONS, WIDE), tl.float32)
    s, g, before = m, m, m
    for start in range(0, steps, 8):
        packed = tl.zeros((POSITIONS, WIDE), tl.int32)
        for t in range(start, tl.minimum(start + 8, steps)):
            c = tl.load(_row(current, t, stride) + at, there, 0.0)
            m, s, g, u, _du, _dg = _step(m, s, g, before, c, decay_m, decay_s, decay_g, gain, LEAKY, False)
            fired = (u >= threshold) & there
            packed = packed | (fired.to(tl.int32) << (t - start))
            tl.store(_row(pooled, t, count) + outputs, _mean(fired, WINDOW), exist)
            m, s = tl.where(fired, 0.0, m), tl.where(fired, 0.0, s)
            g, before = tl.where(fired, 0.0, g), tl.where(fired, 0.0, u)
        tl.store(_row(bits, start // 8, size) + at, packed.to(tl.uint8), there)


@triton.jit
def _carry_back(
    t, e, fired, du, dg, a, b, f, h, earlier, decay_m, decay_s, decay_g, gain, bound_weight, bound_timing,
    EXACT: tl.constexpr,
):  # fmt: skip
    """Traces of the neuron run backwards, at step t; G_t, G_w are last of what returns.

    Eq. (eq-grad-timing), (eq-grad-weight). a and b are the two traces of G_w, f and h those of G_t, of which
    the exponential kernel needs the first alone.
    """
    started, credited = e * _moved(du, bound_weight), e * _moved(dg, bound_timing)
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
def backward(
    grad, spikes, du_in, dg_in, timing, weight, size, steps, decay_m, decay_s, decay_g, gain, bound_weight,
    bound_timing, EXACT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """G_t and G_w of every neuron from its spikes and slopes, all (T, size)."""
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = at < size
    a = tl.zeros((WIDE,), tl.float32)
    b, f, h, earlier = a, a, a, a
    for back in range(steps):
        t = steps - 1 - back
        fired = tl.load(_row(spikes, t, size) + at, there, 0.0) > 0
        e = tl.load(_row(grad, t, size) + at, there & fired, 0.0)
        du = tl.load(_row(du_in, t, size) + at, there, 0.0)
        dg = tl.load(_row(dg_in, t, size) + at, there, 0.0)
        a, b, f, h, earlier, g_t, g_w = _carry_back(
            t, e, fired, du, dg, a, b, f, h, earlier, decay_m, decay_s, decay_g, gain, bound_weight, bound_timing, EXACT
        )
        tl.store(_row(timing, t, size) + at, g_t, there)
        tl.store(_row(weight, t, size) + at, g_w, there)


@triton.jit
def magnitude(x):
    """The bits of |x|, which compare as it does. NaN is largest."""
    return x.to(tl.int32, bitcast=True) & 0x7FFFFFFF


@triton.jit
def backward_pooled(
    current, grad, pooled, bits, timing, weight, largest, size, stride, count, height, width, steps,
    decay_m, decay_s, decay_g, gain, bound_weight, bound_timing, LEAKY: tl.constexpr, EXACT: tl.constexpr,
    WINDOW: tl.constexpr, POSITIONS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """G_t and G_w, (T, size), and the largest magnitude of each, as bits, into `largest`, which begins at 0.

    The slopes, replayed first, wait in these two arrays until they are overwritten.
    """
    outputs = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    exist = outputs < count
    at, there = _neurons(outputs, height, width, WINDOW, POSITIONS)
    there = there & exist[None, :]
    m = tl.zeros((POSITIONS, WIDE), tl.float32)
    s, g, before = m, m, m
    for t in range(steps):
        c = tl.load(_row(current, t, stride) + at, there, 0.0)
        m, s, g, u, du, dg = _step(m, s, g, before, c, decay_m, decay_s, decay_g, gain, LEAKY, EXACT)
        fired = _fired(bits, at, there, t, size)
        tl.store(_row(weight, t, size) + at, du, there)
        tl.store(_row(timing, t, size) + at, dg, there)
        m, s = tl.where(fired, 0.0, m), tl.where(fired, 0.0, s)
        g, before = tl.where(fired, 0.0, g), tl.where(fired, 0.0, u)
    tl.debug_barrier()  # what one thread stored another may load
    a = tl.zeros((POSITIONS, WIDE), tl.float32)
    b, f, h, earlier = a, a, a, a
    most_timing, most_weight = magnitude(a), magnitude(a)
    for back in range(steps):
        t = steps - 1 - back
        fired = _fired(bits, at, there, t, size)
        e = tl.where(fired, _share(grad, pooled, t, outputs, exist, count, WINDOW), 0.0)
        du = tl.load(_row(weight, t, size) + at, there, 0.0)
        dg = tl.load(_row(timing, t, size) + at, there, 0.0)
        a, b, f, h, earlier, g_t, g_w = _carry_back(
            t, e, fired, du, dg, a, b, f, h, earlier, decay_m, decay_s, decay_g, gain, bound_weight, bound_timing, EXACT
        )
        tl.store(_row(timing, t, size) + at, g_t, there)
        tl.store(_row(weight, t, size) + at, g_w, there)
        most_timing = tl.maximum(most_timing, magnitude(g_t))
        most_weight = tl.maximum(most_weight, magnitude(g_w))
    tl.atomic_max(largest, tl.max(tl.max(most_timing, 1), 0))
    tl.atomic_max(largest + 1, tl.max(tl.max(most_weight, 1), 0))


@triton.jit
def backward_summed(
    current, grad, pooled, bits, weight, size, stride, count, height, width, steps,
    decay_m, decay_s, decay_g, gain, bound_weight, LEAKY: tl.constexpr, WINDOW: tl.constexpr,
    POSITIONS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """G_w summed over time, (size,), in one pass forwards: a spike adds its move times the response to a steady 1."""
    outputs = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    exist = outputs < count
    at, there = _neurons(outputs, height, width, WINDOW, POSITIONS)
    there = there & exist[None, :]
    m = tl.zeros((POSITIONS, WIDE), tl.float32)
    s, g, before, steady_m, steady_s, total = m, m, m, m, m, m
    for t in range(steps):
        c = tl.load(_row(current, t, stride) + at, there, 0.0)
        m, s, g, u, du, _dg = _step(m, s, g, before, c, decay_m, decay_s, decay_g, gain, LEAKY, False)
        steady_m = (steady_m + 1.0) * decay_m
        steady_s = (steady_s + 1.0) * decay_s
        fired = _fired(bits, at, there, t, size)
        e = tl.where(fired, _share(grad, pooled, t, outputs, exist, count, WINDOW), 0.0)
        total += e * _moved(du, bound_weight) * ((steady_s - steady_m) * gain)
        m, s = tl.where(fired, 0.0, m), tl.where(fired, 0.0, s)
        g, before = tl.where(fired, 0.0, g), tl.where(fired, 0.0, u)
        steady_m, steady_s = tl.where(fired, 0.0, steady_m), tl.where(fired, 0.0, steady_s)
    tl.store(weight + at, total, there)
