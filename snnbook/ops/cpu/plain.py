"""The CPU engine's inner loops in ordinary code: the plain twins of what llvm_*.py writes in LLVM's own terms.

They compute the same, to the bit. With SNNBOOK_PLAIN_LOOPS=1 in the environment the engine uses them (inner_loops.py).
"""

from .jit import compiled

_inner_loop = compiled(fastmath={"contract"})


@_inner_loop
def add_rows(total, at, source, shift, offsets, factors, first, last, length):
    """Add up rows of memory, each times its factor. No bound is checked, and nothing beside the sums is touched.

    For i < length:

        total[at + i] += sum over j from `first` to before `last` of factors[j] source[offsets[j] + shift + i]

    `total`, `source` and `factors` are flat arrays of one type, `offsets` is flat and int64.
    """
    sums = total[at : at + length]
    for j in range(first, last):
        factor = factors[j]
        start = offsets[j] + shift
        row = source[start : start + length]
        for i in range(length):
            sums[i] += factor * row[i]


@_inner_loop
def add_products(total, vectors, factors, extent):
    """Add vectors of neighbours, each times a factor. No bound is checked, and nothing beside the sums is touched.

    For p < extent.sums and i < extent.lanes, with each walk's entry for r, j and p:

        total[p, i] += sum over r < extent.rows, j < extent.entries of vectors[r, j, i] factors[r, j, p]

    Args:
        total, vectors, factors: a `Walk` each, over arrays of one type; total's is over p alone, that of vectors over
            r and j
        extent: an `Extent`
    """
    for p in range(extent.sums):
        at = total.start + p * total.by_sum
        sums = total.array[at : at + extent.lanes]
        for r in range(extent.rows):
            for j in range(extent.entries):
                first = vectors.start + r * vectors.by_row + j * vectors.by_entry
                vector = vectors.array[first : first + extent.lanes]
                factor = factors.array[factors.start + r * factors.by_row + j * factors.by_entry + p * factors.by_sum]
                for i in range(extent.lanes):
                    sums[i] += vector[i] * factor


@_inner_loop
def pool(pooled, sums, windows, channels, window):
    """pooled[x C + c] = sums over the columns of window x, for `windows` windows of `window` columns.

    `pooled` and `sums` (spikes added up over a window's rows) are flat arrays of one type; no bound is checked.
    """
    for x in range(windows):
        total = pooled[x * channels : (x + 1) * channels]
        total[:] = 0
        for along in range(window):
            first = (x * window + along) * channels
            for c in range(channels):
                total[c] += sums[first + c]


@_inner_loop
def share(grad, sums, windows, channels, window, wide):
    """A window's gradient, shared among its spikes, at each of its columns, 0 where it has none. Eq. (eq-pool).

    Arguments as in `pool`; `grad` is what `pooled` is there, `wide` is like `sums`.
    """
    zero = grad.dtype.type(0)
    for x in range(windows):
        at = x * channels
        for c in range(channels):
            spikes = zero
            for along in range(window):
                spikes += sums[at * window + along * channels + c]
            each = zero
            if spikes > zero:
                each = grad[at + c] / spikes
            for along in range(window):
                wide[at * window + along * channels + c] = each
