"""Where does a layer's dense way become faster than its event-driven one, forward and backward?

Backward: both ways compute the gradients of one layer (T = 5 and 10, batch 50) on the fused CPU engine, in turn, at
thresholds that set its firing rate. Layers choose by the limit `snnbook.ops.cpu.tuning.EVENT_LIMIT`; for large and for
fully connected layers the limit is `FAR_SHARE` of it. Forward: the currents of two layers (T = 5), at inputs of several
densities; layers choose by `INPUT_LIMIT` and `FEWEST`. Both ways must agree before a time is reported. Run it as
`python benchmarks/crossover.py` on a machine that does nothing else; `--record` writes the answer for the book.
"""

import sys
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from kit.contenders import TOLERANCE, relative_error
from kit.measuring import Benchmark, Row, run, take_turns, timing
from torch import Tensor

from snnbook import NeuronParameters, events, ops
from snnbook.ops.cpu import tuning

STEPS = (5, 10)
BATCH = 50
ROUNDS = 5
WARM_UPS = 1
CONVOLUTION = "convolution 32 x 14 x 14 -> 64, 5 x 5"
CONNECTED = "fully connected 3136 -> 1024"
LAYERS = {
    CONVOLUTION: ((32, 14, 14), (64, 32, 5, 5), events.Convolution(2), 2),
    "convolution 256 x 8 x 8 -> 256, 3 x 3": ((256, 8, 8), (256, 256, 3, 3), events.Convolution(1), 1),
    "convolution 512 x 4 x 4 -> 512, 3 x 3": ((512, 4, 4), (512, 512, 3, 3), events.Convolution(1), 1),
    CONNECTED: ((3136,), (1024, 3136), events.FullyConnected(), 1),
}
RATES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Spikes per neuron and step."""

DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Fractions of a layer's inputs that are not 0."""

LIMITS = ("EVENT_LIMIT", "FAR_SHARE", "NEAR_BYTES", "INPUT_LIMIT", "FEWEST")
"""Names of the limits by which the engine chooses."""

ALWAYS = float("inf")
"""A limit under which every layer is event-driven."""

NEVER = -1.0
"""A limit under which no layer is event-driven."""


def inputs(steps: int, shape: tuple[int, ...], density: float) -> Tensor:
    """Draw random spikes (T, N, C, ...), channels last in memory."""
    uniform = torch.rand((steps, BATCH, *shape), generator=torch.Generator().manual_seed(0))
    x = (uniform < density).float()
    return x.movedim(2, -1).contiguous().movedim(-1, 2)


