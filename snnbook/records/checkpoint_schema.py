"""Check what a checkpoint contains: names, types and shapes against its settings, and whether its numbers are possible.

Shapes are checked before a value is read (tensor_file.py), numbers afterwards. An edit that could be the state of
another run is not noticed: weights of another run, or moments that are all 0.
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
"""Bytes of the state of a GPU's generator: its seed and its offset."""

STATE = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ()}
"""The optimisers' state of each parameter."""

LATER = ("decoupled_weight_decay",)
"""Entries of param_groups that older versions of torch did not write."""

COUNTED = 2**24
"""Steps up to which torch's optimisers count: in float32, adding one to this number changes nothing."""

MOMENTS = 8.0
"""Bound on |exp_avg| / sqrt(exp_avg_sq) for AdamW's decays 0.9 and 0.999. By the inequality of Cauchy and Schwarz, the
ratio is at most the root of 0.1^2 / 0.001 / (1 - 0.9^2 / 0.999), which is 7.27."""

SEEN = 1e-6
"""Mean norm of the gradients above which exp_avg_sq cannot be 0 everywhere, even with 1e8 parameters."""

UNDERFLOW = 1e-17
"""Bound on |exp_avg| where the squares in exp_avg_sq underflow to 0."""


class Misfit(Exception):
    """Something in a checkpoint contradicts the settings, or is impossible."""


def check_shapes(checkpoint: Any, path: Path) -> None:
    """Compare names, types and shapes with the settings.

    Args:
        checkpoint: of a run (checkpoints.py), with a `Described` instead of each tensor
        path: of its file, for the error
    Raises:
        UserError: if one differs
    """
    experiment = checkpoint.experiment
    with torch.device("meta"):
        net = experiment.build_network()
    begun = checkpoint.epoch > 0 or checkpoint.step > 0
    part = "network"
    try:
        _check_model(checkpoint.model, net)
        part = "optimiser and generators"
        _check_optimiser(checkpoint.optimiser, net, experiment, begun)
        _tensor("sums", checkpoint.sums, torch.float64, (len(TRAIN_SUMS),))
        _check_generators(checkpoint.generators)
    except Misfit as misfit:
        raise UserError(f"{path} does not hold the {part} that its settings describe: {misfit}") from misfit


def kind_of(value: Any) -> str:
    """Name the type of a value from a file, for a message."""
    return "Tensor" if isinstance(value, Described) else type(value).__name__


def _check_model(found: dict[Any, Any], net: nn.Module) -> None:
    """Compare a state_dict with the network's."""
    wanted = net.state_dict()
    _names("the network", found, wanted)
    for name, tensor in wanted.items():
        _tensor(name, found[name], tensor.dtype, tensor.shape)


def _check_optimiser(found: dict[Any, Any], net: nn.Module, experiment: Experiment, begun: bool) -> None:
    """Compare the parameter groups' hyperparameters with the settings, and the state with the parameters."""
    _names("the optimiser", found, ("state", "param_groups"))
    groups, parameters = _groups(net, experiment)
    if not isinstance(found["param_groups"], list) or len(found["param_groups"]) != len(groups):
        raise Misfit(f"param_groups must be a list of {len(groups)}")
    for group, wanted in zip(found["param_groups"], groups, strict=True):
        _check_group(group, wanted)
    entries = STATE[experiment.optimiser]
    # Before its first step, an optimiser has no state.
    numbers = range(len(parameters)) if begun and entries else ()
    _names("the optimiser's state", found["state"], numbers)
    for number, entry in found["state"].items():
        _names(f"the state of parameter {number}", entry, entries)
        for name, value in entry.items():
            dtype, shape = parameters[number]
            if name == "step":
                dtype, shape = torch.float32, ()
            _tensor(f"{name} of parameter {number}", value, dtype, shape)


def _check_group(found: Any, wanted: dict[str, Any]) -> None:
    """Compare one parameter group with the settings; its learning rate follows the schedule, so it may differ."""
    _names("param_groups", found, wanted, optional=LATER)
    for name, value in wanted.items():
        if name != "lr" and name in found and not _plain_equal(found[name], value):
            raise Misfit(f"{name} of param_groups is not {value!r}")
    if type(found["lr"]) is not float or not 0 <= found["lr"] < math.inf:
        raise Misfit("lr of param_groups is no number of 0 or more")


def _check_generators(found: dict[Any, Any]) -> None:
    """Check the sizes of the random generators' states."""
    _names("generators", found, ("cpu", "cuda"), optional=("cuda",))
    _tensor("the state of generator cpu", found["cpu"], torch.uint8, torch.Generator().get_state().shape)
    if "cuda" in found:
        _tensor("the state of generator cuda", found["cuda"], torch.uint8, (CUDA_STATE,))


