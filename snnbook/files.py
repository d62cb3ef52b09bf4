"""Files written whole or not at all, and JSON read strictly: what a run's folder rests on."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UserError, unknown


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Put a file in its place whole, or leave what was there.

    Raises:
        UserError: if it cannot be written: no room, no permission
    """
    written = part(path)
    try:
        with written.open("wb") as file:
            _to_disk(file, content)
        os.replace(written, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # gone after a success; what a lost folder keeps, the next write replaces
            written.unlink()


def make_folder(path: Path) -> None:
    """Make a folder, and those around it, unless it is there.

    Raises:
        UserError: if it cannot be made
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}; name another one") from error


def part(path: Path) -> Path:
    """Where a file's content stands until all of it is on the disk."""
    return path.with_name(f".{path.name}.part")


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, and wait until it is on the disk.

    Raises:
        UserError: if it cannot be written
    """
    try:
        with path.open("ab") as file:
            _to_disk(file, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def _to_disk(file: Any, content: bytes | memoryview) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror}. Make room or set the permissions; nothing else is lost")


def read(path: Path) -> bytes:
    """A file's content.

    Raises:
        UserError: if it cannot be read
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def to_json(values: Any, indent: int | None = None) -> bytes:
    """JSON with a line's end; NaN and infinities are refused (ValueError)."""
    return json.dumps(values, indent=indent, allow_nan=False).encode() + b"\n"


def from_json(content: bytes) -> Any:
    """The values of a JSON text.

    Raises:
        UserError: if it is none; NaN and infinities, which JSON lacks, included
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise UserError(f"this is not JSON: {error}") from error


def exactly(what: str, values: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """The values, if they are a table with these names and no others.

    Args:
        what: what a name stands for, for the error
        values: what was read
        fields: the names
    Raises:
        UserError: if a name is missing or unknown
    """
    if not isinstance(values, dict):
        raise UserError(f"a table of {what} names and values must be here, not {type(values).__name__}")
    for name in values:
        if name not in fields:
            raise unknown(what, name, fields)
    if missing := [field for field in fields if field not in values]:
        raise UserError(f"{what} missing: {', '.join(missing)}")
    return values


@contextlib.contextmanager
def place(path: Path, line: int | None = None) -> Iterator[None]:
    """Put the file, and the line's number, in front of what a UserError says."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}{'' if line is None else f', line {line}'}: {error}") from error
