"""The folder results/: one small record per finished run, and an index made from them.

    results/paper/       runs of the paper's rows and of the variants beside them
    results/quick/       runs on the bundled images, which stand for nothing in the paper
    results/index.jsonl  one line per record, made by `write_index`

A record's file is named after its run: <experiment>-e<epochs>-seed<seed>.jsonl.
"""

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import experiments, records
from ..datasets.sources import SOURCES
from ..errors import UserError, as_path, instance
from ..records import RunRecord, files, run_folder
from ..records.provenance import Session
from ..settings import Experiment

INDEX = "index.jsonl"
WRITING = f".{INDEX}{run_folder.LOCK}"
"""The file that a process holds locked while it puts a record and the index into the folder."""
PATIENCE = 60.0
"""Seconds that others are waited for there: each takes as long as it takes to read all records."""

FOLDERS = ("--runs", "--results")
"""Options that name folders of whoever made a record."""

PAPER, QUICK = "paper", "quick"
"""Folders of records."""


@dataclass(frozen=True)
class Result:
    """One finished run on file.

    Args:
        file: under the results' folder, such as paper/fashion_mnist-e100-seed0.jsonl
        record: what it holds
        sha256: of the file; None where there is none
    """

    file: str
    record: RunRecord
    sha256: str | None = None

    def __post_init__(self) -> None:
        instance("file", self.file, str, "text")
        instance("record", self.record, RunRecord)

    @property
    def name(self) -> str:
        """The run's name."""
        return Path(self.file).stem

    @property
    def experiment(self) -> Experiment:
        """Its settings."""
        return self.record.experiment

    @property
    def seconds(self) -> float:
        """Time of all epochs together."""
        return math.fsum(figures.seconds for figures in self.record.epochs)

    @property
    def session(self) -> Session:
        """The process that began it."""
        return self.record.provenance.sessions[0]

    @property
    def hardware(self) -> str:
        """What it ran on, one after the other: a GPU, or a processor with the threads used."""
        return _in_turn(_place(session) for session in self.record.provenance.sessions)

    @property
    def engine(self) -> str:
        """What ran its neurons, one after the other."""
        return _in_turn(session.engine for session in self.record.provenance.sessions)

    @property
    def torch(self) -> str:
        """The versions of torch that it ran on, one after the other; "" where none is known."""
        return _in_turn(filter(None, (session.versions.get("torch") for session in self.record.provenance.sessions)))

    @property
    def commits(self) -> list[str | None]:
        """The commits that it ran on, each once, in turn; None where a session had no tree."""
        return list(dict.fromkeys(session.commit for session in self.record.provenance.sessions))

    @property
    def repeated_by(self) -> str | None:
        """The command of its first session, for this run alone, without --runs and --results; None if from Python."""
        command = self.session.command or ""
        try:
            words = shlex.split(command)
        except ValueError:  # a quotation mark in a name, in a record from before words were quoted
            words = command.split()
        named = {place for place, word in enumerate(words) if word in FOLDERS}  # their folders come next
        kept = [w for i, w in enumerate(words) if not {i, i - 1} & named and w.partition("=")[0] not in FOLDERS]
        alone = any(word.partition("=")[0] == "--only" for word in kept) or kept[1:2] != ["reproduce"]
        return shlex.join(kept if alone else [*kept, "--only", self.name]) or None

    @property
    def as_named(self) -> bool:
        """Whether the settings are those that the experiment's name stands for, apart from epochs, seed and engine."""
        ours = self.experiment
        if ours.name not in experiments.names():
            return False
        return experiments.get(ours.name, epochs=ours.epochs, seed=ours.seed, engine=ours.engine) == ours

    @property
    def published(self) -> bool:
        """Whether its images and labels are the published ones, as far as their hashes are known (`sources.Source`)."""
        return SOURCES[self.experiment.dataset].hashes.items() <= self.record.provenance.data.items()

    @property
    def counts(self) -> bool:
        """Whether tables count it: settings of its experiment's name, published images."""
        return self.as_named and self.published


def _in_turn(words: Iterable[str]) -> str:
    """What changed from one session to the next: "NVIDIA H200, then AMD EPYC, 2 threads"."""
    return ", then ".join(dict.fromkeys(words))


def _place(session: Session) -> str:
    if session.device != "cpu":
        return session.device
    return f"{session.processor}, {session.threads} thread{'s' * (session.threads != 1)}"


def run_name(experiment: Experiment) -> str:
    """The name of a run, and of its record: <experiment>-e<epochs>-seed<seed>."""
    instance("experiment", experiment, Experiment)
    return f"{experiment.name}-e{experiment.epochs}-seed{experiment.seed}"


def folder_of(experiment: Experiment) -> str:
    """The folder of an experiment's records."""
    instance("experiment", experiment, Experiment)
    return QUICK if experiment.name == "quick" else PAPER


def path_of(experiment: Experiment, root: Path) -> Path:
    """Where the record of a run stands, or will stand."""
    return as_path("root", root) / folder_of(experiment) / f"{run_name(experiment)}.jsonl"


def _listed(root: Path) -> dict[str, str]:
    """SHA-256 by file, of the records that the index lists; none where there is no index, or an old one without these.

    Raises:
        UserError: if the index cannot be read
    """
    path, found = root / INDEX, {}
    # a link that leads nowhere is an index that cannot be read, and not a folder without one
    if not path.exists() and not path.is_symlink():
        return found
    try:
        for number, line in enumerate(files.read(path).splitlines(), start=1):
            with files.error_context(path, number):
                entry = files.from_json(line)
                if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
                    raise UserError("this is no line of an index")
                if entry.get("sha256") is None:
                    continue
                if found.setdefault(entry["file"], entry["sha256"]) != entry["sha256"]:
                    raise UserError(f"{entry['file']!r} is listed already, with another checksum")
    except UserError as error:
        raise UserError(f"{error}. Put the right index back, or delete it: it is made anew from the records") from error
    return found


