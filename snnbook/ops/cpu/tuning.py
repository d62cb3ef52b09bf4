"""Every tuned threshold of the CPU engine, with the measurement that it comes from.

Measured on two cores of Zen 4 and Zen 5 processors; the records are in results/benchmarks, the reasons in
results/LOG.md. None of them changes a result by more than the order of sums.
"""

# ---- spike by spike, or dense? (benchmarks/crossover.py) ----

EVENT_LIMIT = 0.3
"""Output spikes per neuron and step up to which the event-driven backward pass is faster than the dense one."""

NEAR_BYTES = 2**22
"""Largest weights of a convolution, bytes, for which EVENT_LIMIT holds. They fit into the caches."""

FAR_SHARE = 2 / 3
"""Factor on EVENT_LIMIT for convolutions with larger weights, where every spike fetches its own from further away. Also
for fully connected layers, whose dense way is one large matrix product without windows to gather."""

INPUT_LIMIT = 0.5
"""Share of inputs that are not 0 up to which a convolution's currents are computed spike by spike."""

FEWEST = 320
"""A fully connected layer with at most this many outputs always uses the dense product for its currents. Larger ones
switch at INPUT_LIMIT * (1 - FEWEST / outputs)."""

NARROW = 8
"""With fewer input channels currents are dense, in images.py's own way."""

FEW_OUTPUTS = 64
"""Most output channels for which images.py's product is used. From 128 on torch's is as fast."""

# ---- what fits into caches (benchmarks/training_step.py) ----

BLOCK_BYTES = 48 * 1024
"""Weights of a row of a kernel, bytes, above which the outputs are split into blocks that stay in the first cache."""

ROWS_BYTES = 64 * 1024
"""Weights of one block, bytes, up to which several rows of a kernel are processed together."""

PART = (128, 64)
"""Inputs and outputs of a fully connected map whose weights are processed at a time. They fill the first cache."""

CACHED = 2**16
"""Filtered inputs that a fully connected map's backward pass processes at a time: two such arrays fit into the second
cache. On the way to the inputs, twice as many weights."""

MOST = 128
"""Most columns that the backward passes of a fully connected map process at a time."""

SMALL = 2**14
"""Filtered inputs of a small map, of which several steps are processed together, in fewer and longer sums."""

# ---- registers ----

SUMS, WIDE_SUMS = 4, 12
"""Vectors of sums that images.py keeps at a time, on processors without and with AVX-512."""

REGISTERS, WIDE_REGISTERS = 384, 1024
"""Bytes of sums that stay in registers, on processors without and with AVX-512."""
