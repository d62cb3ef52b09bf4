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

from .groups import ByChannel, Filtered, Impulses, Places, Slopes
from .inner_loops import add_rows
from .jit import compiled
from .memory import aligned
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
def _list_spikes(fired, numbers):
    """List the neurons with a spike, of flags (L,), in `numbers` (L,), and return how many they are."""
    count = 0
    for i in range(len(fired)):
        # a number and no branch, which would be guessed wrong again and again
        numbers[count] = i
        count += fired[i] != 0
    return count


@_run_kernel
def _impulses(e, fired, slopes, neuron, first, start, places, impulses, scratch, numbers):
    """Write the impulses D of the spikes in a row of a map from entry `first[t]` on for every step t.

    e and fired are (T, L), as are potential and backward trace in `slopes`. The inputs of the row's neurons begin at
    `start` + places.input. scratch is (3, L), numbers is scratch, (L,).
    """
    decay_m = neuron.decay_m
    decay_s = neuron.decay_s
    decay_g = neuron.decay_g
    gain = neuron.gain
    bound_weight = neuron.bound_weight
    bound_timing = neuron.bound_timing
    zero = scratch.dtype.type(0)
    one = scratch.dtype.type(1)
    a = scratch[0]
    b = scratch[1]
    g = scratch[2]
    a[:] = zero
    b[:] = zero
    g[:] = zero
    for t in range(len(e) - 1, -1, -1):
        at = np.uint64(first[t])  # unsigned: no index counts from the end
        e_t = e[t]
        u_t = slopes.u[t]
        g_t = slopes.g[t]
        before = slopes.u[max(t - 1, 0)]
        kept = fired[max(t - 1, 0)]
        for number in range(_list_spikes(fired[t], numbers)):
            i = numbers[number]
            dg = g_t[i]
            du = dg
            if neuron.leaky:
                du = u_t[i] - (before[i] if t > 0 and kept[i] == 0 else zero)
            by_weight = min(one / du, bound_weight) if du > zero else zero
            by_timing = min(one / dg, bound_timing) if dg > zero else zero
            started = e_t[i] * by_weight
            credited = e_t[i] * by_timing
            impulses.place[at] = start + places.input[i]
            impulses.channel[at] = places.channel[i]
            impulses.timing[at] = credited - g[i]
            impulses.membrane[at] = (a[i] - started) * gain
            impulses.synaptic[at] = (b[i] - started) * gain
            a[i] = started
            b[i] = started
            g[i] = credited
            at += np.uint64(1)
        for i in range(len(a)):
            a[i] *= decay_m
            b[i] *= decay_s
            g[i] *= decay_g


@_run_kernel
def _fill_places(places, channels, inputs):
    """Write where the neurons of a row have their inputs, `inputs` a place, and their channels."""
    for i in range(len(places.input)):
        places.input[i] = i // channels * inputs
        places.channel[i] = i % channels


