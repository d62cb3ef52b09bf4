"""Tensors that callers pass: taken in the types that people have at hand, else refused in one line that says why.

Lists, NumPy arrays and anything that NumPy reads become tensors; floating-point values take the type that the layer
computes in. Sparse, quantised and complex tensors are refused, with the way out.
"""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import devices
from .errors import UserError, instance, shown, whole

COMPUTED = (torch.float32, torch.float64)
"""Types that layers compute in. Half as many bits move spikes, and the slopes' bounds do not fit into them."""

FLOATS = (*COMPUTED, torch.float16, torch.bfloat16)
"""Types of images, spikes and currents; those of fewer bits are widened."""

INTEGERS = tuple(
    getattr(torch, name)
    for name in ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")
    if hasattr(torch, name)
)
"""Types of labels; all become int64."""

MOST_STEPS = 10**6
"""Time steps that can be asked for: far more than anybody simulates, and few enough to be counted in memory."""

_REAL = frozenset((*FLOATS, *INTEGERS, torch.bool))


def ready(first: Any, *others: Any) -> bool:
    """Whether these are dense tensors of one type that layers compute in, in one place: then nothing is to be done.

    A training step asks this some forty times, so it asks for as little as will do.
    """
    try:
        dtype, device = first.dtype, first.device
        if dtype not in COMPUTED or first.layout is not torch.strided or first.is_nested:
            return False
        for each in others:
            if each.dtype is not dtype or each.layout is not torch.strided or each.device != device or each.is_nested:
                return False
    except AttributeError:  # no tensor
        return False
    return True


def tensor(name: str, value: Any, device: torch.device | None = None) -> Tensor:
    """The value as a dense tensor of real numbers.

    Args:
        name: of the argument, for the error
        value: a tensor, a NumPy array, nested lists of numbers, or what NumPy makes an array of
        device: where lists and arrays go, and where a tensor must be; None takes a tensor where it is
    Raises:
        UserError: if it is something else, or a tensor that is sparse, quantised, complex or on another device
    """
    if not isinstance(value, Tensor):
        found = _converted(name, value)
        return found if device is None else found.to(device)
    if value.dtype not in _REAL or value.layout is not torch.strided or value.is_nested:
        raise UserError(f"{name} must be a dense tensor of real numbers, not {_strange(value)}")
    if device is not None and value.device != device:
        hint = "which holds no values" if value.device.type == "meta" else f"call .to({str(device)!r}) first"
        raise UserError(f"{name} must be on {device}, where it is used, but is on {value.device}; {hint}")
    return value


def _strange(value: Tensor) -> str:
    """What kind of tensor it is that cannot be taken, and the way out."""
    if value.is_nested:
        return "a nested one"
    if value.layout is not torch.strided:
        return f"one of layout {value.layout}; call .to_dense()"
    if value.is_quantized:
        return f"a quantised one ({value.dtype}); call .dequantize()"
    if value.is_complex():
        return f"one of type {value.dtype}; take its .real or .abs()"
    return f"one of type {value.dtype}; call .float()"


def _converted(name: str, value: Any) -> Tensor:
    """A tensor of what is none yet."""
    listed = isinstance(value, (list, tuple))
    if listed and any(isinstance(part, Tensor) for part in value):
        if all(isinstance(part, Tensor) and part.dim() == 0 for part in value):
            return torch.stack([tensor(name, part) for part in value])
        kinds = f"a {type(value).__name__} of {len(value)}"
        shapes = {getattr(part, "shape", None) for part in value}
        hint = f"pass the {name} alone"
        if isinstance(value, list) and len(shapes) == 1:  # a pair of results comes as a tuple
            hint = "call torch.stack on them"
        raise UserError(f"{name} must be one tensor, not {kinds} that holds tensors; {hint}")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise UserError(f"{name} must have a value everywhere, but some are masked; call .filled(...) with one")
    if not (listed or isinstance(value, (range, numbers.Number)) or hasattr(value, "__array__")):
        raise UserError(f"{name} must be a tensor, an array or a list of numbers, not {shown(value)}")
    try:
        array = np.array(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name} must be a tensor, an array or nested lists of equal length: {reason}") from error
    if array.dtype.kind not in "fiub":
        raise UserError(f"{name} must hold real numbers, not values of type {array.dtype}")
    if array.dtype.kind == "f" and array.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "f" and not hasattr(value, "__array__"):  # Python's numbers take torch's type
        return torch.from_numpy(array).to(torch.get_default_dtype())
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C", copy=False))


