"""Checkpoints: everything that the next step of a run depends on, in one file that loads without running anything."""

import io
import math
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import files, measure, step
from .errors import UserError, unknown
from .escapes import visible
from .settings import Experiment
from .tensor_file import Described, OddFile, TensorFile

LAST, BEST = "last.pt", "best.pt"

FORMAT, VERSION = "snnbook checkpoint", 2
"""First entries of a checkpoint."""

LARGEST = 2**34
"""Bytes of a checkpoint whose settings are not known before it is read."""

COUNTED = 2**24
"""Steps up to which torch's optimisers count, in float32: adding one to this changes nothing."""

MOMENTS = 8.0
"""|exp_avg| is at most so many times the root of exp_avg_sq, for AdamW's decays 0.9 and 0.999: by the inequality of
Cauchy and Schwarz, the root of 0.1^2 / 0.001 / (1 - 0.9^2 / 0.999), which is 7.27."""

UNDERFLOW = 1e-17
"""|exp_avg| may be so large where the squares in exp_avg_sq have fallen to 0."""


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
    path = Path(path)
    with files.opened(path) as file:
        size = file.seek(0, io.SEEK_END)
        _bound(path, size, LARGEST if experiment is None else _largest(experiment))
        try:
            found = TensorFile(file)
        except Exception as error:  # a damaged file can break the reader in any way; the cause stays attached
            raise _damaged(path, error) from error
        values, own = _head(path, found.values)
        _bound(path, size, _largest(own))
        _Schema(path, own).check(values)
        try:
            values = _filled(values, found)
        except Exception as error:
            raise _damaged(path, error) from error
    checkpoint = Checkpoint(**{name: values[name] for name in _FIELDS} | {"experiment": own})
    _check_values(checkpoint, path)
    return checkpoint


def _damaged(path: Path, error: Exception) -> UserError:
    reason = f" ({visible(str(error))})" if isinstance(error, OddFile) else ""
    return UserError(
        f"{path} is cut short, damaged or not a checkpoint{reason}. Train again, or use another one",
    )


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
            shown = repr(version) if type(version) in (int, str) else _kind(version)
            raise UserError(f"this checkpoint has version {shown}; this program reads {VERSION}")
        values = files.exactly("entry", values, ("format", "version", *_FIELDS))
        for name, kind in _KINDS.items():
            if not isinstance(values[name], kind) or isinstance(values[name], bool):
                word = "Tensor" if kind is Described else kind.__name__
                raise UserError(f"{name} of the checkpoint must be {word}, not {_kind(values[name])}")
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


def _kind(value: Any) -> str:
    return "Tensor" if isinstance(value, Described) else type(value).__name__


class _Misfit(Exception):
    """Something is not what the settings call for."""


