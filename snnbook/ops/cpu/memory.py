"""Memory that suits vectors of the processor."""

import numpy as np

from .jit import compiled

LANES = 16
"""Entries of a vector in the inner loops; the compiler cuts it to what the processor has."""

LINE = 64
"""Bytes of a cache line. A vector that lies across two of them costs twice as much to load."""


@compiled()
def aligned(length, like):
    """Uninitialised memory that begins on a cache line, (length,), of the type of array `like`."""
    raw = np.empty(length + LINE // like.itemsize, like.dtype)
    skipped = (LINE - raw.ctypes.data % LINE) % LINE // like.itemsize
    return raw[skipped : skipped + length]
