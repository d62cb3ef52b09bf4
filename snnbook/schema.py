"""The one validator of tables: settings, the figures of an epoch, sessions, checkpoints.

Such a table is a frozen dataclass. Each field is declared with its check (`checked`), and the class calls
`check_fields` when it is made. `read` first compares decoded JSON with the names of the fields. So a value is checked
in one place, whether it comes from a person, from the program or from a file.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from .errors import exactly

Table = TypeVar("Table")


def checked(
    check: Callable[..., Any],
    default: Any = dataclasses.MISSING,
    *,
    title: str | None = None,
    optional: bool = False,
    added_later: bool = False,
    notes: dict[str, Any] | None = None,
    **bounds: Any,
) -> Any:
    """Declare a field with its check.

    Args:
        check: takes name, value and `bounds`, and returns the value in its own type, or raises UserError
        default: if it has one
        title: name of the field in errors, if it has another one there
        optional: whether it may be None
        added_later: whether the first files lack it. They mean the default
        notes: further metadata
        bounds: what `check` allows
    """
    rules = {"check": partial(check, **bounds), "title": title, "optional": optional, "added_later": added_later}
    return dataclasses.field(default=default, metadata=rules | (notes or {}))


def check_fields(table: Any, where: str = "") -> None:
    """Check all fields of a new dataclass, and put each value into the type that its check returns.

    Args:
        table: the dataclass
        where: follows the names of fields in errors, such as " of a session"
    Raises:
        UserError: if one is wrong
    """
    for field in dataclasses.fields(table):
        rules = field.metadata
        value = getattr(table, field.name)
        if value is not None or not rules["optional"]:
            object.__setattr__(table, field.name, rules["check"]((rules["title"] or field.name) + where, value))


def names(kind: type) -> tuple[str, ...]:
    """The names of a table's fields."""
    return tuple(field.name for field in dataclasses.fields(kind))


def added(kind: type) -> dict[str, Any]:
    """The fields that were added after the first files, with their values in these."""
    return {field.name: field.default for field in dataclasses.fields(kind) if field.metadata.get("added_later")}


def read(kind: type[Table], what: str, values: Any) -> Table:
    """Make a table of decoded JSON. A field that was added after the file was written gets its default.

    Args:
        kind: of table
        what: what a name stands for, for errors
        values: decoded
    Raises:
        UserError: if a name is missing or unknown, or a value wrong
    """
    return kind(**exactly(what, values, names(kind), added(kind)))
