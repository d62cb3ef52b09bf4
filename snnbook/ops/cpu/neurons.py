"""The CPU engine's kernels: the reference's equations in one pass over memory, compiled by Numba.

Small functions do the work of one run (a row of the map with all of its channels, all time steps), with the
state in the processor's first cache: `_fire` integrates, `_replay` recomputes potentials and backward traces from known
spikes, `_slopes` makes slopes of them, `_carry_back` runs the neuron backwards; `_sum_back` does without the last three
where currents repeat. The drivers below go over all runs in parallel. With pooling, nothing T times as large as the map
is kept between forward and backward but the currents and one bit per neuron and step: the slopes are replayed.

Arithmetic is done in the reference's order, without contraction, so spikes are equal to the bit.
Inside this file arrays have channels last: currents (S, R, L), with S the steps that differ (1 where the input
repeats), R runs, and L = W C neurons a run, so that the inner loops are long and over neighbours in memory.
`k` holds the neuron's constants in the order of `calls.constants`, in the currents' precision.
"""

import numpy as np
from numba import prange

from .jit import compiled
from .llvm_windows import pool, share

_run_kernel = compiled()
_driver = compiled(parallel=True)


@_run_kernel
def _fire(current, r, theta, k, spikes, m, s):
    """Integrate and fire in run r. Eq. (eq-neuron). Writes spikes (T, L); m and s are scratch, (L,)."""
    decay_m = k[0]
    decay_s = k[1]
    decay_g = k[2]
    gain = k[3]
    leaky = k[4] > 0
    zero = k.dtype.type(0)
    repeats = len(current) == 1
    m[:] = zero
    s[:] = zero
    for t in range(len(spikes)):
        c = current[0 if repeats else t, r]
        o = spikes[t]
        if leaky:
            for i in range(len(theta)):
                m_i = (m[i] + c[i]) * decay_m
                s_i = (s[i] + c[i]) * decay_s
                fired = (m_i - s_i) * gain >= theta[i]
                o[i] = fired
                m[i] = zero if fired else m_i
                s[i] = zero if fired else s_i
        else:  # m holds the potential, s the backward trace
            for i in range(len(theta)):
                g_i = (s[i] + c[i]) * decay_g
                u_i = m[i] + g_i
                fired = u_i >= theta[i]
                o[i] = fired
                s[i] = zero if fired else g_i
                m[i] = zero if fired else u_i


@_run_kernel
def _replay(current, r, spikes, k, u, g, m, s, trace):
    """Potential u (if the neuron leaks) and backward trace g, (T, L), before any reset, in run r from spikes (T, L)."""
    decay_m = k[0]
    decay_s = k[1]
    decay_g = k[2]
    gain = k[3]
    leaky = k[4] > 0
    zero = k.dtype.type(0)
    repeats = len(current) == 1
    m[:] = zero
    s[:] = zero
    trace[:] = zero
    for t in range(len(spikes)):
        c = current[0 if repeats else t, r]
        o = spikes[t]
        u_t = u[t]
        g_t = g[t]
        if leaky:
            for i in range(len(m)):
                m_i = (m[i] + c[i]) * decay_m
                s_i = (s[i] + c[i]) * decay_s
                u_t[i] = (m_i - s_i) * gain
                m[i] = m_i if o[i] == 0 else zero
                s[i] = s_i if o[i] == 0 else zero
        for i in range(len(m)):
            g_i = (trace[i] + c[i]) * decay_g
            g_t[i] = g_i
            trace[i] = g_i if o[i] == 0 else zero


@_run_kernel
def _slopes(spikes, k, du, dg):
    """Replace potential and backward trace by the slopes du and dg, all (T, L)."""
    leaky = k[4] > 0
    exact = k[5] > 0
    zero = k.dtype.type(0)
    for t in range(len(spikes) - 1, -1, -1):
        now = du[t]
        before = du[max(t - 1, 0)]
        o = spikes[max(t - 1, 0)]
        if not leaky:
            now[:] = dg[t]
        elif t > 0:
            for i in range(len(now)):
                now[i] -= before[i] if o[i] == 0 else zero
        if exact:
            dg[t] = now


@_run_kernel
def _time_slope(slope, bound, moved):
    """min(1 / slope, bound), and 0 where the slope does not rise: minus eq. (eq-time-slope). All (L,)."""
    zero = slope.dtype.type(0)
    one = slope.dtype.type(1)
    for i in range(len(slope)):
        inverse = one / slope[i]
        inverse = inverse if inverse < bound else bound
        moved[i] = inverse if slope[i] > zero else zero


