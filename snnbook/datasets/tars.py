"""Read files of a .tar.gz archive in one pass and in bounded memory.

Python's tarfile allocates as much memory as a header declares, never ends on some sparse files, and ends without an
error at a damaged header; how much of this is repaired differs from one version of Python to the next. This reader
accepts regular files with plain, GNU or PAX names, and skips everything else. The POSIX standard describes the format,
at the utility pax.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .archives import AGAIN, GZIP_MAGIC, Unpacked, check_start, opened

BLOCK = 512
"""Bytes of a header. Contents are padded to a multiple of it."""

LARGEST = 2**28
"""Most bytes of an archive, packed and unpacked; CIFAR's have 184 million unpacked. Readers need twice the memory."""

MOST_HEADERS = 10_000
"""Most headers in an archive; CIFAR's have fewer than ten."""

LONGEST_DESCRIPTION = 2**20
"""Most bytes of a special file that describes the next file."""

MOST_RECORDS = 100
"""Most PAX records that describe one file."""

REGULAR = (b"0", b"\0", b"7")
"""Type flags of regular files: the standard's, the oldest format's, and contiguous files."""

WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Type flags of links, devices, folders and pipes. No content follows, whatever size their header declares."""

GNU_NAME = b"L"
"""Type flag of the special file with the long name of the next file."""

PAX = b"x"
"""Type flag of the special file with PAX records for the next file."""

OTHER_DESCRIPTIONS = (b"K", b"g")
"""Type flags of special files that are not needed: names that links lead to, and PAX records for all files."""

GNU_SPARSE = b"S"
"""Type flag of GNU's files with holes, which are not read."""

RECORD = re.compile(rb"([0-9]{1,7}) ([^=]+)=")
"""The start of a PAX record: its own length, a space, a key and "="; a value and a newline follow."""


class Header(NamedTuple):
    """The used fields of a header.

    Args:
        name: of the file, as bytes
        size: of its content, in bytes
        flag: its type
    """

    name: bytes
    size: int
    flag: bytes


def read(path: Path, wanted: Collection[str], largest: int) -> dict[str, bytearray]:
    """Read some files of a .tar.gz archive whole; of several with one name, the last.

    Args:
        path: the archive
        wanted: names of files, without a leading "./"
        largest: bytes that each of them may have
    Returns:
        the content of the wanted files that exist; links and special files are left out
    Raises:
        UserError: if the archive cannot be read, is cut short or damaged, is not a .tar.gz archive, or declares too
            many bytes
    """
    found: dict[str, bytearray] = {}
    names = {name.encode(): name for name in wanted}
    with opened(path, LARGEST) as file:
        check_start(file, path, GZIP_MAGIC, ".tar.gz archive")
        archive = _Archive(Unpacked(file, path), path)
        while header := archive.next():
            name = names.get(header.name.removeprefix(b"./"))
            if name is None or header.flag not in REGULAR:
                archive.skip(header)
                continue
            if header.size > largest:
                raise UserError(f"{path} holds {name} of {header.size:,} bytes, more than can be. {AGAIN}")
            found[name] = archive.content(header)
        archive.finish()
    return found


