"""Our own trainer in a benchmark: a network in training on one batch of the bundled images, on an engine."""

from typing import Any

import torch

from snnbook import datasets, experiments
from snnbook.devices import keep_memory
from snnbook.networks import Network
from snnbook.settings import Experiment
from snnbook.training import metrics
from snnbook.training.step import TrainingStep

TOLERANCE = 1e-4
"""Largest difference of a gradient, as a share of its largest entry: the order of float32 sums differs."""


def images(experiment: Experiment, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first bundled images (repeated where there are too few), normalised, and their labels."""
    data = datasets.load("fashion_mnist_subset", "train")
    chosen = torch.arange(number) % len(data.labels)
    return (data.images[chosen] / 255 - experiment.mean[0]) / experiment.std[0], data.labels[chosen]


def images_of(name: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`images` of an experiment by name."""
    return images(experiments.get(name), number)


class Step:
    """A network in training on one batch, by the trainer's own step: update and monitored sums are in it.

    Args:
        engine: see `snnbook.ops`
        name: of the experiment, one on images of 28 x 28
        like: start from its weights and thresholds, in place of a search
        dtype: of weights and images
        changes: settings of the experiment to change
    """

    def __init__(
        self,
        engine: str,
        name: str = "fashion_mnist",
        like: "Step | None" = None,
        dtype: torch.dtype = torch.float32,
        **changes: Any,
    ) -> None:
        experiment = experiments.get(name, engine=engine, **changes)
        self.images, self.labels = images(experiment, experiment.batch_size)
        self.images = self.images.to(dtype)
        torch.manual_seed(0)
        self.net = experiment.build_network().to(dtype)
        if like is None:
            self.net.initialise(self.images, experiment.rate)
        else:
            self.net.load_state_dict(like.net.state_dict())
        self.net.register_forward_hook(self._keep)
        self.loss = experiment.build_loss()
        # A run does the same when it begins.
        keep_memory()
        self._step = TrainingStep(experiment, self.net, metrics.Totals(torch.device("cpu")))

    def _keep(self, _: Network, __: tuple, output: Any) -> None:
        """Keep the output spikes of the last forward pass, without what it left for backward."""
        self._spikes = (output if isinstance(output, torch.Tensor) else output[0]).detach()

    def train(self) -> torch.Tensor:
        """One step; returns the output spikes, (T, N, C)."""
        self._step(self.images, self.labels)
        return self._spikes

    @torch.no_grad()
    def infer(self) -> torch.Tensor:
        """Output spikes, (T, N, C)."""
        return self.net(self.images)

    def rest(self) -> None:
        """Let go of all but parameters, optimiser and data."""
        self._step.optimiser.zero_grad()

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


def compare(name: str, **changes: Any) -> str:
    """`disagreement` of the two engines in double precision, where no rounding decides about a spike."""
    fused = Step("cpu", name, dtype=torch.float64, **changes)
    return disagreement(Step("reference", name, like=fused, dtype=torch.float64, **changes), fused)
