"""How fast is a training step, and inference, on the fused CPU engine against the readable reference?

One process, both engines in turn, medians; the Fashion-MNIST network of the paper (T = 5, batch 50, direct coding,
float32, AdamW). Before a speed is told the engines must agree: every output spike, and every gradient to 1e-4 of its
largest entry. Run it as `python benchmarks/training_step.py` with nothing else going on.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from snnbook import datasets, experiments
from snnbook.provenance import session

ENGINES = ("reference", "cpu")
WARM_UPS, ROUNDS = 2, 9
TOLERANCE = 1e-4
"""Largest difference of a gradient, as a share of its largest entry: the order of float32 sums differs."""


class Step:
    """A network in training on one batch.

    Args:
        engine: see `snnbook.ops`
    """

    def __init__(self, engine: str) -> None:
        experiment = experiments.get("fashion_mnist", engine=engine)
        data = datasets.load("fashion_mnist_subset", "train")
        mean, std = experiment.mean[0], experiment.std[0]
        self.images = (data.images[: experiment.batch_size] / 255 - mean) / std
        self.labels = data.labels[: experiment.batch_size]
        torch.manual_seed(0)
        self.net = experiment.build_network()
        self.net.initialise(self.images, experiment.rate)
        self.loss = experiment.build_loss()
        self.clip = experiment.gradient_clip
        self.optimiser = torch.optim.AdamW(self.net.parameters(), experiment.learning_rate, fused=True)

    def train(self) -> torch.Tensor:
        """One step; returns the output spikes, (T, N, C)."""
        self.optimiser.zero_grad()
        spikes, _ = self.net(self.images, labels=self.labels)
        self.loss(spikes, self.labels).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        self.optimiser.step()
        return spikes.detach()

    @torch.no_grad()
    def infer(self) -> torch.Tensor:
        """Output spikes, (T, N, C)."""
        return self.net(self.images)


def disagreement(steps: dict[str, Step]) -> str:
    """What differs after one training step from equal weights, or "" if nothing does."""
    wanted, got = (steps[engine].train() for engine in ENGINES)
    if not torch.equal(wanted, got):
        return f"{int((wanted != got).sum())} output spikes differ"
    pairs = zip(*(steps[engine].net.named_parameters() for engine in ENGINES), strict=True)
    for (name, reference), (_, fused) in pairs:
        error = (reference.grad - fused.grad).abs().max() / reference.grad.abs().max()
        if not error <= TOLERANCE:
            return f"gradients of {name} differ by {error:.1e} of the largest"
    return ""


def medians(tasks: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of every round, by task; the tasks take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(WARM_UPS + ROUNDS):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if round_ >= WARM_UPS:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> int:
    """Check, measure, print; 1 where the engines disagree."""
    steps = {engine: Step(engine) for engine in ENGINES}
    if difference := disagreement(steps):
        print(f"no speed is told: {difference}")
        return 1
    hardware = session(torch.device("cpu"), "cpu", 0, None)
    print(f"{hardware.processor}, {hardware.threads} threads, torch {hardware.versions['torch']}; engines agree")
    batch = len(steps["cpu"].images)
    for what in ("train", "infer"):
        seconds = medians({engine: getattr(steps[engine], what) for engine in ENGINES})
        middle = {engine: statistics.median(times) for engine, times in seconds.items()}
        for engine, times in seconds.items():
            spread = f"{middle[engine] * 1000:8.1f} ms ({min(times) * 1000:.1f} to {max(times) * 1000:.1f})"
            print(f"{what:6} {engine:10} {spread}  {batch / middle[engine]:6.0f} images/s")
        print(f"{what:6} ratio      {middle['reference'] / middle['cpu']:8.1f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