def _groups(
    net: nn.Module, experiment: Experiment
) -> tuple[list[dict[str, Any]], list[tuple[torch.dtype, torch.Size]]]:
    """Return the optimiser's groups as they are saved, and the type and shape of its parameters by number."""
    # Fused optimisers of older torch versions refuse parameters on the meta device, so scalars on the CPU replace them.
    stand_ins = {}
    sizes = {}
    for name, value in net.named_parameters():
        stand_ins[name] = nn.Parameter(torch.zeros(()))
        sizes[stand_ins[name]] = (value.dtype, value.shape)
    optimiser = experiment.build_optimiser(stand_ins.items())
    parameters = [sizes[parameter] for group in optimiser.param_groups for parameter in group["params"]]
    return optimiser.state_dict()["param_groups"], parameters


def _names(what: str, found: Any, wanted: Any, optional: tuple[str, ...] = ()) -> None:
    """Check that a table has these entries and no others."""
    if not isinstance(found, dict):
        raise Misfit(f"{what} must be a dict, not {kind_of(found)}")
    missing = [name for name in wanted if name not in found and name not in optional]
    if missing:
        raise Misfit(f"{what} lacks {missing[0]!r}")
    odd = [name for name in found if not isinstance(name, (str, int)) or name not in wanted]
    if odd:
        raise Misfit(f"{what} holds {odd[0]!r:.100}")


def _tensor(what: str, found: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Check that this is a dense tensor of this type and shape."""
    if not isinstance(found, Described):
        raise Misfit(f"{what} must be a Tensor, not {kind_of(found)}")
    if (found.dtype, found.shape) != (dtype, tuple(shape)):
        raise Misfit(f"{what} must be {dtype} of shape {tuple(shape)}, not {found.dtype} of shape {found.shape}")


def _plain_equal(a: Any, b: Any) -> bool:
    """Check whether two plain values are equal and have the same type; integers and floats count as one type."""
    if isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_plain_equal, a, b))
    both_numbers = type(a) in (int, float) and type(b) in (int, float)
    return (both_numbers or type(a) is type(b)) and a == b


def check_numbers(checkpoint: Any, path: Path) -> None:
    """Check the numbers in a checkpoint as far as that is possible without the training data.

    Args:
        checkpoint: of a run (checkpoints.py)
        path: of its file, for the error
    Raises:
        UserError: if one is impossible
    """
    state = checkpoint.optimiser["state"]
    tensors = {**checkpoint.model, "sums": checkpoint.sums}
    for number, entry in state.items():
        for name, value in entry.items():
            tensors[f"{name} of parameter {number}"] = value
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
    """Check the optimiser's two moments of a parameter."""
    if not bool((second >= 0).all()):
        raise Misfit(f"exp_avg_sq of parameter {number} is negative")
    if not bool((first.abs() <= MOMENTS * second.sqrt() + UNDERFLOW).all()):
        raise Misfit(f"exp_avg of parameter {number} is larger than exp_avg_sq allows")


def steps_done(checkpoint: Any) -> int | None:
    """Return the optimiser's count of steps; None for an optimiser that does not count."""
    counts = [entry["step"].item() for entry in checkpoint.optimiser["state"].values()]
    return int(counts[0]) if counts else None


def _check_steps(checkpoint: Any) -> None:
    """Check that all parameters have taken the same steps: `epoch` epochs of equal length, and `step` more."""
    counts = {entry["step"].item() for entry in checkpoint.optimiser["state"].values()}
    if len(counts) > 1 or any(count != int(count) for count in counts):
        raise Misfit("its parameters have not taken the same number of steps")
    done = steps_done(checkpoint)
    if done is None or done >= COUNTED:
        return
    epoch = checkpoint.epoch
    in_whole_epochs = done - checkpoint.step
    possible = in_whole_epochs == 0
    if epoch > 0:
        possible = in_whole_epochs >= epoch and in_whole_epochs % epoch == 0
    if not possible:
        raise Misfit(f"{done} steps of the optimiser are not those of {epoch} epoch(s) and {checkpoint.step} steps")


def _check_sums(checkpoint: Any) -> None:
    """Check that the sums are possible for the output of a network over `step` batches."""
    sums = dict(zip(TRAIN_SUMS, checkpoint.sums.tolist(), strict=True))
    steps = checkpoint.step
    batch = checkpoint.experiment.batch_size
    if steps == 0:
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
    for name, most in (("correct", sums["samples"]), ("positive", sums["spikes"]), ("spikes", entries)):
        if sums[name] > most:
            raise Misfit(f"sum {name} is {sums[name]:.0f} of {most:.0f}")
    squares = [entry["exp_avg_sq"] for entry in checkpoint.optimiser["state"].values()]
    if squares and sums["gradient_norm"] > SEEN * steps and not any(bool(square.any()) for square in squares):
        raise Misfit("exp_avg_sq of all parameters is 0, after gradients that were not")
    if abs(sums["grad_sum"]) > sums["grad_abs_sum"] * (1 + 1e-9):
        raise Misfit("sum grad_sum is larger than grad_abs_sum")
