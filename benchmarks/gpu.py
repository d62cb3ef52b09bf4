"""How long does an epoch take on a GPU, by the Triton engine and by the readable reference?

Random images in the shapes of Fashion-MNIST (batch 50, T = 5) and of CIFAR10 (VGG11, T = 12) are on the GPU and are
augmented as the experiment says. Measured are the reference, the Triton engine without and with the CUDA graph from
which `snnbook train` replays its steps, and the two other precisions of `--precision`. The engines must agree in full
precision in every layer, given equal currents, before a speed is reported: outputs to the bit, gradients to 1e-4 of
their largest entry. An epoch's time is a median over stretches of steps, times its number of steps. Run it as `python
benchmarks/gpu.py`; without a GPU it says so and ends.
"""

import statistics
import sys
from functools import partial
from pathlib import Path

import torch
from kit.contenders import TOLERANCE, relative_error
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
"""Experiments, and numbers of training images of their data sets."""

STRETCH = {"fashion_mnist": 40, "cifar10": 3}
"""Number of steps that are timed together."""

ROUNDS = 5
"""Stretches of each way that are timed."""

ENGINES = ("reference", "triton")

WAYS = (
    ("reference", "float32", False),
    ("triton", "float32", False),
    ("triton", "float32", True),
    ("triton", "tf32", True),
    ("triton", "bf16_backward", True),
)
"""Engine, precision, and whether steps are replayed from a CUDA graph."""


def drawn(experiment: Experiment, count: int, seed: int = 0) -> Dataset:
    """Draw random pixels and labels in the shape of the experiment's data set."""
    generator = torch.Generator().manual_seed(seed)
    shape = SOURCES[experiment.dataset].shape
    images = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.randint(experiment.classes, (count,), generator=generator)
    return Dataset(experiment.dataset, "train", images, labels, experiment.classes, Path(), "")


class Trained:
    """A network that trains on drawn images.

    Args:
        experiment: settings
        data: batches, on the device
        device: a GPU; the CPU only to test this script
        graph: whether steps are replayed from a CUDA graph
    """

    def __init__(self, experiment: Experiment, data: Batches, device: torch.device, graph: bool) -> None:
        torch.manual_seed(0)
        self.experiment = experiment
        self.device = device
        self._data = data
        self.net = experiment.build_network().to(device)
        self.net.initialise(experiment.encode(data.first(experiment.batch_size)), experiment.rate)
        self.net.train()
        self.step = TrainingStep(experiment, self.net, metrics.Totals(device), static=device.type == "cuda")
        self._run = RecordedStep(self.step) if graph else self.step
        self._pairs = iter(())
        self._epoch = 0

    def stretch(self, steps: int) -> None:
        """Do a number of steps, with the making of their batches, and wait for the device once, at the end."""
        with rounding(self.experiment.precision, self.device):
            for _ in range(steps):
                pair = next(self._pairs, None)
                if pair is None:
                    self._pairs = iter(self._data.epoch(self._epoch))
                    self._epoch += 1
                    pair = next(self._pairs)
                self._run(*pair)
        self.step.totals.read()


@torch.no_grad()
def disagreement(experiment: Experiment, data: Batches, device: torch.device) -> str:
    """Return what differs between the engines in any layer, given equal currents; "" if nothing does."""
    net = Trained(experiment.override(engine=ENGINES[0]), data, device, graph=False).net
    net.eval()
    images, _ = next(iter(data.epoch(0)))
    x = net.encode(experiment.encode(images))
    for number, layer in enumerate(net.layers):
        if isinstance(layer, SpikingLayer):
            difference = layer_disagreement(layer, x)
            if difference:
                return f"layer {number}: {difference}"
        x = layer(x)
    return ""


def layer_disagreement(layer: SpikingLayer, x: torch.Tensor) -> str:
    """Return what differs between the engines in one layer, given equal currents; "" if nothing does."""
    layer.fold()
    given = layer.current(x), layer.threshold, layer.neuron, layer.pool
    one, other = (ops.get(engine, x.device) for engine in ENGINES)
    wanted, wanted_pass = one.pooled_forward(*given)
    got, got_pass = other.pooled_forward(*given)
    if not torch.equal(wanted, got):
        return f"{int((wanted != got).sum())} outputs differ"
    grad = torch.randn_like(wanted)
    wanted_grads = one.pooled_backward(grad, wanted_pass)
    got_grads = other.pooled_backward(grad, got_pass)
    for name, a, b in zip(("G_t", "G_w"), wanted_grads, got_grads, strict=True):
        error = relative_error(a, b)
        # Written so that a NaN counts as a difference.
        if not error <= TOLERANCE:
            return f"{name} differs by {error:.1e} of the largest"
    return ""


def rows_of(name: str, device: torch.device, count: int, stretch: int) -> list[Row] | str:
    """Measure all WAYS of one experiment; return the table's rows, or what the engines disagree in.

    Args:
        name: of the experiment
        device: a GPU
        count: number of training images
        stretch: number of steps that are timed together
    """
    experiment = experiments.get(name)
    data = batches(experiment, drawn(experiment, count), device)
    tasks = {}
    with rounding("float32", device):
        difference = disagreement(experiment, data, device)
        if difference:
            return difference
        for engine, precision, graph in WAYS:
            changed = experiment.override(engine=engine, precision=precision)
            trained = Trained(changed, data, device, graph)
            tasks[engine, precision, graph] = partial(trained.stretch, stretch)
    rows: list[Row] = []
    for (engine, precision, graph), seconds in take_turns(tasks, ROUNDS, warm_ups=1).items():
        row = timing([each / stretch for each in seconds], experiment.batch_size)
        epoch = round(statistics.median(seconds) / stretch * len(data), 2)
        how = {"experiment": name, "engine": engine, "precision": precision, "graph": graph}
        rows.append({**how, **row, "seconds_an_epoch": epoch})
    return rows


def main() -> int:
    """Check, measure and print; return 1 if the engines disagree."""
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
