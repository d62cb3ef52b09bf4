"""The IDX format of MNIST and its kin: https://yann.lecun.com/exdb/mnist, at the page's end."""

import math
from pathlib import Path

import numpy as np

from .. import download
from ..errors import UserError
from ..sources import Source

UBYTE = 0x08
"""The type code of unsigned bytes, the only type read here."""


def read_pair(paths: tuple[Path, ...], source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one split.

    Args:
        paths: the file of images and the file of labels
        source: the data set
    Returns:
        images (N, 1, H, W) and labels (N,), uint8
    Raises:
        UserError: as `read`, and if the two do not fit together or the data set
    """
    images, labels = (read(path, dimensions) for path, dimensions in zip(paths, (3, 1), strict=True))
    height, width = source.shape[1:]
    if images.shape[1:] != (height, width):
        size = " x ".join(map(str, images.shape[1:]))
        raise UserError(f"{paths[0]} holds images of {size} pixels where {height} x {width} must be")
    if len(images) != len(labels):
        counts = f"{paths[0]} holds {len(images):,} images and {paths[1]} {len(labels):,} labels"
        raise UserError(f"{counts}. They must be as many: take both from the same split")
    if len(images) == 0:
        raise UserError(f"{paths[0]} holds no images. Get the file again")
    if labels.max() >= source.classes:
        raise UserError(f"{paths[1]} holds label {labels.max()}; labels are 0 to {source.classes - 1}")
    return images[:, None], labels


def read(path: str | Path, dimensions: int | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, compressed by gzip or plain.

    The format: two zero bytes, the type code, the number of dimensions, each dimension as four bytes (big end first),
    then the values.

    Args:
        path: the file
        dimensions: how many dimensions the file must have: 3 for images, 1 for labels; None takes any number

    Returns:
        uint8, shaped as the header says

    Raises:
        UserError: if the file cannot be read or decompressed, does not start as IDX does, holds another type, has
            another number of dimensions, or holds more or fewer bytes than its header says
    """
    return _parse(download.content(Path(path)), path, dimensions)


def _parse(data: bytes, path: str | Path, dimensions: int | None) -> np.ndarray:
    again = "Get the file again from where it is published"
    if len(data) < 4:
        raise UserError(f"{path} holds {len(data)} bytes, too few for the header of an IDX file. {again}")
    if data[:2] != b"\0\0":
        raise UserError(f"{path} is not an IDX file: it starts with bytes {data[:4].hex(' ')}, not 00 00. {again}")
    code, count = data[2], data[3]
    if code != UBYTE:
        raise UserError(f"{path} holds values of IDX type 0x{code:02x}; only unsigned bytes (0x08) are read. {again}")
    if count == 0 or (dimensions is not None and count != dimensions):
        wanted = "at least 1" if dimensions is None else dimensions
        raise UserError(
            f"{path} has {count} dimension(s) where {wanted} must be (images have 3, labels have 1). "
            "Check that images and labels are not swapped"
        )
    start = 4 + 4 * count
    if len(data) < start:
        raise UserError(f"{path} ends inside its header, after {len(data)} of {start} bytes. {again}")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", count, offset=4))
    values = math.prod(shape)
    if len(data) != start + values:
        raise UserError(
            f"{path} holds {len(data) - start:,} values where its header says {' x '.join(map(str, shape))} = "
            f"{values:,}. {again}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
