"""N-MNIST: recordings of an event camera, one .bin file each in a zip (Orchard et al. 2015).

Read from the zip in its place; nothing is unpacked onto the disk.
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
OVERFLOW_ROW, OVERFLOW_TIME = 240, 2**13
"""An event in this row is no event: it tells that the sensor's clock overflowed, by so many microseconds."""

LARGEST = 2**24
"""Bytes of one recording above which it is not read; the published ones have some 20,000."""

LARGEST_SUM = 2**31
"""Bytes of all recordings of a split above which they are not read; the published ones have 1.24 billion."""

LARGEST_RATIO, SMALL = 32, 2**27
"""A zip may unpack to so many times its size, or to so many bytes. The published ones unpack to 1.2 times their size;
small files that unpack to millions of events are made to fill the memory."""


class Recording(NamedTuple):
    """The events of one recording, in their order.

    Args:
        x, y: column and row, pixels
        polarity: 1 where it grew brighter, 0 where darker
        time: microseconds
    """

    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    time: np.ndarray


def decode(data: bytes) -> Recording:
    """The events in 40 bits each: 8 of x, 8 of y, 1 of polarity, 23 of time; big end first.

    Raises:
        UserError: if the bytes are no whole number of events, or there is none
    """
    if len(data) % EVENT_BYTES:
        raise UserError(f"it holds {len(data):,} bytes, no whole number of {EVENT_BYTES}-byte events")
    raw = np.frombuffer(data, np.uint8).reshape(-1, EVENT_BYTES).astype(np.int32)
    x, y, mixed = raw[:, 0], raw[:, 1], raw[:, 2]
    overflow = y == OVERFLOW_ROW
    time = ((mixed & 0x7F) << 16) + (raw[:, 3] << 8) + raw[:, 4] + OVERFLOW_TIME * np.cumsum(overflow)
    if overflow.all():
        raise UserError("it holds no events")
    kept = ~overflow
    return Recording(x[kept], y[kept], mixed[kept] >> 7, time[kept])


def read(path: Path, split: str, source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All recordings of one split, in the order of their numbers, which is MNIST's.

    Args:
        path: Train.zip or Test.zip, with files such as Train/7/00042.bin: digit, then number
        split: "train" or "test"
        source: the data set
    Returns:
        cells: place (polarity, y, x) of every event as one number, int16 (E,)
        starts: where each recording's events start, and E at the end; int64 (N + 1,)
        labels: uint8 (N,)
    Raises:
        UserError: if the zip is cut short, damaged or another one, or a recording cannot be
    """
    with opened(path, zips.LARGEST) as file:
        check_start(file, path, b"PK", "zip archive")
        found = _found(file, path, split)
        cells = bytearray()
        starts = [0]
        for _, _, name, entry in found:
            events = _cells(file, path, name, entry, source)
            cells += events.data
            starts.append(starts[-1] + len(events))
    labels = np.array([label for _, label, _, _ in found], np.uint8)
    return np.frombuffer(cells, np.int16), np.array(starts, np.int64), labels


def _found(file: BinaryIO, path: Path, split: str) -> list[tuple[int, int, str, zips.Entry]]:
    """The split's recordings: number, label, name and entry, in the order of their numbers."""
    folder = split.capitalize()
    pattern = re.compile(rf"(?:.*/)?({folder}/([0-9])/([0-9]{{1,9}})\.bin)".encode())
    found = []
    total = 0
    most = min(LARGEST_SUM, max(SMALL, LARGEST_RATIO * file.seek(0, 2)))
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
        found.append((int(match[3]), int(match[2]), name, entry))
    if not found:
        raise UserError(
            f"{path} holds no recordings such as {folder}/7/00042.bin; check that Train.zip and Test.zip are not "
            "swapped"
        )
    found.sort(key=lambda recording: recording[:2])
    for before, after in itertools.pairwise(found):
        if before[:2] == after[:2]:
            raise UserError(
                f"{path} holds two recordings with the number and digit of {after[2]}. {AGAIN}, or keep one of the two"
            )
    return found


def _cells(file: BinaryIO, path: Path, name: str, entry: zips.Entry, source: Source) -> np.ndarray:
    """The places of one recording's events, int16 (E,)."""
    _, height, width = source.shape
    data = zips.content(file, path, entry)
    try:
        events = decode(data)
        if (events.x >= width).any() or (events.y >= height).any():
            raise UserError(f"it holds an event outside its {width} x {height} pixels")
    except UserError as error:
        raise UserError(f"{path}: {name}: {error}. {AGAIN}") from error
    return ((events.polarity * height + events.y) * width + events.x).astype(np.int16)
