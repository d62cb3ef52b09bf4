"""Train an experiment into a run folder, resume a stopped run to the same weights, and test a trained network.

If torchrun started several processes, they train one run together. Rank 0 writes the files and prints.
"""

import contextlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from .distributed import ALONE, ProcessGroup
from .loop import SAVE_SECONDS, Progress, TrainingLoop, repair
from .trainer import Trainer, batches

__all__ = ["EpochFigures", "Progress", "choose_device", "evaluate", "fit", "resume"]


def choose_device(name: str | torch.device = "auto", group: ProcessGroup = ALONE) -> torch.device:
    """Return the device to train on.

    Args:
        name: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1"; or a torch.device
        group: the processes that train together. Each takes a GPU of its own
    Raises:
        UserError: if there is no such device here
    """
    if isinstance(name, torch.device):
        name = str(name)
    number = device_number(name)
    instance("group", group, ProcessGroup)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if number is not None and group.size > 1:
        raise UserError(
            f"device {name!r} is one GPU for {group.size} processes; leave the number out: each takes its own"
        )
    index = group.local_rank if number is None else number
    if index >= torch.cuda.device_count():
        advice = "try --device cpu"
        if group.local_rank > 0:
            advice = f"start fewer processes, or {advice}"
        raise UserError(f"device 'cuda:{index}' is not here: torch sees {torch.cuda.device_count()} GPU(s); {advice}")
    return torch.device("cuda", index)


