"""N-MNIST: recordings of an event camera, one .bin file each in a zip (Orchard et al. 2015).

Read from the zip in its place; nothing is unpacked onto the disk.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..sources import Source
from .archives import AGAIN, check_start, unreadable

EVENT_BYTES = 5
OVERFLOW_ROW, OVERFLOW_TIME = 240, 2**13
"""An event in this row is no event: it tells that the sensor's clock overflowed, by so many microseconds."""

LARGEST = 2**24
"""Bytes of one recording above which it is not read; the published ones have some 20,000."""


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
    pattern = re.compile(rf"(?:.*/)?{split.capitalize()}/([0-9])/([0-9]{{1,9}})\.bin")
    check_start(path, b"PK", "zip archive")
    try:
        with _opened(path) as archive:
            matches = [(match, info) for info in archive.infolist() if (match := pattern.fullmatch(info.filename))]
            if not matches:
                raise UserError(
                    f"{path} holds no recordings such as {split.capitalize()}/7/00042.bin; check that Train.zip and "
                    "Test.zip are not swapped"
                )
            matches.sort(key=lambda found: (int(found[0][2]), found[0][1]))
            cells = [_cells(archive, info, path, source) for _, info in matches]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: packed in unknown ways
        raise UserError(f"{path} is damaged: what it holds does not decode to its checksums. {AGAIN}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    starts = np.concatenate([[0], np.cumsum([len(each) for each in cells])])
    labels = np.array([int(match[1]) for match, _ in matches], np.uint8)
    return np.concatenate(cells), starts.astype(np.int64), labels


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{path} is cut short: a zip archive's list of files, at its end, is not there. {AGAIN}"
        ) from error


def _cells(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, source: Source) -> np.ndarray:
    _, height, width = source.shape
    if info.file_size > LARGEST:
        raise UserError(f"{path} holds {info.filename} of {info.file_size:,} bytes, more than can be. {AGAIN}")
    try:
        events = decode(archive.read(info))
        if (events.x >= width).any() or (events.y >= height).any():
            raise UserError(f"it holds an event outside its {width} x {height} pixels")
    except UserError as error:
        raise UserError(f"{path}: {info.filename}: {error}. {AGAIN}") from error
    return ((events.polarity * height + events.y) * width + events.x).astype(np.int16)
