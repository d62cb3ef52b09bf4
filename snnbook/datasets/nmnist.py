"""Read N-MNIST: recordings of an event camera, one .bin file each in a zip archive (Orchard et al. 2015).

The archive is read where it is, and nothing is unpacked to the disk.
"""

import itertools
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ..errors import UserError
from . import zips
from .archives import AGAIN, check_start, opened
from .sources import Source

EVENT_BYTES = 5

OVERFLOW_ROW = 240
"""An event in this row marks an overflow of the sensor's clock."""

OVERFLOW_TIME = 2**13
"""Microseconds that an overflow adds."""

LARGEST = 2**24
"""Most bytes of a recording; the published ones have some 20,000."""

LARGEST_SUM = 2**31
"""Most bytes of all recordings of a split; the published ones have 1.24 billion."""

LARGEST_RATIO = 32
"""A zip archive may unpack to this many times its size. The published ones unpack to 1.2 times their size; a small file
that unpacks to millions of events was made to fill the memory."""

SMALL = 2**27
"""Unpacked bytes that are allowed whatever the ratio."""


class Recording(NamedTuple):
    """The events of one recording, in their order.

    Args:
        x: column, pixels
        y: row, pixels
        polarity: 1 where the pixel became brighter, 0 where darker
        time: microseconds
    """

    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    time: np.ndarray


class Entry(NamedTuple):
    """A recording's file in the archive; sorted by number, then label.

    Args:
        number: of the recording, the same as the image's in MNIST
        label: the digit
        name: for messages
        file: its entry in the archive
    """

    number: int
    label: int
    name: str
    file: zips.Entry


def decode(data: bytes) -> Recording:
    """Decode events of 40 bits: 8 of x, 8 of y, 1 of polarity, 23 of time, big-endian.

    Raises:
        UserError: if the bytes are not a whole number of events, or there is none
    """
    if len(data) % EVENT_BYTES:
        raise UserError(f"it holds {len(data):,} bytes, no whole number of {EVENT_BYTES}-byte events")
    x, y, mixed, time_middle, time_low = np.frombuffer(data, np.uint8).reshape(-1, EVENT_BYTES).astype(np.int32).T
    overflow = y == OVERFLOW_ROW
    if overflow.all():
        raise UserError("it holds no events")
    time = ((mixed & 0x7F) << 16) + (time_middle << 8) + time_low + OVERFLOW_TIME * np.cumsum(overflow)
    event = ~overflow
    return Recording(x[event], y[event], mixed[event] >> 7, time[event])


def read(path: Path, split: str, source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read all recordings of one split, in the order of their numbers, which is MNIST's.

    Args:
        path: Train.zip or Test.zip, with files such as Train/7/00042.bin: digit, then number
        split: "train" or "test"
        source: the data set
    Returns:
        cells: index of (polarity, y, x) of every event, int16 (E,)
        starts: where each recording's events start, and E at the end; int64 (N + 1,)
        labels: uint8 (N,)
    Raises:
        UserError: if the archive is cut short, damaged or another one, or a recording is impossible
    """
    with opened(path, zips.LARGEST) as file:
        check_start(file, path, b"PK", "zip archive")
        entries = _entries(file, path, split)
        cells = bytearray()
        starts = [0]
        for entry in entries:
            events = _cells(file, path, entry, source)
            cells += events.data
            starts.append(starts[-1] + len(events))
    labels = np.array([entry.label for entry in entries], np.uint8)
    return np.frombuffer(cells, np.int16), np.array(starts, np.int64), labels


def _entries(file: BinaryIO, path: Path, split: str) -> list[Entry]:
    """List the recordings of a split in the order of their numbers."""
    folder = split.capitalize()
    pattern = re.compile(rf"(?:.*/)?({folder}/([0-9])/([0-9]{{1,9}})\.bin)".encode())
    found = []
    total = 0
    file_size = file.seek(0, 2)
    most = min(LARGEST_SUM, max(SMALL, LARGEST_RATIO * file_size))
    for entry in zips.entries(file, path):
        match = pattern.fullmatch(entry.name)
        if not match:
            continue
        name = match[1].decode()
        total += entry.size
        if entry.size > LARGEST:
            raise UserError(f"{path} holds {name} of {entry.size:,} bytes, more than can be. {AGAIN}")
        if total > most:
            raise UserError(f"{path} holds recordings of more than {most:,} bytes, more than can be. {AGAIN}")
        found.append(Entry(int(match[3]), int(match[2]), name, entry))
    if not found:
        raise UserError(
            f"{path} holds no recordings such as {folder}/7/00042.bin; check that Train.zip and Test.zip are not "
            "swapped"
        )
    found.sort(key=lambda entry: entry[:2])
    for before, after in itertools.pairwise(found):
        if before[:2] == after[:2]:
            raise UserError(
                f"{path} holds two recordings with the number and digit of {after.name}. {AGAIN}, or keep one of the "
                "two"
            )
    return found


def _cells(file: BinaryIO, path: Path, entry: Entry, source: Source) -> np.ndarray:
    """Read the cells of one recording's events, int16 (E,)."""
    _, height, width = source.shape
    data = zips.content(file, path, entry.file)
    try:
        events = decode(data)
        if (events.x >= width).any() or (events.y >= height).any():
            raise UserError(f"it holds an event outside its {width} x {height} pixels")
    except UserError as error:
        raise UserError(f"{path}: {entry.name}: {error}. {AGAIN}") from error
    return ((events.polarity * height + events.y) * width + events.x).astype(np.int16)
