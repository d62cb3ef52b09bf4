"""Write and read what a run leaves behind: settings, provenance, and one line of figures per epoch.

A run folder contains settings.json, provenance.json, epochs.jsonl and the checkpoints (checkpoints.py). A record is one
small file of JSON lines with the same content and no weights: a head, then the epochs, then a checksum.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import schema
from ..datasets.sources import SOURCES
from ..errors import UserError, as_path, exactly, instance
from ..settings import Experiment
from . import figures, files
from .figures import SPREAD, TIMES, EpochFigures, Wanted
from .provenance import Provenance

__all__ = ["SPREAD", "TIMES", "EpochFigures", "RunRecord"]

SETTINGS = "settings.json"
PROVENANCE = "provenance.json"
EPOCHS = "epochs.jsonl"

FORMAT = "snnbook run"
"""The first entry of a record's head."""

VERSION = 3
"""The second entry of a record's head."""

READABLE = (2, VERSION)
"""Versions that are read. Version 2 has no checksum; the one of its file is in results/index.jsonl."""

CHECKSUM = "sha256"
"""The only name in a record's last line: SHA-256 over all lines before."""

LARGEST_HEAD = 16 * files.MEGABYTE
"""Most bytes of settings and provenance together."""


@dataclass(frozen=True)
class RunRecord:
    """One run: its settings, its provenance, and its figures so far.

    Args:
        experiment: the settings
        provenance: data and sessions
        epochs: figures of all epochs from epoch 1 on
    """

    experiment: Experiment
    provenance: Provenance
    epochs: tuple[EpochFigures, ...]

    @property
    def finished(self) -> bool:
        """Whether all epochs of the settings are done."""
        return len(self.epochs) == self.experiment.epochs

    @property
    def best(self) -> EpochFigures:
        """The epoch with the highest test accuracy, the first of several."""
        return max(self.epochs, key=lambda epoch: epoch.test_accuracy)

    @property
    def cross_selected(self) -> float:
        """Test accuracy with the epoch selected on other images than those it is measured on (results/PROTOCOL.md).

        The best epoch on one half of the test images is measured on the other half, and the other way round; the mean.
        """
        measured = []
        for chosen in (0, 1):
            best = max(self.epochs, key=lambda epoch: epoch.test_accuracy_halves[chosen])
            measured.append(best.test_accuracy_halves[1 - chosen])
        return sum(measured) / 2

    @property
    def last(self) -> EpochFigures:
        """The last epoch so far."""
        return self.epochs[-1]


def write_settings(folder: Path, experiment: Experiment) -> None:
    """Write a run folder's settings.json."""
    files.write_atomic(folder / SETTINGS, files.to_json(experiment.to_dict(), indent=2))


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write a run folder's provenance.json."""
    files.write_atomic(folder / PROVENANCE, files.to_json(dataclasses.asdict(provenance), indent=2))


def append_epoch(folder: Path, epoch: EpochFigures) -> None:
    """Append a line to a run folder's epochs.jsonl, and wait until it is on the disk."""
    files.append(folder / EPOCHS, files.to_json(dataclasses.asdict(epoch)))


def keep_epochs(folder: Path, count: int) -> tuple[EpochFigures, ...]:
    """Truncate a run folder's epochs.jsonl to `count` lines, after a stop that left more lines, or half a line.

    Returns:
        the figures in these lines
    Raises:
        UserError: if there are fewer lines, or one of them is damaged
    """
    path = folder / EPOCHS
    wanted = Wanted.of(read_settings(folder))
    lines = list(_whole_lines(path, wanted.line, count))
    if len(lines) < count:
        raise UserError(f"{path} holds {len(lines)} lines, but the checkpoint beside it is of epoch {count}")
    epochs = _epochs(path, lines, 1, wanted)
    content = b"".join(lines)
    if path.exists() and path.stat().st_size != len(content):
        files.write_atomic(path, content)
    return epochs


def write(record: RunRecord, path: str | Path) -> None:
    """Write a finished run as one record file, to store it with the sources.

    Raises:
        UserError: if the run is not finished, or the file cannot be written
    """
    path = as_path("path", path)
    if not instance("record", record, RunRecord).finished:
        raise UserError(
            f"this run has {len(record.epochs)} of {record.experiment.epochs} epochs; finish it before recording it"
        )
    head = {
        "format": FORMAT,
        "version": VERSION,
        "settings": record.experiment.to_dict(),
        "provenance": dataclasses.asdict(record.provenance),
    }
    lines = [head, *map(dataclasses.asdict, record.epochs)]
    content = b"".join(map(files.to_json, lines))
    last = {CHECKSUM: hashlib.sha256(content).hexdigest()}
    files.write_atomic(path, content + files.to_json(last))


def read(path: str | Path) -> RunRecord:
    """Read a run from its folder or from its record file.

    Half a line at the end of a folder's figures, which a stop may leave, is ignored.

    Raises:
        UserError: if something is missing, damaged or unknown, or contradicts the rest; the message has the file and
            the line's number
    """
    path = as_path("path", path)
    if not path.is_dir():
        return read_file(path)[0]
    experiment = read_settings(path)
    provenance = read_provenance(path)
    wanted = _wanted(experiment, provenance)
    epochs = _epochs(path / EPOCHS, _whole_lines(path / EPOCHS, wanted.line), 1, wanted)
    with files.error_context(path / PROVENANCE):
        _check_sessions(provenance, len(epochs))
    return RunRecord(experiment, provenance, epochs)


