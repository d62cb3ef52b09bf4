"""The CPU engine's event-driven backward: work for every spike, none for the (neuron, step) pairs without one.

Seen backwards in time, G_t is a trace: a_t = d (a_{t+1} + D_t), where D_t is what a spike adds to it, and 0 where the
neuron is silent; G_w is the difference of two such traces. The affine map is linear, so the recursion may run on its
other side: W^T G_t is the same trace of W^T D_t, and sum_t G_w x is the sum over spikes of D_t times the input so far,
filtered. D has one entry a spike, and both products cost what the spikes cost.

Arrays have channels last, as in cpu_kernels.py: a row of the input's map is (W + 2 padding) C_in long, weights are
(C_out, K, K C_in), so that what a spike touches in one row of the map is one run of memory. Sums are fused
multiply-adds: these are gradients, where no bit decides a spike.
"""

import numpy as np
from numba import njit, prange

from .cpu_kernels import _replay, _share, _time_slope, _unpack

_run_kernel = njit(error_model="numpy", cache=True, fastmath={"contract"})
_driver = njit(error_model="numpy", cache=True, parallel=True, fastmath={"contract"})

COLUMNS = 128
"""Input features that a fully connected map works on at a time, so that their weights stay in the second cache."""


@_driver
def count(bits, height, counts):
    """Spikes of every image, step and row of the map, (N, T, H), from the bits (bytes, N H, L)."""
    images, steps, _ = counts.shape
    for n in prange(images):
        for t in range(steps):
            flag = np.uint8(1 << (t % 8))
            for y in range(height):
                byte, total = bits[t // 8, n * height + y], 0
                for i in range(len(byte)):
                    total += (byte[i] & flag) != 0
                counts[n, t, y] = total


@_run_kernel
def _impulses(e, fired, du, dg, k, first, y, where, timing, membrane, synaptic, x):
    """Write the impulses D of the spikes in row y of a map, (T, L), from entry `first[t]` on for every step t."""
    decay_m, decay_s, decay_g = k[0], k[1], k[2]
    zero = k.dtype.type(0)
    a, b, g, by_weight, by_timing = x[0], x[1], x[2], x[3], x[4]
    a[:] = zero
    b[:] = zero
    g[:] = zero
    for t in range(len(e) - 1, -1, -1):
        _time_slope(du[t], k[6], by_weight)
        _time_slope(dg[t], k[7], by_timing)
        e_t, o, at = e[t], fired[t], first[t]
        for i in range(len(o)):
            if o[i] > 0:
                started, credited = e_t[i] * by_weight[i], e_t[i] * by_timing[i]
                where[at] = y * len(o) + i
                timing[at], membrane[at], synaptic[at] = credited - g[i], started - a[i], started - b[i]
                a[i], b[i], g[i] = started, started, credited
                at += 1
        for i in range(len(o)):
            a[i] *= decay_m
            b[i] *= decay_s
            g[i] *= decay_g


@_driver
def impulses(current, grad, pooled, k, height, channels, window, bits, first, where, timing, membrane, synaptic):
    """The spikes of the map, ordered by image, step and row: where they are in the map (y W C + x C + c), and their D.

    `first` (N, T, H) numbers each row's first spike; the last four arrays have one entry a spike.
    """
    steps, rows, _ = grad.shape
    length = current.shape[2]
    map_rows = height // window
    for row in prange(rows):
        x = np.empty((5, length), k.dtype)
        share = np.zeros((steps, length), k.dtype)
        du, dg = np.empty((steps, length), k.dtype), np.empty((steps, length), k.dtype)
        fired = np.empty((steps, length), np.uint8)
        for t in range(steps):
            _share(grad[t, row], pooled[t, row], window, channels, x[0], share[t])
        for offset in range(window):
            n, y = row // map_rows, row % map_rows * window + offset
            r = n * height + y
            for t in range(steps):
                _unpack(bits[t // 8, r], t, fired[t])
            _replay(current, r, fired, k, du, dg, x[0], x[1], x[2], x[3])
            _impulses(share, fired, du, dg, k, first[n, :, y], y, where, timing, membrane, synaptic, x)


@_run_kernel
def _add_scaled(factor, x, total):
    """total += factor x, both of one length."""
    for i in range(len(total)):
        total[i] += factor * x[i]


@_run_kernel
def _add_four(factors, a, b, c, d, total):
    """total += the four rows, each times its factor, all of one length: a quarter of the traffic of four additions."""
    f_a, f_b, f_c, f_d = factors[0], factors[1], factors[2], factors[3]
    for i in range(len(total)):
        total[i] += (f_a * a[i] + f_b * b[i]) + (f_c * c[i] + f_d * d[i])


@_run_kernel
def _filter(spikes, decay_m, decay_s, slow, response):
    """One step of the filtered inputs: the synaptic trace, and how far the membrane's is above it. All (L,)."""
    for i in range(len(spikes)):
        membrane = (slow[i] + response[i] + spikes[i]) * decay_m
        slow[i] = (slow[i] + spikes[i]) * decay_s
        response[i] = membrane - slow[i]


@_driver
def convolution_input(bounds, where, timing, decay, weight, width, inputs, padding, x, grad_x):
    """grad_x = x W^T G_t, (T, N, H_in, W_in C_in), image by image, backwards in time. Eq. (eq-grad-timing).

    `bounds` (N, T + 1) are the first spikes of every image and step, `width` the columns of the output map, `inputs`
    the input's channels.
    """
    steps, images, rows, length = x.shape
    channels, side, span = weight.shape
    for n in prange(images):
        trace = np.zeros((rows + 2 * padding, length + 2 * padding * inputs), weight.dtype)
        for t in range(steps - 1, -1, -1):
            j, end = bounds[n, t], bounds[n, t + 1]
            while j < end:
                place = where[j] // channels
                top, start = place // width, place % width * inputs
                four = j + 4 <= end and where[j + 3] // channels == place  # spikes are in order of their place
                for row in range(side):
                    to = trace[top + row, start : start + span]
                    first = weight[where[j] % channels, row]
                    if four:
                        second, third = weight[where[j + 1] % channels, row], weight[where[j + 2] % channels, row]
                        fourth = weight[where[j + 3] % channels, row]
                        _add_four(timing[j : j + 4], first, second, third, fourth, to)
                    else:
                        _add_scaled(timing[j], first, to)
                j += 4 if four else 1
            for y in range(len(trace)):
                line = trace[y]
                for i in range(len(line)):
                    line[i] *= decay
            for y in range(rows):
                inside = trace[y + padding, padding * inputs : padding * inputs + length]
                spikes, out = x[t, n, y], grad_x[t, n, y]
                for i in range(length):
                    out[i] = inside[i] * spikes[i]


@_run_kernel
def _order_by_channel(where, begin, channels, ends, order):
    """Numbers of the spikes (the first is `begin`), channel by channel: a counting sort; ends is scratch, (C + 1,)."""
    ends[:] = 0
    for j in range(len(where)):
        ends[where[j] % channels + 1] += 1
    for c in range(channels):
        ends[c + 1] += ends[c]
    for j in range(len(where)):
        c = where[j] % channels
        order[ends[c]] = begin + j
        ends[c] += 1


@_driver
def convolution_weight(bounds, where, membrane, synaptic, k, width, inputs, padding, x, partial):
    """-grad_W / gain, a share of the images in each of partial (shares, C_out, K, K C_in). Eq. (eq-grad-weight).

    Other arguments as in `convolution_input`. The filtered inputs run forwards in time. A spike adds membrane times
    the one less synaptic times the other: membrane * response + (membrane - synaptic) * slow, of which the second
    part is 0 at a neuron's last spike.
    """
    steps, images, rows, length = x.shape
    shares, channels, side, span = partial.shape
    zero = k.dtype.type(0)
    most = 0
    for n in range(images):
        for t in range(steps):
            most = max(most, bounds[n, t + 1] - bounds[n, t])
    for share in prange(shares):
        total = partial[share]
        inside = slice(padding * inputs, padding * inputs + length)
        total[:] = zero
        shape = (rows + 2 * padding, length + 2 * padding * inputs)
        slow, response = np.empty(shape, k.dtype), np.empty(shape, k.dtype)
        ends, order = np.empty(channels + 1, np.int64), np.empty(most, np.int64)
        tops, starts, factors = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(4, k.dtype)
        for n in range(share, images, shares):
            slow[:] = zero
            response[:] = zero
            for t in range(steps):
                for y in range(rows):
                    _filter(x[t, n, y], k[0], k[1], slow[y + padding, inside], response[y + padding, inside])
                _order_by_channel(where[bounds[n, t] : bounds[n, t + 1]], bounds[n, t], channels, ends, order)
                j, end = 0, bounds[n, t + 1] - bounds[n, t]
                while j < end:
                    c = where[order[j]] % channels
                    four = j + 4 <= end and where[order[j + 3]] % channels == c
                    for q in range(4 if four else 1):
                        place = where[order[j + q]] // channels
                        tops[q], starts[q], factors[q] = place // width, place % width * inputs, membrane[order[j + q]]
                    for row in range(side):
                        first = response[tops[0] + row, starts[0] : starts[0] + span]
                        if four:
                            second = response[tops[1] + row, starts[1] : starts[1] + span]
                            third = response[tops[2] + row, starts[2] : starts[2] + span]
                            fourth = response[tops[3] + row, starts[3] : starts[3] + span]
                            _add_four(factors, first, second, third, fourth, total[c, row])
                        else:
                            _add_scaled(factors[0], first, total[c, row])
                    j += 4 if four else 1
                for j in range(bounds[n, t], bounds[n, t + 1]):
                    rest = membrane[j] - synaptic[j]
                    if rest != zero:
                        place, c = divmod(where[j], channels)
                        top, start = place // width, place % width * inputs
                        for row in range(side):
                            _add_scaled(rest, slow[top + row, start : start + span], total[c, row])


@_driver
def connected_input(bounds, where, timing, decay, weight, x, grad_x):
    """grad_x = x W^T G_t, (T, N, F_in), for weight (F_out, F_in): some columns at a time. Eq. (eq-grad-timing)."""
    steps, images, features = x.shape
    for block in prange((features + COLUMNS - 1) // COLUMNS):
        columns = slice(block * COLUMNS, min(features, (block + 1) * COLUMNS))
        trace = np.empty(columns.stop - columns.start, weight.dtype)
        for n in range(images):
            trace[:] = 0
            for t in range(steps - 1, -1, -1):
                for j in range(bounds[n, t], bounds[n, t + 1]):
                    _add_scaled(timing[j], weight[where[j], columns], trace)
                spikes, out = x[t, n, columns], grad_x[t, n, columns]
                for i in range(len(trace)):
                    trace[i] *= decay
                    out[i] = trace[i] * spikes[i]


@_driver
def connected_weight(bounds, where, membrane, synaptic, k, x, grad_weight):
    """-grad_W / gain, (F_out, F_in), some columns at a time. Eq. (eq-grad-weight)."""
    steps, images, features = x.shape
    zero = k.dtype.type(0)
    for block in prange((features + COLUMNS - 1) // COLUMNS):
        columns = slice(block * COLUMNS, min(features, (block + 1) * COLUMNS))
        size = columns.stop - columns.start
        slow, response = np.empty(size, k.dtype), np.empty(size, k.dtype)
        for c in range(len(grad_weight)):
            grad_weight[c, columns] = zero
        for n in range(images):
            slow[:] = zero
            response[:] = zero
            for t in range(steps):
                _filter(x[t, n, columns], k[0], k[1], slow, response)
                for j in range(bounds[n, t], bounds[n, t + 1]):
                    rest, to = membrane[j] - synaptic[j], grad_weight[where[j], columns]
                    _add_scaled(membrane[j], response, to)
                    if rest != zero:
                        _add_scaled(rest, slow, to)