class _Archive:
    """A tar archive that is read from its start to its end.

    Args:
        unpacked: its bytes
        path: for errors
    """

    def __init__(self, unpacked: Unpacked, path: Path) -> None:
        self._unpacked = unpacked
        self._path = path
        self._position = 0
        self._headers = 0

    def next(self) -> Header | None:
        """Read the header of the next file, and the special files that describe it; None at the end."""
        described: dict[bytes, bytes] = {}
        while header := self._header():
            if header.flag == GNU_NAME:
                described[b"path"] = self._description(header).partition(b"\0")[0]
            elif header.flag == PAX:
                described |= self._records(self._description(header))
            elif header.flag in OTHER_DESCRIPTIONS:
                self.skip(header)
            else:
                return self._apply(described, header)
        return None

    def content(self, header: Header) -> bytearray:
        """Read the content of the file whose header was read last."""
        self._check_position(header.size)
        data = self._unpacked.read(header.size)
        if len(data) < header.size:
            raise self._damaged()
        self._position += header.size
        self._skip(_padding(header.size))
        return data

    def skip(self, header: Header) -> None:
        """Skip the content of the file whose header was read last."""
        if header.flag not in WITHOUT_CONTENT:
            self._skip(header.size + _padding(header.size))

    def finish(self) -> None:
        """Read to the end of the gzip stream, where its checksum is."""
        room = LARGEST - self._position
        if self._unpacked.skip(room + 1):
            raise self._too_large()

    def _header(self) -> Header | None:
        """Read one header; None at the block of zeros, or the end of the file, that ends an archive."""
        block = self._unpacked.read(BLOCK)
        self._position += len(block)
        self._headers += 1
        if self._headers > MOST_HEADERS:
            raise UserError(f"{self._path} holds more than {MOST_HEADERS:,} files, more than can be. {AGAIN}")
        if self._headers > 1 and not any(block):
            return None
        if len(block) < BLOCK or _number(block[148:156]) not in _sums(block):
            raise self._damaged()
        name = bytes(block[:100].partition(b"\0")[0])
        if block[257:263] == b"ustar\0" and block[345]:
            folder = bytes(block[345:500].partition(b"\0")[0])
            name = folder + b"/" + name
        size = _number(block[124:136])
        flag = bytes(block[156:157])
        if size is None or flag == GNU_SPARSE:
            raise self._damaged()
        return Header(name, size, flag)

    def _apply(self, described: dict[bytes, bytes], header: Header) -> Header:
        """Replace the name and size of a header by those of the special files before it."""
        # In GNU's sparse formats the content starts with a map of holes.
        if any(key.startswith(b"GNU.sparse") for key in described):
            raise self._damaged()
        name = described.get(b"path", header.name)
        size = header.size
        if b"size" in described:
            # The length is bounded, because Python refuses to convert very long digits.
            if not re.fullmatch(rb"[0-9]{1,20}", described[b"size"]):
                raise self._damaged()
            size = int(described[b"size"])
        return Header(name, size, header.flag)

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        """Decode the PAX records of a special file."""
        found = {}
        start = 0
        while start < len(data):
            match = RECORD.match(data, start)
            if not match:
                raise self._damaged()
            end = start + int(match[1])
            if not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
                raise self._damaged()
            found[match[2]] = data[match.end() : end - 1]
            start = end
            if len(found) > MOST_RECORDS:
                raise self._damaged()
        return found

    def _description(self, header: Header) -> bytes:
        """Read the content of a special file."""
        if header.size > LONGEST_DESCRIPTION:
            raise UserError(
                f"{self._path} holds a file's description of {header.size:,} bytes, more than can be. {AGAIN}"
            )
        return bytes(self.content(header))

    def _skip(self, count: int) -> None:
        """Skip bytes."""
        self._check_position(count)
        if not self._unpacked.skip(count):
            raise self._damaged()
        self._position += count

    def _check_position(self, count: int) -> None:
        """Check the size of the archive before more bytes are unpacked."""
        if self._position + count > LARGEST:
            raise self._too_large()

    def _too_large(self) -> UserError:
        return UserError(
            f"{self._path} declares or holds more than {LARGEST:,} bytes unpacked, more than can be. {AGAIN}"
        )

    def _damaged(self) -> UserError:
        return UserError(f"{self._path} is damaged, or holds no tar archive. {AGAIN}")


def _padding(size: int) -> int:
    """Count the bytes between a content of this size and the next header."""
    return -size % BLOCK


def _number(field: bytes) -> int | None:
    """Decode a number in octal digits or, after a byte 0x80, in binary; None if it is neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        return None
    return int(digits or b"0", 8)


def _sums(block: bytes) -> tuple[int, int]:
    """Compute a header's checksum over unsigned bytes, and over signed bytes as some old programs did."""
    # The checksum's own field counts as spaces.
    summed = bytes(block[:148]) + b" " * 8 + bytes(block[156:])
    unsigned = sum(summed)
    signed = unsigned - 256 * sum(byte > 127 for byte in summed)
    return unsigned, signed
