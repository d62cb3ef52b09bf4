"""Runs: train an experiment into a folder, go on with a stopped run to the same weights, test what came out.

After every epoch the folder holds what the run needs to go on. At an epoch's end its figures are added to
epochs.jsonl, then last.pt is replaced, then best.pt if it is the best so far: a run that is killed in between
is set right when it goes on.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from . import checkpoints, datasets, measure, ops, provenance, records
from .errors import UserError, unknown
from .provenance import Provenance
from .records import EpochFigures, RunRecord
from .settings import Experiment
from .trainer import Trainer, batches, encode

RUNS = Path("runs")
"""Where run folders go unless another place is named."""


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


def choose_device(name: str = "auto") -> torch.device:
    """The device to train on.

    Args:
        name: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1"
    Raises:
        UserError: if there is no such device here
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", name)
    if match is None:
        raise UserError(f"unknown device {name!r}; choose from: auto, cpu, cuda, cuda:1, ...")
    if name == "cpu":
        return torch.device("cpu")
    if (index := int(match[1] or 0)) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} is not here: torch sees {torch.cuda.device_count()} GPU(s); try --device cpu")
    return torch.device("cuda", index)


def fit(
    experiment: Experiment,
    out: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> RunRecord:
    """Train a network.

    torch's random generators are left as they were.

    Args:
        experiment: the settings
        out: the run's folder, new or empty; None makes one in RUNS, named after experiment, loss and seed
        device: see `choose_device`
        progress: is told how it goes
        command: the command line, for the record
    Returns:
        the run, all epochs done
    Raises:
        UserError: if the folder holds something, data or device cannot be had, or training broke down
    """
    where = choose_device(device)
    if out is not None:
        _refuse_full(Path(out))
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        session = _session(experiment, where, 0, command)
        trainer = Trainer(experiment, where)
        folder = _claim(out, experiment)
        records.write_provenance(folder, Provenance(trainer.hashes, (session,)))
        records.write_settings(folder, experiment)
        _begin(trainer, folder)
        return _train(trainer, folder, (), progress or Progress())


def resume(
    run: str | Path,
    device: str = "auto",
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> RunRecord:
    """Go on with a stopped run. On the same CPU it ends with the weights and figures of a run that never stopped.

    Args:
        run: its folder
        device, progress, command: as in `fit`
    Returns:
        the run, all epochs done
    Raises:
        UserError: if the folder holds no run, a file is damaged, or the data are others than before
    """
    where, folder = choose_device(device), Path(run)
    experiment, origin = records.read_settings(folder), records.read_provenance(folder)
    last = folder / checkpoints.LAST
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        trainer = Trainer(experiment, where)
        _same_data(folder, origin, trainer.hashes)
        epochs: tuple[EpochFigures, ...] = ()
        if last.exists():
            checkpoint = checkpoints.read(last)
            if checkpoint.experiment != experiment:
                raise UserError(f"{last} is of other settings than {folder / records.SETTINGS}; put the right one back")
            epochs = records.keep_epochs(folder, checkpoint.epoch)
            trainer.restore(checkpoint, last)
            _mend_best(folder, checkpoint, RunRecord(experiment, origin, epochs))
        elif (folder / records.EPOCHS).exists():
            raise UserError(f"{last} is missing, without which this run cannot go on; train again into a new folder")
        else:
            _begin(trainer, folder)
        if len(epochs) < experiment.epochs:
            session = _session(experiment, where, len(epochs), command)
            records.write_provenance(folder, replace(origin, sessions=(*origin.sessions, session)))
        return _train(trainer, folder, epochs, progress or Progress())


def evaluate(run: str | Path, which: str = "best", device: str = "auto") -> measure.Evaluation:
    """Test a trained network, from its run's folder.

    Args:
        run: the folder
        which: "best" or "last" checkpoint
        device: see `choose_device`
    Raises:
        UserError: if the folder holds no run or no such checkpoint yet, or the test images are others than then
    """
    paths = {"best": checkpoints.BEST, "last": checkpoints.LAST}
    if which not in paths:
        raise unknown("checkpoint", which, paths)
    where, folder = choose_device(device), Path(run)
    experiment, origin = records.read_settings(folder), records.read_provenance(folder)
    path = folder / paths[which]
    if not path.exists():
        raise UserError(f"{path} is not there: no epoch is done yet. Go on with: snnbook train --resume {folder}")
    checkpoint = checkpoints.read(path)
    data = datasets.load(experiment.dataset, "test")
    _same_data(folder, origin, {"test": data.sha256})
    net = experiment.build_network().to(where)
    checkpoints.fit_into(net, checkpoint.model, path)
    test = batches(experiment, data, where).epoch(0)
    return measure.evaluate(net, test, partial(encode, experiment), by=experiment.readout)


def _refuse_full(folder: Path) -> None:
    """Nothing that is there is written over."""
    if (folder / records.SETTINGS).exists():
        raise UserError(f"{folder} holds a run already: go on with it by --resume {folder}, or name another folder")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already and is not an empty folder; name another one")


def _claim(out: str | Path | None, experiment: Experiment) -> Path:
    """Make the run's folder; unless one is named, the first free of <experiment>-<loss>-seed<seed>, ...-2, ..."""
    name = f"{experiment.name}-{experiment.loss}-seed{experiment.seed}"
    number = 1
    while True:
        folder = Path(out) if out is not None else RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror}; name another one by --out") from error
        else:
            return folder


def _session(
    experiment: Experiment, device: torch.device, from_epoch: int, command: Sequence[str] | None
) -> provenance.Session:
    return provenance.session(device, ops.engine_name(experiment.engine, device), from_epoch, command)


def _same_data(folder: Path, origin: Provenance, hashes: dict[str, str]) -> None:
    for split, digest in hashes.items():
        if origin.data[split] != digest:
            raise UserError(f"the {split} images are not those that {folder} was trained with; check SNNBOOK_DATA")


def _begin(trainer: Trainer, folder: Path) -> None:
    trainer.initialise()
    checkpoints.write(trainer.checkpoint(0), folder / checkpoints.LAST)


def _mend_best(folder: Path, checkpoint: checkpoints.Checkpoint, record: RunRecord) -> None:
    """Write best.pt where a stop came between last.pt and it."""
    best = folder / checkpoints.BEST
    if (
        record.epochs
        and record.best is record.last
        and not (best.exists() and checkpoints.read(best).epoch == checkpoint.epoch)
    ):
        checkpoints.write(checkpoint, best)


def _train(trainer: Trainer, folder: Path, epochs: tuple[EpochFigures, ...], progress: Progress) -> RunRecord:
    """The epochs that are left."""
    experiment = trainer.experiment
    progress.start(experiment, folder, len(epochs), trainer.images)
    try:
        for number in range(len(epochs) + 1, experiment.epochs + 1):
            figures = trainer.epoch(number, progress.look)
            best = all(figures.test_accuracy > other.test_accuracy for other in epochs)
            epochs = (*epochs, figures)
            records.append_epoch(folder, figures)
            checkpoint = trainer.checkpoint(number)
            checkpoints.write(checkpoint, folder / checkpoints.LAST)
            if best:
                checkpoints.write(checkpoint, folder / checkpoints.BEST)
            progress.epoch(figures, best)
    finally:
        progress.close()
    return records.read(folder)
