"""Checkpoints: everything that the next step of a run depends on, in one file that loads without running anything."""

import io
import math
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from ..errors import UserError, as_path, exactly, instance, visible
from ..settings import Experiment
from . import checkpoint_schema, files
from .checkpoint_schema import kind_of
from .tensor_file import Described, OddFile, TensorFile

LAST, BEST = "last.pt", "best.pt"

FORMAT, VERSION = "snnbook checkpoint", 2
"""First entries of a checkpoint."""

LARGEST = 2**34
"""Bytes of a checkpoint whose settings are not known before it is read."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run between two steps.

    Args:
        experiment: the settings
        epoch: epochs done
        step: batches of the next epoch done
        sums: over these batches, (len(figures.TRAIN_SUMS),), float64
        seconds: spent on these batches
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
    """Write a checkpoint, whole or not at all.

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
    """Read a checkpoint, onto the CPU. No code in the file is run, and nothing is read before it is known to fit.

    Args:
        path: of the file
        experiment: the settings that it should be of, by which its size is bounded
    Raises:
        UserError: if the file is missing, cut, damaged or something else, or does not hold what its settings call for
    """
    path = as_path("path", path)
    instance("experiment", experiment, (Experiment, NoneType), "an Experiment or None")
    with files.opened(path) as file:
        size = file.seek(0, io.SEEK_END)
        _bound(path, size, LARGEST if experiment is None else _largest(experiment))
        try:
            found = TensorFile(file)
        except Exception as error:  # a damaged file can break the reader in any way; the cause stays attached
            raise _damaged(path, error) from error
        values, own = _head(path, found.values)
        _bound(path, size, _largest(own))
        checkpoint_schema.check_shapes(values, own, path)
        try:
            values = _filled(values, found)
        except Exception as error:
            raise _damaged(path, error) from error
    checkpoint = Checkpoint(**{name: values[name] for name in _FIELDS} | {"experiment": own})
    checkpoint_schema.check_numbers(checkpoint, path)
    return checkpoint


def _damaged(path: Path, error: Exception) -> UserError:
    reason = f" ({visible(str(error))})" if isinstance(error, OddFile) else ""
    return UserError(f"{path} is cut short, damaged or not a checkpoint{reason}. Train again, or use another one")


def _largest(experiment: Experiment) -> int:
    """Bytes that a checkpoint of these settings may have: weights, two moments of each, and what is said of them."""
    with torch.device("meta"):
        state = experiment.build_network().state_dict()
    return files.MEGABYTE + sum(3 * value.nbytes + 4096 for value in state.values())


def _bound(path: Path, size: int, most: int) -> None:
    if size > most:
        raise UserError(f"{path} has {size:,} bytes, and a checkpoint of its settings has {most:,} or less")


def _head(path: Path, values: Any) -> tuple[dict[str, Any], Experiment]:
    """The entries of a checkpoint and its settings, after a look at the entries' types."""
    with files.place(path):
        if not isinstance(values, dict) or not _same(values.get("format"), FORMAT):
            raise UserError("this is not a checkpoint of snnbook")
        version = values.get("version")
        if not _same(version, VERSION):
            shown = f"{version!r:.50}" if type(version) in (int, str) else kind_of(version)
            raise UserError(f"this checkpoint has version {shown}; this program reads {VERSION}")
        values = exactly("entry", values, ("format", "version", *_FIELDS))
        for name, kind in _KINDS.items():
            if not isinstance(values[name], kind) or isinstance(values[name], bool):
                word = "Tensor" if kind is Described else kind.__name__
                raise UserError(f"{name} of the checkpoint must be {word}, not {kind_of(values[name])}")
        experiment = Experiment.from_dict(values["experiment"])
        epoch, steps = values["epoch"], values["step"]
        if not 0 <= epoch <= experiment.epochs or steps < 0 or (epoch == experiment.epochs and steps):
            raise UserError(f"epoch {epoch} of {experiment.epochs}, step {steps} cannot be")
        seconds = values["seconds"]
        if not math.isfinite(seconds) or seconds < 0 or (seconds and not steps):
            raise UserError(f"seconds {seconds} of a checkpoint at step {steps} of an epoch cannot be")
    return values, experiment


def _same(value: Any, wanted: int | str) -> bool:
    """Whether a value from a file is this one, and no other kind of value that equals it."""
    return type(value) is type(wanted) and value == wanted


def _filled(values: Any, found: TensorFile) -> Any:
    """The same values with the tensors themselves."""
    if isinstance(values, Described):
        return found.tensor(values)
    if isinstance(values, dict):
        return {name: _filled(value, found) for name, value in values.items()}
    return list(map(partial(_filled, found=found), values)) if isinstance(values, list) else values


def fit_into(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Give a network the state of a checkpoint.

    Raises:
        UserError: if names or shapes do not fit
    """
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold the network that its settings describe") from error
