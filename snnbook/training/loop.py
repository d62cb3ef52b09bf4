"""The course of a run: its epochs one after the other, looked at, saved, and stopped when somebody asks.

At an epoch's end its figures are added to epochs.jsonl, then last.pt is replaced, then best.pt if it is the best so
far; within a long epoch last.pt is replaced now and then. A run that is killed in between, at whatever moment, is set
right by `mend` when it goes on.
"""

import time
from pathlib import Path

from .. import records, signals
from ..records import EpochFigures, RunRecord, checkpoints, run_folder
from ..records.checkpoints import Checkpoint
from ..records.provenance import Provenance
from ..records.run_folder import Lock
from ..settings import Experiment
from .trainer import Trainer

LOOK_SECONDS = 0.5
"""Time between two looks at the figures while an epoch goes on; each look waits for the device."""

SAVE_SECONDS = 300.0
"""Time between two checkpoints while an epoch goes on, unless another is asked for."""

LOOK, SAVE, STOP = 1, 2, 3
"""What may be wanted after a step, the most urgent last; STOP + n stands for signal n."""


class Progress:
    """Told how a run goes on. This one keeps silent; others override what they want to know."""

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """The run begins, or goes on after `epochs_done`; an epoch has so many training images."""

    def look(self, images: int, loss: float, accuracy: float) -> None:
        """So many images more are done; loss and training accuracy of the epoch so far."""

    def epoch(self, figures: EpochFigures, best: bool) -> None:
        """An epoch is done and on the disk; whether it is the best so far."""

    def close(self) -> None:
        """The run is over, or broken off."""


class Course:
    """A run on its way. Every process of the trainer's team has one; the first writes and talks.

    Args:
        trainer: at the point that the run has come to
        folder: of the run
        origin: its provenance
        epochs: figures so far
        progress: is told how it goes
        save_every: seconds between two checkpoints within an epoch
        lock: that the first process holds on the folder, looked at before each write
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
        self._lock = lock
        self._trainer, self._team, self._experiment = trainer, trainer.team, trainer.experiment
        self._folder, self._origin, self._epochs = folder, origin, epochs
        self._progress = progress if progress is not None and self._team.leads else Progress()
        self._save_every = save_every
        self._request = signals.Request()
        self._looked = self._saved = time.monotonic()

    def begin(self) -> None:
        """First thresholds, and the checkpoint that every run has from there on.

        Raises:
            Stopped: on Ctrl-C, and on SIGTERM where it is raised at once
        """
        try:
            if self._team.leads:  # the others take them over at the first epoch's start
                self._trainer.initialise()
            self._save()
        except KeyboardInterrupt as stop:
            message = f"stopped before the first step. {run_folder.resume_hint(self._folder)}"
            raise signals.Stopped.by(stop, message) from stop

    def go(self) -> RunRecord:
        """The epochs that are left.

        Raises:
            UserError: if training broke down, or a file cannot be written
            Stopped: if a signal asked for it
        """
        experiment, progress, done = self._experiment, self._progress, len(self._epochs)
        progress.start(experiment, self._folder, done, self._trainer.images)
        try:
            with signals.defer_signals(patient=self._team.size > 1) as self._request:
                for number in range(done + 1, experiment.epochs + 1):
                    self._add(self._trainer.epoch(number, progress.look, self._heed))
                    if signal := self._team.highest(self._request.number):
                        raise self._stopped(signal)
        finally:
            progress.close()
        if not self._team.leads:
            return self._record
        self._still_held()
        return records.read(self._folder)

    @property
    def _record(self) -> RunRecord:
        return RunRecord(self._experiment, self._origin, self._epochs)

    def _add(self, figures: EpochFigures) -> None:
        """Put an epoch on the disk, step by step as `mend` expects it."""
        best = all(figures.test_accuracy > other.test_accuracy for other in self._epochs)
        self._epochs = (*self._epochs, figures)
        if self._team.leads:
            self._still_held()
            records.append_epoch(self._folder, figures)
        checkpoint = self._save()
        if best and self._team.leads:
            self._still_held()
            checkpoints.write(checkpoint, self._folder / checkpoints.BEST)
        self._progress.epoch(figures, best)

    def _still_held(self) -> None:
        """See that nobody took the folder away, before something is written to it."""
        if self._lock is not None:
            self._lock.check()

    def _save(self) -> Checkpoint:
        checkpoint = self._trainer.checkpoint(len(self._epochs))
        if self._team.leads:
            self._still_held()
            checkpoints.write(checkpoint, self._folder / checkpoints.LAST)
        self._saved = time.monotonic()
        return checkpoint

    def _heed(self) -> bool:
        """After a step: save and stop where it is time; tell whether it is time to look. The same on all processes."""
        now, wanted = time.monotonic(), 0
        if self._request.number:
            wanted = STOP + self._request.number
        elif now - self._saved >= self._save_every:
            wanted = SAVE
        elif now - self._looked >= LOOK_SECONDS:
            wanted = LOOK
        wanted = self._team.highest(wanted)
        if wanted >= SAVE:
            self._save()
        if wanted > STOP:
            raise self._stopped(wanted - STOP)
        if wanted:
            self._looked = now
        return wanted > 0

    def _stopped(self, signal: int) -> signals.Stopped:
        step, done, wanted = self._trainer.step, len(self._epochs), self._experiment.epochs
        if done == wanted:
            return signals.Stopped(f"stopped, but the run in {self._folder} is finished", signal)
        within = f" and {step} batch(es) of the next" if step else ""
        again = run_folder.resume_hint(self._folder)
        return signals.Stopped(f"stopped after epoch {done} of {wanted}{within}; all is saved. {again}", signal)


def mend(folder: Path, checkpoint: Checkpoint, origin: Provenance) -> tuple[EpochFigures, ...]:
    """Set right what a kill left between two files: figures beyond the checkpoint, a best.pt that is still missing.

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
    record, best = RunRecord(checkpoint.experiment, origin, epochs), folder / checkpoints.BEST
    if (
        epochs
        and checkpoint.step == 0
        and record.best is record.last
        and not (best.exists() and checkpoints.read(best, checkpoint.experiment).epoch == checkpoint.epoch)
    ):
        checkpoints.write(checkpoint, best)
    return epochs
