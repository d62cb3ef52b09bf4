"""A network in training: data, weights and optimiser on one device, an epoch at a time.

App. 1 and Table 1 of Zhu et al. 2023. Order and augmentation of an epoch follow from seed and epoch alone, the learning
rate from the epoch. Everything else that a step depends on is in `Trainer.checkpoint`. Several processes train one
network together, each on its shard of every batch (distributed.py).
"""

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from .. import datasets, devices
from ..datasets import loader
from ..errors import UserError
from ..records import EpochFigures, checkpoints
from ..records.checkpoint_schema import COUNTED, steps_done
from ..records.checkpoints import Checkpoint
from ..records.figures import TRAIN_SUMS
from ..settings import Experiment
from . import metrics
from .cuda_graph import RecordedStep
from .distributed import ALONE, ProcessGroup
from .step import TrainingStep

TEST_BATCH = 100
"""Images in a test batch."""

TEST_VALUES = 2**19
"""Pixel values that a test batch may have on a GPU, where every batch costs the time of its start. This makes 100 to
500 images, in hundreds."""

Report = Callable[[int, float, float], None]
"""Called with the number of images since the last report, and the epoch's loss and training accuracy so far."""

AfterStep = Callable[[], bool]
"""Called after every training step and test batch, when the state may be saved. Returns whether a report is due."""


def _always() -> bool:
    """Ask for a report after every step."""
    return True


