"""Where does a layer's dense way become faster than its event-driven one, forward and backward?

Backward: both ways compute the gradients of one layer (T = 5 and 10, batch 50) on the fused CPU engine, in turn, at
thresholds that set its firing rate; `snnbook.ops.cpu.tuning.EVENT_LIMIT` is what the layers choose by, large and fully
connected ones by `FAR_SHARE` of it. Forward: the currents of two layers (T = 5), at inputs of several densities; there
it is `INPUT_LIMIT`, and `FEWEST` beside it. Both ways must agree before a time is told. Run it as `python
benchmarks/crossover.py` with nothing else going on; `--record` writes the answer for the book.
"""

import sys
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from kit.contenders import TOLERANCE
from kit.measuring import Benchmark, Row, run, take_turns, timing
from torch import Tensor

from snnbook import NeuronParameters, events, ops
from snnbook.ops.cpu import tuning

STEPS, BATCH, ROUNDS, WARM_UPS = (5, 10), 50, 5, 1
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
"""Shares of a layer's inputs that are not 0."""

LIMITS = ("EVENT_LIMIT", "FAR_SHARE", "NEAR_BYTES", "INPUT_LIMIT", "FEWEST")
"""What the engine chooses by."""

ALWAYS, NEVER = float("inf"), -1.0
"""Limits under which every layer goes by events, or none."""


def inputs(steps: int, shape: tuple[int, ...], density: float) -> Tensor:
    """Random spikes (T, N, C, ...), channels last in memory."""
    x = (torch.rand((steps, BATCH, *shape), generator=torch.Generator().manual_seed(0)) < density).float()
    return x.movedim(2, -1).contiguous().movedim(-1, 2)


def weights(shape: tuple[int, ...]) -> Tensor:
    """Random weights."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.1


def limited(name: str, limit: float, task: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    """A task under another limit of the engine."""

    def run() -> list[Tensor]:
        kept = getattr(tuning, name)
        setattr(tuning, name, limit)
        try:
            return task()
        finally:
            setattr(tuning, name, kept)

    return run


class Layer:
    """One layer on a random input with few spikes, its thresholds set for a rate."""

    def __init__(
        self, steps: int, shape: tuple[int, ...], weight: tuple[int, ...], affine: events.Affine, pool: int, rate: float
    ) -> None:
        self.x, self.weight, neuron = inputs(steps, shape, 0.15), weights(weight), NeuronParameters()
        current = events.currents(self.x, self.weight, affine)
        low, high = -3.0, 30.0
        for _ in range(20):  # the rate falls with the threshold: halve the interval that holds it
            theta = torch.full((weight[0],), (low + high) / 2)
            self.rate = ops.forward(current, theta, neuron)[0].mean().item()
            if self.rate > rate:
                low = theta[0].item()
            else:
                high = theta[0].item()
        leaves = self.x.requires_grad_(), self.weight.requires_grad_()
        self.spikes, _ = events.spiking_affine(*leaves, theta, affine, neuron, pool, "cpu")
        self.e = torch.randn(self.spikes.shape, generator=torch.Generator().manual_seed(2))

    def backward(self) -> list[Tensor]:
        """Gradients of input and weight."""
        return list(torch.autograd.grad(self.spikes, (self.x, self.weight), self.e, retain_graph=True))


def forward(x: Tensor, weight: Tensor, affine: events.Affine) -> list[Tensor]:
    """Currents of a layer."""
    return [events.currents(x, weight, affine, "cpu")]


def compare(limit: str, task: Callable[[], list[Tensor]]) -> Row | str:
    """Both ways of a task in turn, or how much they differ."""
    ways = {"event_driven": limited(limit, ALWAYS, task), "dense": limited(limit, NEVER, task)}
    for sparse, dense in zip(*(way() for way in ways.values()), strict=True):
        if not (error := (sparse - dense).abs().max() / dense.abs().max()) <= TOLERANCE:
            return f"results differ by {error:.1e} of the largest"
    found = {name: timing(seconds) for name, seconds in take_turns(ways, ROUNDS, WARM_UPS).items()}
    row: Row = {
        f"{name}_{key}": value for name, times in found.items() for key, value in times.items() if key in ("ms", "to")
    }
    faster = found["dense"]["ms"] / max(found["event_driven"]["ms"], 0.01)
    return row | {"dense_by_event_driven": round(faster, 2)}


def main() -> int:
    """Check, measure, print; 1 where the two ways disagree."""
    limits = {name: getattr(tuning, name) for name in LIMITS}
    settings = {"batch": BATCH, "steps": list(STEPS), "precision": "float32", "rounds": ROUNDS, **limits}
    benchmark = Benchmark(__file__, "Where does the dense way become faster than the event-driven one?", settings)
    rows: list[Row] = []
    for name, sizes in LAYERS.items():
        for steps, rate in product(STEPS, RATES):
            layer = Layer(steps, *sizes, rate)
            if isinstance(row := compare("EVENT_LIMIT", layer.backward), str):
                return benchmark.refuse(f"{name}, backward: {row}")
            rates = {"steps": steps, "spikes_per_neuron_and_step": round(layer.rate, 3), "inputs_not_0": None}
            rows.append({"way": "backward", "layer": name, **rates, **row})
    for name, density in product((CONVOLUTION, CONNECTED), DENSITIES):
        shape, size, affine, _ = LAYERS[name]
        x, weight = inputs(STEPS[0], shape, density), weights(size)
        share = round((x != 0).float().mean().item(), 3)
        if isinstance(row := compare("INPUT_LIMIT", partial(forward, x, weight, affine)), str):
            return benchmark.refuse(f"{name}, forward: {row}")
        rates = {"steps": STEPS[0], "spikes_per_neuron_and_step": None, "inputs_not_0": share}
        rows.append({"way": "forward", "layer": name, **rates, **row})
    remarks = [
        "backward: event-driven up to EVENT_LIMIT spikes per neuron and step, and FAR_SHARE of that in fully connected "
        "layers and where a convolution's weights are more than NEAR_BYTES",
        "forward: event-driven up to INPUT_LIMIT of a convolution's inputs, and 1 - FEWEST / outputs of that in fully "
        "connected layers",
    ]
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
