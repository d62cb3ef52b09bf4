"""The CPU engine's fully connected maps, spike by spike: currents, and both gradients, some columns at a time.

See events.py for the method of the backward passes. A fully connected layer has no positions, so `place` is dropped.
"""

import numpy as np
from numba import prange

from .events import _add_both, _filter, _sort_by_channel, _zeros
from .groups import ByChannel, Filtered
from .inner_loops import add_rows
from .jit import compiled
from .memory import LANES, aligned
from .tuning import CACHED, MOST

_driver = compiled(parallel=True, fastmath={"contract"})


@compiled()
def _columns(features, room, threads):
    """Columns worked on at a time: whole vectors, MOST or `room` at most, and as many stretches for every thread."""
    most = max(LANES, min(MOST, room // LANES * LANES))
    stretches = max((features + most - 1) // most, 1)
    stretches = (stretches + threads - 1) // threads * threads
    return max((features + stretches * LANES - 1) // (stretches * LANES), 1) * LANES


@compiled()
def _transpose(source, start, stride, rows, columns, total, width):
    """total[i width + o] = source[start + o stride + i] for i < columns, o < rows."""
    # LANES rows at a time: their cache lines stay near while i runs.
    for low in range(0, rows, LANES):
        high = min(low + LANES, rows)
        for i in range(columns):
            for o in range(low, high):
                total[i * width + o] = source[start + o * stride + i]


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
            _transpose(weights, first * inputs + start, inputs, size, min(span, inputs - start), part, width)
            for r in range(len(current)):
                at = r * outputs + first
                add_rows(total, at, part, 0, offsets, factors, bounds[k, r], bounds[k, r + 1], size)


@_driver
def connected_input(bounds, impulses, neuron, weight, x, threads, grad_x):
    """grad_x = x W^T G_t, (T, N, F_in), for weight (F_out, F_in): some columns at a time. Eq. (eq-grad-timing)."""
    steps, images, features = x.shape
    columns = _columns(features, 2 * CACHED // len(weight), threads)
    offsets = impulses.channel.astype(np.int64) * columns
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
                add_rows(trace, 0, near, 0, offsets, impulses.timing, bounds[n, t], bounds[n, t + 1], size)
                spikes = x[t, n, start : start + size]
                out = grad_x[t, n, start : start + size]
                for i in range(size):
                    trace[i] *= neuron.decay_g
                    out[i] = trace[i] * spikes[i]


@compiled(fastmath={"contract"})
def _filter_columns(x, neuron, start, size, filtered):
    """Filter columns of the inputs x (T, N, F) into rows, of which the last is 0: what comes before a first step."""
    steps, images, _ = x.shape
    last = steps * images
    for n in range(images):
        for t in range(steps):
            r = n * steps + t
            before = r - 1 if t > 0 else last
            _filter(
                x[t, n, start : start + size],
                neuron,
                Filtered(filtered.slow[before], filtered.response[before]),
                Filtered(filtered.slow[r], filtered.response[r]),
            )


@_driver
def connected_weight(bounds, impulses, neuron, x, threads, grad_weight):
    """grad_W, (F_out, F_in), some columns at a time. Eq. (eq-grad-weight)."""
    steps, images, features = x.shape
    channels = len(grad_weight)
    spikes = len(impulses.channel)
    columns = _columns(features, CACHED // (steps * images), threads)
    rows = np.empty(spikes, np.int64)
    for n in range(images):
        for t in range(steps):
            for j in range(bounds[n, t], bounds[n, t + 1]):  # as one assignment, threads would be started for each
                rows[j] = (n * steps + t) * columns
    found = ByChannel(
        np.empty(channels + 1, np.int64),
        np.empty(channels, np.int64),
        np.empty(channels, np.int64),
        np.empty(spikes, np.int64),
        np.empty(spikes, x.dtype),
        np.empty(spikes, x.dtype),
    )
    _sort_by_channel(impulses, rows, found)
    for block in prange((features + columns - 1) // columns):
        start = block * columns
        size = min(columns, features - start)
        entries = (images * steps + 1) * columns
        filtered = _zeros(entries, x)
        by_row = Filtered(filtered.slow.reshape((-1, columns)), filtered.response.reshape((-1, columns)))
        _filter_columns(x, neuron, start, size, by_row)
        total = grad_weight.reshape(-1)
        for c in range(channels):
            at = c * features + start
            total[at : at + size] = 0
            _add_both(total, at, filtered, 0, found, c, size)
