"""The folder results/: one small record per finished run, and an index made from them.

    results/paper/       runs of the paper's rows and of the variants beside them
    results/quick/       runs on the bundled images, which have no counterpart in the paper
    results/index.jsonl  one line per record, made by `write_index`

A record's file is named after its run: <experiment>-e<epochs>-seed<seed>.jsonl.
"""

import math
import shlex
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import experiments, records
from ..datasets.sources import SOURCES
from ..errors import UserError, as_path, instance
from ..records import RunRecord, files, run_folder
from ..records.provenance import Session
from ..settings import Experiment

INDEX = "index.jsonl"
LOCK_FILE = f".{INDEX}{run_folder.LOCK}"
"""Locked by the process that is writing a record and the index."""

LOCK_TIMEOUT = 60.0
"""Seconds to wait for that lock: its owner reads all records before it releases the lock."""

FOLDER_OPTIONS = ("--runs", "--results")
"""Options that name folders on the machine where a record was made."""

PAPER, QUICK = "paper", "quick"
"""Subfolders of records."""


@dataclass(frozen=True)
class Result:
    """One finished run on file.

    Args:
        file: path below the results folder, such as paper/fashion_mnist-e100-seed0.jsonl
        record: content of the file
        sha256: checksum of the file; None if the record is not from a file
    """

    file: str
    record: RunRecord
    sha256: str | None = None

    def __post_init__(self) -> None:
        instance("file", self.file, str, "text")
        instance("record", self.record, RunRecord)

    @property
    def name(self) -> str:
        """Name of the run."""
        return Path(self.file).stem

    @property
    def experiment(self) -> Experiment:
        """Settings of the run."""
        return self.record.experiment

    @property
    def seconds(self) -> float:
        """Time of all epochs together."""
        return math.fsum(figures.seconds for figures in self.record.epochs)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The processes that trained the run, one after the other."""
        return self.record.provenance.sessions

    @property
    def session(self) -> Session:
        """The process that began the run."""
        return self.sessions[0]

    @property
    def hardware(self) -> str:
        """Hardware of the sessions in order: a GPU, or a processor and the number of threads."""
        return _join_changes(map(_hardware_of, self.sessions))

    @property
    def engine(self) -> str:
        """Engines of the sessions, in order."""
        return _join_changes(session.engine for session in self.sessions)

    @property
    def torch(self) -> str:
        """Versions of torch of the sessions, in order; "" if none is known."""
        versions = [session.versions.get("torch") for session in self.sessions]
        return _join_changes(version for version in versions if version)

    @property
    def commits(self) -> list[str | None]:
        """Commits of the sessions in order, each once; None for a session without a source tree."""
        return list(dict.fromkeys(session.commit for session in self.sessions))

    @property
    def repeated_by(self) -> str | None:
        """The first session's command, for this run alone and without --runs and --results; None if run from Python."""
        words = _without_folders(_split_command(self.session.command or ""))
        names_run = any(word.partition("=")[0] == "--only" for word in words)
        if words[1:2] == ["reproduce"] and not names_run:
            words += ["--only", self.name]
        return shlex.join(words) or None

    @property
    def as_named(self) -> bool:
        """Whether the settings are those of the experiment of that name, apart from epochs, seed and engine."""
        ours = self.experiment
        if ours.name not in experiments.names():
            return False
        return experiments.get(ours.name, epochs=ours.epochs, seed=ours.seed, engine=ours.engine) == ours

    @property
    def published(self) -> bool:
        """Whether images and labels are the published ones, as far as their hashes are known (`sources.Source`)."""
        return SOURCES[self.experiment.dataset].hashes.items() <= self.record.provenance.data.items()

    @property
    def counts(self) -> bool:
        """Whether tables include the run: settings of the experiment of that name, published images."""
        return self.as_named and self.published


def _join_changes(words: Iterable[str]) -> str:
    """Join the distinct words of successive sessions, as in "NVIDIA H200, then AMD EPYC, 2 threads"."""
    return ", then ".join(dict.fromkeys(words))


