"""Read files of a zip archive one by one and in bounded memory.

Python's zipfile refuses a whole archive for one name in a wrong encoding, and raises errors of many kinds; older
versions let entries overlap, so that a small archive can contain any number of large files. This reader accepts files
that are stored or packed by deflate, as all usual programs write them. PKWARE's APPNOTE.TXT describes the format.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import UserError
from .archives import AGAIN

LARGEST = 2**31
"""Most bytes of an archive; N-MNIST's training set has 1.07 billion."""

LONGEST_LIST = 2**24
"""Most bytes of the list of files; that of N-MNIST's training set has 4 million."""

STORED = 0
DEFLATED = 8
"""The two methods of packing that are read."""

ENCRYPTED = 1
"""The flag of a file that needs a password."""

END = struct.Struct("<4s4H2LH")
"""The archive's end: signature, 2 disks, files on the disk and in all, size and offset of the list, comment's size."""

END_SIGNATURE = b"PK\5\6"

ENTRY = struct.Struct("<4s6H3L5H2L")
"""A file in the list; `_decoded` names the fields."""

LOCAL = struct.Struct("<4s5H3L2H")
"""The header before a file's content: signature, ..., sizes of its name and of extra fields, which follow."""

LONGEST_COMMENT = 2**16 - 1
"""Most bytes that may follow the archive's end."""

COUNT_ELSEWHERE = 2**16 - 1
"""In place of the number of files, where that needs more bits and is in another record."""


class Entry(NamedTuple):
    """A file in the archive.

    Args:
        name: as it is stored, in an unknown encoding
        size: of its content, in bytes
        packed: size of its packed content, in bytes
        method: of packing
        flags: bits of the format
        crc: checksum of its content
        offset: of its own header in the archive
    """

    name: bytes
    size: int
    packed: int
    method: int
    flags: int
    crc: int
    offset: int


def entries(file: BinaryIO, path: Path) -> Iterator[Entry]:
    """Yield the entries of the list of files at a zip archive's end.

    Args:
        file: the open archive
        path: its path, for errors
    Raises:
        UserError: if the list is missing or too long, or contradicts itself or the archive's size
    """
    archive_size = file.seek(0, 2)
    start = max(0, archive_size - END.size - LONGEST_COMMENT)
    file.seek(start)
    tail = file.read(END.size + LONGEST_COMMENT)
    end = _find_end(tail)
    if end < 0:
        raise UserError(f"{path} is cut short: a zip archive's list of files, at its end, is not there. {AGAIN}")
    *_, declared, list_size, list_offset, _ = END.unpack_from(tail, end)
    if list_size > LONGEST_LIST:
        raise UserError(f"{path} has a list of files of {list_size:,} bytes, more than can be. {AGAIN}")
    if list_offset + list_size > start + end:
        raise damaged(path)
    file.seek(list_offset)
    count = 0
    packed = 0
    for entry in _decoded(file.read(list_size), path):
        count += 1
        packed += entry.packed
        # Entries may not overlap: otherwise a small file could contain any number of large ones.
        if packed > archive_size:
            raise damaged(path)
        yield entry
    if declared not in (count, COUNT_ELSEWHERE):
        raise damaged(path)


def content(file: BinaryIO, path: Path, entry: Entry) -> bytes:
    """Read the content of one file, of the size and checksum in the list.

    At most `entry.size` + 1 bytes are unpacked. The caller checks that the size is reasonable.

    Args:
        file: the open archive
        path: its path, for errors
        entry: the file
    Raises:
        UserError: if it is damaged, packed in another way than stored or deflated, or encrypted
    """
    file.seek(entry.offset)
    header = file.read(LOCAL.size)
    if len(header) < LOCAL.size or not header.startswith(b"PK\3\4"):
        raise damaged(path)
    *_, name_size, extra_size = LOCAL.unpack(header)
    if file.read(name_size) != entry.name or entry.flags & ENCRYPTED:
        raise damaged(path)
    file.seek(extra_size, 1)
    # Deflate adds only a few bytes to content that cannot be packed.
    if entry.packed > 2 * entry.size + 64:
        raise damaged(path)
    data = file.read(entry.packed)
    if entry.method == DEFLATED:
        data = _inflated(data, entry.size, path)
    elif entry.method != STORED:
        raise damaged(path)
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise damaged(path)
    return data


def damaged(path: Path) -> UserError:
    """Create the error for an archive whose parts contradict each other."""
    return UserError(f"{path} is damaged: what it holds does not decode to its checksums. {AGAIN}")


def _find_end(tail: bytes) -> int:
    """Return the offset of the end record in an archive's last bytes; -1 if there is none."""
    last = tail.rfind(END_SIGNATURE, 0, len(tail) - END.size + len(END_SIGNATURE))
    offset = last
    while offset >= 0:
        *_, comment_size = END.unpack_from(tail, offset)
        # The signature may also be part of the comment, so the sizes must agree.
        if offset + END.size + comment_size == len(tail):
            return offset
        offset = tail.rfind(END_SIGNATURE, 0, offset)
    # Something follows the archive.
    return last


def _decoded(data: bytes, path: Path) -> Iterator[Entry]:
    """Decode the list of files."""
    start = 0
    while start < len(data):
        if len(data) - start < ENTRY.size or not data.startswith(b"PK\1\2", start):
            raise damaged(path)
        fields = ENTRY.unpack_from(data, start)
        _, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size, _, _, _, offset = fields
        name = data[start + ENTRY.size : start + ENTRY.size + name_size]
        start += ENTRY.size + name_size + extra_size + comment_size
        if start > len(data):
            raise damaged(path)
        yield Entry(name, size, packed, method, flags, crc, offset)


def _inflated(data: bytes, size: int, path: Path) -> bytes:
    """Unpack deflated data, at most one byte more than `size`."""
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        unpacked = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise damaged(path) from error
    if not stream.eof:
        raise damaged(path)
    return unpacked
