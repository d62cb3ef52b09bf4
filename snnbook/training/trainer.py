"""A network in training: data, weights and optimiser on one device, an epoch at a time.

App. 1 and Table 1 of Zhu et al. 2023. Order and augmentation of an epoch follow from seed and epoch alone, the learning
rate from the epoch; everything else that a step depends on is in `Trainer.checkpoint`. Several processes train one
network together, each on its share of every batch (distributed.py).
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
from .distributed import ALONE, Team
from .step import TrainingStep

TEST_BATCH = 100
"""Images a batch in tests."""

TEST_VALUES = 2**19
"""Pixel values that a batch in tests may hold on a GPU, where each batch costs the time of its start: 100 to 500
images, in hundreds."""

Look = Callable[[int, float, float], None]
"""Called with the number of images done since the last look, and the epoch's loss and training accuracy so far."""

Heed = Callable[[], bool]
"""Called after every training step and test batch, when the state may be saved; tells whether it is time for a look."""


class Trainer:
    """A network in training.

    Args:
        experiment: the settings
        device: that trains
        team: the processes that train it together
    Attributes:
        net, optimiser: what is trained, and by what
        step: batches of the epoch under way that are done
        hashes: SHA-256 of the data, by split
        images: number of training images
    Raises:
        UserError: if the data cannot be had
    """

    def __init__(self, experiment: Experiment, device: torch.device, team: Team = ALONE) -> None:
        self.experiment, self.device, self.team = experiment, device, team
        data = {split: datasets.load(experiment.dataset, split) for split in datasets.SPLITS}
        self.hashes = {split: data[split].sha256 for split in datasets.SPLITS}
        self.images = len(data["train"])
        self._training = batches(experiment, data["train"], device)
        self._testing = batches(experiment, data["test"], device)
        torch.manual_seed(experiment.seed)
        self.net = experiment.build_network().to(device)
        self._totals = metrics.Totals(device, by=experiment.readout)
        self._plain_step = TrainingStep(experiment, self.net, self._totals, team, static=device.type == "cuda")
        self.optimiser = self._plain_step.optimiser
        self._begin_steps()
        self._begin_epoch()

    def _begin_steps(self) -> None:
        """A GPU that works alone plays its steps from a record, which is made at the first full batch."""
        alone = self.device.type == "cuda" and self.team.size == 1
        self._step = RecordedStep(self._plain_step) if alone else self._plain_step

    def _begin_epoch(self) -> None:
        self._number: int | None = None
        self.step, self._seconds = 0, 0.0
        self._totals.begin()
        self._since = time.monotonic()

    def _spent(self) -> float:
        """Seconds that this epoch has taken so far, those before a stop included."""
        return self._seconds + time.monotonic() - self._since

    def initialise(self) -> None:
        """First thresholds, from the first batch in the data set's order."""
        first = self._training.first(self.experiment.batch_size)
        with devices.rounding(self.experiment.precision, self.device):
            self.net.initialise(self.experiment.encode(first), rate=self.experiment.rate)

    def train_epoch(self, epoch: int, look: Look, heed: Heed = lambda: True) -> dict[str, float]:
        """One pass over the training images, or what is left of it.

        Args:
            epoch: counted from 1
            look: called when `heed` says so, and at the end
            heed: called after every step; alone, looks at each
        Returns:
            what `measure.Totals.read` gives at the end
        Raises:
            UserError: if training broke down: loss or gradient not finite, a gamma not above 0
        """
        if self._number not in (None, epoch):
            self._begin_epoch()
        self._number = epoch
        self.net.train()
        self._plain_step.set_learning_rate(self.experiment.learning_rate_of(epoch))
        self.team.align(self.net.state_dict().values())
        seen = 0

        def tell() -> dict[str, float]:
            sums = self._totals.read(self.team, self.net)
            look(seen, sums["loss"], sums["correct"] / sums["samples"])
            return sums

        with devices.rounding(self.experiment.precision, self.device):
            for images, labels in self._rest(epoch):
                self._step(images, labels)
                self.step += 1
                seen += len(labels)
                if heed():
                    tell()
                    seen = 0
        return tell()

    def _rest(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches from `step` on. Those before are drawn too, so that whatever they draw is as it was."""
        batches = iter(self._training.epoch(epoch - 1))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for _ in islice(batches, self.step):
                pass
        return batches

    def _tests(self, heed: Heed) -> Iterator[tuple[Tensor, Tensor]]:
        """The test batches that fall to this process."""
        for number, batch in enumerate(self._testing.epoch(0)):
            if number % self.team.size == self.team.rank:
                yield batch
            if number % self.team.size == self.team.size - 1:
                heed()

    def epoch(self, epoch: int, look: Look, heed: Heed = lambda: True) -> EpochFigures:
        """Train for an epoch (arguments and errors as in `train_epoch`), test, and gather the figures."""
        self._since = time.monotonic()
        sums = self.train_epoch(epoch, look, heed)
        self.net.fold()  # the last step's gamma, which a test leaves alone
        trained = self._spent()
        encoded, by = self.experiment.encode, self.experiment.readout
        with devices.rounding(self.experiment.precision, self.device):
            tested = metrics.evaluate(self.net, self._tests(heed), encoded, by=by, team=self.team)
        spreads, output = metrics.thresholds(self.net)
        figures = EpochFigures(
            epoch=epoch,
            loss=sums["loss"],
            train_accuracy=sums["correct"] / sums["samples"],
            test_accuracy=tested.accuracy,
            test_accuracy_halves=list(tested.halves),
            exit_time=tested.exit_time,
            grad_sum=sums["grad_sum"],
            grad_abs_sum=sums["grad_abs_sum"],
            positive_ratio=sums["grad_sum"] / sums["grad_abs_sum"] if sums["grad_abs_sum"] else None,
            positive_share=sums["positive"] / sums["spikes"] if sums["spikes"] else None,
            firing_rates=tested.firing_rates,
            thresholds=spreads,
            output_thresholds=output,
            learning_rate=self.experiment.learning_rate_of(epoch),
            seconds=self._spent(),
            images_per_second=sums["samples"] / trained,
        )
        self._begin_epoch()
        return figures

    def checkpoint(self, epoch: int) -> Checkpoint:
        """The state after so many epochs and `step` batches of the next. All processes of the team must call this.

        Raises:
            UserError: if the step before broke the training, which at an epoch's end has been looked at already
        """
        if self.step:
            self._totals.read(self.team, self.net)
            metrics.thresholds(self.net)
        generators = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        return Checkpoint(
            experiment=self.experiment,
            epoch=epoch,
            step=self.step,
            sums=self._totals.joint(self.team),
            seconds=self._spent() if self.step else 0.0,
            model=self.net.state_dict(),
            optimiser=self._plain_step.optimiser_state(),
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
        self._check_counts(checkpoint, path)
        checkpoints.fit_into(self.net, checkpoint.model, path)
        try:
            self._plain_step.restore_optimiser(checkpoint.optimiser)
            self._begin_steps()
            self.step, self._seconds = checkpoint.step, checkpoint.seconds
            self._totals.restore(checkpoint.sums, checkpoint.step, self.team)
            torch.set_rng_state(checkpoint.generators["cpu"])
            if self.device.type == "cuda" and "cuda" in checkpoint.generators:
                torch.cuda.set_rng_state(checkpoint.generators["cuda"], self.device)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not hold the optimiser and generators that its settings describe") from error

    def _check_counts(self, checkpoint: Checkpoint, path: Path) -> None:
        """Compare what a checkpoint counts with the number of batches and images here."""
        length, step = len(self._training), checkpoint.step
        if step > length:
            raise UserError(f"{path} is of step {step}; an epoch of its settings has {length}")
        samples = checkpoint.sums[TRAIN_SUMS.index("samples")].item()
        if samples != min(step * self.experiment.batch_size, self.images):
            raise UserError(f"{path} has sums over {samples:.0f} images, which {step} steps do not have")
        done, wanted = steps_done(checkpoint), checkpoint.epoch * length + step
        if done is not None and done != min(wanted, COUNTED):
            raise UserError(
                f"{path} is of epoch {checkpoint.epoch} and step {step}, {wanted} steps in all, "
                f"but its optimiser has counted {done}"
            )


def batches(experiment: Experiment, data: datasets.Dataset, device: torch.device) -> loader.Batches:
    """Batches of a data set as the experiment wants them; test images in order and without augmentation."""
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
    """Images a batch in tests: an even number, so that every device makes the same two halves of them."""
    hundreds = TEST_VALUES // math.prod(data.images.shape[-3:]) // 100 if device.type == "cuda" else 1
    return TEST_BATCH * min(max(hundreds, 1), 5)
