"""The CPU engine's kernels: the reference's equations in one pass over memory, compiled by Numba.

Three small functions do the work of one run (a row of the map with all of its channels, all time steps), with the
state in the processor's first cache: `_fire` integrates, `_replay` recomputes slopes from known spikes, `_carry_back`
runs the neuron backwards. The drivers below them go over all runs in parallel. Nothing T times as large as the map
is kept between forward and backward but the currents and one bit per neuron and step: the slopes are replayed.

Arithmetic is done in the reference's order, without contraction, so spikes are equal to the bit.
Inside this file arrays have channels last: currents (S, R, L), with S the steps that differ (1 where the input
repeats), R runs, and L = W C neurons a run, so that the inner loops are long and over neighbours in memory.
`k` holds the neuron's constants in the order of `cpu._constants`, in the currents' precision.
"""

import numpy as np
from numba import njit, prange

_run_kernel = njit(error_model="numpy", cache=True)
_driver = njit(error_model="numpy", cache=True, parallel=True)


@_run_kernel
def _fire(current, r, theta, k, spikes, m, s):
    """Integrate and fire in run r. Eq. (eq-neuron). Writes spikes (T, L); m and s are scratch, (L,)."""
    decay_m, decay_s, decay_g, gain, leaky = k[0], k[1], k[2], k[3], k[4] > 0
    zero = k.dtype.type(0)
    repeats = len(current) == 1
    m[:] = zero
    s[:] = zero
    for t in range(len(spikes)):
        c, o = current[0 if repeats else t, r], spikes[t]
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
def _replay(current, r, spikes, k, du, dg, m, s, g, u_prev):
    """Slopes du and dg, (T, L), in run r from the spikes (T, L)."""
    decay_m, decay_s, decay_g, gain, leaky, exact = k[0], k[1], k[2], k[3], k[4] > 0, k[5] > 0
    zero = k.dtype.type(0)
    repeats = len(current) == 1
    m[:] = zero
    s[:] = zero
    g[:] = zero
    u_prev[:] = zero
    for t in range(len(spikes)):
        c, o, du_t, dg_t = current[0 if repeats else t, r], spikes[t], du[t], dg[t]
        for i in range(len(m)):
            m_i = (m[i] + c[i]) * decay_m
            s_i = (s[i] + c[i]) * decay_s
            du_t[i] = (m_i - s_i) * gain  # u, until the next loop
            m[i] = m_i if o[i] == 0 else zero
            s[i] = s_i if o[i] == 0 else zero
        for i in range(len(m)):
            u_i = du_t[i]
            du_t[i] = u_i - u_prev[i]
            u_prev[i] = u_i if o[i] == 0 else zero
        for i in range(len(m)):
            g_i = (g[i] + c[i]) * decay_g
            dg_t[i] = g_i
            g[i] = g_i if o[i] == 0 else zero
        if not leaky:
            du_t[:] = dg_t
        if exact:
            dg_t[:] = du_t


@_run_kernel
def _time_slope(slope, bound, moved):
    """min(1 / slope, bound), and 0 where the slope does not rise: minus eq. (eq-time-slope). All (L,)."""
    zero, one = slope.dtype.type(0), slope.dtype.type(1)
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
    decay_m, decay_s, decay_g, gain, exact = k[0], k[1], k[2], k[3], k[5] > 0
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
        out, fired = grad_timing[t, r], spikes[t]
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
def _sum_back(e, fired, du, k, total, steady_m, steady_s):
    """G_w summed over time, (L,): a spike adds its move times the neuron's response to a steady 1. Inputs (T, L)."""
    decay_m, decay_s, gain, bound = k[0], k[1], k[3], k[6]
    zero, one = k.dtype.type(0), k.dtype.type(1)
    total[:] = zero
    steady_m[:] = zero
    steady_s[:] = zero
    for t in range(len(e)):
        e_t, o, du_t = e[t], fired[t], du[t]
        for i in range(len(total)):
            m_i, s_i = (steady_m[i] + one) * decay_m, (steady_s[i] + one) * decay_s
            inverse = one / du_t[i]
            moved = inverse if inverse < bound else bound
            moved = moved if du_t[i] > zero else zero
            total[i] += e_t[i] * moved * ((s_i - m_i) * gain) if o[i] > 0 else zero
            steady_m[i] = m_i if o[i] == 0 else zero
            steady_s[i] = s_i if o[i] == 0 else zero