class _Schema:
    """What a checkpoint of some settings holds: the names, types and shapes of everything in it.

    Args:
        path: of the checkpoint, for errors
        experiment: the settings
    """

    def __init__(self, path: Path, experiment: Experiment) -> None:
        self._path, self._experiment = path, experiment
        with torch.device("meta"):
            self._net = experiment.build_network()

    def check(self, values: dict[str, Any]) -> None:
        """Compare the entries of a checkpoint with this.

        Raises:
            UserError: if one does not fit
        """
        begun = values["epoch"] > 0 or values["step"] > 0
        try:
            part = "network"
            self._model(values["model"])
            part = "optimiser and generators"
            self._optimiser(values["optimiser"], begun)
            _tensor("sums", values["sums"], torch.float64, (len(measure.TRAIN_SUMS),))
            self._generators(values["generators"])
        except _Misfit as misfit:
            raise UserError(f"{self._path} does not hold the {part} that its settings describe: {misfit}") from misfit

    def _model(self, found: dict[Any, Any]) -> None:
        wanted = self._net.state_dict()
        _names("the network", found, wanted)
        for name, tensor in wanted.items():
            _tensor(name, found[name], tensor.dtype, tensor.shape)

    def _optimiser(self, found: dict[Any, Any], begun: bool) -> None:
        """Groups of parameters with the settings' own numbers, and what AdamW knows of each parameter."""
        _names("the optimiser", found, ("state", "param_groups"))
        groups, shapes = _groups(self._net, self._experiment)
        if not isinstance(found["param_groups"], list) or len(found["param_groups"]) != len(groups):
            raise _Misfit(f"param_groups must be a list of {len(groups)}")
        for group, wanted in zip(found["param_groups"], groups, strict=True):
            _names("param_groups", group, wanted, optional=_LATER)
            for name, value in wanted.items():
                if name != "lr" and name in group and not _plain_equal(group[name], value):
                    raise _Misfit(f"{name} of param_groups is not {value!r}")
            if type(group["lr"]) is not float or not 0 <= group["lr"] < math.inf:
                raise _Misfit("lr of param_groups is no number of 0 or more")
        entries = _STATE[self._experiment.optimiser]
        _names("the optimiser's state", found["state"], range(len(shapes)) if begun and entries else ())
        for number, entry in found["state"].items():
            _names(f"the state of parameter {number}", entry, entries)
            for name, value in entry.items():
                shape = () if name == "step" else shapes[number]
                _tensor(f"{name} of parameter {number}", value, torch.float32, shape)

    @staticmethod
    def _generators(found: dict[Any, Any]) -> None:
        _names("generators", found, ("cpu", "cuda"), optional=("cuda",))
        _tensor("the state of generator cpu", found["cpu"], torch.uint8, torch.Generator().get_state().shape)
        if "cuda" in found:
            _tensor("the state of generator cuda", found["cuda"], torch.uint8, (_CUDA_STATE,))


_CUDA_STATE = 16
"""Bytes of the state of a GPU's generator: its seed, and how much was drawn."""

_STATE = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ()}
"""What an optimiser remembers of each parameter."""

_LATER = ("decoupled_weight_decay",)
"""Entries of param_groups that older versions of torch do not write."""


def _groups(net: nn.Module, experiment: Experiment) -> tuple[list[dict[str, Any]], list[torch.Size]]:
    """The optimiser's groups as they are saved, and the shapes of its parameters by number."""
    stand_ins = {name: nn.Parameter(torch.zeros(())) for name, _ in net.named_parameters()}
    sizes = {id(stand_ins[name]): value.shape for name, value in net.named_parameters()}
    optimiser = step.optimiser_of(stand_ins.items(), experiment)
    shapes = [sizes[id(parameter)] for group in optimiser.param_groups for parameter in group["params"]]
    return optimiser.state_dict()["param_groups"], shapes


def _names(what: str, found: Any, wanted: Any, optional: tuple[str, ...] = ()) -> None:
    """See that a table has these entries and no others."""
    if not isinstance(found, dict):
        raise _Misfit(f"{what} must be a dict, not {_kind(found)}")
    missing = [name for name in wanted if name not in found and name not in optional]
    if missing:
        raise _Misfit(f"{what} lacks {missing[0]!r}")
    odd = [name for name in found if not isinstance(name, (str, int)) or name not in wanted]
    if odd:
        raise _Misfit(f"{what} holds {odd[0]!r:.100}")


def _tensor(what: str, found: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """See that this is a dense tensor of such a type and shape."""
    if not isinstance(found, Described):
        raise _Misfit(f"{what} must be a Tensor, not {_kind(found)}")
    if (found.dtype, found.shape) != (dtype, tuple(shape)):
        raise _Misfit(f"{what} must be {dtype} of shape {tuple(shape)}, not {found.dtype} of shape {found.shape}")


def _plain_equal(a: Any, b: Any) -> bool:
    """Whether two plain values are the same, and of the same types."""
    if isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_plain_equal, a, b))
    numbers = type(b) in (int, float) and type(a) in (int, float)
    return (numbers or type(a) is type(b)) and a == b


def _filled(values: Any, found: TensorFile) -> Any:
    """The same values with the tensors themselves."""
    if isinstance(values, Described):
        return found.tensor(values)
    if isinstance(values, dict):
        return {name: _filled(value, found) for name, value in values.items()}
    return list(map(partial(_filled, found=found), values)) if isinstance(values, list) else values


