"""What the kernels' arguments are grouped into: named tuples, which Numba passes as their fields.

A driver (compiled with parallel=True) never writes to an array through a group: Numba's parallel passes take that for a
write that nobody reads, and drop it. Drivers write to arrays by names of their own, or leave it to a function.
"""

from typing import NamedTuple

import numpy as np


class Constants(NamedTuple):
    """A neuron's constants, in the currents' own precision; see `NeuronParameters` for the first six."""

    decay_m: np.floating
    decay_s: np.floating
    decay_g: np.floating
    gain: np.floating
    leaky: bool
    exact: bool
    bound_weight: np.floating
    bound_timing: np.floating


class Rows(NamedTuple):
    """How neurons lie in the rows of their maps.

    Args:
        height: rows of a map
        channels: C, neurons side by side at each place of a row
        window: side of the pooling window, positions; 1 for none
        shares: number of parts that the rows are processed in: as many as there are threads, since a row's work is too
            little to make room for it each time
    """

    height: int
    channels: int
    window: int
    shares: int


class Slopes(NamedTuple):
    """Potential u and backward trace g of a run, (T, L), and later the slopes du and dg in their place."""

    u: np.ndarray
    g: np.ndarray


class Gradients(NamedTuple):
    """G_t and G_w, (T, R, L)."""

    timing: np.ndarray
    weight: np.ndarray


class Impulses(NamedTuple):
    """What output spikes add to the backward traces; one entry a spike, in the order of image, step and place.

    Args:
        place: where the inputs of the spike's neuron begin in their map (0 without a map)
        channel: of the spike's neuron
        timing: D of G_t
        membrane, synaptic: D of the two traces of G_w
    """

    place: np.ndarray
    channel: np.ndarray
    timing: np.ndarray
    membrane: np.ndarray
    synaptic: np.ndarray


class ByChannel(NamedTuple):
    """Impulses sorted by channel, for the two sums that make up grad_W.

    Args:
        ends: where the impulses of channel c begin and end: ends[c] to before ends[c + 1], (C + 1,)
        later: where those end that have a second part, (C,)
        behind: scratch, (C,)
        offsets: where the input of an impulse begins, one entry a spike
        responses, traces: factors of the two parts, one entry a spike
    """

    ends: np.ndarray
    later: np.ndarray
    behind: np.ndarray
    offsets: np.ndarray
    responses: np.ndarray
    traces: np.ndarray


class Places(NamedTuple):
    """Where the inputs of a row's neurons begin in their row of the map, and the neurons' channels, (L,)."""

    input: np.ndarray
    channel: np.ndarray


class Filtered(NamedTuple):
    """Filtered inputs: the synaptic trace, and how far the membrane's trace is above it; of one shape."""

    slow: np.ndarray
    response: np.ndarray


class Geometry(NamedTuple):
    """How a convolution's kernel lies on the rows of its input.

    Args:
        inputs: C_in, entries of a place
        padding: zeros on every side of the map, places
        span: K C_in, entries of a row of the kernel
    """

    inputs: int
    padding: int
    span: int


class Taps(NamedTuple):
    """Side K of a first layer's square kernel, and its input channels C_in."""

    side: int
    inputs: int


class Walk(NamedTuple):
    """What `add_products` reads or writes of an array, for r, j and p: array[start + r by_row + j by_entry + p by_sum].

    Args:
        array: flat
        start: its first entry
        by_entry, by_row, by_sum: entries of the array from one j, r or p to the next
    """

    array: np.ndarray
    start: int
    by_entry: int
    by_row: int
    by_sum: int


class Extent(NamedTuple):
    """How far `add_products` goes: numbers of r, j and p, all 1 or more, and of neighbours, LANES at most."""

    rows: int
    entries: int
    sums: int
    lanes: int