@_run_kernel
def _add(x, total):
    """total += x, both of one length."""
    for i in range(len(total)):
        total[i] += x[i]


@_run_kernel
def _share(e, mean, window, channels, each, wide):
    """A window's gradient, shared among its spikes: e, mean and scratch (columns C), wide (L,). Eq. (eq-pool)."""
    size, zero = e.dtype.type(window * window), e.dtype.type(0)
    for i in range(len(e)):
        each[i] = e[i] / (size * mean[i]) if mean[i] > zero else zero
    for of in range(0, len(e), channels):
        for start in range(of * window, (of + channels) * window, channels):
            wide[start : start + channels] = each[of : of + channels]


@_run_kernel
def _unpack(byte, t, fired):
    """Above 0 where the bit of step t is set, both (L,)."""
    flag = np.uint8(1 << (t % 8))
    for i in range(len(fired)):
        fired[i] = byte[i] & flag


@_driver
def forward(current, theta, k, spikes, du, dg):
    """Spikes and slopes of every run, (T, R, L)."""
    steps, runs, length = spikes.shape
    for r in prange(runs):
        x = np.empty((4, length), k.dtype)
        fired = np.empty((steps, length), np.uint8)
        _fire(current, r, theta, k, fired, x[0], x[1])
        _replay(current, r, fired, k, du[:, r], dg[:, r], x[0], x[1], x[2], x[3])
        for t in range(steps):
            spikes[t, r] = fired[t]


@_driver
def backward(grad, spikes, du, dg, k, grad_timing, grad_weight):
    """G_t and G_w of every run, (T, R, L)."""
    for r in prange(grad.shape[1]):
        x = np.empty((4, grad.shape[2]), k.dtype)
        e, o, u, g = grad[:, r], spikes[:, r], du[:, r], dg[:, r]
        _carry_back(e, o, u, g, k, grad_timing, grad_weight, r, x[0], x[1], x[2], x[3])


@_driver
def forward_pooled(current, theta, k, height, channels, window, bits, pooled):
    """Spike bits of every run, (bytes, R, L), and their means over windows, (T, N rows, columns C)."""
    steps, rows, length = pooled.shape
    size = k.dtype.type(window * window)
    map_rows = height // window
    for row in prange(rows):
        x = np.empty((2, len(theta)), k.dtype)
        fired = np.empty((steps, len(theta)), np.uint8)
        pooled[:, row] = 0
        for offset in range(window):
            r = row // map_rows * height + row % map_rows * window + offset
            _fire(current, r, theta, k, fired, x[0], x[1])
            for t in range(steps):
                byte, mean, o = bits[t // 8, r], pooled[t, row], fired[t]
                flag = np.uint8(1 << (t % 8))
                for i in range(len(theta)):
                    byte[i] |= flag if o[i] else np.uint8(0)
                for to in range(0, length, channels):
                    for start in range(to * window, (to + channels) * window, channels):
                        _add(o[start : start + channels], mean[to : to + channels])
        for t in range(steps):
            mean = pooled[t, row]
            for i in range(length):
                mean[i] /= size


@_driver
def backward_pooled(current, grad, pooled, k, height, channels, window, bits, sum_weight, grad_timing, grad_weight):
    """Share each window's gradient among its spikes, replay their slopes, carry back. What fills no window stays 0."""
    steps, rows, _ = grad.shape
    length = current.shape[2]
    map_rows = height // window
    for row in prange(rows):
        x = np.empty((4, length), k.dtype)
        share = np.zeros((steps, length), k.dtype)
        du, dg = np.empty((steps, length), k.dtype), np.empty((steps, length), k.dtype)
        fired = np.empty((steps, length), np.uint8)
        for t in range(steps):
            _share(grad[t, row], pooled[t, row], window, channels, x[0], share[t])
        for offset in range(window):
            r = row // map_rows * height + row % map_rows * window + offset
            for t in range(steps):
                _unpack(bits[t // 8, r], t, fired[t])
            _replay(current, r, fired, k, du, dg, x[0], x[1], x[2], x[3])
            if sum_weight:
                _sum_back(share, fired, du, k, grad_weight[0, r], x[0], x[1])
            else:
                _carry_back(share, fired, du, dg, k, grad_timing, grad_weight, r, x[0], x[1], x[2], x[3])