class Trainer:
    """A network in training.

    Args:
        experiment: the settings
        device: to train on
        group: the processes that train the network together
    Attributes:
        net: the network
        optimiser: updates its weights
        batches_done: batches of the current epoch that are done
        hashes: SHA-256 of the data, by split
        images: number of training images
    Raises:
        UserError: if the data are not there and cannot be downloaded
    """

    def __init__(self, experiment: Experiment, device: torch.device, group: ProcessGroup = ALONE) -> None:
        self.experiment = experiment
        self.device = device
        self.group = group
        data = {split: datasets.load(experiment.dataset, split) for split in datasets.SPLITS}
        self.hashes = {split: data[split].sha256 for split in datasets.SPLITS}
        self.images = len(data["train"])
        self._training = batches(experiment, data["train"], device)
        self._testing = batches(experiment, data["test"], device)
        torch.manual_seed(experiment.seed)
        self.net = experiment.build_network().to(device)
        self._totals = metrics.Totals(device, experiment.readout, group)
        self._training_step = TrainingStep(experiment, self.net, self._totals, group, static=device.type == "cuda")
        self.optimiser = self._training_step.optimiser
        self._choose_step()
        self._begin_epoch()

    def _choose_step(self) -> None:
        """Replay steps from a record on a GPU that works alone. The record is made at the first full batch."""
        self._run_step: TrainingStep | RecordedStep = self._training_step
        if self.device.type == "cuda" and self.group.size == 1:
            self._run_step = RecordedStep(self._training_step)

    def _begin_epoch(self) -> None:
        """Reset what belongs to a single epoch."""
        self._current_epoch: int | None = None
        self.batches_done = 0
        self._totals.reset()
        self._seconds_before = 0.0
        self._since = time.monotonic()

    def _seconds(self) -> float:
        """Return the seconds that this epoch has taken so far, including those before a stop."""
        return self._seconds_before + time.monotonic() - self._since

    def initialise(self) -> None:
        """Initialise the thresholds on the first batch in the data set's order."""
        first = self._training.first(self.experiment.batch_size)
        with devices.rounding(self.experiment.precision, self.device):
            self.net.initialise(self.experiment.encode(first), rate=self.experiment.rate)

    def train_epoch(self, epoch: int, report: Report, after_step: AfterStep = _always) -> dict[str, float]:
        """Train on all training images once, or on those that an interrupted epoch has left.

        Args:
            epoch: counted from 1
            report: called when `after_step` returns True, and at the end
            after_step: called after every step
        Returns:
            the epoch's sums, as `metrics.Totals.read` returns them
        Raises:
            UserError: if training broke down: loss or gradient not finite, a gamma not above 0
        """
        if self._current_epoch not in (None, epoch):
            self._begin_epoch()
        self._current_epoch = epoch
        self.net.train()
        self._training_step.set_learning_rate(self.experiment.learning_rate_of(epoch))
        self.group.broadcast_tensors(self.net.state_dict().values())
        images_since_report = 0
        with devices.rounding(self.experiment.precision, self.device):
            for images, labels in self._remaining_batches(epoch):
                self._run_step(images, labels)
                self.batches_done += 1
                images_since_report += len(labels)
                if after_step():
                    self._report(report, images_since_report)
                    images_since_report = 0
        return self._report(report, images_since_report)

    def _report(self, report: Report, images: int) -> dict[str, float]:
        """Read the epoch's sums, call `report` with them, and return them."""
        sums = self._totals.read(self.net)
        report(images, sums["loss"], sums["correct"] / sums["samples"])
        return sums

    def _remaining_batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an epoch's batches from `batches_done` on.

        Skipped batches are still drawn, so that the random state matches an uninterrupted epoch.
        """
        remaining = iter(self._training.epoch(epoch - 1))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for _ in islice(remaining, self.batches_done):
                pass
        return remaining

    def _tests(self, after_step: AfterStep) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the test batches of this rank, and call `after_step` once for each round of the ranks."""
        for number, batch in enumerate(self._testing.epoch(0)):
            turn = number % self.group.size
            if turn == self.group.rank:
                yield batch
            if turn == self.group.size - 1:
                after_step()

    def epoch(self, epoch: int, report: Report, after_step: AfterStep = _always) -> EpochFigures:
        """Train for an epoch, test, and return the figures. Arguments and errors as in `train_epoch`."""
        self._since = time.monotonic()
        sums = self.train_epoch(epoch, report, after_step)
        # A test leaves the gamma of the last step alone.
        self.net.fold()
        training_seconds = self._seconds()
        with devices.rounding(self.experiment.precision, self.device):
            tests = self._tests(after_step)
            tested = metrics.evaluate(self.net, tests, self.experiment.encode, self.experiment.readout, self.group)
        figures = self._figures(epoch, sums, tested, training_seconds)
        self._begin_epoch()
        return figures

    def _figures(
        self, epoch: int, sums: dict[str, float], tested: metrics.Evaluation, training_seconds: float
    ) -> EpochFigures:
        """Gather the figures of an epoch."""
        spreads, output_thresholds = metrics.thresholds(self.net)
        positive_ratio = None
        if sums["grad_abs_sum"]:
            positive_ratio = sums["grad_sum"] / sums["grad_abs_sum"]
        positive_share = None
        if sums["spikes"]:
            positive_share = sums["positive"] / sums["spikes"]
        return EpochFigures(
            epoch=epoch,
            loss=sums["loss"],
            train_accuracy=sums["correct"] / sums["samples"],
            test_accuracy=tested.accuracy,
            test_accuracy_halves=list(tested.halves),
            exit_time=tested.exit_time,
            grad_sum=sums["grad_sum"],
            grad_abs_sum=sums["grad_abs_sum"],
            positive_ratio=positive_ratio,
            positive_share=positive_share,
            firing_rates=tested.firing_rates,
            thresholds=spreads,
            output_thresholds=output_thresholds,
            learning_rate=self.experiment.learning_rate_of(epoch),
            seconds=self._seconds(),
            images_per_second=sums["samples"] / training_seconds,
        )

    def checkpoint(self, epoch: int) -> Checkpoint:
        """Return the state after so many epochs and `batches_done` batches of the next. All ranks must call this.

        Raises:
            UserError: if training broke down in the last step. At an epoch's end this has been checked already
        """
        seconds = 0.0
        if self.batches_done:
            self._totals.read(self.net)
            metrics.thresholds(self.net)
            seconds = self._seconds()
        generators = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        return Checkpoint(
            experiment=self.experiment,
            epoch=epoch,
            step=self.batches_done,
            sums=self._totals.joint(),
            seconds=seconds,
            model=self.net.state_dict(),
            optimiser=self._training_step.optimiser_state(),
            generators=generators,
        )

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Load the state of a checkpoint.

        Args:
            checkpoint: the state
            path: its file, for the error
        Raises:
            UserError: if it does not fit
        """
        self._check_counts(checkpoint, path)
        checkpoints.fit_into(self.net, checkpoint.model, path)
        try:
            self._training_step.restore_optimiser(checkpoint.optimiser)
            self._choose_step()
            self.batches_done = checkpoint.step
            self._seconds_before = checkpoint.seconds
            self._totals.restore(checkpoint.sums, checkpoint.step)
            torch.set_rng_state(checkpoint.generators["cpu"])
            if self.device.type == "cuda" and "cuda" in checkpoint.generators:
                torch.cuda.set_rng_state(checkpoint.generators["cuda"], self.device)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not hold the optimiser and generators that its settings describe") from error

    def _check_counts(self, checkpoint: Checkpoint, path: Path) -> None:
        """Compare a checkpoint's counts with the number of batches and images here."""
        length = len(self._training)
        step = checkpoint.step
        if step > length:
            raise UserError(f"{path} is of step {step}; an epoch of its settings has {length}")
        samples = checkpoint.sums[TRAIN_SUMS.index("samples")].item()
        if samples != min(step * self.experiment.batch_size, self.images):
            raise UserError(f"{path} has sums over {samples:.0f} images, which {step} steps do not have")
        counted = steps_done(checkpoint)
        wanted = checkpoint.epoch * length + step
        if counted is not None and counted != min(wanted, COUNTED):
            raise UserError(
                f"{path} is of epoch {checkpoint.epoch} and step {step}, {wanted} steps in all, "
                f"but its optimiser has counted {counted}"
            )


def batches(experiment: Experiment, data: datasets.Dataset, device: torch.device) -> loader.Batches:
    """Return a data set's batches with the experiment's settings. Test images are in order and not augmented."""
    training = data.split == "train"
    return loader.Batches(
        data,
        experiment.batch_size if training else _test_batch(data, device),
        device=device,
        mean=experiment.mean,
        std=experiment.std,
        augmentation=experiment.augmentation if training else (),
        steps=experiment.steps,
        seed=experiment.seed,
        shuffle=training,
    )


def _test_batch(data: datasets.Dataset, device: torch.device) -> int:
    """Return the images in a test batch: an even number, so that the two halves are the same on every device."""
    if device.type != "cuda":
        return TEST_BATCH
    hundreds = TEST_VALUES // math.prod(data.images.shape[-3:]) // 100
    return TEST_BATCH * min(max(hundreds, 1), 5)
