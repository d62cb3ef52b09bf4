"""Our own trainer in a benchmark: a network in training on one batch of the bundled images, on an engine."""

from typing import Any

import torch

from snnbook import datasets, experiments
from snnbook.settings import Experiment
from snnbook.step import clip_gradients

TOLERANCE = 1e-4
"""Largest difference of a gradient, as a share of its largest entry: the order of float32 sums differs."""


def images(experiment: Experiment, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first bundled images (repeated where there are too few), normalised, and their labels."""
    data = datasets.load("fashion_mnist_subset", "train")
    chosen = torch.arange(number) % len(data.labels)
    return (data.images[chosen] / 255 - experiment.mean[0]) / experiment.std[0], data.labels[chosen]


class Step:
    """A network in training on one batch.

    Args:
        engine: see `snnbook.ops`
        name: of the experiment, one on images of 28 x 28
        changes: settings of the experiment to change
    """

    def __init__(self, engine: str, name: str = "fashion_mnist", **changes: Any) -> None:
        experiment = experiments.get(name, engine=engine, **changes)
        self.images, self.labels = images(experiment, experiment.batch_size)
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
        clip_gradients(list(self.net.parameters()), self.clip)
        self.optimiser.step()
        return spikes.detach()

    @torch.no_grad()
    def infer(self) -> torch.Tensor:
        """Output spikes, (T, N, C)."""
        return self.net(self.images)

    @torch.no_grad()
    def rates(self) -> list[float]:
        """Spikes per neuron and example of every layer."""
        found: list[float] = []
        handles = [
            layer.register_forward_hook(lambda _, __, spikes: found.append(spikes.sum(0).mean().item()))
            for layer in self.net.spiking
        ]
        self.infer()
        for handle in handles:
            handle.remove()
        return [round(rate, 2) for rate in found]


def disagreement(wanted: Step, got: Step) -> str:
    """What differs after one training step from equal weights, or "" if nothing does."""
    reference, fused = wanted.train(), got.train()
    if not torch.equal(reference, fused):
        return f"{int((reference != fused).sum())} output spikes differ"
    pairs = zip(wanted.net.named_parameters(), got.net.named_parameters(), strict=True)
    for (name, one), (_, other) in pairs:
        error = (one.grad - other.grad).abs().max() / one.grad.abs().max()
        if not error <= TOLERANCE:
            return f"gradients of {name} differ by {error:.1e} of the largest"
    return ""
