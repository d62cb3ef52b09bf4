"""Runs: train an experiment into a folder, go on with a stopped run to the same weights, test what came out.

Started by torchrun, several processes train one run together, and the first of them writes and talks.
"""

import contextlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from .. import datasets, devices, ops, records, signals
from ..errors import UserError, as_path, choice, instance, real, shown
from ..records import EpochFigures, RunRecord, checkpoints, provenance, run_folder
from ..records.checkpoints import Checkpoint
from ..records.provenance import Provenance
from ..settings import Experiment
from . import distributed, metrics
from .distributed import ALONE, Team
from .loop import SAVE_SECONDS, Course, Progress, mend
from .trainer import Trainer, batches

__all__ = ["EpochFigures", "Progress", "choose_device", "evaluate", "fit", "resume"]


def choose_device(name: str | torch.device = "auto", team: Team = ALONE) -> torch.device:
    """The device to train on.

    Args:
        name: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1"; or torch's own object
        team: the processes that train together: each on a machine takes a GPU of its own
    Raises:
        UserError: if there is no such device here
    """
    name = str(name) if isinstance(name, torch.device) else name
    number = device_number(name)
    instance("team", team, Team)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if number is not None and team.size > 1:
        raise UserError(
            f"device {name!r} is one GPU for {team.size} processes; leave the number out: each takes its own"
        )
    if (index := team.local if number is None else number) >= torch.cuda.device_count():
        less = "start fewer processes, or " if team.local else ""
        seen = f"torch sees {torch.cuda.device_count()} GPU(s)"
        raise UserError(f"device {f'cuda:{index}'!r} is not here: {seen}; {less}try --device cpu")
    return torch.device("cuda", index)


