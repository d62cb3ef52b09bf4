"""Checkpoints: everything that the next step of a run depends on, in one file that loads without running anything."""

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from . import files
from .errors import UserError, as_path, instance
from .settings import Experiment

LAST, BEST = "last.pt", "best.pt"

FORMAT, VERSION = "snnbook checkpoint", 2
"""First entries of a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run between two steps.

    Args:
        experiment: the settings
        epoch: epochs done
        step: batches of the next epoch done
        sums: over these batches, (len(measure.TRAIN_SUMS),), float64
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
    "sums": torch.Tensor,
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


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint, onto the CPU. No code in the file is run.

    Raises:
        UserError: if the file is missing, cut, damaged or something else
    """
    path = as_path("path", path)
    values = _load(path, files.read(path))
    with files.place(path):
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UserError("this is not a checkpoint of snnbook")
        if values.get("version") != VERSION:
            raise UserError(f"this checkpoint has version {values.get('version')!r}; this program reads {VERSION}")
        values = files.exactly("entry", values, ("format", "version", *_FIELDS))
        for name, kind in _KINDS.items():
            if not isinstance(values[name], kind):
                raise UserError(f"{name} of the checkpoint must be {kind.__name__}, not {type(values[name]).__name__}")
        experiment = Experiment.from_dict(values["experiment"])
        if not 0 <= values["epoch"] <= experiment.epochs or values["step"] < 0:
            raise UserError(f"epoch {values['epoch']} of {experiment.epochs}, step {values['step']} cannot be")
    return Checkpoint(**{name: values[name] for name in _FIELDS} | {"experiment": experiment})


def _load(path: Path, content: bytes) -> Any:
    """What torch.save wrote, after every byte of it was held against the file's checksums.

    torch reads no checksums, but headers that none covers: one bit there makes a tensor a folder, and its values what
    memory happens to hold. So it is given an archive made anew from what the checksums vouch for.
    """
    sound = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as found, zipfile.ZipFile(sound, "w") as archive:
            for entry in found.infolist():
                if (
                    entry.compress_type != zipfile.ZIP_STORED
                ):  # torch packs nothing; what is packed may unpack to any size
                    raise zipfile.BadZipFile(f"{entry.filename} is packed")
                archive.writestr(entry.filename, found.read(entry))
        sound.seek(0)
        return torch.load(sound, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can break the reader in any way; the cause stays attached
        raise UserError(f"{path} is cut short, damaged or not a checkpoint. Train again, or use another one") from error


def fit_into(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Give a network the state of a checkpoint.

    Raises:
        UserError: if names or shapes do not fit
    """
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold the network that its settings describe") from error