def weights(shape: tuple[int, ...]) -> Tensor:
    """Draw random weights."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.1


def limited(name: str, limit: float, task: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    """Return a task that runs under another limit of the engine."""

    def run() -> list[Tensor]:
        before = getattr(tuning, name)
        setattr(tuning, name, limit)
        try:
            return task()
        finally:
            setattr(tuning, name, before)

    return run


class Layer:
    """One layer on a random input with few spikes, with thresholds for a given rate.

    Args:
        steps: T
        shape: of one input, (C, ...)
        weight: shape of the weights
        affine: the layer's map
        pool: window of the pooling, 1 for none
        rate: spikes per neuron and step
    """

    def __init__(
        self, steps: int, shape: tuple[int, ...], weight: tuple[int, ...], affine: events.Affine, pool: int, rate: float
    ) -> None:
        self.x = inputs(steps, shape, 0.15)
        self.weight = weights(weight)
        neuron = NeuronParameters()
        current = events.currents(self.x, self.weight, affine)
        low = -3.0
        high = 30.0
        # The rate falls with the threshold, so bisection finds the threshold.
        for _ in range(20):
            theta = torch.full((weight[0],), (low + high) / 2)
            self.rate = ops.forward(current, theta, neuron)[0].mean().item()
            if self.rate > rate:
                low = theta[0].item()
            else:
                high = theta[0].item()
        self.x.requires_grad_()
        self.weight.requires_grad_()
        self.spikes, _ = events.spiking_affine(self.x, self.weight, theta, affine, neuron, pool, "cpu")
        self.e = torch.randn(self.spikes.shape, generator=torch.Generator().manual_seed(2))

    def backward(self) -> list[Tensor]:
        """Compute the gradients of input and weight."""
        return list(torch.autograd.grad(self.spikes, (self.x, self.weight), self.e, retain_graph=True))


def forward(x: Tensor, weight: Tensor, affine: events.Affine) -> list[Tensor]:
    """Compute the currents of a layer."""
    return [events.currents(x, weight, affine, "cpu")]


def compare(limit: str, task: Callable[[], list[Tensor]]) -> Row | str:
    """Measure a task both ways in turn.

    Args:
        limit: of LIMITS, by which the engine chooses the way
        task: returns the results to compare
    Returns:
        times of both ways, or in what they differ
    """
    ways = {"event_driven": limited(limit, ALWAYS, task), "dense": limited(limit, NEVER, task)}
    event_driven = ways["event_driven"]()
    dense = ways["dense"]()
    for one, other in zip(event_driven, dense, strict=True):
        error = relative_error(other, one)
        # Written so that a NaN counts as a difference.
        if not error <= TOLERANCE:
            return f"results differ by {error:.1e} of the largest"
    row: Row = {}
    for name, seconds in take_turns(ways, ROUNDS, WARM_UPS).items():
        times = timing(seconds)
        row[f"{name}_ms"] = times["ms"]
        row[f"{name}_to"] = times["to"]
    # A way may be too short for the two digits of its time.
    ratio = row["dense_ms"] / max(row["event_driven_ms"], 0.01)
    return row | {"dense_by_event_driven": round(ratio, 2)}


def backward_row(name: str, steps: int, rate: float) -> Row | str:
    """Measure the backward pass of a layer of LAYERS; return a row, or in what the two ways differ."""
    layer = Layer(steps, *LAYERS[name], rate)
    found = compare("EVENT_LIMIT", layer.backward)
    if isinstance(found, str):
        return f"{name}, backward: {found}"
    rates = {"steps": steps, "spikes_per_neuron_and_step": round(layer.rate, 3), "inputs_not_0": None}
    return {"way": "backward", "layer": name, **rates, **found}


def forward_row(name: str, density: float) -> Row | str:
    """Measure the currents of a layer of LAYERS; return a row, or in what the two ways differ."""
    shape, size, affine, _ = LAYERS[name]
    x = inputs(STEPS[0], shape, density)
    found = compare("INPUT_LIMIT", partial(forward, x, weights(size), affine))
    if isinstance(found, str):
        return f"{name}, forward: {found}"
    fraction = round((x != 0).float().mean().item(), 3)
    rates = {"steps": STEPS[0], "spikes_per_neuron_and_step": None, "inputs_not_0": fraction}
    return {"way": "forward", "layer": name, **rates, **found}


def main() -> int:
    """Check, measure and print; return 1 if the two ways disagree."""
    limits = {name: getattr(tuning, name) for name in LIMITS}
    settings = {"batch": BATCH, "steps": list(STEPS), "precision": "float32", "rounds": ROUNDS, **limits}
    benchmark = Benchmark(__file__, "Where does the dense way become faster than the event-driven one?", settings)
    tasks = [partial(backward_row, name, steps, rate) for name, steps, rate in product(LAYERS, STEPS, RATES)]
    tasks += [partial(forward_row, name, density) for name, density in product((CONVOLUTION, CONNECTED), DENSITIES)]
    rows: list[Row] = []
    for task in tasks:
        row = task()
        if isinstance(row, str):
            return benchmark.refuse(row)
        rows.append(row)
    remarks = [
        "backward: event-driven up to EVENT_LIMIT spikes per neuron and step, and FAR_SHARE of that in fully connected "
        "layers and where a convolution's weights are more than NEAR_BYTES",
        "forward: event-driven up to INPUT_LIMIT of a convolution's inputs, and 1 - FEWEST / outputs of that in fully "
        "connected layers",
    ]
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
