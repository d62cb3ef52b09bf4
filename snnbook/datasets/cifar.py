"""The binary version of CIFAR-10 and CIFAR-100: https://www.cs.toronto.edu/~kriz/cifar.html.

The binary version, not the Python one: that one holds pickles, which run code when they are read. The images are the
same. The archive is read from its place; nothing is unpacked onto the disk.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from . import tars
from .archives import AGAIN
from .sources import Source

LARGEST = 2**28
"""Bytes of a file in the archive above which it is not read; the largest published one has 153,700,000."""


@dataclass(frozen=True)
class Layout:
    """How one of the two is laid out.

    Args:
        members: the archive's files, by split
        label_classes: of each label byte before the pixels, the number of classes; the last byte is the label used
    """

    members: dict[str, tuple[str, ...]]
    label_classes: tuple[int, ...]


LAYOUTS = {
    10: Layout(
        {
            "train": tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
            "test": ("cifar-10-batches-bin/test_batch.bin",),
        },
        (10,),
    ),
    100: Layout({"train": ("cifar-100-binary/train.bin",), "test": ("cifar-100-binary/test.bin",)}, (20, 100)),
}
"""By number of classes. CIFAR-100 has a byte for the coarse class first."""


def read(path: Path, split: str, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one split.

    A record is one or two label bytes, then 1,024 bytes each of red, green and blue, row by row.

    Args:
        path: the .tar.gz archive
        split: "train" or "test"
        source: the data set
    Returns:
        images (N, 3, 32, 32) and labels (N,), uint8
    Raises:
        UserError: if the archive is cut short, damaged or another one, or a record cannot be
    """
    layout = LAYOUTS[source.classes]
    members = _members(path, layout.members[split])
    images, labels = zip(*(_records(data, path, name, layout, source) for name, data in members.items()), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _members(path: Path, wanted: tuple[str, ...]) -> dict[str, bytearray]:
    """The wanted files of the archive, in the order wanted. Links and special files count as missing."""
    found = tars.read(path, wanted, LARGEST)
    if missing := [name for name in wanted if name not in found]:
        raise UserError(
            f"{path} lacks {missing[0]}; it is another archive. The binary version must stand there (the Python one "
            "holds pickles, which are never opened)"
        )
    return {name: found[name] for name in wanted}


def _records(data: bytearray, path: Path, name: str, layout: Layout, source: Source) -> tuple[np.ndarray, np.ndarray]:
    depth = len(layout.label_classes)
    channels, height, width = source.shape
    size = depth + channels * height * width
    if not data or len(data) % size:
        raise UserError(f"{path}: {name} holds {len(data):,} bytes, which is not a number of {size}-byte records")
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    for labels, classes in zip(records[:, :depth].T, layout.label_classes, strict=True):
        if labels.max() >= classes:
            raise UserError(f"{path}: {name} holds label {labels.max()} where 0 to {classes - 1} must be. {AGAIN}")
    return records[:, depth:].reshape(-1, channels, height, width), records[:, depth - 1]
