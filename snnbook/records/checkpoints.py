"""Checkpoints: everything that the next step of a run depends on, in one file that loads without running code."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from .. import schema
from ..errors import UserError, as_path, exactly, instance, real, visible, whole
from ..schema import checked
from ..settings import Experiment
from . import checkpoint_schema, files
from .checkpoint_schema import kind_of
from .tensor_file import Described, OddFile, TensorFile

LAST = "last.pt"
BEST = "best.pt"

FORMAT = "snnbook checkpoint"
"""The first entry of a checkpoint."""

VERSION = 2
"""The second entry of a checkpoint."""

TENSORS = ("sums", "model", "optimiser", "generators")
"""Fields of a checkpoint that are, or contain, tensors."""

LARGEST = 2**34
"""Most bytes of a checkpoint whose settings are not known before it is read."""


def _experiment(name: str, value: Any) -> Experiment:
    """Check the settings, as they are or as `Experiment.to_dict` wrote them."""
    if isinstance(value, Experiment):
        return value
    return Experiment.from_dict(_table(name, value))


def _tensor(name: str, value: Any) -> Any:
    """Check that this is a tensor, or the description of one that is not read yet."""
    if not isinstance(value, (torch.Tensor, Described)):
        raise UserError(f"{name} must be a Tensor, not {kind_of(value)}")
    return value


def _table(name: str, value: Any) -> dict[Any, Any]:
    """Check that this is a table."""
    if not isinstance(value, dict):
        raise UserError(f"{name} must be a dict, not {kind_of(value)}")
    return value


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run between two steps.

    Args:
        experiment: the settings
        epoch: number of epochs done
        step: number of batches of the next epoch done
        sums: over these batches, (len(figures.TRAIN_SUMS),), float64
        seconds: of training on these batches
        model: the network's state_dict: weights, gamma, beta, thresholds
        optimiser: the optimiser's state_dict
        generators: state of torch's random generators, by device type

    Raises:
        UserError: if one is of the wrong type or out of its range
    """

    experiment: Experiment = checked(_experiment)
    epoch: int = checked(whole, least=0)
    step: int = checked(whole, least=0)
    sums: torch.Tensor = checked(_tensor)
    seconds: float = checked(real, least=0)
    model: dict[str, torch.Tensor] = checked(_table)
    optimiser: dict[str, Any] = checked(_table)
    generators: dict[str, torch.Tensor] = checked(_table)

    def __post_init__(self) -> None:
        schema.check_fields(self, " of the checkpoint")
        epochs = self.experiment.epochs
        if self.epoch > epochs or (self.epoch == epochs and self.step):
            raise UserError(f"epoch {self.epoch} of {epochs}, step {self.step} cannot be")
        if self.seconds and not self.step:
            raise UserError(f"seconds {self.seconds} of a checkpoint at step 0 of an epoch cannot be")


_FIELDS = schema.names(Checkpoint)
"""Entries of the file, after its format and version."""


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        UserError: if it cannot be written
    """
    path = as_path("path", path)
    instance("checkpoint", checkpoint, Checkpoint)
    values = {name: getattr(checkpoint, name) for name in _FIELDS} | {"experiment": checkpoint.experiment.to_dict()}
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION} | values, buffer)
    files.write_atomic(path, buffer.getbuffer())


def read(path: str | Path, experiment: Experiment | None = None) -> Checkpoint:
    """Read a checkpoint to the CPU. No code in the file is run, and shapes are checked before values are read.

    Args:
        path: of the file
        experiment: the expected settings, which bound its size
    Raises:
        UserError: if the file is missing, cut short, damaged or something else, or contradicts its settings
    """
    path = as_path("path", path)
    instance("experiment", experiment, (Experiment, NoneType), "an Experiment or None")
    with files.open_regular(path) as file:
        size = file.seek(0, io.SEEK_END)
        most = LARGEST
        if experiment is not None:
            most = _largest(experiment)
        _check_size(path, size, most)
        try:
            found = TensorFile(file)
        except Exception as error:
            # A damaged file can raise any error in the reader; the cause stays attached.
            raise _damaged(path, error) from error
        described = _head(path, found.values)
        _check_size(path, size, _largest(described.experiment))
        checkpoint_schema.check_shapes(described, path)
        try:
            tensors = {name: _filled(getattr(described, name), found) for name in TENSORS}
        except Exception as error:
            raise _damaged(path, error) from error
    checkpoint = replace(described, **tensors)
    checkpoint_schema.check_numbers(checkpoint, path)
    return checkpoint


def _damaged(path: Path, error: Exception) -> UserError:
    """Create the error for a file that cannot be decoded."""
    # Other errors than OddFile say nothing to the user.
    reason = f" ({visible(str(error))})" if isinstance(error, OddFile) else ""
    return UserError(f"{path} is cut short, damaged or not a checkpoint{reason}. Train again, or use another one")


def _largest(experiment: Experiment) -> int:
    """Bound the bytes of a checkpoint of these settings: weights, two moments of each, names and shapes."""
    with torch.device("meta"):
        state = experiment.build_network().state_dict()
    return files.MEGABYTE + sum(3 * value.nbytes + 4096 for value in state.values())


def _check_size(path: Path, size: int, most: int) -> None:
    """Check that a file is not too large."""
    if size > most:
        raise UserError(f"{path} has {size:,} bytes, and a checkpoint of its settings has {most:,} or less")


def _head(path: Path, values: Any) -> Checkpoint:
    """Return the checkpoint with descriptions in place of its tensors."""
    with files.error_context(path):
        if not isinstance(values, dict) or not _same(values.get("format"), FORMAT):
            raise UserError("this is not a checkpoint of snnbook")
        version = values.get("version")
        if not _same(version, VERSION):
            raise UserError(f"this checkpoint has version {_shown(version)}; this program reads {VERSION}")
        values = exactly("entry", values, ("format", "version", *_FIELDS))
        return Checkpoint(**{name: values[name] for name in _FIELDS})


def _same(value: Any, wanted: int | str) -> bool:
    """Check whether a value from a file equals another one and has the same type."""
    return type(value) is type(wanted) and value == wanted


def _shown(version: Any) -> str:
    """Format a version from a file, which may be anything, for a message."""
    if type(version) in (int, str):
        return f"{version!r:.50}"
    return kind_of(version)


def _filled(values: Any, found: TensorFile) -> Any:
    """Read the tensors among the values."""
    if isinstance(values, Described):
        return found.tensor(values)
    if isinstance(values, dict):
        return {name: _filled(value, found) for name, value in values.items()}
    if isinstance(values, list):
        return [_filled(value, found) for value in values]
    return values


def fit_into(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load the state of a checkpoint into a network.

    Raises:
        UserError: if names or shapes differ
    """
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold the network that its settings describe") from error