def device_number(name: str) -> int | None:
    """The number in a device's name, as 1 in "cuda:1"; None where it has none.

    Raises:
        UserError: if this names no device, here or elsewhere
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d{1,3}))?", name) if isinstance(name, str) else None
    if match is None:
        raise UserError(f"unknown device {shown(name)}; choose from: auto, cpu, cuda, cuda:1, ...")
    return None if match[1] is None else int(match[1])


def fit(
    experiment: Experiment,
    out: str | Path | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    save_every: float = SAVE_SECONDS,
) -> RunRecord:
    """Train a network.

    torch's random generators are left as they were.

    Args:
        experiment: the settings
        out: the run's folder, new or empty; None makes one in RUNS, named after experiment, loss and seed
        device: see `choose_device`
        progress: is told how it goes
        command: the command line, for the record
        save_every: seconds between two checkpoints within an epoch
    Returns:
        the run, all epochs done
    Raises:
        UserError: if the folder holds something or is in use, data or device cannot be had, or training broke down
        Stopped: on SIGTERM or Ctrl-C, once the step is done and saved
    """
    instance("experiment", experiment, Experiment)
    save_every = _options(progress, command, save_every)
    if isinstance(out, (str, bytes)) and not out:
        raise UserError("the name of the run's folder is empty; name one, or leave it out")
    if out is not None:
        out = as_path("out", out)
        run_folder.refuse_full(out)
    with _working(device) as (team, where, held):
        if team.told(experiment.to_dict) != experiment.to_dict():
            raise UserError("the processes of this job were given different settings; start them all alike")
        session = _session(experiment, where, team, 0, command)
        trainer = team.in_turns(lambda: Trainer(experiment, where, team))

        locks: list[run_folder.Lock] = []

        def birth() -> tuple[Path, Provenance]:
            folder = run_folder.create(out, experiment)
            locks.append(held.enter_context(run_folder.locked(folder)))
            run_folder.refuse_full(folder)  # once more: another process may have been faster
            run_folder.prepare(folder)
            origin = Provenance(trainer.hashes, (session,))
            records.write_provenance(folder, origin)
            records.write_settings(folder, experiment)
            return folder, origin

        folder, origin = team.told(birth)
        _same_data(folder, origin, trainer.hashes)
        course = Course(trainer, folder, origin, (), progress, save_every, *locks)
        course.begin()
        return course.go()


def resume(
    run: str | Path,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    save_every: float = SAVE_SECONDS,
) -> RunRecord:
    """Go on with a stopped run. On the same CPU it ends with the weights and figures of a run that never stopped.

    Args:
        run: its folder
        device, progress, command, save_every: as in `fit`
    Returns:
        the run, all epochs done
    Raises:
        UserError: if the folder holds no run or is in use, a file is damaged, or the data are others than before
        Stopped: as in `fit`
    """
    save_every = _options(progress, command, save_every)
    folder = as_path("run", run)
    with _working(device) as (team, where, held):
        locks: list[run_folder.Lock] = []

        def read() -> tuple[Experiment, Provenance, Checkpoint | None]:
            experiment = records.read_settings(folder)
            locks.append(held.enter_context(run_folder.locked(folder)))
            run_folder.prepare(folder)
            return experiment, records.read_provenance(folder), _last(folder, experiment)

        experiment, origin, checkpoint = team.told(read)
        trainer = team.in_turns(lambda: Trainer(experiment, where, team))
        _same_data(folder, origin, trainer.hashes)
        if checkpoint is not None:
            trainer.restore(checkpoint, folder / checkpoints.LAST)

        def go_on() -> tuple[EpochFigures, ...]:
            locks[0].check()
            return () if checkpoint is None else mend(folder, checkpoint, origin)

        epochs = team.told(go_on)
        if len(epochs) < experiment.epochs:
            session = _session(experiment, where, team, len(epochs), command)
            # what sessions did after an earlier checkpoint that somebody put back is lost, and they with it
            kept = [each for each in origin.sessions if each.from_epoch <= len(epochs)]
            origin = replace(origin, sessions=(*kept, session))
            team.told(partial(_note, locks, folder, origin))
        course = Course(trainer, folder, origin, epochs, progress, save_every, *locks)
        if checkpoint is None:
            course.begin()
        return course.go()


def _note(locks: list[run_folder.Lock], folder: Path, origin: Provenance) -> None:
    """Write down who works on a run, in the folder that is held."""
    locks[0].check()
    records.write_provenance(folder, origin)


def evaluate(run: str | Path, which: str = "best", device: str | torch.device = "auto") -> metrics.Evaluation:
    """Test a trained network, from its run's folder. Several processes test batches of their own; all get the figures.

    Args:
        run: the folder, which the first process alone reads
        which: "best" or "last" checkpoint
        device: see `choose_device`
    Raises:
        UserError: if the folder holds no run or no such checkpoint yet, or the test images are others than then
    """
    paths = {"best": checkpoints.BEST, "last": checkpoints.LAST}
    folder = as_path("run", run)
    file = folder / paths[choice("checkpoint", which, paths)]

    def read() -> tuple[Experiment, Provenance, Checkpoint]:
        experiment, origin = records.read_settings(folder), records.read_provenance(folder)
        if not file.exists():
            if which == "best" and (folder / records.EPOCHS).exists():
                raise UserError(f"{file} is missing; put it back, or test the last one: --checkpoint last")
            raise UserError(f"{file} is not there: no epoch is done yet. {run_folder.resume_hint(folder)}")
        return experiment, origin, _same_settings(checkpoints.read(file, experiment), file, experiment)

    with _working(device, trains=False) as (team, where, _):
        experiment, origin, checkpoint = team.told(read)
        data = team.in_turns(lambda: datasets.load(experiment.dataset, "test"))
        _same_data(folder, origin, {"test": data.sha256})
        net = experiment.build_network().to(where)
        checkpoints.fit_into(net, checkpoint.model, file)
        tests = islice(batches(experiment, data, where).epoch(0), team.rank, None, team.size)
        with devices.rounding(experiment.precision, where):
            return metrics.evaluate(net, tests, experiment.encode, by=experiment.readout, team=team)


def _options(progress: Progress | None, command: Sequence[str] | None, save_every: float) -> float:
    """Check what `fit` and `resume` both take; save_every as a float."""
    if progress is not None and not all(
        callable(getattr(progress, n, None)) for n in ("start", "look", "epoch", "close")
    ):
        raise UserError(f"progress must be a Progress or None, not {shown(progress)}")
    words = () if command is None else command
    if isinstance(words, str) or not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise UserError(f"command must be a list of words, not {shown(command)}")
    return real("save_every", save_every, least=0)


@contextlib.contextmanager
def _working(
    device: str | torch.device, trains: bool = True
) -> Iterator[tuple[Team, torch.device, contextlib.ExitStack]]:
    """The processes of this job, this one's device, and what is closed at the end; random generators are put back.

    Where a run is trained, a SIGTERM that comes before the first step or after the last is no failure either.
    """
    team = distributed.team()
    where = choose_device(device, team)
    with torch.random.fork_rng([where] if where.type == "cuda" else []), contextlib.ExitStack() as held:
        held.enter_context(devices.current(where))
        if trains and team.size == 1:  # a process that waits for others is better ended at once
            held.enter_context(signals.raise_on_sigterm())
        yield team, where, held


def _session(
    experiment: Experiment, device: torch.device, team: Team, from_epoch: int, command: Sequence[str] | None
) -> provenance.Session:
    engine = ops.engine_name(experiment.engine, device)
    return provenance.session(device, engine, from_epoch, command, processes=team.size)


def _same_data(folder: Path, origin: Provenance, hashes: dict[str, str]) -> None:
    for split, digest in hashes.items():
        if origin.data[split] != digest:
            raise UserError(f"the {split} images are not those that {folder} was trained with; check SNNBOOK_DATA")


def _last(folder: Path, experiment: Experiment) -> Checkpoint | None:
    """The checkpoint to go on from; None where the run was killed before there was one."""
    path = folder / checkpoints.LAST
    if not path.exists():
        if (folder / records.EPOCHS).exists():
            raise UserError(f"{path} is missing, without which this run cannot go on; train again into a new folder")
        return None
    try:
        checkpoint = checkpoints.read(path, experiment)
    except UserError as error:
        raise UserError(f"{error}{_instead(folder, experiment)}") from error
    return _same_settings(checkpoint, path, experiment)


def _same_settings(checkpoint: Checkpoint, path: Path, experiment: Experiment) -> Checkpoint:
    if checkpoint.experiment != experiment:
        raise UserError(f"{path} is of other settings than {path.parent / records.SETTINGS}; put the right one back")
    return checkpoint


def _instead(folder: Path, experiment: Experiment) -> str:
    """How to go on where the last checkpoint is lost: from the best one, if that can be read."""
    best, last = folder / checkpoints.BEST, folder / checkpoints.LAST
    try:
        epoch = checkpoints.read(best, experiment).epoch
    except UserError:
        return ""
    return f". To go on after epoch {epoch}: {shlex.join(['cp', str(best), str(last)])}"
