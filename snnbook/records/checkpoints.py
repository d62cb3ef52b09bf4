"""Checkpoints: everything that the next step of a run depends on, in one file that loads without running code."""

import io
import math
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from ..errors import UserError, as_path, exactly, instance, visible
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

LARGEST = 2**34
"""Most bytes of a checkpoint whose settings are not known before it is read."""


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
    """

    experiment: Experiment
    epoch: int
    step: int
    sums: torch.Tensor
    seconds: float
    model: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    generators: dict[str, torch.Tensor]


_FIELDS = tuple(field.name for field in fields(Checkpoint))

# Types of the entries in the file, where a tensor is not read yet.
_KINDS = {
    "experiment": dict,
    "epoch": int,
    "step": int,
    "sums": Described,
    "seconds": float,
    "model": dict,
    "optimiser": dict,
    "generators": dict,
}


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
        _check_size(path, size, LARGEST if experiment is None else _largest(experiment))
        try:
            found = TensorFile(file)
        except Exception as error:
            # A damaged file can raise any error in the reader; the cause stays attached.
            raise _damaged(path, error) from error
        values, own = _head(path, found.values)
        _check_size(path, size, _largest(own))
        checkpoint_schema.check_shapes(values, own, path)
        try:
            values = _filled(values, found)
        except Exception as error:
            raise _damaged(path, error) from error
    checkpoint = Checkpoint(**{name: values[name] for name in _FIELDS} | {"experiment": own})
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


def _head(path: Path, values: Any) -> tuple[dict[str, Any], Experiment]:
    """Check the types and numbers of a checkpoint's entries, and return the entries and the settings."""
    with files.error_context(path):
        if not isinstance(values, dict) or not _same(values.get("format"), FORMAT):
            raise UserError("this is not a checkpoint of snnbook")
        version = values.get("version")
        if not _same(version, VERSION):
            raise UserError(f"this checkpoint has version {_shown(version)}; this program reads {VERSION}")
        values = exactly("entry", values, ("format", "version", *_FIELDS))
        for name, kind in _KINDS.items():
            if not isinstance(values[name], kind) or isinstance(values[name], bool):
                wanted = "Tensor" if kind is Described else kind.__name__
                raise UserError(f"{name} of the checkpoint must be {wanted}, not {kind_of(values[name])}")
        experiment = Experiment.from_dict(values["experiment"])
        epoch = values["epoch"]
        steps = values["step"]
        if not 0 <= epoch <= experiment.epochs or steps < 0 or (epoch == experiment.epochs and steps):
            raise UserError(f"epoch {epoch} of {experiment.epochs}, step {steps} cannot be")
        seconds = values["seconds"]
        if not math.isfinite(seconds) or seconds < 0 or (seconds and not steps):
            raise UserError(f"seconds {seconds} of a checkpoint at step {steps} of an epoch cannot be")
    return values, experiment


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
