"""Read the binary version of CIFAR-10 and CIFAR-100: https://www.cs.toronto.edu/~kriz/cifar.html.

The Python version contains pickles, which run code when they are loaded; the images are the same. The archive is read
where it is, and nothing is unpacked to the disk.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from . import tars
from .archives import AGAIN
from .sources import Source

LARGEST = 2**28
"""Most bytes of a file in the archive; the largest published one has 153,700,000."""


class Layout(NamedTuple):
    """The layout of one of the two data sets.

    Args:
        members: the archive's files, by split
        label_classes: number of classes of each label byte before the pixels; the last byte is the label used
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
"""By number of classes. In CIFAR-100, the first byte is the coarse class."""


def read(path: Path, split: str, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Read the images and labels of one split.

    A record has one or two label bytes, then 1,024 bytes each of red, green and blue, row by row.

    Args:
        path: the .tar.gz archive
        split: "train" or "test"
        source: the data set
    Returns:
        images (N, 3, 32, 32) and labels (N,), uint8
    Raises:
        UserError: if the archive is cut short, damaged or another one, or a record is impossible
    """
    layout = LAYOUTS[source.classes]
    found = tars.read(path, layout.members[split], LARGEST)
    images = []
    labels = []
    for name in layout.members[split]:
        if name not in found:
            raise UserError(
                f"{path} lacks {name}; it is another archive. Put the binary version there (the Python one holds "
                "pickles, which are never opened)"
            )
        file_images, file_labels = _records(found[name], path, name, layout, source)
        images.append(file_images)
        labels.append(file_labels)
    return np.concatenate(images), np.concatenate(labels)


def _records(data: bytearray, path: Path, name: str, layout: Layout, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Split the records of one file into images and labels, without a copy."""
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
