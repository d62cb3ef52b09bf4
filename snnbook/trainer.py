"""A network in training: data, weights and optimiser on one device, an epoch at a time.

App. 1 and Table 1 of Zhu et al. 2023. Order and flips of an epoch follow from seed and epoch alone, the learning rate
from the epoch; everything else that an epoch depends on is in `Trainer.checkpoint`.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from . import checkpoints, datasets, encoding, measure
from .checkpoints import Checkpoint
from .errors import UserError
from .records import EpochFigures
from .settings import Experiment

LOOK_SECONDS = 0.5
"""Time between two looks at the figures while an epoch goes on; each look waits for the device."""

TEST_BATCH = 100
"""Images a batch in tests."""

OPTIMISERS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

Look = Callable[[int, float, float], None]
"""Called with the number of images done since the last look, and the epoch's loss and training accuracy so far."""


class Trainer:
    """A network in training.

    Args:
        experiment: the settings
        device: that trains
    Attributes:
        net, optimiser: what is trained, and by what
        hashes: SHA-256 of the data, by split
        images: number of training images
    Raises:
        UserError: if the data cannot be had, or the settings ask for what this version lacks
    """

    def __init__(self, experiment: Experiment, device: torch.device) -> None:
        self.experiment, self.device = experiment, device
        data = {split: datasets.load(experiment.dataset, split) for split in datasets.SPLITS}
        if unread := set(experiment.augmentation) - {"flip"}:
            raise UserError(f"this version cannot augment by {' or '.join(sorted(unread))} yet, only by flip")
        self.hashes = {split: data[split].sha256 for split in datasets.SPLITS}
        self.images = len(data["train"])
        self._training = batches(experiment, data["train"], device)
        self._testing = batches(experiment, data["test"], device)
        torch.manual_seed(experiment.seed)
        self.net = experiment.build_network().to(device)
        self.optimiser = _optimiser(self.net, experiment)
        self._loss = experiment.build_loss()

    def initialise(self) -> None:
        """First thresholds, from the first batch in the data set's order."""
        first = self._training.first(self.experiment.batch_size)
        self.net.initialise(encode(self.experiment, first), rate=self.experiment.rate)

    def train_epoch(self, epoch: int, look: Look) -> dict[str, float]:
        """One pass over the training images.

        Args:
            epoch: counted from 1
            look: called every LOOK_SECONDS or so, and at the end
        Returns:
            what `measure.Totals.read` gives at the end
        Raises:
            UserError: if training broke down: loss or gradient not finite, a gamma not above 0
        """
        self.net.train()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.experiment, epoch)
        totals = measure.Totals(self.device, by=self.experiment.readout)
        seen, looked = 0, time.monotonic()

        def tell() -> dict[str, float]:
            sums = totals.read()
            look(seen, sums["loss"], sums["correct"] / sums["samples"])
            return sums

        for images, labels in self._training.epoch(epoch - 1):
            self._step(images, labels, totals)
            seen += len(labels)
            if time.monotonic() - looked > LOOK_SECONDS:
                tell()
                seen, looked = 0, time.monotonic()
        return tell()

    def _step(self, images: Tensor, labels: Tensor, totals: measure.Totals) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        spikes, raw = self.net(encode(self.experiment, images), labels=labels)
        spikes.retain_grad()
        loss = self._loss(spikes, labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.experiment.gradient_clip)
        self.optimiser.step()
        totals.add(loss, spikes, raw, labels, norm)

    def epoch(self, epoch: int, look: Look) -> EpochFigures:
        """Train for an epoch (arguments and errors as in `train_epoch`), test, and gather the figures."""
        start = time.monotonic()
        sums = self.train_epoch(epoch, look)
        trained = time.monotonic()
        encoded, by = partial(encode, self.experiment), self.experiment.readout
        tested = measure.evaluate(self.net, self._testing.epoch(0), encoded, by=by)
        spreads, output = measure.thresholds(self.net)
        return EpochFigures(
            epoch=epoch,
            loss=sums["loss"],
            train_accuracy=sums["correct"] / sums["samples"],
            test_accuracy=tested.accuracy,
            exit_time=tested.exit_time,
            grad_sum=sums["grad_sum"],
            grad_abs_sum=sums["grad_abs_sum"],
            positive_ratio=sums["grad_sum"] / sums["grad_abs_sum"] if sums["grad_abs_sum"] else None,
            positive_share=sums["positive"] / sums["spikes"] if sums["spikes"] else None,
            firing_rates=tested.firing_rates,
            thresholds=spreads,
            output_thresholds=output,
            learning_rate=learning_rate(self.experiment, epoch),
            seconds=time.monotonic() - start,
            images_per_second=sums["samples"] / (trained - start),
        )

    def checkpoint(self, epoch: int) -> Checkpoint:
        """The state after so many epochs."""
        generators = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        return Checkpoint(
            experiment=self.experiment,
            epoch=epoch,
            model=self.net.state_dict(),
            optimiser=self.optimiser.state_dict(),
            generators=generators,
        )

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Take up the state of a checkpoint.

        Args:
            checkpoint: the state
            path: where it came from, for the error
        Raises:
            UserError: if it does not fit
        """
        checkpoints.fit_into(self.net, checkpoint.model, path)
        try:
            self.optimiser.load_state_dict(checkpoint.optimiser)
            torch.set_rng_state(checkpoint.generators["cpu"])
            if self.device.type == "cuda" and "cuda" in checkpoint.generators:
                torch.cuda.set_rng_state(checkpoint.generators["cuda"], self.device)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not hold the optimiser and generators that its settings describe") from error


def batches(experiment: Experiment, data: datasets.Dataset, device: torch.device) -> datasets.Batches:
    """Batches of a data set as the experiment wants them; test images in order and without augmentation."""
    training = data.split == "train"
    return datasets.Batches(
        data,
        experiment.batch_size if training else TEST_BATCH,
        device=device,
        mean=experiment.mean[0],
        std=experiment.std[0],
        flip=training and "flip" in experiment.augmentation,
        seed=experiment.seed,
        shuffle=training,
    )


def encode(experiment: Experiment, images: Tensor) -> Tensor:
    """Images as the network takes them: it repeats them over time itself (direct), and takes frames as they are."""
    if experiment.encoding.startswith("latency"):
        return encoding.latency(images, experiment.steps, experiment.encoding == "latency_bright_first")
    return images


def _optimiser(net: nn.Module, experiment: Experiment) -> torch.optim.Optimizer:
    """W decays by weight_decay, gamma and beta by norm_weight_decay."""
    weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
    norms = [p for name, p in net.named_parameters() if not name.endswith("weight")]
    decay, norm_decay = experiment.weight_decay, experiment.norm_weight_decay
    groups = [
        {"params": weights, "weight_decay": decay},
        {"params": norms, "weight_decay": decay if norm_decay is None else norm_decay},
    ]
    # fused: one pass over memory, 4 times as fast on a CPU; equal to torch's plain loop but for the last bit
    return OPTIMISERS[experiment.optimiser](groups, lr=experiment.learning_rate, fused=True)


def learning_rate(experiment: Experiment, epoch: int) -> float:
    """The rate of an epoch, counted from 1: a cosine from the start value towards 0 at the end."""
    return experiment.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / experiment.epochs)) / 2