@_driver
def list_impulses(current, grad, neuron, rows, line, inputs, bits, first, impulses):
    """The spikes of the map, in order: their place, their channel, and their D, written to `impulses`.

    `first` (N, T, H) numbers each row's first spike. A row of the input's map has `line` entries, a place `inputs`.
    """
    steps, pooled_rows, _ = grad.shape
    length = current.shape[2]
    window = rows.window
    map_rows = rows.height // window
    places = Places(np.empty(length, np.int32), np.empty(length, np.int32))
    _fill_places(places, rows.channels, inputs)
    for part in prange(rows.shares):
        scratch = np.empty((3, length), current.dtype)
        numbers = np.empty(length, np.uint64)
        wide = np.empty((steps, length), current.dtype)
        sums = np.empty((steps, length), current.dtype)
        slopes = Slopes(np.empty((steps, length), current.dtype), np.empty((steps, length), current.dtype))
        fired = np.empty((window, steps, length), np.uint8)
        for row in range(pooled_rows * part // rows.shares, pooled_rows * (part + 1) // rows.shares):
            n = row // map_rows
            top = row % map_rows * window
            _unpack_window(bits, n * rows.height + top, fired, sums)
            _widen(grad, row, sums, rows, wide)
            for offset in range(window):
                y = top + offset
                one = fired[offset]
                _replay(current, n * rows.height + y, one, neuron, slopes, scratch)
                _impulses(wide, one, slopes, neuron, first[n, :, y], y * line, places, impulses, scratch, numbers)


@_run_kernel
def _filter(spikes, neuron, before, now):
    """One step of the filtered inputs, from spikes (L,): the synaptic trace, and how far the membrane's is above it."""
    for i in range(len(spikes)):
        membrane = (before.slow[i] + before.response[i] + spikes[i]) * neuron.decay_m
        now.slow[i] = (before.slow[i] + spikes[i]) * neuron.decay_s
        now.response[i] = membrane - now.slow[i]


@_driver
def convolution_input(bounds, impulses, neuron, weight, geometry, x, grad_x):
    """grad_x = x W^T G_t, (T, N, H_in, W_in C_in), image by image, backwards in time. Eq. (eq-grad-timing).

    `bounds` (N, T + 1) are the first spikes of every image and step; weights are (K, C_out, K C_in or more).
    """
    steps, images, rows, length = x.shape
    side, channels, apart = weight.shape
    edge = geometry.padding * geometry.inputs
    line = length + 2 * edge
    weights = weight.reshape(-1)
    for n in prange(images):
        total = aligned(rows * line, weight)
        total[:] = 0
        trace = total.reshape((rows, line))
        begin = bounds[n, 0]
        where = impulses.place[begin : bounds[n, steps]]
        factors = impulses.timing[begin : bounds[n, steps]]
        offsets = np.empty(len(where), np.int64)
        ends = np.empty(len(where) + 1, np.int64)
        for j in range(len(where)):
            offsets[j] = impulses.channel[begin + j] * apart
        for t in range(steps - 1, -1, -1):
            ends[0] = bounds[n, t] - begin
            end = bounds[n, t + 1] - begin
            places = 0
            for j in range(ends[0], end):  # the spikes of a place are neighbours, and end where the next one's begin
                ends[places + 1] = j + 1
                places += j + 1 == end or where[j + 1] != where[j]
            for row in range(side):  # the weights of one row of the kernel stay near the first cache
                up = (row - geometry.padding) * line
                shift = row * channels * apart
                for p in range(places):
                    at = where[ends[p]] + up
                    if 0 <= at < rows * line:
                        add_rows(total, at, weights, shift, offsets, factors, ends[p], ends[p + 1], geometry.span)
            for y in range(rows):
                for i in range(line):
                    trace[y, i] *= neuron.decay_g
                inside = trace[y, edge : edge + length]
                spikes = x[t, n, y]
                out = grad_x[t, n, y]
                for i in range(length):
                    out[i] = inside[i] * spikes[i]


@_run_kernel
def _room_by_channel(channels, spikes, like):
    """Uninitialised memory for up to so many impulses."""
    return ByChannel(
        np.empty(channels + 1, np.int64),
        np.empty(channels, np.int64),
        np.empty(channels, np.int64),
        np.empty(spikes, np.int64),
        np.empty(spikes, like.dtype),
        np.empty(spikes, like.dtype),
    )


@_run_kernel
def _sort_by_channel(impulses, rows, found):
    """Sort impulses by channel (a counting sort), for the two sums that make up grad_W.

    A spike adds membrane times the one trace of its input less synaptic times the other: membrane * response +
    (membrane - synaptic) * slow, of which the second part is 0 at a neuron's last spike. Those of a channel with a
    second part are put first.

    Args:
        rows: where each spike's input begins
        found: results
    """
    ends = found.ends
    later = found.later
    behind = found.behind
    channel = impulses.channel
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
        trace = impulses.membrane[j] - impulses.synaptic[j]
        both = np.int64(trace != 0)  # a number and no branch, which would be guessed wrong again and again
        behind[c] -= 1 - both
        at = later[c] * both + behind[c] * (1 - both)
        later[c] += both
        found.offsets[at] = rows[j]
        found.responses[at] = impulses.membrane[j]
        found.traces[at] = trace


@_run_kernel
def _add_both(total, at, filtered, shift, found, c, span):
    """Add the two sums of channel c's impulses, for `span` neighbours from total[at] on."""
    begin = found.ends[c]
    add_rows(total, at, filtered.response, shift, found.offsets, found.responses, begin, found.ends[c + 1], span)
    add_rows(total, at, filtered.slow, shift, found.offsets, found.traces, begin, found.later[c], span)


@_run_kernel
def _zeros(entries, like):
    """Filtered inputs to start from, flat."""
    filtered = Filtered(aligned(entries, like), aligned(entries, like))
    filtered.slow[:] = 0
    filtered.response[:] = 0
    return filtered


@_run_kernel
def _filter_map(x, neuron, padding, inside, before, now):
    """One step of the filtered inputs of a map x (H, W C_in), from maps `before` to maps `now`, which have edges."""
    for y in range(len(x)):
        to = y + padding
        _filter(
            x[y],
            neuron,
            Filtered(before.slow[to, inside], before.response[to, inside]),
            Filtered(now.slow[to, inside], now.response[to, inside]),
        )


@_run_kernel
def _part(impulses, begin, end):
    """The impulses from `begin` to before `end`."""
    return Impulses(
        impulses.place[begin:end],
        impulses.channel[begin:end],
        impulses.timing[begin:end],
        impulses.membrane[begin:end],
        impulses.synaptic[begin:end],
    )


@_run_kernel
def _most_spikes(bounds, together):
    """The most spikes of an image in so many steps."""
    images, steps = bounds.shape[0], bounds.shape[1] - 1
    most = 0
    for n in range(images):
        for t in range(0, steps, together):
            most = max(most, bounds[n, min(t + together, steps)] - bounds[n, t])
    return most


@_driver
def convolution_weight(bounds, impulses, neuron, geometry, x, partial):
    """grad_W, a share of the images in each of partial (shares, C_out, K, K C_in). Eq. (eq-grad-weight).

    Other arguments as in `convolution_input`. The filtered inputs run forwards in time.
    """
    steps, images, rows, length = x.shape
    shares, channels, side, span = partial.shape
    edge = geometry.padding * geometry.inputs
    line = length + 2 * edge
    height = rows + 2 * geometry.padding
    size = height * line
    together = min(max(SMALL // size, 1), steps)
    most = _most_spikes(bounds, together)
    for share in prange(shares):
        total = partial[share].reshape(-1)
        total[:] = 0
        inside = slice(edge, edge + length)
        # One map more than steps, to start from: loops that overwrite what they read are not compiled to vectors.
        count = together + 1
        filtered = _zeros(count * size, x)
        slow = filtered.slow.reshape((count, height, line))
        response = filtered.response.reshape((count, height, line))
        found = _room_by_channel(channels, most, x)
        inputs_of = np.empty(most, np.int64)
        for n in range(share, images, shares):
            slow[-1] = 0
            response[-1] = 0
            for start in range(0, steps, together):
                begin = bounds[n, start]
                stop = min(start + together, steps)
                end = bounds[n, stop]
                for t in range(start, stop):
                    before = (t + together) % count
                    now = t % count
                    _filter_map(
                        x[t, n],
                        neuron,
                        geometry.padding,
                        inside,
                        Filtered(slow[before], response[before]),
                        Filtered(slow[now], response[now]),
                    )
                    for j in range(bounds[n, t], bounds[n, t + 1]):
                        inputs_of[j - begin] = impulses.place[j] + now * size
                _sort_by_channel(_part(impulses, begin, end), inputs_of[: end - begin], found)
                for c in range(channels):
                    for row in range(side):
                        _add_both(total, (c * side + row) * span, filtered, row * line, found, c, span)
