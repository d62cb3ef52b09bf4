"""The CPU engine's event-driven backward: products for every spike, none for the (neuron, step) pairs without one.

Seen backwards in time, G_t is a trace: a_t = d (a_{t+1} + D_t), where D_t is what a spike adds to it, and 0 where the
neuron is silent; G_w is the difference of two such traces. The affine map is linear, so the recursion may run on its
other side: W^T G_t is the same trace of W^T D_t, and sum_t G_w x is the sum over spikes of D_t times the input so far,
filtered. D has one entry a spike, and both products cost what the spikes cost. (G_w is -gain times the difference; the
factor stands in D.)

Arrays have channels last, as in neurons.py: a row of the input's map is (W + 2 padding) C_in long, weights are (K,
C_out, K C_in or more) and their gradient (C_out, K, K C_in), so that what a spike touches in one row of the map is one
run of memory. The spikes are listed by image, step and place, so that those of one place are neighbours; a place is
told by where its inputs begin in their map, y (W + 2 padding) C_in + x C_in (0 without a map).
"""

import numpy as np
from numba import prange

from .jit import compiled
from .llvm_rows import WORD, add_rows, aligned, raised, trailing_zeros
from .neurons import _replay, _unpack_window, _widen
from .tuning import SMALL

_run_kernel = compiled(fastmath={"contract"})
_driver = compiled(parallel=True, fastmath={"contract"})


