"""Errors that a user can mend: one clear line that says what is wrong and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something given from outside is wrong: a setting, a file, a shape. The command line prints it and exits 2."""


def unknown(what: str, given: object, choices: Iterable[str]) -> UserError:
    """The error for a name that is not one of `choices`, with the nearest right one.

    Args:
        what: what the name stands for, such as "loss"
        given: the name that was given
        choices: the names there are
    """
    choices = list(choices)
    near = get_close_matches(str(given), choices, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {what} {given!r}.{hint} Choose from: {', '.join(choices)}")
