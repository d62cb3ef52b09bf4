"""The loop over a run's epochs: train, report progress, save, and stop on a signal.

After an epoch its figures are appended to epochs.jsonl, then last.pt is replaced, then best.pt if the epoch is the best
so far. Within a long epoch last.pt is replaced from time to time. If a run is killed in between, at whatever moment,
`repair` makes the files agree when it goes on.
"""

import time
from enum import IntEnum
from pathlib import Path

from .. import records, signals
from ..records import EpochFigures, RunRecord, checkpoints, run_folder
from ..records.checkpoints import Checkpoint
from ..records.provenance import Provenance
from ..records.run_folder import Lock
from ..settings import Experiment
from .trainer import Trainer

REPORT_SECONDS = 0.5
"""Time between two progress reports within an epoch. Each report waits for the device."""

SAVE_SECONDS = 300.0
"""Default time between two checkpoints within an epoch."""


class Action(IntEnum):
    """What a process asks for after a step. Each action includes those before it."""

    NOTHING = 0
    REPORT = 1
    SAVE = 2
    STOP = 3


class Progress:
    """Callbacks that a run calls. These do nothing; override those you need."""

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """Called when the run begins, or goes on after `epochs_done`, with the number of training images."""

    def report(self, images: int, loss: float, accuracy: float) -> None:
        """Called with the images since the last report, and the epoch's loss and training accuracy so far."""

    def epoch(self, figures: EpochFigures, best: bool) -> None:
        """Called when an epoch is on disk, with whether it is the best so far."""

    def close(self) -> None:
        """Called when the run is finished or interrupted."""


class TrainingLoop:
    """The epochs of a run. Every process of the trainer's group has a loop; rank 0 writes the files and reports.

    Args:
        trainer: in the state that the run has reached
        folder: of the run
        origin: its provenance
        epochs: figures so far
        progress: callbacks
        save_every: seconds between two checkpoints within an epoch
        lock: on the folder, checked before each write; only rank 0 has it
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Path,
        origin: Provenance,
        epochs: tuple[EpochFigures, ...] = (),
        progress: Progress | None = None,
        save_every: float = SAVE_SECONDS,
        lock: Lock | None = None,
    ) -> None:
        self._trainer = trainer
        self._group = trainer.group
        self._experiment = trainer.experiment
        self._folder = folder
        self._origin = origin
        self._epochs = epochs
        self._progress = Progress()
        if progress is not None and self._group.is_main:
            self._progress = progress
        self._save_every = save_every
        self._lock = lock
        self._request = signals.Request()
        self._last_save = time.monotonic()
        self._last_report = self._last_save

    def begin(self) -> None:
        """Initialise the thresholds of a new run, and write its first checkpoint.

        Raises:
            Stopped: on Ctrl-C, and on SIGTERM where it is raised at once
        """
        try:
            if self._group.is_main:  # the other ranks get them when the first epoch starts
                self._trainer.initialise()
            self._save()
        except KeyboardInterrupt as stop:
            message = f"stopped before the first step. {run_folder.resume_hint(self._folder)}"
            raise signals.Stopped.from_interrupt(stop, message) from stop

    def run(self) -> RunRecord:
        """Train the epochs that are left.

        Raises:
            UserError: if training broke down, or a file cannot be written
            Stopped: if a signal stopped it
        """
        done = len(self._epochs)
        self._progress.start(self._experiment, self._folder, done, self._trainer.images)
        try:
            with signals.defer_signals(patient=self._group.size > 1) as self._request:
                for number in range(done + 1, self._experiment.epochs + 1):
                    figures = self._trainer.epoch(number, self._progress.report, self._after_step)
                    self._add(figures)
                    (signal,) = self._group.maximum(self._request.number)
                    if signal:
                        raise self._stopped(signal)
        finally:
            self._progress.close()
        if not self._group.is_main:
            return RunRecord(self._experiment, self._origin, self._epochs)
        self._check_lock()
        return records.read(self._folder)

    def _add(self, figures: EpochFigures) -> None:
        """Write an epoch to disk, in the order that `repair` relies on."""
        best = all(figures.test_accuracy > other.test_accuracy for other in self._epochs)
        self._epochs = (*self._epochs, figures)
        if self._group.is_main:
            self._check_lock()
            records.append_epoch(self._folder, figures)
        checkpoint = self._save()
        if best and self._group.is_main:
            self._check_lock()
            checkpoints.write(checkpoint, self._folder / checkpoints.BEST)
        self._progress.epoch(figures, best)

    def _check_lock(self) -> None:
        """Raise an error if another process has taken the folder since."""
        if self._lock is not None:
            self._lock.check()

    def _save(self) -> Checkpoint:
        """Replace last.pt. All ranks must call this, since the checkpoint holds sums over them."""
        checkpoint = self._trainer.checkpoint(len(self._epochs))
        if self._group.is_main:
            self._check_lock()
            checkpoints.write(checkpoint, self._folder / checkpoints.LAST)
        self._last_save = time.monotonic()
        return checkpoint

    def _after_step(self) -> bool:
        """Save or stop where it is due, and return whether a progress report is. The same on all ranks."""
        now = time.monotonic()
        action = Action.NOTHING
        if self._request.number:
            action = Action.STOP
        elif now - self._last_save >= self._save_every:
            action = Action.SAVE
        elif now - self._last_report >= REPORT_SECONDS:
            action = Action.REPORT
        # The ranks must act together, though their clocks differ and a signal may reach only one of them.
        action, signal = self._group.maximum(action, self._request.number)
        if action >= Action.SAVE:
            self._save()
        if action == Action.STOP:
            raise self._stopped(signal)
        if action == Action.NOTHING:
            return False
        self._last_report = now
        return True

    def _stopped(self, signal: int) -> signals.Stopped:
        """Make the exception that says what is done and how to go on."""
        done = len(self._epochs)
        wanted = self._experiment.epochs
        if done == wanted:
            return signals.Stopped(f"stopped, but the run in {self._folder} is finished", signal)
        reached = f"epoch {done} of {wanted}"
        if self._trainer.batches_done:
            reached += f" and {self._trainer.batches_done} batch(es) of the next"
        again = run_folder.resume_hint(self._folder)
        return signals.Stopped(f"stopped after {reached}; all is saved. {again}", signal)


def repair(folder: Path, checkpoint: Checkpoint, origin: Provenance) -> tuple[EpochFigures, ...]:
    """Make a run's files agree after a kill: drop figures beyond the last checkpoint, write a missing best.pt.

    Args:
        folder: of the run
        checkpoint: its last one
        origin: its provenance
    Returns:
        the figures of the epochs done
    Raises:
        UserError: if figures are missing or damaged, or a file cannot be written
    """
    epochs = records.keep_epochs(folder, checkpoint.epoch)
    if not epochs or checkpoint.step > 0:
        return epochs
    record = RunRecord(checkpoint.experiment, origin, epochs)
    if record.best is record.last:
        best = folder / checkpoints.BEST
        if not best.exists() or checkpoints.read(best, checkpoint.experiment).epoch != checkpoint.epoch:
            checkpoints.write(checkpoint, best)
    return epochs
