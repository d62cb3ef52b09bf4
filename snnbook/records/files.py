"""Files written whole or not at all, and JSON read strictly: what a run's folder rests on."""

import contextlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import UserError

MEGABYTE = 2**20

LARGEST = 16 * MEGABYTE
"""Bytes of a file that is read whole, unless another bound is named: an index of 10,000 runs."""

NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
"""Opens no symbolic link, where a system can say so."""

AT_ONCE = getattr(os, "O_NONBLOCK", 0)
"""Opens a pipe without waiting for somebody at its other end."""

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}

PART = re.compile(r"\.(?P<name>.+?)(\.[0-9a-f]{16})?\.part")
"""Names of part files, those of older versions, which ended in .part alone, included."""


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Put a file in its place whole, or leave what was there. A symbolic link in its place is replaced, not followed.

    Raises:
        UserError: if it cannot be written: no room, no permission
    """
    written = part(path)
    try:
        with open(written, "xb", opener=_without_links) as file:
            _to_disk(file, content)
        os.replace(written, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # gone after a success; what a lost folder keeps, `sweep` takes away
            written.unlink()


def _without_links(path: str | Path, flags: int) -> int:
    return os.open(path, flags | NO_LINKS | AT_ONCE, 0o666)


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
    """A new name, which nobody can guess, for a file's content until all of it is on the disk."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def part_of(name: str) -> str | None:
    """The name of the file whose content a part file holds; None for the name of another file."""
    match = PART.fullmatch(name)
    return match and match["name"]


def sweep(folder: Path, whose: Callable[[str], bool]) -> None:
    """Remove the part files that killed processes left in a folder. Only who holds its lock may do this.

    Args:
        folder: to clear; nothing happens where there is none
        whose: whether a file of this name is written by the caller
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        name = part_of(path.name)
        if name is not None and whose(name):
            with contextlib.suppress(OSError):  # one that cannot be removed is in nobody's way
                path.unlink()


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, and wait until it is on the disk. A file with a second name keeps what it had there.

    Raises:
        UserError: if it cannot be written, or is no file: a symbolic link, a pipe, ...
    """
    try:
        with open_to_add(path) as file:
            if os.fstat(file.fileno()).st_nlink < 2:
                _to_disk(file, content)
                return
    except OSError as error:
        raise _unwritable(path, error) from error
    write_atomic(path, read(path) + content)


def open_to_add(path: Path, buffering: int = -1) -> BinaryIO:
    """Open a file of one's own to add to it; a new one where there is none. No symbolic link is followed.

    Args:
        path: of the file
        buffering: as `open` takes it
    Raises:
        OSError: if it cannot be opened
        UserError: if it is no file
    """
    if path.is_symlink():
        raise UserError(f"{path} is a symbolic link, through which nothing is written; remove it")
    descriptor = _without_links(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise UserError(f"cannot write {path}: it is {_kind(mode)}, not a file; remove it")
    return os.fdopen(descriptor, "r+b", buffering)


def _kind(mode: int) -> str:
    return KINDS.get(stat.S_IFMT(mode), "something else")


def _to_disk(file: Any, content: bytes | memoryview) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror}. Make room or set the permissions; nothing else is lost")


def opened(path: Path) -> BinaryIO:
    """Open a file to read it. Nothing is waited for, and no device is touched.

    Raises:
        UserError: if it cannot be opened, or is no file: a pipe, a device, a folder, ...
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            descriptor = os.open(path, os.O_RDONLY | AT_ONCE)
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode):
                return os.fdopen(descriptor, "rb")
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    raise UserError(f"cannot read {path}: it is {_kind(mode)}, not a file")


def read(path: Path, most: int = LARGEST) -> bytes:
    """A file's content.

    Args:
        path: of the file
        most: bytes that it may have
    Raises:
        UserError: if it cannot be read, is no file, or is larger
    """
    try:
        with opened(path) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > most:
        raise UserError(f"{path} is larger than {most:,} bytes, and what belongs here is not")
    return content


def lines(path: Path, file: BinaryIO, most: int) -> Iterator[bytes]:
    """The lines of an open file, one after the other, so that memory holds one at a time.

    Args:
        path: of the file, for the error
        file: open
        most: bytes that a line may have
    Raises:
        UserError: if the file cannot be read, or a line is longer
    """
    try:
        while line := file.readline(most + 1):
            if len(line) > most:
                raise UserError(f"{path} has a line of more than {most:,} bytes, and what belongs here has none")
            yield line
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def to_json(values: Any, indent: int | None = None) -> bytes:
    """JSON with a line's end; NaN and infinities are refused (ValueError)."""
    return json.dumps(values, indent=indent, allow_nan=False).encode() + b"\n"


def from_json(content: bytes) -> Any:
    """The values of a JSON text.

    Raises:
        UserError: if it is none; NaN and infinities, which JSON lacks, and names that are there twice included
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise ValueError("a name is there twice")
        return values

    try:
        return json.loads(content, parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise UserError(f"this is not JSON: {error}") from error


@contextlib.contextmanager
def place(path: Path, line: int | None = None) -> Iterator[None]:
    """Put the file, and the line's number, in front of what a UserError says."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}{'' if line is None else f', line {line}'}: {error}") from error
