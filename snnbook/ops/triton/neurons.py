"""The GPU engine's kernels: the reference's equations, the time loop inside, a neuron's state in registers.

A program works on a block of neurons or, forward, of pooled outputs. Memory is in the order of the shapes, (T, N, C, H,
W), as convolutions leave it (results/LOG.md has what channels last cost); `area` is H times W. As on the CPU, a pass
keeps its currents and one bit per neuron and step, and replays the slopes. Weights are standardised in
weights.py.

Time goes in chunks of a length known to the compiler, CHUNK, so that a chunk's steps are written out one after another:
its inputs are all asked for at once, and its slopes wait in registers.

Spikes are equal to the reference's to the bit: divisions before one are rounded as IEEE 754 says, and `triton._launch`
forbids the contraction to fused multiply-adds. Divisions of gradients may be two units in the last place off, which
saves a branch each.
"""

import triton
import triton.language as tl

from . import step as neuron


@triton.jit
def forward(
    current, theta, spikes, du_out, dg_out, size, stride, area, channels, steps, decay_m, decay_s, decay_g, gain,
    LEAKY: tl.constexpr, EXACT: tl.constexpr, CHUNK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Spikes and slopes of every neuron, (T, size); `stride` is 0 where one step of currents repeats."""
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = at < size
    threshold = tl.load(theta + at // area % channels, there, 0.0)
    m = tl.zeros((WIDE,), tl.float32)
    s, g, before = m, m, m
    for start in range(0, steps, CHUNK):
        inputs = neuron.chunk(current, start, stride, at, there, steps, CHUNK)
        for i in tl.static_range(CHUNK):
            m, s, g, u, du, dg = neuron.step(m, s, g, before, inputs[i], decay_m, decay_s, decay_g, gain, LEAKY, EXACT)
            fired = u >= threshold
            now = there & (start + i < steps)
            tl.store(neuron.row(spikes, start + i, size) + at, fired.to(tl.float32), now)
            tl.store(neuron.row(du_out, start + i, size) + at, du, now)
            tl.store(neuron.row(dg_out, start + i, size) + at, dg, now)
            m, s, g, before = neuron.reset(fired, m, s, g, u)


@triton.jit
def forward_pooled(
    current, theta, bits, pooled, size, stride, count, height, width, channels, steps,
    decay_m, decay_s, decay_g, gain, LEAKY: tl.constexpr, WINDOW: tl.constexpr, CHUNK: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """Spike bits of every neuron, (bytes, size), and their means over windows, (T, count).

    A program works on a block of outputs, and on the neurons behind each one after another.
    """
    output = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    exist = output < count
    first = neuron.first_of(output, height, width, WINDOW)
    plane = output // ((height // WINDOW) * (width // WINDOW))
    threshold = tl.load(theta + plane % channels, exist, 0.0)
    rest = tl.zeros((WIDE,), tl.float32)
    states = ()
    for _ in tl.static_range(WINDOW * WINDOW):
        states += ((rest, rest, rest, rest),)
    for start in range(0, steps, CHUNK):
        totals = ()
        before_chunk = states
        for _ in tl.static_range(CHUNK):
            totals += (rest,)
        states = ()
        for place in tl.static_range(WINDOW * WINDOW):
            at = first + (place // WINDOW * width + place % WINDOW)
            m, s, g, before = before_chunk[place]
            inputs = neuron.chunk(current, start, stride, at, exist, steps, CHUNK)
            packed = tl.zeros((WIDE,), tl.int32)
            so_far = totals
            totals = ()
            for i in tl.static_range(CHUNK):
                m, s, g, u, _du, _dg = neuron.step(
                    m, s, g, before, inputs[i], decay_m, decay_s, decay_g, gain, LEAKY, False
                )
                fired = (u >= threshold) & (start + i < steps)  # a chunk may go on after the last step
                packed = packed | (fired.to(tl.int32) << (i % 8))
                totals += (so_far[i] + fired.to(tl.float32),)
                m, s, g, before = neuron.reset(fired, m, s, g, u)
                if i % 8 == 7 or i == CHUNK - 1:
                    begun = exist & (start + i // 8 * 8 < steps)
                    tl.store(neuron.row(bits, (start + i) // 8, size) + at, packed.to(tl.uint8), begun)
                    packed = tl.zeros((WIDE,), tl.int32)
            states += ((m, s, g, before),)
        for i in tl.static_range(CHUNK):
            alive = exist & (start + i < steps)
            tl.store(neuron.row(pooled, start + i, count) + output, neuron.mean(totals[i], WINDOW), alive)


@triton.jit
def backward(
    grad, spikes, du_in, dg_in, timing, weight, size, steps, decay_m, decay_s, decay_g, gain, bound_weight,
    bound_timing, EXACT: tl.constexpr, CHUNK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """G_t and G_w of every neuron from its spikes and slopes, all (T, size)."""
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = at < size
    a = tl.zeros((WIDE,), tl.float32)
    b, f, h, earlier = a, a, a, a
    for back in range(0, steps, CHUNK):
        start = (tl.cdiv(steps, CHUNK) - 1) * CHUNK - back
        out = neuron.chunk(spikes, start, size, at, there, steps, CHUNK)
        given = neuron.chunk(grad, start, size, at, there, steps, CHUNK)
        du = neuron.chunk(du_in, start, size, at, there, steps, CHUNK)
        dg = neuron.chunk(dg_in, start, size, at, there, steps, CHUNK)
        for i in tl.static_range(CHUNK - 1, -1, -1):
            fired = out[i] > 0
            now = there & (start + i < steps)
            a, b, f, h, earlier, g_t, g_w = neuron.carry_back(
                given[i], fired, du[i], dg[i], a, b, f, h, earlier, decay_m, decay_s, decay_g, gain, bound_weight,
                bound_timing, EXACT,
            )  # fmt: skip
            tl.store(neuron.row(timing, start + i, size) + at, g_t, now)
            tl.store(neuron.row(weight, start + i, size) + at, g_w, now)


@triton.jit
def _store_state(timing, weight, start, size, at, there, m, s, g, before):
    """Store the state of neurons after a chunk in the first two rows of its gradients."""
    tl.store(neuron.row(timing, start, size) + at, m, there)
    tl.store(neuron.row(weight, start, size) + at, s, there)
    tl.store(neuron.row(timing, start + 1, size) + at, g, there)
    tl.store(neuron.row(weight, start + 1, size) + at, before, there)


@triton.jit
def _load_state(timing, weight, start, size, at, there):
    """Load what `_store_state` stored, or zeros."""
    m = tl.load(neuron.row(timing, start, size) + at, there, 0.0)
    s = tl.load(neuron.row(weight, start, size) + at, there, 0.0)
    g = tl.load(neuron.row(timing, start + 1, size) + at, there, 0.0)
    before = tl.load(neuron.row(weight, start + 1, size) + at, there, 0.0)
    return m, s, g, before


@triton.jit
def backward_pooled(
    current, grad, pooled, bits, timing, weight, largest, size, stride, count, height, width, steps,
    decay_m, decay_s, decay_g, gain, bound_weight, bound_timing, LEAKY: tl.constexpr, EXACT: tl.constexpr,
    WINDOW: tl.constexpr, CHUNK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """G_t and G_w, (T, size), and the largest magnitude of each, as bits, into `largest`, which begins at 0.

    Chunks are replayed from the last to the first. The states in which they begin are found before, and wait in the
    rows of these two arrays that belong to the chunk before.
    """
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = at < size
    output, owned = neuron.window_of(at, height, width, WINDOW)
    owned = owned & there
    m = tl.zeros((WIDE,), tl.float32)
    s, g, before = m, m, m
    last = (tl.cdiv(steps, CHUNK) - 1) * CHUNK
    for start in range(0, last, CHUNK):
        inputs = neuron.chunk(current, start, stride, at, owned, steps, CHUNK)
        fired = neuron.fired(bits, at, owned, start, steps, size, CHUNK)
        for i in tl.static_range(CHUNK):
            m, s, g, u, _du, _dg = neuron.step(
                m, s, g, before, inputs[i], decay_m, decay_s, decay_g, gain, LEAKY, EXACT
            )
            m, s, g, before = neuron.reset(fired[i], m, s, g, u)
        _store_state(timing, weight, start, size, at, there, m, s, g, before)
    a = tl.zeros((WIDE,), tl.float32)
    b, f, h, earlier = a, a, a, a
    most_timing = neuron.magnitude(a)
    most_weight = neuron.magnitude(a)
    for back in range(0, steps, CHUNK):
        start = last - back
        tl.debug_barrier()  # what one thread stored another may load
        m, s, g, before = _load_state(timing, weight, start - CHUNK, size, at, there & (start > 0))
        inputs = neuron.chunk(current, start, stride, at, owned, steps, CHUNK)
        fired = neuron.fired(bits, at, owned, start, steps, size, CHUNK)
        shares = neuron.shares(grad, pooled, start, output, owned, count, steps, WINDOW, CHUNK)
        du = ()
        dg = ()
        for i in tl.static_range(CHUNK):
            m, s, g, u, slope, credit = neuron.step(
                m, s, g, before, inputs[i], decay_m, decay_s, decay_g, gain, LEAKY, EXACT
            )
            du += (slope,)
            dg += (credit,)
            m, s, g, before = neuron.reset(fired[i], m, s, g, u)
        for i in tl.static_range(CHUNK - 1, -1, -1):
            now = there & (start + i < steps)
            a, b, f, h, earlier, g_t, g_w = neuron.carry_back(
                shares[i], fired[i], du[i], dg[i], a, b, f, h, earlier, decay_m, decay_s, decay_g, gain, bound_weight,
                bound_timing, EXACT,
            )  # fmt: skip
            tl.store(neuron.row(timing, start + i, size) + at, g_t, now)
            tl.store(neuron.row(weight, start + i, size) + at, g_w, now)
            most_timing = tl.maximum(most_timing, neuron.magnitude(g_t))
            most_weight = tl.maximum(most_weight, neuron.magnitude(g_w))
    tl.atomic_max(largest, tl.max(most_timing, 0))
    tl.atomic_max(largest + 1, tl.max(most_weight, 0))


@triton.jit
def backward_summed(
    current, grad, pooled, bits, weight, size, stride, count, height, width, steps,
    decay_m, decay_s, decay_g, gain, bound_weight, LEAKY: tl.constexpr, WINDOW: tl.constexpr,
    CHUNK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """G_w summed over time, (size,), in one pass forwards: a spike adds its move times the response to a steady 1."""
    at = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    there = at < size
    output, owned = neuron.window_of(at, height, width, WINDOW)
    owned = owned & there
    m = tl.zeros((WIDE,), tl.float32)
    s, g, before, steady_m, steady_s, total = m, m, m, m, m, m
    for start in range(0, steps, CHUNK):
        inputs = neuron.chunk(current, start, stride, at, owned, steps, CHUNK)
        fired = neuron.fired(bits, at, owned, start, steps, size, CHUNK)
        shares = neuron.shares(grad, pooled, start, output, owned, count, steps, WINDOW, CHUNK)
        for i in tl.static_range(CHUNK):
            m, s, g, u, du, _dg = neuron.step(m, s, g, before, inputs[i], decay_m, decay_s, decay_g, gain, LEAKY, False)
            steady_m = (steady_m + 1.0) * decay_m
            steady_s = (steady_s + 1.0) * decay_s
            credit = shares[i] * neuron.moved(du, bound_weight) * ((steady_s - steady_m) * gain)
            total += tl.where(fired[i], credit, 0.0)
            m, s, g, before = neuron.reset(fired[i], m, s, g, u)
            steady_m = tl.where(fired[i], 0.0, steady_m)
            steady_s = tl.where(fired[i], 0.0, steady_s)
    tl.store(weight + at, total, there)
