"""What a run leaves behind in words and numbers: settings, provenance, one line of figures per epoch; and back again.

A run folder holds settings.json, provenance.json, epochs.jsonl and the checkpoints (checkpoints.py). A record is one
small file of JSON lines with the same content and no weights: a head, then the epochs.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files
from .errors import UserError, as_path, instance, real, whole
from .provenance import Provenance
from .settings import Experiment

SETTINGS, PROVENANCE, EPOCHS = "settings.json", "provenance.json", "epochs.jsonl"

FORMAT, VERSION = "snnbook run", 2
"""First entries of a record's head."""

DIGITS = 7
"""Significant digits of a figure that are kept: those of the float32 that it was computed in."""

LARGEST = 1e300
"""Figures are smaller than this, so that their sums are finite."""

TIMES = ("seconds", "images_per_second")
"""Figures that differ from one run to the next on the same machine; all others repeat."""

SPREAD = ("mean", "std", "min", "max")
"""What is kept of a layer's thresholds."""

SHARES = ("train_accuracy", "test_accuracy", "exit_time", "positive_share")
"""Figures that lie in 0..1."""


@dataclass(frozen=True, kw_only=True)
class EpochFigures:
    """What is monitored each epoch (App. Fig. 1-3), to DIGITS significant digits.

    Args:
        epoch: counted from 1
        loss: mean over the epoch's batches
        train_accuracy: share, from the spikes without the supervisory one, while the weights move
        test_accuracy: share, at the end of the epoch
        test_accuracy_halves: the same of the test images with even, and with odd places in their order
        exit_time: mean early-exit step on the test set, as a share of T
        grad_sum, grad_abs_sum: sum of e and of |e| over the output spikes of the epoch's batches, 1/step
        positive_ratio: grad_sum / grad_abs_sum; None where all e are 0
        positive_share: share of output spikes with e > 0; None without a spike
        firing_rates: spikes per neuron on the test set: a list of layers, each a list of T steps
        thresholds: mean, std, min and max over each layer's channels
        output_thresholds: of the output layer, one per class
        learning_rate: of this epoch
        seconds: of the whole epoch, test included
        images_per_second: in training

    Raises:
        UserError: if a figure is of the wrong type, not finite or out of its range
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    test_accuracy_halves: list[float]
    exit_time: float
    grad_sum: float
    grad_abs_sum: float
    positive_ratio: float | None
    positive_share: float | None
    firing_rates: list[list[float]]
    thresholds: list[dict[str, float]]
    output_thresholds: list[float]
    learning_rate: float
    seconds: float
    images_per_second: float

    def __post_init__(self) -> None:
        whole("epoch", self.epoch, 1)
        for name in _FIGURES[1:]:
            value = getattr(self, name)
            if name == "firing_rates":
                kept: Any = [_numbers(name, rates) for rates in _list(name, value)]
            elif name == "thresholds":
                kept = [_spread(spread) for spread in _list(name, value)]
            elif name == "output_thresholds":
                kept = _numbers(name, value)
            elif name == "test_accuracy_halves":
                kept = _halves(name, value)
            elif value is None and name in ("positive_ratio", "positive_share"):
                kept = None
            else:
                kept = _number(name, value)
                if name in SHARES and not 0 <= kept <= 1:
                    raise UserError(f"{name} must lie in 0..1, not {value!r}")
            object.__setattr__(self, name, kept)


_FIGURES = tuple(field.name for field in dataclasses.fields(EpochFigures))


def _number(name: str, value: Any) -> float:
    return float(f"{real(name, value, above=-LARGEST, below=LARGEST):.{DIGITS}g}")


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{name} must be a list with one entry or more, not {value!r}")
    return value


def _numbers(name: str, values: Any) -> list[float]:
    return [_number(name, value) for value in _list(name, values)]


def _halves(name: str, values: Any) -> list[float]:
    kept = _numbers(name, values)
    if len(kept) != 2 or not all(0 <= value <= 1 for value in kept):
        raise UserError(f"{name} must be two numbers in 0..1, not {values!r}")
    return kept


def _spread(values: Any) -> dict[str, float]:
    values = files.exactly("threshold figure", values, SPREAD)
    return {name: _number(f"threshold {name}", values[name]) for name in SPREAD}


@dataclass(frozen=True)
class RunRecord:
    """One run: its settings, where it came from, and its figures so far.

    Args:
        experiment: the settings
        provenance: data and sessions
        epochs: figures, from epoch 1 on, none left out
    """

    experiment: Experiment
    provenance: Provenance
    epochs: tuple[EpochFigures, ...]

    @property
    def finished(self) -> bool:
        """Whether all epochs of the settings are there."""
        return len(self.epochs) == self.experiment.epochs

    @property
    def best(self) -> EpochFigures:
        """The epoch with the highest test accuracy, the first of several."""
        return max(self.epochs, key=lambda figures: figures.test_accuracy)

    @property
    def cross_selected(self) -> float:
        """Test accuracy with the epoch chosen on other images than those it is judged on (results/PROTOCOL.md).

        The best epoch of one half of the test images is judged on the other half, and the other way round; their mean.
        """
        judged = []
        for chosen in (0, 1):
            best = max(self.epochs, key=lambda figures: figures.test_accuracy_halves[chosen])
            judged.append(best.test_accuracy_halves[1 - chosen])
        return sum(judged) / 2

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


def append_epoch(folder: Path, figures: EpochFigures) -> None:
    """Add a line to a run folder's epochs.jsonl, and wait until it is on the disk."""
    files.append(folder / EPOCHS, files.to_json(dataclasses.asdict(figures)))


