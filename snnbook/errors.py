"""Errors that a user can mend, in one clear line that says what is wrong and what to do; and checks that raise them.

The checks take a number, a switch or a path in any of the types that people have at hand: Python's, NumPy's, torch's.
Tensors are checked in inputs.py. `visible` and `one_line` make text from other people's files harmless before it is
printed.
"""

import math
import numbers
import os
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

Kind = TypeVar("Kind")

LONGEST = 160
"""Characters of a value that an error quotes."""


class UserError(ValueError):
    """Something given from outside is wrong: a setting, a file, a shape. The command line prints it and exits 2."""


def shown(value: Any) -> str:
    """A value in a few words, for an error: tensors and arrays by type and shape, others as Python writes them."""
    if shape := _shape(value):
        return f"a {type(value).__name__} of shape {shape} and type {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of an array or tensor; None of anything else."""
    try:
        shape = value.shape if hasattr(value, "dtype") else None
    except (AttributeError, RuntimeError):  # nested tensors have none
        return None
    return tuple(shape) if isinstance(shape, tuple) else None


def unknown(what: str, given: object, choices: Iterable[str], see: str | None = None) -> UserError:
    """The error for a name that is not one of `choices`, with the nearest right one.

    Args:
        what: what the name stands for, such as "loss"
        given: the name that was given
        choices: the names there are, if any
        see: where they are listed, if they are too many for a line
    """
    choices = list(choices)
    words = [f"unknown {what} {shown(given)}."]
    for near in get_close_matches(str(given)[:LONGEST], choices, n=1, cutoff=0.4):
        words.append(f"Did you mean {near!r}?")
    if see is None:
        words.append(f"Choose from: {', '.join(choices) or 'none'}")
    else:
        words.append(f"See: {see}")
    return UserError(" ".join(words))


def choice(what: str, value: Any, choices: Iterable[str], see: str | None = None) -> str:
    """The value, if it is one of the names; arguments and errors as in `unknown`."""
    if not isinstance(value, str) or value not in choices:
        raise unknown(what, value, choices, see)
    return str(value)


def plain(value: Any) -> Any:
    """A NumPy number, or an array or tensor of one element, as a number of Python's; anything else as it is."""
    if type(value) in (int, float, bool, str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    shape = _shape(value)
    if shape is None or math.prod(shape) != 1:
        return value
    try:
        return value.item()
    except (AttributeError, RuntimeError, TypeError, ValueError):  # a tensor on the meta device has no values
        return value


def real(name: str, value: Any, least: float = -math.inf, above: float = -math.inf, below: float = math.inf) -> float:
    """The value as a float, if it is a finite number within its bounds.

    Args:
        name: of the setting, for the error
        value: what was given: a number of Python or NumPy, or an array or tensor of one element
        least: smallest value allowed
        above, below: bounds that the value may not reach
    Raises:
        UserError: if it is not
    """
    given = value
    value = plain(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not abs(value) <= sys.float_info.max or value < least or value <= above or value >= below:
        bounds = ((f"{least:g} or more", least), (f"above {above:g}", above), (f"below {below:g}", below))
        words = [text for text, bound in bounds if math.isfinite(bound)]
        raise UserError(f"{name} must be {', '.join(['a finite number', *words])}, not {shown(given)}")
    return float(value)


def whole(name: str, value: Any, least: int = -sys.maxsize, most: int = sys.maxsize) -> int:
    """The value as an int, if it is a whole number from `least` to `most`; arguments and errors as in `real`."""
    given = value
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        limit = f"{least} or more"
        if least == -sys.maxsize or (isinstance(value, int) and value > most):
            limit = f"{most} or less"
        raise UserError(f"{name} must be a whole number, {limit}, not {shown(given)}")
    return value


def switch(name: str, value: Any) -> bool:
    """The value as a bool, if it is True or False; arguments and errors as in `real`."""
    given = value
    value = plain(value)
    if not isinstance(value, bool):
        raise UserError(f"{name} must be True or False, not {shown(given)}")
    return value


def instance(name: str, value: Any, kind: type[Kind] | tuple[type[Any], ...], wanted: str = "") -> Kind:
    """The value, if it is of this kind.

    Args:
        name: of the argument, for the error
        value: what was given
        kind: the class wanted, or several
        wanted: what to call it in the error; the class's name unless given
    Raises:
        UserError: if it is not
    """
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {wanted or f'a {kind.__name__}'}, not {shown(value)}")
    return value


def as_path(name: str, value: Any) -> Path:
    """The value as a path, if it names a file or folder: text, bytes or a path of any library.

    Raises:
        UserError: if it does not
    """
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise UserError(f"{name} must be a path, not {shown(value)}")
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise UserError(f"{name} must be the name of a file or folder, not {shown(value)}")
    return Path(text)


def exactly(
    what: str, values: Any, fields: tuple[str, ...], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The values, if they are a table with these names and no others.

    Args:
        what: what a name stands for, for the error
        values: what was read
        fields: the names
        defaults: values of names that older files lack
    Raises:
        UserError: if a name is missing or unknown
    """
    if not isinstance(values, dict):
        raise UserError(f"a table of {what} names and values must be here, not {type(values).__name__}")
    values = dict(defaults or {}) | values
    for name in values:
        if name not in fields:
            raise unknown(what, name, fields)
    if missing := [field for field in fields if field not in values]:
        raise UserError(f"{what} missing: {', '.join(missing)}")
    return values


def visible(text: str) -> str:
    """Show characters that act instead of being seen as escapes such as \\x1b, \\n or \\u202e.

    These are control characters and line breaks, which move a terminal's cursor, colour it or rename its window, marks
    that turn the direction of writing, and characters without a width. Letters of all scripts stay as they are.

    Args:
        text: from a record, a run's folder or the name of a file
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def one_line(text: str) -> str:
    """The text as `visible` shows it, on one line: line breaks become spaces, spaces within a line stay as they are."""
    return visible(" ".join(line for line in map(str.strip, text.splitlines()) if line))