@_driver
def number_spikes(bits, height, first, bounds):
    """Number the spikes of bits (bytes, N H, L) by image, step and row of the map.

    Args:
        first: the first spike of every row, (N, T, H): results
        bounds: those of every image and step, and where an image's end, (N, T + 1): results
    """
    images, steps, _ = first.shape
    for n in prange(images):
        for t in range(steps):
            flag = np.uint8(1 << (t % 8))
            for y in range(height):
                byte = bits[t // 8, n * height + y]
                total = 0
                for i in range(len(byte)):
                    total += (byte[i] & flag) != 0
                first[n, t, y] = total
    at = 0
    for n in range(images):
        for t in range(steps):
            bounds[n, t] = at
            for y in range(height):
                first[n, t, y], at = at, at + first[n, t, y]
        bounds[n, steps] = at


@_run_kernel
def _impulses(
    e, fired, u, trace, k, first, start, places, channels, place, channel, timing, membrane, synaptic, a, b, g
):
    """Write the impulses D of the spikes in a row of a map from entry `first[t]` on for every step t.

    e, potential u and backward trace are (T, L); fired is (T, L) and then zeros up to a multiple of WORD. The inputs of
    the row's neurons begin at `start` + places (L,), their channels are `channels` (L,); a, b and g are scratch, (L,).
    """
    decay_m = k[0]
    decay_s = k[1]
    decay_g = k[2]
    gain = k[3]
    bound_weight = k[6]
    bound_timing = k[7]
    leaky = k[4] > 0
    zero = k.dtype.type(0)
    one = k.dtype.type(1)
    a[:] = zero
    b[:] = zero
    g[:] = zero
    for t in range(len(e) - 1, -1, -1):
        at = np.uint64(first[t])  # unsigned: no index counts from the end
        e_t = e[t]
        u_t = u[t]
        g_t = trace[t]
        before = u[max(t - 1, 0)]
        kept = fired[max(t - 1, 0)]
        for low in range(0, fired.shape[1], WORD):
            word = raised(fired[t], low)
            while word:  # a bit for every spike
                i = np.uint64(low + trailing_zeros(word))
                word &= word - np.uint64(1)
                dg = g_t[i]
                du = u_t[i] - (before[i] if t > 0 and kept[i] == 0 else zero) if leaky else dg
                by_weight = one / du
                by_timing = one / dg
                by_weight = by_weight if by_weight < bound_weight else bound_weight
                by_timing = by_timing if by_timing < bound_timing else bound_timing
                started = e_t[i] * (by_weight if du > zero else zero)
                credited = e_t[i] * (by_timing if dg > zero else zero)
                place[at] = start + places[i]
                channel[at] = channels[i]
                timing[at] = credited - g[i]
                membrane[at] = (a[i] - started) * gain
                synaptic[at] = (b[i] - started) * gain
                a[i], b[i], g[i] = started, started, credited
                at += np.uint64(1)
        for i in range(len(a)):
            a[i] *= decay_m
            b[i] *= decay_s
            g[i] *= decay_g


@_driver
def impulses(
    current, grad, k, height, line, inputs, channels, window, shares, bits, first,
    place, channel, timing, membrane, synaptic,
):  # fmt: skip
    """The spikes of the map, in order: their place, their channel, and their D.

    `first` (N, T, H) numbers each row's first spike; the last five arrays have one entry a spike. A row of the input's
    map has `line` entries, a place of it `inputs`. `shares` as in `neurons.forward_pooled`.
    """
    steps, rows, _ = grad.shape
    length = current.shape[2]
    map_rows = height // window
    places = np.empty(length, np.int32)
    numbers = np.empty(length, np.int32)
    for i in range(length):
        places[i] = i // channels * inputs
        numbers[i] = i % channels
    for part in prange(shares):
        x = np.empty((3, length), k.dtype)
        wide = np.empty((steps, length), k.dtype)
        sums = np.empty((steps, length), k.dtype)
        u = np.empty((steps, length), k.dtype)
        trace = np.empty((steps, length), k.dtype)
        fired = np.zeros((window, steps, (length + WORD - 1) // WORD * WORD), np.uint8)
        for row in range(rows * part // shares, rows * (part + 1) // shares):
            n = row // map_rows
            top = row % map_rows * window
            _unpack_window(bits, n * height + top, fired, sums)
            _widen(grad, row, sums, window, channels, wide)
            for offset in range(window):
                y = top + offset
                one = fired[offset]
                _replay(current, n * height + y, one, k, u, trace, x[0], x[1], x[2])
                _impulses(
                    wide, one, u, trace, k, first[n, :, y], y * line, places, numbers,
                    place, channel, timing, membrane, synaptic, x[0], x[1], x[2],
                )  # fmt: skip


@_run_kernel
def _filter(spikes, decay_m, decay_s, slow, response, next_slow, next_response):
    """One step of the filtered inputs: the synaptic trace, and how far the membrane's is above it. All (L,)."""
    for i in range(len(spikes)):
        membrane = (slow[i] + response[i] + spikes[i]) * decay_m
        next_slow[i] = (slow[i] + spikes[i]) * decay_s
        next_response[i] = membrane - next_slow[i]


@_driver
def convolution_input(bounds, place, channel, timing, decay, weight, span, inputs, padding, x, grad_x):
    """grad_x = x W^T G_t, (T, N, H_in, W_in C_in), image by image, backwards in time. Eq. (eq-grad-timing).

    `bounds` (N, T + 1) are the first spikes of every image and step, `inputs` the input's channels; weights are
    (K, C_out, K C_in or more), `span` is that K C_in.
    """
    steps, images, rows, length = x.shape
    side, channels, apart = weight.shape
    line = length + 2 * padding * inputs
    weights = weight.reshape(-1)
    for n in prange(images):
        total = aligned(rows * line, weight)
        total[:] = 0
        trace = total.reshape((rows, line))
        begin = bounds[n, 0]
        where = place[begin : bounds[n, steps]]
        factors = timing[begin : bounds[n, steps]]
        offsets = np.empty(len(where), np.int64)
        ends = np.empty(len(where) + 1, np.int64)
        for j in range(len(where)):
            offsets[j] = channel[begin + j] * apart
        for t in range(steps - 1, -1, -1):
            ends[0] = bounds[n, t] - begin
            end = bounds[n, t + 1] - begin
            places = 0
            for j in range(ends[0], end):  # the spikes of a place are neighbours, and end where the next one's begin
                ends[places + 1] = j + 1
                places += j + 1 == end or where[j + 1] != where[j]
            for row in range(side):  # the weights of one row of the kernel stay near the first cache
                up = (row - padding) * line
                shift = row * channels * apart
                for p in range(places):
                    at = where[ends[p]] + up
                    if 0 <= at < rows * line:
                        add_rows(total, at, weights, shift, offsets, factors, ends[p], ends[p + 1], span)
            for y in range(rows):
                for i in range(line):
                    trace[y, i] *= decay
                inside = trace[y, padding * inputs : padding * inputs + length]
                spikes = x[t, n, y]
                out = grad_x[t, n, y]
                for i in range(length):
                    out[i] = inside[i] * spikes[i]


@_run_kernel
def _by_channel(channel, rows, membrane, synaptic, ends, later, behind, offsets, responses, traces):
    """Sort spikes by channel (a counting sort), for the two sums that make up grad_W.

    A spike adds membrane times the one trace of its input less synaptic times the other: membrane * response +
    (membrane - synaptic) * slow, of which the second part is 0 at a neuron's last spike. Those of channel c are put
    from ends[c] to before ends[c + 1], the ones with a second part first, to before later[c].

    Args:
        channel, rows, membrane, synaptic: of every spike; rows says where its input begins
        ends, later: (C + 1,) and (C,): results; behind: scratch, (C,)
        offsets, responses, traces: rows and the factors of the two parts, one entry a spike: results
    """
    channels = len(later)
    ends[:] = 0
    for j in range(len(channel)):
        ends[channel[j] + 1] += 1
    for c in range(channels):
        later[c] = ends[c]
        ends[c + 1] += ends[c]
        behind[c] = ends[c + 1]
    for j in range(len(channel)):
        c = channel[j]
        trace = membrane[j] - synaptic[j]
        both = np.int64(trace != 0)  # a number and no branch, which would be guessed wrong again and again
        behind[c] -= 1 - both
        at = later[c] * both + behind[c] * (1 - both)
        later[c] += both
        offsets[at] = rows[j]
        responses[at] = membrane[j]
        traces[at] = trace


@_driver
def convolution_weight(bounds, place, channel, membrane, synaptic, k, inputs, padding, x, partial):
    """grad_W, a share of the images in each of partial (shares, C_out, K, K C_in). Eq. (eq-grad-weight).

    Other arguments as in `convolution_input`. The filtered inputs run forwards in time.
    """
    steps, images, rows, length = x.shape
    shares, channels, side, span = partial.shape
    zero = k.dtype.type(0)
    line = length + 2 * padding * inputs
    height = rows + 2 * padding
    size = (rows + 2 * padding) * line
    together = min(max(SMALL // size, 1), steps)
    most = 0
    for n in range(images):
        for t in range(0, steps, together):
            most = max(most, bounds[n, min(t + together, steps)] - bounds[n, t])
    for share in prange(shares):
        total = partial[share].reshape(-1)
        total[:] = zero
        inside = slice(padding * inputs, padding * inputs + length)
        # One map more than steps, to start from: loops that overwrite what they read are not compiled to vectors.
        maps = together + 1
        slow = aligned(maps * size, x)
        response = aligned(maps * size, x)
        slow[:] = zero
        response[:] = zero
        slow_maps = slow.reshape((maps, height, line))
        response_maps = response.reshape((maps, height, line))
        ends = np.empty(channels + 1, np.int64)
        later = np.empty(channels, np.int64)
        behind = np.empty(channels, np.int64)
        offsets = np.empty(most, np.int64)
        responses = np.empty(most, k.dtype)
        traces = np.empty(most, k.dtype)
        inputs_of = np.empty(most, np.int64)
        for n in range(share, images, shares):
            slow_maps[-1] = zero
            response_maps[-1] = zero
            for start in range(0, steps, together):
                begin = bounds[n, start]
                end = bounds[n, min(start + together, steps)]
                for t in range(start, min(start + together, steps)):
                    before = (t + together) % maps
                    now = t % maps
                    for y in range(rows):
                        _filter(
                            x[t, n, y], k[0], k[1],
                            slow_maps[before, y + padding, inside], response_maps[before, y + padding, inside],
                            slow_maps[now, y + padding, inside], response_maps[now, y + padding, inside],
                        )  # fmt: skip
                    for j in range(bounds[n, t], bounds[n, t + 1]):
                        inputs_of[j - begin] = place[j] + now * size
                _by_channel(
                    channel[begin:end], inputs_of[: end - begin], membrane[begin:end], synaptic[begin:end],
                    ends, later, behind, offsets, responses, traces,
                )  # fmt: skip
                for c in range(channels):
                    for row in range(side):
                        at = (c * side + row) * span
                        shift = row * line
                        add_rows(total, at, response, shift, offsets, responses, ends[c], ends[c + 1], span)
                        add_rows(total, at, slow, shift, offsets, traces, ends[c], later[c], span)
