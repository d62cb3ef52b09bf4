"""Our own trainer in a benchmark: a network that trains on one batch of the bundled images, on an engine."""

from typing import Any

import torch

from snnbook import datasets, experiments
from snnbook.devices import keep_memory
from snnbook.networks import Network
from snnbook.settings import Experiment
from snnbook.training import metrics
from snnbook.training.step import TrainingStep

TOLERANCE = 1e-4
"""Largest difference of a gradient, relative to its largest entry: the order of float32 sums differs."""


def images(experiment: Experiment, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first bundled images, normalised, and their labels; repeated if there are too few."""
    data = datasets.load("fashion_mnist_subset", "train")
    chosen = torch.arange(number) % len(data.labels)
    return (data.images[chosen] / 255 - experiment.mean[0]) / experiment.std[0], data.labels[chosen]


def images_of(name: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `images` of an experiment by name."""
    return images(experiments.get(name), number)


class Step:
    """A network that trains on one batch by the trainer's own step, with update and monitored sums.

    Args:
        engine: see `snnbook.ops`
        name: of the experiment, one on images of 28 x 28
        like: copy its weights and thresholds instead of searching for thresholds
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
        self.net.register_forward_hook(self._store_spikes)
        self.loss = experiment.build_loss()
        # A run does the same when it begins.
        keep_memory()
        self._step = TrainingStep(experiment, self.net, metrics.Totals(torch.device("cpu")))

    def _store_spikes(self, _: Network, __: tuple, output: Any) -> None:
        """Store the output spikes of the last forward pass, detached from its graph."""
        if not isinstance(output, torch.Tensor):
            output = output[0]
        self._spikes = output.detach()

    def train(self) -> torch.Tensor:
        """Do one step and return the output spikes, (T, N, C)."""
        self._step(self.images, self.labels)
        return self._spikes

    @torch.no_grad()
    def infer(self) -> torch.Tensor:
        """Return the output spikes, (T, N, C)."""
        return self.net(self.images)

    def rest(self) -> None:
        """Free everything but parameters, optimiser and data."""
        self._step.optimiser.zero_grad()

    @torch.no_grad()
    def rates(self) -> list[float]:
        """Measure the spikes per neuron and example of every layer."""
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
    """Return what differs after one training step from equal weights; "" if nothing does."""
    wanted_spikes = wanted.train()
    got_spikes = got.train()
    if not torch.equal(wanted_spikes, got_spikes):
        return f"{int((wanted_spikes != got_spikes).sum())} output spikes differ"
    pairs = zip(wanted.net.named_parameters(), got.net.named_parameters(), strict=True)
    for (name, one), (_, other) in pairs:
        error = relative_error(one.grad, other.grad)
        # Written so that a NaN counts as a difference.
        if not error <= TOLERANCE:
            return f"gradients of {name} differ by {error:.1e} of the largest"
    return ""


def relative_error(wanted: torch.Tensor, got: torch.Tensor) -> torch.Tensor:
    """Return the largest difference, relative to the largest entry of `wanted`."""
    return (wanted - got).abs().max() / wanted.abs().max()


def compare(name: str, **changes: Any) -> str:
    """Return the `disagreement` of the two engines in double precision, where rounding decides no spike."""
    fused = Step("cpu", name, dtype=torch.float64, **changes)
    reference = Step("reference", name, like=fused, dtype=torch.float64, **changes)
    return disagreement(reference, fused)