@_run_kernel
def _restart(e, moved, fired, decay, trace):
    """A trace that decays towards earlier steps, and that a spike sets to what it moves. All (L,) but decay."""
    for i in range(len(trace)):
        started = e[i] * moved[i]
        trace[i] = (started if fired[i] > 0 else trace[i]) * decay


@_run_kernel
def _difference(a, b, gain, out):
    """(a - b) gain, (L,)."""
    for i in range(len(out)):
        out[i] = (a[i] - b[i]) * gain


@_run_kernel
def _carry_back(grad, spikes, du, dg, k, grad_timing, grad_weight, r, a, b, moved, earlier):
    """The neuron run backwards: G_t and G_w in run r of arrays (T, R, L). Eq. (eq-grad-timing), (eq-grad-weight).

    The other arguments are (T, L), or scratch (L,). Two sweeps over time, one for each.
    """
    decay_m = k[0]
    decay_s = k[1]
    decay_g = k[2]
    gain = k[3]
    exact = k[5] > 0
    zero = k.dtype.type(0)
    a[:] = zero
    b[:] = zero
    for t in range(len(grad) - 1, -1, -1):
        _time_slope(du[t], k[6], moved)
        _restart(grad[t], moved, spikes[t], decay_m, a)
        _restart(grad[t], moved, spikes[t], decay_s, b)
        _difference(a, b, -gain, grad_weight[t, r])
    a[:] = zero
    b[:] = zero
    earlier[:] = zero
    for t in range(len(grad_timing) - 1, -1, -1):
        _time_slope(dg[t], k[7], moved)
        out = grad_timing[t, r]
        fired = spikes[t]
        if exact:
            _restart(grad[t], moved, fired, decay_m, a)
            _restart(grad[t], moved, fired, decay_s, b)
            for i in range(len(out)):
                response = (a[i] - b[i]) * gain
                out[i] = response - (zero if fired[i] > 0 else earlier[i])
                earlier[i] = response
        else:
            _restart(grad[t], moved, fired, decay_g, a)
            out[:] = a


@_run_kernel
def _sum_back(e, fired, c, k, total, m, s, before):
    """G_w summed over time where the current c repeats, (L,): every spike adds its move times a response to a steady 1.

    Slopes are c times those of that response, so nothing is replayed. e and fired are (T, L); the last three, scratch
    (L,), are the response's two traces, and the response before (the backward trace where the neuron does not leak).
    """
    decay_m = k[0]
    decay_s = k[1]
    decay_g = k[2]
    gain = k[3]
    leaky = k[4] > 0
    bound = k[6]
    zero = k.dtype.type(0)
    one = k.dtype.type(1)
    total[:] = zero
    m[:] = zero
    s[:] = zero
    before[:] = zero
    for t in range(len(e)):
        e_t = e[t]
        o = fired[t]
        for i in range(len(total)):
            m_i = (m[i] + one) * decay_m
            s_i = (s[i] + one) * decay_s
            response = (m_i - s_i) * gain
            now = response if leaky else (before[i] + one) * decay_g
            slope = c[i] * (now - before[i] if leaky else now)
            inverse = one / slope
            moved = inverse if inverse < bound else bound
            moved = moved if slope > zero else zero
            total[i] -= e_t[i] * moved * response if o[i] > 0 else zero
            m[i] = m_i if o[i] == 0 else zero
            s[i] = s_i if o[i] == 0 else zero
            before[i] = now if o[i] == 0 else zero


@_run_kernel
def _widen(grad, row, sums, window, channels, wide):
    """Gradients of the neurons of a pooled row, (T, L), from its own, (T, rows, columns C). Eq. (eq-pool).

    sums (T, L) are spikes added up over a window's rows.
    """
    columns = grad.shape[2] // channels
    for t in range(len(grad)):
        share(grad[t, row], sums[t], columns, channels, window, wide[t])
        wide[t, columns * window * channels :] = 0  # what fills no window