def load(root: str | Path) -> list[Result]:
    """All records of a results' folder, in the order of their files' names.

    Raises:
        UserError: if a record is damaged, unfinished or stands under a name that is not its own
    """
    root = as_path("root", root)
    known = _listed(root)
    # a folder with settings is a run's, where runs are kept beside records
    paths = [path for path in sorted(root.glob("*/*.jsonl")) if not (path.parent / records.SETTINGS).exists()]
    return [read(path, known) for path in paths]


def read(path: Path, known: Mapping[str, str] | None = None) -> Result:
    """One record of a results' folder.

    A record of version 2 has no checksum of its own, so the index has it. A record that is not in the index, because it
    was put there by hand, is read as it is, and is in the index from the next time on that this is written.

    Args:
        path: of the record
        known: checksums by file; None reads them from the index
    Raises:
        UserError: as `load`
    """
    path = as_path("path", path)
    known = _listed(path.parent.parent) if known is None else known
    record, sha256 = records.read_file(path)
    file = f"{path.parent.name}/{path.name}"
    if known.get(file, sha256) != sha256:
        raise UserError(
            f"{path} is damaged or was changed: it is not the file that {INDEX} lists. "
            f"Put the right one back, or delete its line from {path.parent.parent / INDEX}"
        )
    if not record.finished:
        raise UserError(f"{path} holds {len(record.epochs)} of {record.experiment.epochs} epochs; it is no result")
    if path.stem != run_name(record.experiment) or path.parent.name != folder_of(record.experiment):
        raise UserError(f"{path} holds the run {run_name(record.experiment)}; put it where its name belongs")
    return Result(file, record, sha256)


def save(record: RunRecord, root: str | Path) -> Path:
    """Put a finished run into a results' folder, and bring the index up to date.

    Raises:
        UserError: if the run is not finished, a record of that name is there already, or another one cannot be read
    """
    root = as_path("root", root)
    path = path_of(instance("record", record, RunRecord).experiment, root)
    files.make_folder(path.parent)
    with run_folder.locked(root, WRITING, PATIENCE):
        if path.exists():
            raise UserError(f"{path} is there already; move it away first")
        load(root)  # before anything is written: the index is made of them all
        for folder in (root, path.parent):
            files.sweep(folder, _of_results)
        records.write(record, path)
        write_index(root)
    return path


def _of_results(name: str) -> bool:
    """Whether a file of this name in a results' folder is written by this module."""
    return name.endswith(".jsonl")


def look(root: str | Path) -> None:
    """See that records can be put into a folder and those in it be read, before hours of training.

    Raises:
        UserError: if not
    """
    root = as_path("root", root)
    files.make_folder(root)
    with run_folder.locked(root, WRITING, PATIENCE):
        load(root)


def keep(run: str | Path, root: str | Path) -> tuple[Path, bool]:
    """Put the record of a run's folder into a results' folder.

    Args:
        run: the run's folder, or a record's file
        root: the results' folder
    Returns:
        the record's file, and whether tables count it (`Result.counts`): then its file is that of `path_of`; else it
        stands in the results' folder itself, under the name of the run's folder
    Raises:
        UserError: if the run is not finished or cannot be read, or a record of that name is there already
    """
    root, run = as_path("root", root), as_path("run", run)
    record = records.read(run)
    if Result("", record).counts:
        return save(record, root), True
    path = root / f"{run.resolve().name.removesuffix('.jsonl')}.jsonl"
    if path.name == INDEX:
        raise UserError(f"{path} is the name of the index; rename the run's folder")
    if path.exists():
        raise UserError(f"{path} is there already; name another folder by --results, or move it away")
    files.make_folder(root)
    records.write(record, path)
    return path, False


def index_line(result: Result) -> dict:
    """What the index tells of one run."""
    instance("result", result, Result)
    record, settings, session = result.record, result.experiment, result.session
    return {
        "file": result.file,
        "sha256": result.sha256,
        "experiment": settings.name,
        "as_named": result.as_named,
        "published": result.published,
        "dataset": settings.dataset,
        "loss": settings.loss,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "best_test_accuracy": record.best.test_accuracy,
        "best_epoch": record.best.epoch,
        "last_test_accuracy": record.last.test_accuracy,
        "seconds": round(result.seconds, 1),
        "hardware": result.hardware,
        "engine": result.engine,
        "torch": session.versions.get("torch"),
        "commits": result.commits,
        "started": session.started,
        "sessions": len(record.provenance.sessions),
        "command": session.command,
    }


def index_text(root: str | Path) -> bytes:
    """The index as its file should be; errors as `load`."""
    return b"".join(files.to_json(index_line(result)) for result in load(root))


def write_index(root: str | Path) -> None:
    """Make the index anew from the records; errors as `load`."""
    files.write_atomic(as_path("root", root) / INDEX, index_text(root))


def refresh_index(root: str | Path) -> None:
    """Make the index anew where it is not what the records make; else leave the folder alone."""
    root = as_path("root", root)
    if root.is_dir() and (not (root / INDEX).exists() or files.read(root / INDEX) != index_text(root)):
        with run_folder.locked(root, WRITING, PATIENCE):
            write_index(root)