def _check_values(checkpoint: Checkpoint, path: Path) -> None:
    """What can be said of the numbers in a checkpoint, without the data that it was trained on.

    Raises:
        UserError: if one cannot be
    """
    state = checkpoint.optimiser["state"]
    tensors = {
        **checkpoint.model,
        "sums": checkpoint.sums,
        **{f"{name} of parameter {number}": value for number, entry in state.items() for name, value in entry.items()},
    }
    try:
        for name, value in tensors.items():
            if not bool(value.isfinite().all()):
                raise _Misfit(f"{name} is not finite")
            if name.endswith("threshold") and not bool((value > 0).all()):
                raise _Misfit(f"{name} is not above 0")
        for number, entry in state.items():
            _check_moments(number, entry["exp_avg"], entry["exp_avg_sq"])
        _check_steps(checkpoint)
        _check_sums(checkpoint)
        torch.Generator().set_state(checkpoint.generators["cpu"])
    except (_Misfit, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{path} cannot be the state of a run: {reason}") from error


def _check_moments(number: int, first: Tensor, second: Tensor) -> None:
    if not bool((second >= 0).all()):
        raise _Misfit(f"exp_avg_sq of parameter {number} is negative")
    if not bool((first.abs() <= MOMENTS * second.sqrt() + UNDERFLOW).all()):
        raise _Misfit(f"exp_avg of parameter {number} is larger than exp_avg_sq allows")


def steps_done(checkpoint: Checkpoint) -> int | None:
    """Steps that the optimiser has counted; None where it counts none."""
    counts = [entry["step"].item() for entry in checkpoint.optimiser["state"].values()]
    return int(counts[0]) if counts else None


def _check_steps(checkpoint: Checkpoint) -> None:
    """All parameters have taken the same steps: those of whole epochs, all equally long, and those of the next."""
    counts = {entry["step"].item() for entry in checkpoint.optimiser["state"].values()}
    if len(counts) > 1 or any(count != int(count) for count in counts):
        raise _Misfit("its parameters have not taken the same number of steps")
    done, epoch, steps = steps_done(checkpoint), checkpoint.epoch, checkpoint.step
    if done is None or done >= COUNTED:
        return
    whole = done - steps
    if (whole != 0) if epoch == 0 else (whole < epoch or whole % epoch):
        raise _Misfit(f"{done} steps of the optimiser are not those of {epoch} epoch(s) and {steps} steps")


def _check_sums(checkpoint: Checkpoint) -> None:
    """Sums are those of a network's output over some batches; none at an epoch's begin."""
    sums = dict(zip(measure.TRAIN_SUMS, checkpoint.sums.tolist(), strict=True))
    steps, batch = checkpoint.step, checkpoint.experiment.batch_size
    if not steps:
        if any(sums.values()):
            raise _Misfit("sums are not 0 at the begin of an epoch")
        return
    if any(value < 0 for name, value in sums.items() if name not in ("grad_sum", "loss")):
        raise _Misfit("sums are negative")
    if any(sums[name] != int(sums[name]) for name in ("samples", "correct", "positive", "spikes")):
        raise _Misfit("sums do not count whole samples and spikes")
    if not (steps - 1) * batch < sums["samples"] <= steps * batch:
        raise _Misfit(f"sums are of {sums['samples']:.0f} samples, and {steps} steps of {batch} have others")
    entries = sums["samples"] * checkpoint.experiment.steps * checkpoint.experiment.classes
    for part, whole in (("correct", sums["samples"]), ("positive", sums["spikes"]), ("spikes", entries)):
        if sums[part] > whole:
            raise _Misfit(f"sum {part} is {sums[part]:.0f} of {whole:.0f}")
    if abs(sums["grad_sum"]) > sums["grad_abs_sum"] * (1 + 1e-9):
        raise _Misfit("sum grad_sum is larger than grad_abs_sum")


def fit_into(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Give a network the state of a checkpoint.

    Raises:
        UserError: if names or shapes do not fit
    """
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold the network that its settings describe") from error
