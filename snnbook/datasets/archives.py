"""Functions that all readers share: opening files safely, and unpacking gzip only as far as needed.

A file may hold anything. Its size is checked before it is read, and it is unpacked piece by piece. So a file of a few
megabytes cannot fill the memory, whatever its headers declare.
"""

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError

AGAIN = "Delete it and get it again"

GZIP_MAGIC = b"\x1f\x8b"

PIECE = 2**20
"""Most bytes that are unpacked at once."""

PACKED_PIECE = 2**16
"""Most packed bytes that are read at once."""

STREAMS = 2**16
"""Most gzip streams in a row in one file. Tools that pack in blocks write one for 64 kB or more."""

FILE, FOLDER = "a file", "a folder"
"""The words of `what` for regular files and for folders."""

KINDS = (
    (stat.S_ISREG, FILE),
    (stat.S_ISDIR, FOLDER),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
"""The kinds of files, and the tests of a file's mode that recognise them."""


def what(path: Path) -> str | None:
    """Name the kind of file at a path, such as FILE; None if nothing is there. Follows links, and opens nothing."""
    try:
        return kind_of(path.stat().st_mode)
    except OSError as error:
        if os.path.islink(path):
            return f"a link that leads nowhere ({error.strerror})"
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return None
        return f"out of reach ({error.strerror})"


def kind_of(mode: int) -> str:
    """Name the kind of file that a mode describes."""
    return next((words for test, words in KINDS if test(mode)), "a special file")


@contextmanager
def opened(path: Path, most: int) -> Iterator[BinaryIO]:
    """Open a regular file for reading, without waiting for anything.

    Args:
        path: the file
        most: bytes that it may have
    Raises:
        UserError: if it is no regular file, has more bytes, or cannot be read, within the `with` too
    """
    path = Path(path)
    try:
        # O_NONBLOCK: a pipe is opened without waiting for its other end
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise UserError(f"{path} cannot be read: it is {kind_of(state.st_mode)}. A regular file must be there")
            if state.st_size > most:
                raise UserError(f"{path} has {state.st_size:,} bytes, more than can be (at most {most:,}). {AGAIN}")
            if not state.st_size:
                # files of /proc are said to be empty, too, and reading them may wait for ever or never end
                yield io.BytesIO()
                return
            with open(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(path, error) from error


def check_start(file: BinaryIO, path: Path, magic: bytes, kind: str) -> None:
    """Check that a file starts as its kind does, and go back to its start.

    Args:
        file: the open file, at its start
        path: its path, for the error
        magic: its first bytes
        kind: of file, as people write it
    Raises:
        UserError: if it starts otherwise, or has not so many bytes
    """
    start = file.read(len(magic))
    file.seek(0)
    if len(start) < len(magic):
        raise UserError(f"{path} is cut short: it holds {len(start)} byte(s). {AGAIN}")
    if start != magic:
        raise UserError(f"{path} is not a {kind}: it starts with bytes {start.hex(' ')}, not {magic.hex(' ')}. {AGAIN}")


def unreadable(path: Path, error: OSError) -> UserError:
    """The error for a file that the system does not give out."""
    return UserError(f"{path} cannot be read: {error.strerror or error}. Check it and its permissions")


class Unpacked:
    """The bytes of a file from its start, unpacked if it is a gzip file (known by its first two bytes).

    Args:
        file: the open file, at its start
        path: its path, for errors
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        self._stream = _gzip() if packed else None
        self._streams = 1
        # packed bytes that were read from the file but not yet unpacked
        self._rest = b""

    def read(self, count: int) -> bytearray:
        """Read bytes, fewer than `count` only where the file ends.

        Memory grows with the bytes that there are, however large `count` is.

        Raises:
            UserError: if the gzip stream is cut short or damaged; its checksum is checked where it ends
        """
        found = bytearray()
        while len(found) < count:
            piece = self._piece(min(count - len(found), PIECE))
            if not piece:
                break
            found += piece
        return found

    def skip(self, count: int) -> bool:
        """Read bytes and drop them; return whether there were so many. Errors as in `read`."""
        while count > 0:
            piece = self._piece(min(count, PIECE))
            if not piece:
                return False
            count -= len(piece)
        return True

    def _piece(self, most: int) -> bytes:
        """Read one byte or more, but at most so many; none at the end."""
        if self._stream is None:
            return self._file.read(most)
        try:
            while not self._stream.eof or self._next_stream():
                packed = self._rest or self._file.read(PACKED_PIECE)
                piece = self._stream.decompress(packed, most)
                self._rest = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
                if piece:
                    return piece
                if not packed and not self._stream.eof:
                    raise UserError(f"{self._path} is cut short: its gzip stream has no end. {AGAIN}")
        except zlib.error as error:
            raise UserError(
                f"{self._path} is damaged: its gzip stream does not decode to its checksum. {AGAIN}"
            ) from error
        return b""

    def _next_stream(self) -> bool:
        """Start the gzip stream after the one that ended, if there is one. Zeros between two streams are skipped."""
        rest = self._rest.lstrip(b"\0")
        while not rest:
            packed = self._file.read(PACKED_PIECE)
            if not packed:
                return False
            rest = packed.lstrip(b"\0")
        self._rest = rest
        self._streams += 1
        if self._streams > STREAMS:
            raise UserError(f"{self._path} is damaged: it is made of more than {STREAMS:,} gzip streams. {AGAIN}")
        self._stream = _gzip()
        return True


def _gzip() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
