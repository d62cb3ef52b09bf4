"""Every tuned threshold of the CPU engine, with the measurement that it comes from.

Measured on two cores of Zen 4 and Zen 5 processors. Records are in results/benchmarks; entries of results/LOG.md are
cited by date and title. No threshold changes a result by more than the order of sums.
"""

# ---- spike by spike, or dense? benchmarks/crossover.py measures both ways around each limit ----

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

# ---- first layers: images.py or torch? LOG 2026-11-28, "First layers on CPUs"; benchmarks/training_step.py ----

NARROW = 8
"""Layers with fewer input channels are first layers, whose currents are dense."""

FEW_OUTPUTS = 64
"""Most output channels for which images.py's product is used. It took 0.5 to 0.75 of oneDNN's time for 12 to 32
outputs, and as long for 128."""

SUMS, WIDE_SUMS = 4, 12
"""Vectors of sums that images.py keeps in registers, on processors without and with AVX-512."""

# ---- what fits into caches: benchmarks/training_step.py on our two networks ----

BLOCK_BYTES = 48 * 1024
"""Weights of a row of a kernel, bytes, above which the outputs are split into blocks that stay in the first cache. Half
a row at a time took 1.1 to 1.2 times as long (LOG 2026-11-27, "Where a CPU step of a trained network spends its
time")."""

ROWS_BYTES = 64 * 1024
"""Weights of one block, bytes, up to which several rows of a kernel are processed together: 0.73 of the time forward
for MNIST's second layer (LOG 2026-11-28, "CPU kernels, measured with the arguments of a real step")."""

PART = (128, 64)
"""Inputs and outputs of a fully connected map whose weights are processed at a time. They fill the first cache. Larger
and smaller parts took 0.97 to 1.07 times as long (LOG 2026-11-27, "CPU kernels for Zen 5")."""

CACHED = 2**16
"""Filtered inputs that a fully connected map's backward pass processes at a time: two such arrays fit into the second
cache. On the way to the inputs, twice as many weights. Chosen by the size of the cache; no record varies it."""

MOST = 128
"""Most columns that the backward passes of a fully connected map process at a time. No record varies it."""

SMALL = 2**14
"""Filtered inputs of a small map, of which several steps are processed together, in fewer and longer sums: 0.85 of the
time of the gradient to the weights for MNIST's second layer (LOG 2026-11-28, "First layers on CPUs")."""

# ---- registers: LOG 2026-11-27, "CPU kernels for Zen 5"; benchmarks/training_step.py ----

REGISTERS, WIDE_REGISTERS = 384, 1024
"""Bytes of sums that stay in registers, on processors without and with AVX-512."""
