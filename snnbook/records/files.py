"""Write files whole or not at all, and read files and JSON strictly."""

import contextlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..datasets.archives import kind_of, open_regular, unreadable
from ..errors import UserError

MEGABYTE = 2**20

LARGEST = 16 * MEGABYTE
"""Default bound on the bytes of a file that is read whole: an index of 10,000 runs."""

NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
"""Flag with which opening a symbolic link fails, on systems that have it."""

NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag with which opening a pipe does not wait for a process at its other end."""

PART = re.compile(r"\.(?P<name>.+?)(\.[0-9a-f]{16})?\.part")
"""Names of part files. Those of older versions have no random number."""


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole, or leave the old one unchanged. A symbolic link is replaced, not followed.

    Raises:
        UserError: if it cannot be written: no room, no permission
    """
    written = part(path)
    try:
        with open(written, "xb", opener=_open_no_link) as file:
            _to_disk(file, content)
        os.replace(written, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        # After a success the part file no longer exists. If it cannot be removed, `sweep` removes it later.
        with contextlib.suppress(OSError):
            written.unlink()


def _open_no_link(path: str | Path, flags: int) -> int:
    """Open a file, but no symbolic link, and do not wait for the other end of a pipe."""
    return os.open(path, flags | NO_LINKS | NO_WAIT, 0o666)


def make_folder(path: Path) -> None:
    """Create a folder and its parents unless they exist.

    Raises:
        UserError: if it cannot be created
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}; name another one") from error


def part(path: Path) -> Path:
    """Return a new, random path for a file's content until all of it is on the disk."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def part_of(name: str) -> str | None:
    """Return the name of the file that a part file belongs to; None if this is not the name of a part file."""
    match = PART.fullmatch(name)
    return None if match is None else match["name"]


def sweep(folder: Path, whose: Callable[[str], bool]) -> None:
    """Remove the part files that killed processes left in a folder. The caller must hold the folder's lock.

    Args:
        folder: to clear; nothing happens if it does not exist
        whose: whether a file of this name is one of the caller's
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        name = part_of(path.name)
        if name is not None and whose(name):
            # A part file that cannot be removed does no harm.
            with contextlib.suppress(OSError):
                path.unlink()


def append(path: Path, content: bytes) -> None:
    """Append to a file, and wait until the content is on the disk. A hard link's other name keeps the old content.

    Raises:
        UserError: if it cannot be written, or is not a regular file: a symbolic link, a pipe, ...
    """
    try:
        with open_to_append(path) as file:
            if os.fstat(file.fileno()).st_nlink < 2:
                _to_disk(file, content)
                return
    except OSError as error:
        raise _unwritable(path, error) from error
    write_atomic(path, read(path) + content)


def open_to_append(path: Path, buffering: int = -1) -> BinaryIO:
    """Open a file for appending, or create it. No symbolic link is followed.

    Args:
        path: of the file
        buffering: as for `open`
    Raises:
        OSError: if it cannot be opened
        UserError: if it is not a regular file
    """
    if path.is_symlink():
        raise UserError(f"{path} is a symbolic link, through which nothing is written; remove it")
    descriptor = _open_no_link(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise UserError(f"cannot write {path}: it is {kind_of(mode)}, not a file; remove it")
    return os.fdopen(descriptor, "r+b", buffering)


def _to_disk(file: Any, content: bytes | memoryview) -> None:
    """Write, and wait until the content is on the disk."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> UserError:
    """Create the error for a file that cannot be written."""
    return UserError(f"cannot write {path}: {error.strerror}. Make room or set the permissions; nothing else is lost")


def read(path: Path, most: int = LARGEST) -> bytes:
    """Read a file's content.

    Args:
        path: of the file
        most: its largest size in bytes
    Raises:
        UserError: if it cannot be read, is not a regular file, or is larger
    """
    try:
        with open_regular(path) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > most:
        raise UserError(f"{path} is larger than {most:,} bytes, and what belongs here is not")
    return content


def lines(path: Path, file: BinaryIO, most: int) -> Iterator[bytes]:
    """Yield the lines of an open file, so that only one at a time is in memory.

    Args:
        path: of the file, for the error
        file: open
        most: largest size of a line in bytes
    Raises:
        UserError: if the file cannot be read, or a line is longer
    """
    try:
        while line := file.readline(most + 1):
            if len(line) > most:
                raise UserError(f"{path} has a line of more than {most:,} bytes, and what belongs here has none")
            yield line
    except OSError as error:
        raise unreadable(path, error) from error


def to_json(values: Any, indent: int | None = None) -> bytes:
    """Encode values as JSON with a newline; a ValueError for NaN and infinities."""
    return json.dumps(values, indent=indent, allow_nan=False).encode() + b"\n"


def from_json(content: bytes) -> Any:
    """Decode JSON strictly.

    Raises:
        UserError: if it is not JSON, or has a NaN, an infinity or a duplicate name
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise ValueError("a name is there twice")
        return values

    try:
        return json.loads(content, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        # JSONDecodeError and UnicodeDecodeError are ValueErrors.
        raise UserError(f"this is not JSON: {error}") from error


@contextlib.contextmanager
def error_context(path: Path, line: int | None = None) -> Iterator[None]:
    """Prepend the path, and the line's number, to the message of a UserError."""
    try:
        yield
    except UserError as error:
        where = f"{path}" if line is None else f"{path}, line {line}"
        raise UserError(f"{where}: {error}") from error
