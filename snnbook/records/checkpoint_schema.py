"""What a checkpoint must hold: names, types and shapes by its settings, and numbers that a run can come to.

Shapes are looked at before a value is read (tensor_file.py), numbers afterwards. What is wrong with an edited file but
could be right in another run is not found: weights of another run, or moments that are all 0.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..settings import Experiment
from .figures import TRAIN_SUMS
from .tensor_file import Described

CUDA_STATE = 16
"""Bytes of the state of a GPU's generator: its seed, and how much was drawn."""

STATE = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ()}
"""What an optimiser remembers of each parameter."""

LATER = ("decoupled_weight_decay",)
"""Entries of param_groups that older versions of torch do not write."""

COUNTED = 2**24
"""Steps up to which torch's optimisers count, in float32: adding one to this changes nothing."""

MOMENTS = 8.0
"""|exp_avg| is at most so many times the root of exp_avg_sq, for AdamW's decays 0.9 and 0.999: by the inequality of
Cauchy and Schwarz, the root of 0.1^2 / 0.001 / (1 - 0.9^2 / 0.999), which is 7.27."""

SEEN = 1e-6
"""Mean norm of the gradients from which on exp_avg_sq cannot be 0 everywhere, with 1e8 parameters too."""

UNDERFLOW = 1e-17
"""|exp_avg| may be so large where the squares in exp_avg_sq have fallen to 0."""


class Misfit(Exception):
    """Something is not what the settings call for."""


def check_shapes(values: dict[str, Any], experiment: Experiment, path: Path) -> None:
    """Compare names, types and shapes with what the settings call for.

    Args:
        values: entries of a checkpoint, with a `Described` in the place of each tensor
        experiment: its settings
        path: of the checkpoint, for the error
    Raises:
        UserError: if one does not fit
    """
    with torch.device("meta"):
        net = experiment.build_network()
    begun = values["epoch"] > 0 or values["step"] > 0
    part = "network"
    try:
        _check_model(values["model"], net)
        part = "optimiser and generators"
        _check_optimiser(values["optimiser"], net, experiment, begun)
        _tensor("sums", values["sums"], torch.float64, (len(TRAIN_SUMS),))
        _check_generators(values["generators"])
    except Misfit as misfit:
        raise UserError(f"{path} does not hold the {part} that its settings describe: {misfit}") from misfit


def kind_of(value: Any) -> str:
    """The type of a value from a file, in words."""
    return "Tensor" if isinstance(value, Described) else type(value).__name__


def _check_model(found: dict[Any, Any], net: nn.Module) -> None:
    wanted = net.state_dict()
    _names("the network", found, wanted)
    for name, tensor in wanted.items():
        _tensor(name, found[name], tensor.dtype, tensor.shape)


def _check_optimiser(found: dict[Any, Any], net: nn.Module, experiment: Experiment, begun: bool) -> None:
    """Groups of parameters with the settings' own numbers, and what the optimiser remembers of each parameter."""
    _names("the optimiser", found, ("state", "param_groups"))
    groups, parameters = _groups(net, experiment)
    if not isinstance(found["param_groups"], list) or len(found["param_groups"]) != len(groups):
        raise Misfit(f"param_groups must be a list of {len(groups)}")
    for group, wanted in zip(found["param_groups"], groups, strict=True):
        _names("param_groups", group, wanted, optional=LATER)
        for name, value in wanted.items():
            if name != "lr" and name in group and not _plain_equal(group[name], value):
                raise Misfit(f"{name} of param_groups is not {value!r}")
        if type(group["lr"]) is not float or not 0 <= group["lr"] < math.inf:
            raise Misfit("lr of param_groups is no number of 0 or more")
    entries = STATE[experiment.optimiser]
    _names("the optimiser's state", found["state"], range(len(parameters)) if begun and entries else ())
    for number, entry in found["state"].items():
        _names(f"the state of parameter {number}", entry, entries)
        for name, value in entry.items():
            dtype, shape = (torch.float32, ()) if name == "step" else parameters[number]
            _tensor(f"{name} of parameter {number}", value, dtype, shape)


def _check_generators(found: dict[Any, Any]) -> None:
    _names("generators", found, ("cpu", "cuda"), optional=("cuda",))
    _tensor("the state of generator cpu", found["cpu"], torch.uint8, torch.Generator().get_state().shape)
    if "cuda" in found:
        _tensor("the state of generator cuda", found["cuda"], torch.uint8, (CUDA_STATE,))


def _groups(
    net: nn.Module, experiment: Experiment
) -> tuple[list[dict[str, Any]], list[tuple[torch.dtype, torch.Size]]]:
    """The optimiser's groups as they are saved, and type and shape of its parameters by number."""
    stand_ins = {name: nn.Parameter(torch.zeros(())) for name, _ in net.named_parameters()}
    sizes = {id(stand_ins[name]): (value.dtype, value.shape) for name, value in net.named_parameters()}
    optimiser = experiment.build_optimiser(stand_ins.items())
    parameters = [sizes[id(parameter)] for group in optimiser.param_groups for parameter in group["params"]]
    return optimiser.state_dict()["param_groups"], parameters


