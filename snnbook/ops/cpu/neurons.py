"""The CPU engine's kernels: the reference's equations in one pass over memory, compiled by Numba.

Small functions do the work of one run (a row of the map with all of its channels, all time steps), with the
state in the processor's first cache: `_fire` integrates, `_replay` recomputes potentials and backward traces from known
spikes, `_slopes` makes slopes of them, `_carry_back` runs the neuron backwards; `_sum_back` does without the last three
where currents repeat. The drivers below go over all runs in parallel. With pooling, nothing T times as large as the map
is kept between forward and backward but the currents and one bit per neuron and step: the slopes are replayed.

Arithmetic is done in the reference's order, without contraction, so spikes are equal to the bit.
Inside this file arrays have channels last: currents (S, R, L), with S the steps that differ (1 where the input
repeats), R runs, and L = W C neurons a run, so that the inner loops are long and over neighbours in memory.
`neuron` is a `Constants`, in the currents' precision; groups.py has the other named tuples.
"""

import numpy as np
from numba import prange

from .groups import Gradients, Slopes
from .inner_loops import pool, share
from .jit import compiled

_run_kernel = compiled()
_driver = compiled(parallel=True)


@_run_kernel
def _fire(current, r, theta, neuron, spikes, scratch):
    """Integrate and fire in run r. Eq. (eq-neuron). Writes spikes (T, L); scratch is (2, L)."""
    decay_m = neuron.decay_m
    decay_s = neuron.decay_s
    decay_g = neuron.decay_g
    gain = neuron.gain
    leaky = neuron.leaky
    zero = current.dtype.type(0)
    m = scratch[0]
    s = scratch[1]
    m[:] = zero
    s[:] = zero
    for t in range(len(spikes)):
        c = current[t % len(current), r]
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
def _replay(current, r, spikes, neuron, slopes, scratch):
    """Potential (if the neuron leaks) and backward trace before any reset, in run r from spikes (T, L).

    Writes both into `slopes`; scratch is (3, L).
    """
    decay_m = neuron.decay_m
    decay_s = neuron.decay_s
    decay_g = neuron.decay_g
    gain = neuron.gain
    leaky = neuron.leaky
    zero = current.dtype.type(0)
    m = scratch[0]
    s = scratch[1]
    trace = scratch[2]
    m[:] = zero
    s[:] = zero
    trace[:] = zero
    for t in range(len(spikes)):
        c = current[t % len(current), r]
        o = spikes[t]
        u_t = slopes.u[t]
        g_t = slopes.g[t]
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
def _to_slopes(spikes, neuron, slopes):
    """Replace potential and backward trace by the slopes du and dg, with spikes (T, L)."""
    leaky = neuron.leaky
    exact = neuron.exact
    zero = slopes.u.dtype.type(0)
    for t in range(len(spikes) - 1, -1, -1):
        now = slopes.u[t]
        before = slopes.u[max(t - 1, 0)]
        o = spikes[max(t - 1, 0)]
        if not leaky:
            now[:] = slopes.g[t]
        elif t > 0:
            for i in range(len(now)):
                now[i] -= before[i] if o[i] == 0 else zero
        if exact:
            slopes.g[t] = now


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
def _carry_back(grad, spikes, slopes, neuron, gradients, r, scratch):
    """The neuron run backwards: G_t and G_w in run r. Eq. (eq-grad-timing), (eq-grad-weight).

    grad, spikes and the slopes du and dg are (T, L), scratch is (4, L). Two sweeps over time, one for each gradient.
    """
    zero = scratch.dtype.type(0)
    decay_m = neuron.decay_m
    decay_s = neuron.decay_s
    gain = neuron.gain
    a = scratch[0]
    b = scratch[1]
    moved = scratch[2]
    earlier = scratch[3]
    a[:] = zero
    b[:] = zero
    for t in range(len(grad) - 1, -1, -1):
        _time_slope(slopes.u[t], neuron.bound_weight, moved)
        _restart(grad[t], moved, spikes[t], decay_m, a)
        _restart(grad[t], moved, spikes[t], decay_s, b)
        _difference(a, b, -gain, gradients.weight[t, r])
    a[:] = zero
    b[:] = zero
    earlier[:] = zero
    for t in range(len(grad) - 1, -1, -1):
        _time_slope(slopes.g[t], neuron.bound_timing, moved)
        out = gradients.timing[t, r]
        fired = spikes[t]
        if neuron.exact:
            _restart(grad[t], moved, fired, decay_m, a)
            _restart(grad[t], moved, fired, decay_s, b)
            for i in range(len(out)):
                response = (a[i] - b[i]) * gain
                out[i] = response - (zero if fired[i] > 0 else earlier[i])
                earlier[i] = response
        else:
            _restart(grad[t], moved, fired, neuron.decay_g, a)
            out[:] = a