def device_number(name: str) -> int | None:
    """Return the number in a device's name, as 1 in "cuda:1"; None where it has none.

    Raises:
        UserError: if this names no device, here or elsewhere
    """
    match = None
    if isinstance(name, str):
        match = re.fullmatch(r"auto|cpu|cuda(?::(\d{1,3}))?", name)
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

    torch's random generators are restored at the end. On a CPU, memory that is freed stays with the process from here
    on (`devices.keep_memory`).

    Args:
        experiment: the settings
        out: the run's folder, new or empty; None makes one in RUNS, named after experiment, loss and seed
        device: see `choose_device`
        progress: callbacks
        command: the command line, for the record
        save_every: seconds between two checkpoints within an epoch
    Returns:
        the run, all epochs done
    Raises:
        UserError: if the folder is not empty or is in use, there are no such data or device, or training broke down
        Stopped: on SIGTERM or Ctrl-C, once the step is done and saved
    """
    instance("experiment", experiment, Experiment)
    save_every = _check_options(progress, command, save_every)
    if isinstance(out, (str, bytes)) and not out:
        raise UserError("the name of the run's folder is empty; name one, or leave it out")
    if out is not None:
        out = as_path("out", out)
        run_folder.refuse_full(out)
    with _open_job(device) as job:
        if job.group.broadcast(experiment.to_dict) != experiment.to_dict():
            raise UserError("the processes of this job were given different settings; start them all alike")
        session = job.session(experiment, 0, command)
        trainer = job.trainer(experiment)
        origin = Provenance(trainer.hashes, (session,))
        folder, origin = job.group.broadcast(lambda: job.create_folder(out, experiment, origin))
        _check_data(folder, origin, trainer.hashes)
        loop = TrainingLoop(trainer, folder, origin, (), progress, save_every, job.lock)
        loop.begin()
        return loop.run()


def resume(
    run: str | Path,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
    save_every: float = SAVE_SECONDS,
) -> RunRecord:
    """Resume a stopped run. On the same CPU its weights and figures equal those of a run that never stopped.

    Args:
        run: its folder
        device, progress, command, save_every: as in `fit`
    Returns:
        the run, all epochs done
    Raises:
        UserError: if the folder holds no run or is in use, a file is damaged, or the data are others than before
        Stopped: as in `fit`
    """
    save_every = _check_options(progress, command, save_every)
    folder = as_path("run", run)
    with _open_job(device) as job:
        experiment, origin, checkpoint = job.group.broadcast(lambda: job.read_folder(folder))
        trainer = job.trainer(experiment)
        _check_data(folder, origin, trainer.hashes)
        epochs: tuple[EpochFigures, ...] = ()
        if checkpoint is not None:
            trainer.restore(checkpoint, folder / checkpoints.LAST)
            epochs = job.group.broadcast(lambda: job.repair(folder, checkpoint, origin))
        if len(epochs) < experiment.epochs:
            # If somebody went back to an earlier checkpoint, later sessions left nothing, and their entries go.
            sessions = [session for session in origin.sessions if session.from_epoch <= len(epochs)]
            sessions.append(job.session(experiment, len(epochs), command))
            origin = replace(origin, sessions=tuple(sessions))
            job.group.broadcast(lambda: job.write_provenance(folder, origin))
        loop = TrainingLoop(trainer, folder, origin, epochs, progress, save_every, job.lock)
        if checkpoint is None:
            loop.begin()
        return loop.run()


def evaluate(run: str | Path, which: str = "best", device: str | torch.device = "auto") -> metrics.Evaluation:
    """Test a trained network, from its run's folder.

    Several processes test batches of their own. Each returns the figures over all batches.

    Args:
        run: the folder; only rank 0 reads it
        which: "best" or "last" checkpoint
        device: see `choose_device`
    Raises:
        UserError: if the folder holds no run or no such checkpoint yet, or the test images are others than then
    """
    paths = {"best": checkpoints.BEST, "last": checkpoints.LAST}
    folder = as_path("run", run)
    file = folder / paths[choice("checkpoint", which, paths)]

    def read() -> tuple[Experiment, Provenance, Checkpoint]:
        experiment = records.read_settings(folder)
        origin = records.read_provenance(folder)
        if not file.exists():
            if which == "best" and (folder / records.EPOCHS).exists():
                raise UserError(f"{file} is missing; put it back, or test the last one: --checkpoint last")
            raise UserError(f"{file} is not there: no epoch is done yet. {run_folder.resume_hint(folder)}")
        return experiment, origin, _check_settings(checkpoints.read(file, experiment), file, experiment)

    with _open_job(device, trains=False) as job:
        group = job.group
        experiment, origin, checkpoint = group.broadcast(read)
        data = group.one_per_machine_first(lambda: datasets.load(experiment.dataset, "test"))
        _check_data(folder, origin, {"test": data.sha256})
        net = experiment.build_network().to(job.device)
        checkpoints.fit_into(net, checkpoint.model, file)
        tests = islice(batches(experiment, data, job.device).epoch(0), group.rank, None, group.size)
        with devices.rounding(experiment.precision, job.device):
            return metrics.evaluate(net, tests, experiment.encode, experiment.readout, group)


def _check_options(progress: Progress | None, command: Sequence[str] | None, save_every: float) -> float:
    """Check the arguments that `fit` and `resume` share, and return save_every as a float."""
    callbacks = ("start", "report", "epoch", "close")
    if progress is not None and not all(callable(getattr(progress, name, None)) for name in callbacks):
        raise UserError(f"progress must be a Progress or None, not {shown(progress)}")
    if command is not None:
        is_list = isinstance(command, Sequence) and not isinstance(command, str)
        if not is_list or not all(isinstance(word, str) for word in command):
            raise UserError(f"command must be a list of words, not {shown(command)}")
    return real("save_every", save_every, least=0)


@dataclass
class _Job:
    """The processes and this one's device. On rank 0 also the lock on the run's folder, until `cleanup` is closed.

    Rank 0 alone calls the methods that take a folder.
    """

    group: ProcessGroup
    device: torch.device
    cleanup: contextlib.ExitStack
    lock: run_folder.Lock | None = None

    def trainer(self, experiment: Experiment) -> Trainer:
        """Make the trainer of this process."""
        return self.group.one_per_machine_first(lambda: Trainer(experiment, self.device, self.group))

    def session(self, experiment: Experiment, from_epoch: int, command: Sequence[str] | None) -> provenance.Session:
        """Describe this session of a run."""
        engine = ops.engine_name(experiment.engine, self.device)
        return provenance.session(self.device, engine, from_epoch, command, processes=self.group.size)

    def create_folder(self, out: Path | None, experiment: Experiment, origin: Provenance) -> tuple[Path, Provenance]:
        """Create the folder of a new run, and lock it."""
        folder = run_folder.create(out, experiment)
        self._lock(folder)
        # Another process may have used the folder since it was checked first.
        run_folder.refuse_full(folder)
        run_folder.prepare(folder)
        records.write_provenance(folder, origin)
        records.write_settings(folder, experiment)
        return folder, origin

    def read_folder(self, folder: Path) -> tuple[Experiment, Provenance, Checkpoint | None]:
        """Lock the folder of a stopped run, and read it."""
        experiment = records.read_settings(folder)
        self._lock(folder)
        run_folder.prepare(folder)
        return experiment, records.read_provenance(folder), _read_last(folder, experiment)

    def repair(self, folder: Path, checkpoint: Checkpoint, origin: Provenance) -> tuple[EpochFigures, ...]:
        """Make the files of a stopped run agree, and return its figures."""
        self.lock.check()
        return repair(folder, checkpoint, origin)

    def write_provenance(self, folder: Path, origin: Provenance) -> None:
        """Replace the provenance of a stopped run."""
        self.lock.check()
        records.write_provenance(folder, origin)

    def _lock(self, folder: Path) -> None:
        """Lock a folder."""
        self.lock = self.cleanup.enter_context(run_folder.locked(folder))


@contextlib.contextmanager
def _open_job(device: str | torch.device, trains: bool = True) -> Iterator[_Job]:
    """Connect the processes, choose the device, and restore torch's random generators at the end.

    SIGTERM before the first step or after the last raises Stopped, since a stopped run is no failure.
    """
    group = distributed.process_group()
    where = choose_device(device, group)
    with torch.random.fork_rng([where] if where.type == "cuda" else []), contextlib.ExitStack() as cleanup:
        cleanup.enter_context(devices.current(where))
        if trains and where.type == "cpu":
            devices.keep_memory()
        # A process that others wait for ends at once.
        if trains and group.size == 1:
            cleanup.enter_context(signals.raise_on_sigterm())
        yield _Job(group, where, cleanup)


def _check_data(folder: Path, origin: Provenance, hashes: dict[str, str]) -> None:
    """Refuse data that differ from those that the run was trained with."""
    for split, digest in hashes.items():
        if origin.data[split] != digest:
            raise UserError(f"the {split} images are not those that {folder} was trained with; check SNNBOOK_DATA")


def _read_last(folder: Path, experiment: Experiment) -> Checkpoint | None:
    """Read the checkpoint to resume from; None where the run was killed before it wrote one."""
    path = folder / checkpoints.LAST
    if not path.exists():
        if (folder / records.EPOCHS).exists():
            raise UserError(f"{path} is missing, without which this run cannot go on; train again into a new folder")
        return None
    try:
        checkpoint = checkpoints.read(path, experiment)
    except UserError as error:
        raise UserError(f"{error}{_advice(folder, experiment)}") from error
    return _check_settings(checkpoint, path, experiment)


def _check_settings(checkpoint: Checkpoint, path: Path, experiment: Experiment) -> Checkpoint:
    """Return the checkpoint if it is of these settings."""
    if checkpoint.experiment != experiment:
        raise UserError(f"{path} is of other settings than {path.parent / records.SETTINGS}; put the right one back")
    return checkpoint


def _advice(folder: Path, experiment: Experiment) -> str:
    """Say how to resume from the best checkpoint where the last one is damaged, if the best one can be read."""
    best = folder / checkpoints.BEST
    last = folder / checkpoints.LAST
    try:
        epoch = checkpoints.read(best, experiment).epoch
    except UserError:
        return ""
    return f". To go on after epoch {epoch}: {shlex.join(['cp', str(best), str(last)])}"