def floats(name: str, value: Any, like: Tensor | None = None, hint: str = "call .float()") -> Tensor:
    """The value as a dense floating-point tensor, in the type of another one; where that is so, it costs nothing.

    Args:
        name, value: as in `tensor`
        like: whose type and device to take; None keeps both, but widens float16 and bfloat16 to float32
        hint: the way out for integers and truth values
    Raises:
        UserError: as `tensor`, and if it holds integers or truth values
    """
    if like is not None and ready(like, value):
        return value
    found = tensor(name, value, None if like is None else like.device)
    wanted = found.dtype if like is None else like.dtype
    if found.dtype is wanted and wanted in COMPUTED:
        return found
    if found.dtype not in FLOATS:
        raise UserError(f"{name} must be floating point, not {found.dtype}; {hint}")
    if wanted not in COMPUTED:
        wanted = torch.float32
    if found.dim() and len(found) > 1 and found.stride(0) == 0:  # one step that repeats is to stay one
        return found[:1].to(wanted).expand_as(found)
    return found.to(wanted)


def weights(name: str, value: Any) -> Tensor:
    """The value as a tensor that layers compute with: float32 or float64, as the spikes will be.

    Raises:
        UserError: as `floats`, and for float16 and bfloat16
    """
    if ready(value):
        return value
    if not isinstance(value, Tensor):
        return floats(name, value)
    if value.dtype not in COMPUTED:
        raise UserError(
            f"{name} must be float32 or float64, not {value.dtype}: fewer bits move spikes; call .float(), and for "
            "bfloat16 products in the backward pass build the network with bf16_backward=True"
        )
    return tensor(name, value)


def labels(name: str, value: Any, samples: int, device: torch.device, hint: str = "") -> Tensor:
    """Classes of the samples, (N,), int64.

    Args:
        name: of the argument, for the error
        value: a tensor, array or list of integers
        samples: N
        device: where they are used
        hint: the end of the error
    Raises:
        UserError: for another shape, or what holds no integers
    """
    found = tensor(name, value, device)
    if found.shape != (samples,) or found.dtype not in INTEGERS:
        given = f"{found.dtype} of shape {tuple(found.shape)}"
        raise UserError(f"{name} must be {samples} integers, one per sample, shape ({samples},), not {given}{hint}")
    return found.long()


def device(name: str, value: Any) -> torch.device:
    """A device, from its name or from torch's own object.

    Raises:
        UserError: if it is neither
    """
    if type(value) is torch.device:
        return value
    try:
        return torch.device(instance(name, value, str, "a device such as 'cpu' or 'cuda:0'"))
    except RuntimeError as error:
        raise UserError(f"{name} must be a device such as 'cpu' or 'cuda:0', not {shown(value)}") from error


def axes(name: str, value: Tensor, words: str, *counts: int) -> Tensor:
    """The tensor, if it has as many axes as wanted, and no empty one.

    Args:
        name, value: of the argument
        words: the shape wanted, as the error says it
        counts: numbers of axes allowed
    Raises:
        UserError: if not
    """
    if value.dim() not in counts or 0 in value.shape:
        raise UserError(f"{name} must have shape {words} with no empty axis, not {tuple(value.shape)}")
    return value


def finite(name: str, value: Tensor, where: str = "; look at the images and at their normalisation") -> Tensor:
    """The tensor, if it holds no NaN and no infinity; looked at on a CPU only, where it halts no device.

    Args:
        name, value: of the argument
        where: the end of the error
    Raises:
        UserError: if it does
    """
    if devices.is_on_cpu(value):
        distinct = value[:1] if value.dim() and len(value) > 1 and value.stride(0) == 0 else value
        # one sum costs a tenth of a look at every entry; a sum may overflow, though, where all entries are finite
        if not math.isfinite(distinct.detach().sum().item()) and not bool(distinct.isfinite().all()):
            raise UserError(f"{name} holds NaN or infinity{where}")
    return value


def spikes_and_labels(spikes: Any, classes: Any) -> tuple[Tensor, Tensor]:
    """Output spikes (T, N, C) and labels (N,) as a loss computes with them.

    Shapes and types are checked everywhere; values on the CPU only, where looking costs no device synchronisation.

    Raises:
        UserError: if they are something else, spikes other than 0 and 1, or labels out of range
    """
    spikes = axes("spikes", floats("spikes", spikes, hint="to carry a gradient call .float()"), "(T, N, C)", 3)
    classes = tensor("labels", classes, spikes.device)
    swapped = classes.shape == spikes.shape[:1]
    hint = "; is the batch first? Then pass spikes.transpose(0, 1), axes are (T, N, C)" if swapped else ""
    classes = labels("labels", classes, spikes.shape[1], spikes.device, hint)
    if devices.is_on_cpu(spikes):
        least, most = classes.aminmax()
        if least < 0 or most >= spikes.shape[2]:
            raise UserError(f"labels must lie in 0..{spikes.shape[2] - 1}, found {least}..{most}")
        if not bool(((spikes == 0) | (spikes == 1)).all()):
            raise UserError("spikes must be 0 or 1 everywhere; found another value (NaN counts as one)")
    return spikes, classes