@_run_kernel
def _sum_back(e, fired, c, neuron, total, scratch):
    """G_w summed over time where the current c repeats, (L,): every spike adds its move times a response to a steady 1.

    Slopes are c times those of that response, so nothing is replayed. e and fired are (T, L); scratch (3, L) holds the
    response's two traces, and the response before (the backward trace where the neuron does not leak).
    """
    decay_m = neuron.decay_m
    decay_s = neuron.decay_s
    decay_g = neuron.decay_g
    gain = neuron.gain
    leaky = neuron.leaky
    bound = neuron.bound_weight
    zero = total.dtype.type(0)
    one = total.dtype.type(1)
    m = scratch[0]
    s = scratch[1]
    before = scratch[2]
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
def _widen(grad, row, sums, rows, wide):
    """Gradients of the neurons of a pooled row, (T, L), from its own, (T, rows, columns C). Eq. (eq-pool).

    sums (T, L) are spikes added up over a window's rows.
    """
    columns = grad.shape[2] // rows.channels
    for t in range(len(grad)):
        share(grad[t, row], sums[t], columns, rows.channels, rows.window, wide[t])
        wide[t, columns * rows.window * rows.channels :] = 0  # what fills no window


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
def forward(current, theta, neuron, spikes, du, dg):
    """Spikes and slopes of every run, (T, R, L)."""
    steps, runs, length = spikes.shape
    for r in prange(runs):
        scratch = np.empty((3, length), current.dtype)
        fired = np.empty((steps, length), np.uint8)
        slopes = Slopes(du[:, r], dg[:, r])
        _fire(current, r, theta, neuron, fired, scratch)
        _replay(current, r, fired, neuron, slopes, scratch)
        _to_slopes(fired, neuron, slopes)
        for t in range(steps):
            spikes[t, r] = fired[t]


@_driver
def backward(grad, spikes, du, dg, neuron, grad_timing, grad_weight):
    """G_t and G_w of every run, (T, R, L)."""
    for r in prange(grad.shape[1]):
        scratch = np.empty((4, grad.shape[2]), grad.dtype)
        slopes = Slopes(du[:, r], dg[:, r])
        _carry_back(grad[:, r], spikes[:, r], slopes, neuron, Gradients(grad_timing, grad_weight), r, scratch)


@_driver
def forward_pooled(current, theta, neuron, rows, bits, pooled):
    """Spike bits of every run, (bytes, R, L), and their means over windows, (T, N rows, columns C)."""
    steps, pooled_rows, _ = pooled.shape
    length = len(theta)
    window = rows.window
    size = current.dtype.type(window * window)
    map_rows = rows.height // window
    for part in prange(rows.shares):
        scratch = np.empty((2, length), current.dtype)
        fired = np.empty((steps, length), np.uint8)
        sums = np.empty((steps, length), current.dtype)
        for row in range(pooled_rows * part // rows.shares, pooled_rows * (part + 1) // rows.shares):
            for offset in range(window):
                r = row // map_rows * rows.height + row % map_rows * window + offset
                _fire(current, r, theta, neuron, fired, scratch)
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
                pool(mean, sums[t], len(mean) // rows.channels, rows.channels, window)
                for i in range(len(mean)):
                    mean[i] /= size


@_driver
def backward_pooled(current, grad, neuron, rows, bits, sum_weight, gradients):
    """Share each window's gradient among its spikes, replay slopes, carry back. Places in no window stay 0.

    With `sum_weight`, which takes currents that repeat, G_w alone, summed over time.
    """
    steps, pooled_rows, _ = grad.shape
    length = current.shape[2]
    window = rows.window
    map_rows = rows.height // window
    for part in prange(rows.shares):
        scratch = np.empty((4, length), current.dtype)
        wide = np.empty((steps, length), current.dtype)
        sums = np.empty((steps, length), current.dtype)
        slopes = Slopes(np.empty((steps, length), current.dtype), np.empty((steps, length), current.dtype))
        fired = np.empty((window, steps, length), np.uint8)
        for row in range(pooled_rows * part // rows.shares, pooled_rows * (part + 1) // rows.shares):
            first = row // map_rows * rows.height + row % map_rows * window
            _unpack_window(bits, first, fired, sums)
            _widen(grad, row, sums, rows, wide)
            for offset in range(window):
                r = first + offset
                one = fired[offset]
                if sum_weight:
                    _sum_back(wide, one, current[0, r], neuron, gradients.weight[0, r], scratch)
                else:
                    _replay(current, r, one, neuron, slopes, scratch)
                    _to_slopes(one, neuron, slopes)
                    _carry_back(wide, one, slopes, neuron, gradients, r, scratch)