def _hardware_of(session: Session) -> str:
    """Name the GPU, or the processor and the number of threads."""
    if session.device != "cpu":
        return session.device
    if session.threads == 1:
        return f"{session.processor}, 1 thread"
    return f"{session.processor}, {session.threads} threads"


def _split_command(command: str) -> list[str]:
    """Split a command into words."""
    try:
        return shlex.split(command)
    except ValueError:
        # Old records have unquoted words, so a name may contain a lone quotation mark.
        return command.split()


def _without_folders(words: Iterable[str]) -> list[str]:
    """Remove FOLDER_OPTIONS and their values, written as `--runs NAME` or as `--runs=NAME`."""
    remaining = []
    rest = iter(words)
    for word in rest:
        option, equals, _ = word.partition("=")
        if option not in FOLDER_OPTIONS:
            remaining.append(word)
        elif not equals:
            # The next word is the option's value.
            next(rest, None)
    return remaining


def run_name(experiment: Experiment) -> str:
    """Return the name of a run and of its record: <experiment>-e<epochs>-seed<seed>."""
    instance("experiment", experiment, Experiment)
    return f"{experiment.name}-e{experiment.epochs}-seed{experiment.seed}"


def folder_of(experiment: Experiment) -> str:
    """Return the folder of an experiment's records, PAPER or QUICK."""
    instance("experiment", experiment, Experiment)
    if experiment.name == "quick":
        return QUICK
    return PAPER


def path_of(experiment: Experiment, root: Path) -> Path:
    """Return the path of a run's record in a results folder, whether or not it exists."""
    return as_path("root", root) / folder_of(experiment) / f"{run_name(experiment)}.jsonl"


def _listed_checksums(root: Path) -> dict[str, str]:
    """Read the SHA-256 of each file from the index; empty without an index, or with one that has no checksums."""
    path = root / INDEX
    # A broken link is an index that cannot be read, not a folder without one.
    if not path.exists() and not path.is_symlink():
        return {}
    checksums: dict[str, str] = {}
    try:
        for number, line in enumerate(files.read(path).splitlines(), start=1):
            with files.error_context(path, number):
                entry = files.from_json(line)
                if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
                    raise UserError("this is not a line of an index")
                file = entry["file"]
                sha256 = entry.get("sha256")
                if sha256 is not None and checksums.setdefault(file, sha256) != sha256:
                    raise UserError(f"{file!r} is listed already, with another checksum")
    except UserError as error:
        advice = "Restore the right index, or delete it: it is made anew from the records"
        raise UserError(f"{error}. {advice}") from error
    return checksums


def load(root: str | Path) -> list[Result]:
    """Read all records of a results folder, sorted by file name.

    Raises:
        UserError: if a record is damaged, unfinished or has the name of another run
    """
    root = as_path("root", root)
    checksums = _listed_checksums(root)
    # Run folders may lie beside records. They are recognised by their settings.
    paths = [path for path in sorted(root.glob("*/*.jsonl")) if not (path.parent / records.SETTINGS).exists()]
    return [read(path, checksums) for path in paths]


def read(path: Path, checksums: Mapping[str, str] | None = None) -> Result:
    """Read one record of a results folder.

    A record of version 2 contains no checksum, so the index has it. A record that the index does not list, because
    somebody copied it there, is read unchecked; the next index lists it.

    Args:
        path: of the record
        checksums: SHA-256 by file; None reads them from the index
    Raises:
        UserError: as `load`
    """
    path = as_path("path", path)
    root = path.parent.parent
    if checksums is None:
        checksums = _listed_checksums(root)
    record, sha256 = records.read_file(path)
    file = f"{path.parent.name}/{path.name}"
    if checksums.get(file, sha256) != sha256:
        raise UserError(
            f"{path} is damaged or was changed: it is not the file that {INDEX} lists. "
            f"Restore the right one, or delete its line from {root / INDEX}"
        )
    experiment = record.experiment
    if not record.finished:
        raise UserError(f"{path} holds {len(record.epochs)} of {experiment.epochs} epochs; it is no result")
    if path.stem != run_name(experiment) or path.parent.name != folder_of(experiment):
        raise UserError(f"{path} holds the run {run_name(experiment)}; put it where its name belongs")
    return Result(file, record, sha256)


