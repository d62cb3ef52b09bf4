"""Functions that all readers share: open files safely, and unpack gzip only as far as needed.

A file may contain anything. Its size is checked before it is read, and it is unpacked piece by piece. So a file of a
few megabytes cannot fill the memory, whatever its headers declare.
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

FILE = "a file"
FOLDER = "a folder"

KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""Names of the kinds of files, by the type bits of a file's mode."""


def kind_at(path: Path) -> str | None:
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
    return KINDS.get(stat.S_IFMT(mode), "a special file")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without waiting and without opening a device.

    Raises:
        UserError: if it cannot be opened, or is not a regular file: a pipe, a device, a folder, ...
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            # With O_NONBLOCK, opening a pipe does not wait for a writer: another file may have taken the path by now.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode):
                return os.fdopen(descriptor, "rb")
            os.close(descriptor)
    except OSError as error:
        raise unreadable(path, error) from error
    raise UserError(f"cannot read {path}: it is {kind_of(mode)}, not a file")


def unreadable(path: Path, error: OSError) -> UserError:
    """Create the error for a file that the system cannot read."""
    return UserError(f"cannot read {path}: {error.strerror or error}; check the path and its permissions")


@contextmanager
def opened(path: Path, most: int) -> Iterator[BinaryIO]:
    """Open a regular file of bounded size, with a UserError for any error of the system in the `with` block.

    Args:
        path: the file
        most: largest size in bytes
    Raises:
        UserError: as `open_regular`, and if the file is larger or reading it fails
    """
    path = Path(path)
    with open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise UserError(f"{path} has {size:,} bytes, more than can be (at most {most:,}). {AGAIN}")
            # Files in /proc report a size of 0, and reading them may block or never end.
            yield file if size else io.BytesIO()
        except OSError as error:
            raise unreadable(path, error) from error


def check_start(file: BinaryIO, path: Path, magic: bytes, kind: str) -> None:
    """Check that a file starts as its kind does, and go back to its start.

    Args:
        file: the open file, at its start
        path: its path, for the error
        magic: the first bytes of this kind of file
        kind: name of the kind, for the error
    Raises:
        UserError: if it starts with other bytes, or is shorter
    """
    start = file.read(len(magic))
    file.seek(0)
    if len(start) < len(magic):
        raise UserError(f"{path} is cut short: it holds {len(start)} byte(s). {AGAIN}")
    if start != magic:
        raise UserError(f"{path} is not a {kind}: it starts with bytes {start.hex(' ')}, not {magic.hex(' ')}. {AGAIN}")


class Unpacked:
    """Stream of a file's bytes, unpacked if it is a gzip file (recognised by its first two bytes).

    Args:
        file: the open file, at its start
        path: its path, for errors
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._gzip = None
        if file.read(len(GZIP_MAGIC)) == GZIP_MAGIC:
            self._gzip = _new_gzip()
        file.seek(0)
        self._streams = 1
        # Packed bytes that were read from the file but are not unpacked yet.
        self._rest = b""

    def read(self, count: int) -> bytearray:
        """Read `count` bytes, or fewer where the file ends.

        Memory grows with the bytes that exist, however large `count` is.

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
        """Skip `count` bytes; return whether there were so many. Errors as in `read`."""
        while count > 0:
            piece = self._piece(min(count, PIECE))
            if not piece:
                return False
            count -= len(piece)
        return True

    def _piece(self, most: int) -> bytes:
        """Read from 1 to `most` bytes; none at the end."""
        if self._gzip is None:
            return self._file.read(most)
        try:
            while not self._gzip.eof or self._next_stream():
                packed = self._rest or self._file.read(PACKED_PIECE)
                piece = self._gzip.decompress(packed, most)
                self._rest = self._gzip.unconsumed_tail
                if self._gzip.eof:
                    self._rest = self._gzip.unused_data
                if piece:
                    return piece
                if not packed and not self._gzip.eof:
                    raise UserError(f"{self._path} is cut short: its gzip stream has no end. {AGAIN}")
        except zlib.error as error:
            raise UserError(
                f"{self._path} is damaged: its gzip stream does not decode to its checksum. {AGAIN}"
            ) from error
        return b""

    def _next_stream(self) -> bool:
        """Start the next gzip stream, if there is one. Zeros between two streams are skipped."""
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
        self._gzip = _new_gzip()
        return True


def _new_gzip() -> "zlib._Decompress":
    """Create a decompressor that expects a gzip header."""
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