def _names(what: str, found: Any, wanted: Any, optional: tuple[str, ...] = ()) -> None:
    """See that a table has these entries and no others."""
    if not isinstance(found, dict):
        raise Misfit(f"{what} must be a dict, not {kind_of(found)}")
    missing = [name for name in wanted if name not in found and name not in optional]
    if missing:
        raise Misfit(f"{what} lacks {missing[0]!r}")
    odd = [name for name in found if not isinstance(name, (str, int)) or name not in wanted]
    if odd:
        raise Misfit(f"{what} holds {odd[0]!r:.100}")


def _tensor(what: str, found: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """See that this is a dense tensor of such a type and shape."""
    if not isinstance(found, Described):
        raise Misfit(f"{what} must be a Tensor, not {kind_of(found)}")
    if (found.dtype, found.shape) != (dtype, tuple(shape)):
        raise Misfit(f"{what} must be {dtype} of shape {tuple(shape)}, not {found.dtype} of shape {found.shape}")


def _plain_equal(a: Any, b: Any) -> bool:
    """Whether two plain values are the same, and of the same types."""
    if isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_plain_equal, a, b))
    numbers = type(b) in (int, float) and type(a) in (int, float)
    return (numbers or type(a) is type(b)) and a == b


def check_numbers(checkpoint: Any, path: Path) -> None:
    """Look at what can be said of the numbers in a checkpoint, without the data that it was trained on.

    Args:
        checkpoint: of a run (checkpoints.py)
        path: where it came from, for the error
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
                raise Misfit(f"{name} is not finite")
            if name.endswith(("threshold", "gamma")) and not bool((value > 0).all()):
                raise Misfit(f"{name} is not above 0")
        for number, entry in state.items():
            _check_moments(number, entry["exp_avg"], entry["exp_avg_sq"])
        _check_steps(checkpoint)
        _check_sums(checkpoint)
        torch.Generator().set_state(checkpoint.generators["cpu"])
    except (Misfit, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{path} cannot be the state of a run: {reason}") from error


def _check_moments(number: int, first: Tensor, second: Tensor) -> None:
    if not bool((second >= 0).all()):
        raise Misfit(f"exp_avg_sq of parameter {number} is negative")
    if not bool((first.abs() <= MOMENTS * second.sqrt() + UNDERFLOW).all()):
        raise Misfit(f"exp_avg of parameter {number} is larger than exp_avg_sq allows")


def steps_done(checkpoint: Any) -> int | None:
    """Steps that the optimiser has counted; None where it counts none."""
    counts = [entry["step"].item() for entry in checkpoint.optimiser["state"].values()]
    return int(counts[0]) if counts else None


def _check_steps(checkpoint: Any) -> None:
    """All parameters have taken the same steps: those of whole epochs, all equally long, and those of the next."""
    counts = {entry["step"].item() for entry in checkpoint.optimiser["state"].values()}
    if len(counts) > 1 or any(count != int(count) for count in counts):
        raise Misfit("its parameters have not taken the same number of steps")
    done, epoch, steps = steps_done(checkpoint), checkpoint.epoch, checkpoint.step
    if done is None or done >= COUNTED:
        return
    whole = done - steps
    if (whole != 0) if epoch == 0 else (whole < epoch or whole % epoch):
        raise Misfit(f"{done} steps of the optimiser are not those of {epoch} epoch(s) and {steps} steps")


def _check_sums(checkpoint: Any) -> None:
    """Sums are those of a network's output over some batches; none at an epoch's begin."""
    sums = dict(zip(TRAIN_SUMS, checkpoint.sums.tolist(), strict=True))
    steps, batch = checkpoint.step, checkpoint.experiment.batch_size
    if not steps:
        if any(sums.values()):
            raise Misfit("sums are not 0 at the begin of an epoch")
        return
    if any(value < 0 for name, value in sums.items() if name not in ("grad_sum", "loss")):
        raise Misfit("sums are negative")
    if any(sums[name] != int(sums[name]) for name in ("samples", "correct", "positive", "spikes")):
        raise Misfit("sums do not count whole samples and spikes")
    if not (steps - 1) * batch < sums["samples"] <= steps * batch:
        raise Misfit(f"sums are of {sums['samples']:.0f} samples, and {steps} steps of {batch} have others")
    entries = sums["samples"] * checkpoint.experiment.steps * checkpoint.experiment.classes
    for part, whole in (("correct", sums["samples"]), ("positive", sums["spikes"]), ("spikes", entries)):
        if sums[part] > whole:
            raise Misfit(f"sum {part} is {sums[part]:.0f} of {whole:.0f}")
    squares = [entry["exp_avg_sq"] for entry in checkpoint.optimiser["state"].values()]
    if squares and sums["gradient_norm"] > SEEN * steps and not any(bool(square.any()) for square in squares):
        raise Misfit("exp_avg_sq of all parameters is 0, after gradients that were not")
    if abs(sums["grad_sum"]) > sums["grad_abs_sum"] * (1 + 1e-9):
        raise Misfit("sum grad_sum is larger than grad_abs_sum")
