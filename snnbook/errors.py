"""Errors that a user can mend, in one clear line that says what is wrong and what to do; and checks that raise them."""

import math
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """Something given from outside is wrong: a setting, a file, a shape. The command line prints it and exits 2."""


def unknown(what: str, given: object, choices: Iterable[str], see: str | None = None) -> UserError:
    """The error for a name that is not one of `choices`, with the nearest right one.

    Args:
        what: what the name stands for, such as "loss"
        given: the name that was given
        choices: the names there are, if any
        see: where they are listed, if they are too many for a line
    """
    choices = list(choices)
    near = get_close_matches(str(given), choices, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    rest = f"Choose from: {', '.join(choices) or 'none'}" if see is None else f"See: {see}"
    return UserError(f"unknown {what} {given!r}.{hint} {rest}")


def real(name: str, value: Any, least: float = -math.inf, above: float = -math.inf, below: float = math.inf) -> float:
    """The value as a float, if it is a finite number within its bounds.

    Args:
        name: of the setting, for the error
        value: what was given
        least: smallest value allowed
        above, below: bounds that the value may not reach
    Raises:
        UserError: if it is not
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not abs(value) <= sys.float_info.max or value < least or value <= above or value >= below:
        bounds = ((f"{least:g} or more", least), (f"above {above:g}", above), (f"below {below:g}", below))
        words = [text for text, bound in bounds if math.isfinite(bound)]
        raise UserError(f"{name} must be {', '.join(['a finite number', *words])}, not {value!r}")
    return float(value)


def whole(name: str, value: Any, least: int, most: int = sys.maxsize) -> int:
    """The value, if it is a whole number from `least` to `most`; arguments and errors as in `real`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        limit = f"{most} or less" if isinstance(value, int) and value > most else f"{least} or more"
        raise UserError(f"{name} must be a whole number, {limit}, not {value!r}")
    return value


def switch(name: str, value: Any) -> bool:
    """The value, if it is True or False; arguments and errors as in `real`."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be True or False, not {value!r}")
    return value
