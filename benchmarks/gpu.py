"""How long does an epoch take on a GPU, by the Triton engine and by the readable reference?

Random images in the shapes of Fashion-MNIST (batch 50, T = 5) and of CIFAR10 (VGG11, T = 12), resident on the GPU,
augmented as the experiment says: the reference, the Triton engine without and with the CUDA graph from which `snnbook
train` plays its steps, and the two other precisions that `--precision` offers. Before a speed is told the engines must
agree in full precision in every layer, given equal currents: outputs to the bit, gradients to 1e-4 of their largest
entry. An epoch's time is a median over stretches of steps, times its number of steps. Run it as `python
benchmarks/gpu.py`; without a GPU it says so and ends.
"""

import statistics
import sys
from pathlib import Path

import torch
from kit.contenders import TOLERANCE
from kit.measuring import Benchmark, Row, run, take_turns, timing

from snnbook import experiments, ops
from snnbook.datasets import Dataset
from snnbook.datasets.loader import Batches
from snnbook.datasets.sources import SOURCES
from snnbook.devices import rounding
from snnbook.layers import SpikingLayer
from snnbook.settings import Experiment
from snnbook.training import metrics
from snnbook.training.cuda_graph import RecordedStep
from snnbook.training.step import TrainingStep
from snnbook.training.trainer import batches

IMAGES = {"fashion_mnist": 60_000, "cifar10": 50_000}
"""Experiments, and training images of their data sets."""

STRETCH = {"fashion_mnist": 40, "cifar10": 3}
"""Steps that are timed together."""

ROUNDS = 5
"""Stretches of each way."""

ENGINES = ("reference", "triton")

WAYS = (
    ("reference", "float32", False),
    ("triton", "float32", False),
    ("triton", "float32", True),
    ("triton", "tf32", True),
    ("triton", "bf16_backward", True),
)
"""Engine, precision, and whether steps are played from a record."""


def drawn(experiment: Experiment, count: int, seed: int = 0) -> Dataset:
    """Random pixels and labels in the shape of the experiment's data set."""
    generator = torch.Generator().manual_seed(seed)
    shape, classes = SOURCES[experiment.dataset].shape, experiment.classes
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    return Dataset(experiment.dataset, "train", images, labels, classes, Path(), "")


class Trained:
    """A network in training on drawn images.

    Args:
        experiment: the settings
        data: its batches, on the device
        device: a GPU; the CPU only for trying this script
        graph: whether steps are played from a record
    """

    def __init__(self, experiment: Experiment, data: Batches, device: torch.device, graph: bool) -> None:
        torch.manual_seed(0)
        self.experiment, self.device, self._data = experiment, device, data
        self.net = experiment.build_network().to(device)
        self.net.initialise(experiment.encode(data.first(experiment.batch_size)), experiment.rate)
        self.net.train()
        self.step = TrainingStep(experiment, self.net, metrics.Totals(device), static=device.type == "cuda")
        self._run = RecordedStep(self.step) if graph else self.step
        self._pairs, self._epoch = iter(()), 0

    def stretch(self, steps: int) -> None:
        """So many steps, the next batches made on the way; waits for the device once, at the end."""
        with rounding(self.experiment.precision, self.device):
            for _ in range(steps):
                pair = next(self._pairs, None)
                if pair is None:
                    self._pairs, self._epoch = iter(self._data.epoch(self._epoch)), self._epoch + 1
                    pair = next(self._pairs)
                self._run(*pair)
        self.step.totals.read()


@torch.no_grad()
def disagreement(experiment: Experiment, data: Batches, device: torch.device) -> str:
    """What differs between the engines in any layer, given equal currents, or "" if nothing does."""
    one = Trained(experiment.override(engine=ENGINES[0]), data, device, graph=False)
    one.net.eval()
    x = one.net.encode(experiment.encode(next(iter(data.epoch(0)))[0]))
    for number, layer in enumerate(one.net.layers):
        if isinstance(layer, SpikingLayer):
            layer.fold()
            given = layer.current(x), layer.threshold, layer.neuron, layer.pool
            one_engine, other_engine = (ops.get(engine, device) for engine in ENGINES)
            wanted, saved = one_engine.pooled_forward(*given)
            got, other = other_engine.pooled_forward(*given)
            if not torch.equal(wanted, got):
                return f"{int((wanted != got).sum())} outputs of layer {number} differ"
            grad = torch.randn_like(wanted)
            pairs = zip(one_engine.pooled_backward(grad, saved), other_engine.pooled_backward(grad, other), strict=True)
            for name, (a, b) in zip(("G_t", "G_w"), pairs, strict=True):
                error = (a - b).abs().max() / a.abs().max()
                if not error <= TOLERANCE:
                    return f"{name} of layer {number} differs by {error:.1e} of the largest"
        x = layer(x)
    return ""


def rows_of(name: str, device: torch.device, count: int, stretch: int) -> list[Row] | str:
    """The table's rows for one experiment, or what the engines disagree in."""
    experiment = experiments.get(name)
    data = batches(experiment, drawn(experiment, count), device)

    with rounding("float32", device):
        if difference := disagreement(experiment, data, device):
            return difference
        ways = {
            (engine, precision, graph): Trained(
                experiment.override(engine=engine, precision=precision), data, device, graph
            )
            for engine, precision, graph in WAYS
        }
    tasks = {way: (lambda one=one: one.stretch(stretch)) for way, one in ways.items()}
    rows = []
    for (engine, precision, graph), seconds in take_turns(tasks, ROUNDS, warm_ups=1).items():
        row = timing([each / stretch for each in seconds], experiment.batch_size)
        epoch = round(statistics.median(seconds) / stretch * len(data), 2)
        how = {"experiment": name, "engine": engine, "precision": precision, "graph": graph}
        rows.append({**how, **row, "seconds_an_epoch": epoch})
    return rows


def main() -> int:
    """Check, measure, print; 1 where the engines disagree."""
    if not torch.cuda.is_available():
        print("no GPU here: benchmarks/gpu.py has nothing to measure")
        return 0
    device = torch.device("cuda", torch.cuda.current_device())
    settings = {"batch": 50, "data": "random", "supervision": True}
    benchmark = Benchmark(__file__, "How long does an epoch take on a GPU?", settings, device="cuda")
    rows: list[Row] = []
    for name, count in IMAGES.items():
        found = rows_of(name, device, count, STRETCH[name])
        if isinstance(found, str):
            return benchmark.refuse(f"{name}: {found}")
        rows += found
    return benchmark.answer(rows, ["ms: of a step, batches included; the engines agree"])


if __name__ == "__main__":
    sys.exit(run(main))