@_run_kernel
def _unpack_window(bits, first, fired, sums):
    """Spikes of the runs of a window from `first` on, (window, T, L or more), and their sums over the runs, (T, L)."""
    for t in range(len(sums)):
        total = sums[t]
        flag = np.uint8(1 << (t % 8))
        for offset in range(len(fired)):
            byte = bits[t // 8, first + offset]
            one = fired[offset, t]
            for i in range(len(byte)):
                one[i] = np.uint8(byte[i] & flag) != 0  # uint8 & uint8 is of 64 bits in Numba
        for offset in range(len(fired)):
            one = fired[offset, t]
            if offset == 0:
                for i in range(len(total)):
                    total[i] = one[i]
            else:
                for i in range(len(total)):
                    total[i] += one[i]


@_driver
def forward(current, theta, k, spikes, du, dg):
    """Spikes and slopes of every run, (T, R, L)."""
    steps, runs, length = spikes.shape
    for r in prange(runs):
        x = np.empty((4, length), k.dtype)
        fired = np.empty((steps, length), np.uint8)
        _fire(current, r, theta, k, fired, x[0], x[1])
        _replay(current, r, fired, k, du[:, r], dg[:, r], x[0], x[1], x[2])
        _slopes(fired, k, du[:, r], dg[:, r])
        for t in range(steps):
            spikes[t, r] = fired[t]


@_driver
def backward(grad, spikes, du, dg, k, grad_timing, grad_weight):
    """G_t and G_w of every run, (T, R, L)."""
    for r in prange(grad.shape[1]):
        x = np.empty((4, grad.shape[2]), k.dtype)
        e = grad[:, r]
        o = spikes[:, r]
        u = du[:, r]
        g = dg[:, r]
        _carry_back(e, o, u, g, k, grad_timing, grad_weight, r, x[0], x[1], x[2], x[3])


@_driver
def forward_pooled(current, theta, k, height, channels, window, shares, bits, pooled):
    """Spike bits of every run, (bytes, R, L), and their means over windows, (T, N rows, columns C).

    `shares` says among how many the rows are parted: as many as there are threads, since a row's work is too little to
    make room for it each time.
    """
    steps, rows, _ = pooled.shape
    length = len(theta)
    size = k.dtype.type(window * window)
    map_rows = height // window
    for part in prange(shares):
        x = np.empty((2, length), k.dtype)
        fired = np.empty((steps, length), np.uint8)
        sums = np.empty((steps, length), k.dtype)
        for row in range(rows * part // shares, rows * (part + 1) // shares):
            for offset in range(window):
                r = row // map_rows * height + row % map_rows * window + offset
                _fire(current, r, theta, k, fired, x[0], x[1])
                for t in range(steps):
                    # written out, here and in `_unpack_window`: as functions of their own these loops took longer
                    byte = bits[t // 8, r]
                    one = fired[t]
                    total = sums[t]
                    flag = np.uint8(1 << (t % 8))
                    if flag == 1:
                        for i in range(length):
                            byte[i] = one[i]
                    else:
                        for i in range(length):
                            byte[i] |= flag if one[i] else np.uint8(0)
                    if offset == 0:
                        for i in range(length):
                            total[i] = one[i]
                    else:
                        for i in range(length):
                            total[i] += one[i]
            for t in range(steps):
                mean = pooled[t, row]
                pool(mean, sums[t], len(mean) // channels, channels, window)
                for i in range(len(mean)):
                    mean[i] /= size


@_driver
def backward_pooled(current, grad, k, height, channels, window, shares, bits, sum_weight, grad_timing, grad_weight):
    """Share each window's gradient among its spikes, replay slopes, carry back. Places in no window stay 0.

    With `sum_weight`, which takes currents that repeat, G_w alone, summed over time. `shares` as in `forward_pooled`.
    """
    steps, rows, _ = grad.shape
    length = current.shape[2]
    map_rows = height // window
    for part in prange(shares):
        x = np.empty((4, length), k.dtype)
        wide = np.empty((steps, length), k.dtype)
        sums = np.empty((steps, length), k.dtype)
        du = np.empty((steps, length), k.dtype)
        dg = np.empty((steps, length), k.dtype)
        fired = np.empty((window, steps, length), np.uint8)
        for row in range(rows * part // shares, rows * (part + 1) // shares):
            first = row // map_rows * height + row % map_rows * window
            _unpack_window(bits, first, fired, sums)
            _widen(grad, row, sums, window, channels, wide)
            for offset in range(window):
                r = first + offset
                one = fired[offset]
                if sum_weight:
                    _sum_back(wide, one, current[0, r], k, grad_weight[0, r], x[0], x[1], x[2])
                else:
                    _replay(current, r, one, k, du, dg, x[0], x[1], x[2])
                    _slopes(one, k, du, dg)
                    _carry_back(wide, one, du, dg, k, grad_timing, grad_weight, r, x[0], x[1], x[2], x[3])