def keep_epochs(folder: Path, count: int) -> tuple[EpochFigures, ...]:
    """Cut a run folder's epochs.jsonl to `count` lines, where a stop left more of them, or half a line.

    Returns:
        their figures
    Raises:
        UserError: if there are fewer lines, or one of these is damaged
    """
    path = folder / EPOCHS
    lines = _whole_lines(path)
    if len(lines) < count:
        raise UserError(f"{path} holds {len(lines)} lines, but the checkpoint beside it is of epoch {count}")
    epochs = _epochs(path, lines[:count], first_line=1)
    wanted = b"".join(line + b"\n" for line in lines[:count])
    if path.exists() and wanted != files.read(path):
        files.write_atomic(path, wanted)
    return epochs


def write(record: RunRecord, path: str | Path) -> None:
    """Write a run as one record file, for keeping with the sources.

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
    files.write_atomic(path, b"".join(map(files.to_json, (head, *map(dataclasses.asdict, record.epochs)))))


def read(path: str | Path) -> RunRecord:
    """A run, from its folder or from its record file.

    Half a line at the end of a folder's figures, as a stop may leave it, is left out.

    Raises:
        UserError: if something is missing, damaged or unknown: one line with the file and the line's number
    """
    path = as_path("path", path)
    if path.is_dir():
        epochs = _epochs(path / EPOCHS, _whole_lines(path / EPOCHS), first_line=1)
        return RunRecord(read_settings(path), read_provenance(path), epochs)
    lines = files.read(path).split(b"\n")
    if lines.pop() or not lines:
        raise UserError(f"{path} is cut short: it does not end with a whole line")
    with files.place(path, 1):
        head = files.exactly("entry", files.from_json(lines[0]), ("format", "version", "settings", "provenance"))
        if (head["format"], head["version"]) != (FORMAT, VERSION):
            raise UserError(f"this is {head['format']!r} version {head['version']!r}, not {FORMAT!r} version {VERSION}")
        experiment, provenance = Experiment.from_dict(head["settings"]), Provenance.from_dict(head["provenance"])
    return RunRecord(experiment, provenance, _epochs(path, lines[1:], first_line=2))


def read_settings(folder: Path) -> Experiment:
    """The settings of a run folder.

    Raises:
        UserError: if the folder holds no run, or its settings.json is damaged
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise UserError(f"{folder} is not a run folder: it holds no {SETTINGS}")
    with files.place(path):
        return Experiment.from_dict(files.from_json(files.read(path)))


def read_provenance(folder: Path) -> Provenance:
    """The provenance of a run folder.

    Raises:
        UserError: if its provenance.json is missing or damaged
    """
    content = files.read(folder / PROVENANCE)
    with files.place(folder / PROVENANCE):
        return Provenance.from_dict(files.from_json(content))


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that end; none where there is no file."""
    return files.read(path).split(b"\n")[:-1] if path.exists() else []


def _epochs(path: Path, lines: Iterable[bytes], first_line: int) -> tuple[EpochFigures, ...]:
    """Figures from lines, which must be epochs 1, 2, ..."""
    epochs = []
    for index, line in enumerate(lines):
        with files.place(path, first_line + index):
            figures = EpochFigures(**files.exactly("figure", files.from_json(line), _FIGURES))
            if figures.epoch != index + 1:
                raise UserError(f"epoch {figures.epoch} stands where epoch {index + 1} must be")
        epochs.append(figures)
    return tuple(epochs)