@devices.without_autocast
def value_and_gradient(loss: Any, spikes: Tensor, label: Tensor, shard: Any = None) -> tuple[Tensor, Tensor]:
    """What a loss's own method returns, if it is a scalar and a gradient for every spike.

    Args:
        loss: a `losses.Loss`, perhaps of the caller's own
        spikes, label, shard: as its methods take them; a whole batch is passed on without a shard, so that a loss of
            the caller's own may leave it out
    Returns:
        the value, and the gradient, (T, N, C) or what broadcasts to it, in the type of the spikes
    Raises:
        UserError: if it is something else
    """
    if loss.gradient == "time":
        method = "value_and_times"
        symbol = "e = dL/dt"
    else:
        method = "value_and_rates"
        symbol = "r = dL/d(amount)"
    who = f"{method} of {type(loss).__name__}"
    compute = getattr(loss, method)
    is_whole = shard is None or shard.is_whole
    made = compute(spikes, label) if is_whole else compute(spikes, label, shard)
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise UserError(f"{who} must return a pair, the value and {symbol}, not {shown(made)}")
    for part, words in zip(made, ("the value", symbol), strict=True):
        if not isinstance(part, Tensor) or not (part.is_floating_point() and part.layout is torch.strided):
            raise UserError(f"{who} must return {words} as a floating-point tensor, not {shown(part)}")
        if part.device != spikes.device:
            raise UserError(f"{who} returned {words} on {part.device}, where spikes are on {spikes.device}")
    value, grad = made
    if value.dim():
        raise UserError(f"{who} must return the value as a scalar, not of shape {tuple(value.shape)}")
    if grad.dim() != 3 or any(n not in (1, of) for n, of in zip(grad.shape, spikes.shape, strict=True)):
        shapes = f"{tuple(spikes.shape)}, not {tuple(grad.shape)}"
        raise UserError(f"{who} must return {symbol} in the shape of the spikes, (T, N, C) = {shapes}")
    return value.detach(), grad.detach().to(spikes.dtype)


def steps(value: Any) -> int:
    """A number of time steps T.

    Raises:
        UserError: if it is no whole number from 1 to MOST_STEPS
    """
    return whole("steps", value, 1, MOST_STEPS)


def sizes(name: str, value: Any, count: int, words: str) -> tuple[int, ...]:
    """So many whole numbers, 1 or more, of a tuple, list or array.

    Args:
        name, value: of the argument
        count: how many
        words: what they stand for, as the error says it
    Raises:
        UserError: if they are not
    """
    found = listed(name, value, words)
    if len(found) != count:
        raise UserError(f"{name} must be {count} numbers, {words}, not {shown(value)}")
    return tuple(whole(name, size, 1) for size in found)


def listed(name: str, value: Any, words: str = "a list") -> tuple[Any, ...]:
    """The entries of a list, tuple, or array or tensor of one axis.

    Raises:
        UserError: for anything else
    """
    if isinstance(value, (list, tuple)):
        return tuple(value)
    if isinstance(value, (np.ndarray, Tensor)) and value.ndim == 1:
        return tuple(value.tolist())
    raise UserError(f"{name} must be {words}, not {shown(value)}")


def square(name: str, value: Any, least: int) -> int:
    """One whole number for both sides of a square: a number, or a pair of equal ones as torch has them.

    Raises:
        UserError: if it is neither
    """
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) == 2:
        first, second = (whole(name, side, least) for side in value)
        if first != second:
            raise UserError(f"{name} must be the same on both sides, not {shown(value)}")
        return first
    return whole(name, value, least)


def padding(name: str, value: Any, kernel: int) -> int:
    """Zeros on every side of a convolution's input: a number, a pair of equal ones, "same" or "valid".

    Args:
        name, value: of the argument
        kernel: side of the kernel
    Raises:
        UserError: if it is something else, or "same" where the kernel's side is even
    """
    if isinstance(value, str) and value == "valid":
        return 0
    if isinstance(value, str) and value == "same":
        if kernel % 2 == 0:
            raise UserError(f"{name} 'same' needs a kernel of an odd side, not {kernel}; give a number")
        return (kernel - 1) // 2
    if isinstance(value, str):
        raise UserError(f"{name} must be a whole number, 'same' or 'valid', not {shown(value)}")
    return square(name, value, 0)