def save(record: RunRecord, root: str | Path) -> Path:
    """Write a finished run's record into a results folder and update the index.

    Returns:
        path of the record
    Raises:
        UserError: if the run is not finished, a record of that name exists, or another record cannot be read
    """
    root = as_path("root", root)
    path = path_of(instance("record", record, RunRecord).experiment, root)
    files.make_folder(path.parent)
    with _locked(root):
        if path.exists():
            raise UserError(f"{path} is there already; move it away first")
        # The index is made from all records, so all must be readable before anything is written.
        load(root)
        for folder in (root, path.parent):
            files.sweep(folder, _is_written_here)
        records.write(record, path)
        write_index(root)
    return path


def _locked(root: Path) -> AbstractContextManager[Any]:
    """Lock a results folder against other writers."""
    return run_folder.locked(root, LOCK_FILE, LOCK_TIMEOUT)


def _is_written_here(name: str) -> bool:
    """Return whether this module writes files of this name into a results folder."""
    return name.endswith(".jsonl")


def check_usable(root: str | Path) -> None:
    """Create a results folder unless it exists, and check that it can be locked and its records can be read.

    Hours of training should not end in a folder that takes no record.

    Raises:
        UserError: if the folder cannot be used
    """
    root = as_path("root", root)
    files.make_folder(root)
    with _locked(root):
        load(root)


@dataclass(frozen=True)
class AddedRun:
    """A run whose record was added to a results folder.

    Args:
        path: of the record
        counts: whether tables include the run (`Result.counts`)
    """

    path: Path
    counts: bool


def add_run(run: str | Path, root: str | Path) -> AddedRun:
    """Add the record of a run folder to a results folder.

    If tables include the run, its record goes to `path_of`. Otherwise it goes into the results folder itself, under
    the name of the run folder.

    Args:
        run: run folder, or file of a record
        root: results folder
    Returns:
        path of the record, and whether tables include it
    Raises:
        UserError: if the run is not finished or cannot be read, or a record of that name exists
    """
    root = as_path("root", root)
    run = as_path("run", run)
    record = records.read(run)
    if Result("", record).counts:
        return AddedRun(save(record, root), counts=True)
    path = root / f"{run.resolve().name.removesuffix('.jsonl')}.jsonl"
    if path.name == INDEX:
        raise UserError(f"{path} is the name of the index; rename the run's folder")
    if path.exists():
        raise UserError(f"{path} is there already; name another folder by --results, or move it away")
    files.make_folder(root)
    records.write(record, path)
    return AddedRun(path, counts=False)


def index_line(result: Result) -> dict:
    """Return the index's entry of one run."""
    instance("result", result, Result)
    record = result.record
    experiment = result.experiment
    session = result.session
    return {
        "file": result.file,
        "sha256": result.sha256,
        "experiment": experiment.name,
        "as_named": result.as_named,
        "published": result.published,
        "dataset": experiment.dataset,
        "loss": experiment.loss,
        "epochs": experiment.epochs,
        "seed": experiment.seed,
        "best_test_accuracy": record.best.test_accuracy,
        "best_epoch": record.best.epoch,
        "last_test_accuracy": record.last.test_accuracy,
        "seconds": round(result.seconds, 1),
        "hardware": result.hardware,
        "engine": result.engine,
        "torch": session.versions.get("torch"),
        "commits": result.commits,
        "started": session.started,
        "sessions": len(result.sessions),
        "command": session.command,
    }


def index_text(root: str | Path) -> bytes:
    """Return the content that the index should have; errors as `load`."""
    return b"".join(files.to_json(index_line(result)) for result in load(root))


def write_index(root: str | Path) -> None:
    """Write the index from the records; errors as `load`."""
    files.write_atomic(as_path("root", root) / INDEX, index_text(root))


def refresh_index(root: str | Path) -> None:
    """Write the index if it is missing or out of date; errors as `load`."""
    root = as_path("root", root)
    if not root.is_dir():
        return
    path = root / INDEX
    if path.exists() and files.read(path) == index_text(root):
        return
    with _locked(root):
        write_index(root)
