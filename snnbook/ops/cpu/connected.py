"""The CPU engine's fully connected maps, spike by spike: currents, and both gradients, some columns at a time.

See events.py for the method of the backward passes. A fully connected layer has no positions, so `place` is dropped.
"""

import numpy as np
from numba import prange

from .events import _by_channel, _filter
from .jit import compiled
from .llvm_rows import LANES, add_rows, aligned, turn
from .tuning import CACHED, MOST

_driver = compiled(parallel=True, fastmath={"contract"})


@compiled()
def _columns(features, room, threads):
    """Columns worked on at a time: whole vectors, MOST or `room` at most, and as many stretches for every thread."""
    most = max(LANES, min(MOST, room // LANES * LANES))
    stretches = max((features + most - 1) // most, 1)
    stretches = (stretches + threads - 1) // threads * threads
    return max((features + stretches * LANES - 1) // (stretches * LANES), 1) * LANES


@_driver
def list_entries(x, span, width, bounds, offsets, factors):
    """Entries of x (rows, F) that are not 0, stretch by stretch of `span` columns, row by row.

    Args:
        width: what lies between one column and the next in `connected`'s part of the weights
        bounds: where the entries of every stretch and row begin, and where a stretch ends, (stretches, rows + 1); one
            place more is free
        offsets, factors: of every entry: results
    """
    for k in prange(len(bounds)):
        start = k * span
        for r in range(len(x)):
            row = x[r, start : start + span]
            at = bounds[k, r]
            for i in range(len(row)):
                offsets[at] = i * width
                factors[at] = row[i]
                at += row[i] != 0


@_driver
def connected(weight, span, width, bounds, offsets, factors, current):
    """Currents (B, F_out) of the entries that `list_entries` found, for weight (F_out, F_in).

    A part of the weights, `width` outputs and `span` inputs, is transposed into the first cache and serves all rows.
    """
    outputs, inputs = weight.shape
    weights = weight.reshape(-1)
    total = current.reshape(-1)
    for block in prange((outputs + width - 1) // width):
        part = aligned(span * width, weight)
        first = block * width
        size = min(width, outputs - first)
        for k in range(len(bounds)):
            start = k * span
            turn(weights, first * inputs + start, inputs, size, min(span, inputs - start), part, width)
            for r in range(len(current)):
                at = r * outputs + first
                add_rows(total, at, part, 0, offsets, factors, bounds[k, r], bounds[k, r + 1], size)


@_driver
def connected_input(bounds, channel, timing, decay, weight, x, threads, grad_x):
    """grad_x = x W^T G_t, (T, N, F_in), for weight (F_out, F_in): some columns at a time. Eq. (eq-grad-timing)."""
    steps, images, features = x.shape
    columns = _columns(features, 2 * CACHED // len(weight), threads)
    offsets = channel.astype(np.int64) * columns
    for block in prange((features + columns - 1) // columns):
        start = block * columns
        size = min(columns, features - start)
        trace = np.empty(size, weight.dtype)
        near = aligned(len(weight) * columns, weight)
        for c in range(len(weight)):
            # side by side: rows some power of two apart would share few places in a cache
            near[c * columns : c * columns + size] = weight[c, start : start + size]
        for n in range(images):
            trace[:] = 0
            for t in range(steps - 1, -1, -1):
                add_rows(trace, 0, near, 0, offsets, timing, bounds[n, t], bounds[n, t + 1], size)
                spikes = x[t, n, start : start + size]
                out = grad_x[t, n, start : start + size]
                for i in range(size):
                    trace[i] *= decay
                    out[i] = trace[i] * spikes[i]


@_driver
def connected_weight(bounds, channel, membrane, synaptic, k, x, threads, grad_weight):
    """grad_W, (F_out, F_in), some columns at a time. Eq. (eq-grad-weight)."""
    steps, images, features = x.shape
    channels = len(grad_weight)
    spikes = len(channel)
    zero = k.dtype.type(0)
    columns = _columns(features, CACHED // (steps * images), threads)
    rows = np.empty(spikes, np.int64)
    offsets = np.empty(spikes, np.int64)
    responses = np.empty(spikes, k.dtype)
    traces = np.empty(spikes, k.dtype)
    ends = np.empty(channels + 1, np.int64)
    later = np.empty(channels, np.int64)
    behind = np.empty(channels, np.int64)
    for n in range(images):
        for t in range(steps):
            for j in range(bounds[n, t], bounds[n, t + 1]):  # as one assignment, threads would be started for each
                rows[j] = (n * steps + t) * columns
    _by_channel(channel, rows, membrane, synaptic, ends, later, behind, offsets, responses, traces)
    for block in prange((features + columns - 1) // columns):
        start = block * columns
        size = min(columns, features - start)
        entries = (images * steps + 1) * columns  # the last row is 0, and what comes before a first step
        slow = aligned(entries, x)
        response = aligned(entries, x)
        slow[:] = zero
        response[:] = zero
        slow_rows = slow.reshape((-1, columns))
        response_rows = response.reshape((-1, columns))
        for n in range(images):
            for t in range(steps):
                r = n * steps + t
                before = r - 1 if t > 0 else len(slow_rows) - 1
                spikes = x[t, n, start : start + size]
                _filter(spikes, k[0], k[1], slow_rows[before], response_rows[before], slow_rows[r], response_rows[r])
        total = grad_weight.reshape(-1)
        for c in range(channels):
            at = c * features + start
            total[at : at + size] = zero
            add_rows(total, at, response, 0, offsets, responses, ends[c], ends[c + 1], size)
            add_rows(total, at, slow, 0, offsets, traces, ends[c], later[c], size)
