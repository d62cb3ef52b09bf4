"""Files of a zip archive, read one by one and in bounded memory.

Python's zipfile unpacks as much as a file holds, whatever its header declares, and raises errors of many kinds. The
reader here takes files that are stored or packed by deflate, as all usual programs write them. The format is described
in PKWARE's APPNOTE.TXT.
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

STORED, DEFLATED = 0, 8
"""The two ways of packing that are read."""

ENCRYPTED = 1
"""The flag of a file that needs a password."""

END = struct.Struct("<4s4H2LH")
"""The end of an archive: signature, 2 disks, files on the disk and in all, list's bytes and place, comment's bytes."""

END_SIGNATURE = b"PK\5\6"

ENTRY = struct.Struct("<4s6H3L5H2L")
"""A file in the list: see `_entries` for what is used of it."""

LOCAL = struct.Struct("<4s5H3L2H")
"""The header before a file's content: signature, ..., bytes of its name and of extra fields, which follow."""

LONGEST_COMMENT = 2**16 - 1
"""Bytes that may follow the archive's end."""


class Entry(NamedTuple):
    """A file in the archive.

    Args:
        name: as it is stored, in an unknown encoding
        size: of its content, in bytes
        packed: bytes of its packed content
        method: how it is packed
        flags: bits of the format
        crc: checksum of its content
        place: of its own header in the archive
    """

    name: bytes
    size: int
    packed: int
    method: int
    flags: int
    crc: int
    place: int


def entries(file: BinaryIO, path: Path) -> Iterator[Entry]:
    """Go through the list of files at a zip archive's end.

    Args:
        file: the open archive
        path: its path, for errors
    Raises:
        UserError: if the list is not there, contradicts itself or the archive's size, or is longer than can be
    """
    archive_size = file.seek(0, 2)
    start = max(0, archive_size - END.size - LONGEST_COMMENT)
    file.seek(start)
    tail = file.read(END.size + LONGEST_COMMENT)
    place = _end(tail)
    if place < 0:
        raise UserError(f"{path} is cut short: a zip archive's list of files, at its end, is not there. {AGAIN}")
    *_, count, list_size, list_place, _ = END.unpack_from(tail, place)
    if list_size > LONGEST_LIST:
        raise UserError(f"{path} has a list of files of {list_size:,} bytes, more than can be. {AGAIN}")
    if list_place + list_size > start + place:
        raise damaged(path)
    file.seek(list_place)
    number, packed = 0, 0
    for entry in _entries(file.read(list_size), path):
        number += 1
        packed += entry.packed
        # two entries may not share their bytes: a small file could else hold any number of large ones
        if packed > archive_size:
            raise damaged(path)
        yield entry
    # 65,535 stands for a number that is in another place
    if count not in (number, 2**16 - 1):
        raise damaged(path)


def content(file: BinaryIO, path: Path, entry: Entry) -> bytes:
    """The content of one file, its size and checksum as the list says.

    At most `entry.size` + 1 bytes are unpacked; that the size is a sensible one, the caller checks.

    Args:
        file: the open archive
        path: its path, for errors
        entry: the file
    Raises:
        UserError: if it is damaged, packed in another way than stored or deflated, or encrypted
    """
    file.seek(entry.place)
    header = file.read(LOCAL.size)
    if len(header) < LOCAL.size or not header.startswith(b"PK\3\4"):
        raise damaged(path)
    *_, name_size, extra_size = LOCAL.unpack(header)
    if file.read(name_size) != entry.name or entry.flags & ENCRYPTED:
        raise damaged(path)
    file.seek(extra_size, 1)
    # deflate adds a few bytes to what cannot be packed; twice the size is out of the question
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
    """The error for an archive whose parts do not fit together."""
    return UserError(f"{path} is damaged: what it holds does not decode to its checksums. {AGAIN}")


def _end(tail: bytes) -> int:
    """Where an archive's end is in its last bytes; -1 if it is not there."""
    last = place = tail.rfind(END_SIGNATURE, 0, len(tail) - END.size + len(END_SIGNATURE))
    while place >= 0:
        *_, comment_size = END.unpack_from(tail, place)
        # the signature may be part of the comment, too
        if place + END.size + comment_size == len(tail):
            return place
        place = tail.rfind(END_SIGNATURE, 0, place)
    return last


def _entries(data: bytes, path: Path) -> Iterator[Entry]:
    start = 0
    while start < len(data):
        if len(data) - start < ENTRY.size or not data.startswith(b"PK\1\2", start):
            raise damaged(path)
        fields = ENTRY.unpack_from(data, start)
        flags, method = fields[3:5]
        crc, packed, size, name_size, extra_size, comment_size = fields[7:13]
        name = data[start + ENTRY.size : start + ENTRY.size + name_size]
        start += ENTRY.size + name_size + extra_size + comment_size
        if start > len(data):
            raise damaged(path)
        yield Entry(name, size, packed, method, flags, crc, place=fields[16])


def _inflated(data: bytes, size: int, path: Path) -> bytes:
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        unpacked = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise damaged(path) from error
    if not stream.eof:
        raise damaged(path)
    return unpacked