def read_file(path: Path) -> tuple[RunRecord, str]:
    """Read a run from its record file, and return the SHA-256 of the file too; errors as `read`."""
    path = as_path("path", path)
    digest = hashlib.sha256()
    with files.open_regular(path) as file:
        first = next(files.lines(path, file, LARGEST_HEAD), b"")
        if not first.endswith(b"\n"):
            raise _cut_short(path)
        digest.update(first)
        with files.error_context(path, 1):
            version, experiment, provenance = _head(first)
        wanted = _wanted(experiment, provenance)
        lines = files.lines(path, file, wanted.line)
        epochs = _epochs(path, _checked_lines(path, lines, version, digest), 2, wanted)
    with files.error_context(path, 1):
        _check_sessions(provenance, len(epochs))
    return RunRecord(experiment, provenance, epochs), digest.hexdigest()


def _head(line: bytes) -> tuple[int, Experiment, Provenance]:
    """Decode a record's head: version, settings and provenance."""
    head = exactly("entry", files.from_json(line), ("format", "version", "settings", "provenance"))
    version = head["version"]
    if head["format"] != FORMAT or type(version) is not int or version not in READABLE:
        known = " or ".join(map(str, READABLE))
        raise UserError(f"this is {head['format']!r} version {version!r}, not {FORMAT!r} version {known}")
    provenance = schema.read(Provenance, "provenance entry", head["provenance"])
    return version, Experiment.from_dict(head["settings"]), provenance


def _checked_lines(path: Path, lines: Iterable[bytes], version: int, digest: Any) -> Iterator[bytes]:
    """Yield the lines with figures, add each line to the digest, and check the checksum (from version 3 on)."""
    has_checksum = version >= 3
    ended = False
    for number, line in enumerate(lines, start=2):
        if not line.endswith(b"\n"):
            raise _cut_short(path)
        if has_checksum and line.startswith(b'{"%s"' % CHECKSUM.encode()):
            with files.error_context(path, number):
                found = exactly("entry", files.from_json(line), (CHECKSUM,))[CHECKSUM]
            if found != digest.hexdigest():
                raise UserError(f"{path} is damaged: it is not what the checksum in its last line was made from")
            ended = True
        elif ended:
            raise UserError(f"{path}, line {number}: something follows the checksum, which must be the last line")
        else:
            yield line
        digest.update(line)
    if has_checksum and not ended:
        raise UserError(f"{path} is cut short: its last line, the checksum, is missing")


def _cut_short(path: Path) -> UserError:
    """Create the error for a file that ends inside a line."""
    return UserError(f"{path} is cut short: it does not end with a whole line")


def read_settings(folder: Path) -> Experiment:
    """Read the settings of a run folder.

    Raises:
        UserError: if the folder contains no run, or its settings.json is damaged
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise UserError(f"{folder} is not a run folder: it holds no {SETTINGS}")
    content = files.read(path, files.MEGABYTE)
    with files.error_context(path):
        return Experiment.from_dict(files.from_json(content))


def read_provenance(folder: Path) -> Provenance:
    """Read the provenance of a run folder.

    Raises:
        UserError: if its provenance.json is missing or damaged
    """
    content = files.read(folder / PROVENANCE, LARGEST_HEAD)
    with files.error_context(folder / PROVENANCE):
        return schema.read(Provenance, "provenance entry", files.from_json(content))


def _wanted(experiment: Experiment, provenance: Provenance) -> Wanted:
    """Collect what the figures of a run must agree with."""
    source = SOURCES[experiment.dataset]
    # The numbers of images are known only if the data are the published ones.
    train, test = source.sizes
    if source.hashes.get("train") != provenance.data["train"]:
        train = None
    if source.hashes.get("test") != provenance.data["test"]:
        test = None
    return Wanted.of(experiment, (train, test))


def _check_sessions(provenance: Provenance, epochs: int) -> None:
    """Check that the sessions of a run follow one another."""
    figures.check_sessions([session.from_epoch for session in provenance.sessions], epochs)


def _whole_lines(path: Path, most: int, count: int | None = None) -> Iterator[bytes]:
    """Yield the complete lines of a file, at most `count`; none if there is no file."""
    if not path.exists():
        return
    with files.open_regular(path) as file:
        for line in itertools.islice(files.lines(path, file, most), count):
            if line.endswith(b"\n"):
                yield line


def _epochs(path: Path, lines: Iterable[bytes], first_line: int, wanted: Wanted) -> tuple[EpochFigures, ...]:
    """Decode the figures of epochs 1, 2, ... from lines, and compare them with the settings."""
    epochs = []
    for index, line in enumerate(lines):
        with files.error_context(path, first_line + index):
            epoch = schema.read(EpochFigures, "figure", files.from_json(line))
            if epoch.epoch != index + 1:
                raise UserError(f"epoch {epoch.epoch} stands where epoch {index + 1} must be")
            wanted.check(epoch)
        epochs.append(epoch)
    return tuple(epochs)
