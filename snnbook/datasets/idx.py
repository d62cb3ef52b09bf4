"""The IDX format of MNIST and Fashion-MNIST; `read` describes it."""

import math
from pathlib import Path

import numpy as np

from ..errors import UserError
from .archives import Unpacked, opened
from .sources import Source

UBYTE = 0x08
"""The type code of unsigned bytes, the only type read here."""

LARGEST = 2**28
"""Most bytes of a file, packed or unpacked; MNIST's training images have 47 million unpacked."""

MOST_DIMENSIONS = 32
"""Most dimensions of an array that every NumPy can hold."""

AGAIN = "Get the file again from where it is published"


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
    header, values = parts(path, dimensions)
    return np.frombuffer(values, np.uint8).reshape(_shape(header))


def parts(path: str | Path, dimensions: int | None = None) -> tuple[bytearray, bytearray]:
    """Read an IDX file's header and values as bytes; arguments and errors as in `read`.

    One byte more than the header declares is unpacked at most, so that a small file cannot fill the memory.
    """
    path = Path(path)
    with opened(path, LARGEST) as file:
        unpacked = Unpacked(file, path)
        header = unpacked.read(4)
        start = 4 + 4 * _count(header, path, dimensions)
        header += unpacked.read(start - 4)
        if len(header) < start:
            raise UserError(f"{path} ends inside its header, after {len(header)} of {start} bytes. {AGAIN}")
        shape = _shape(header)
        count = math.prod(shape)
        declared = f"{' x '.join(map(str, shape))} = {count:,}"
        # zeros left out: NumPy refuses an empty array whose other dimensions are too large
        if math.prod(size for size in shape if size) > LARGEST:
            raise UserError(f"{path} has {declared} values by its header, more than can be. {AGAIN}")
        values = unpacked.read(count + 1)
    if len(values) != count:
        more = " or more" if len(values) > count else ""
        raise UserError(f"{path} holds {len(values):,} values{more} where its header says {declared}. {AGAIN}")
    return header, values


def _shape(header: bytes) -> tuple[int, ...]:
    return tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))


def _count(header: bytes, path: Path, dimensions: int | None) -> int:
    """The number of dimensions that the first four bytes declare, if it is the one asked for."""
    if len(header) < 4:
        raise UserError(f"{path} holds {len(header)} bytes, too few for the header of an IDX file. {AGAIN}")
    if header[:2] != b"\0\0":
        raise UserError(f"{path} is not an IDX file: it starts with bytes {header.hex(' ')}, not 00 00. {AGAIN}")
    code, count = header[2], header[3]
    if code != UBYTE:
        raise UserError(f"{path} holds values of IDX type 0x{code:02x}; only unsigned bytes (0x08) are read. {AGAIN}")
    if not 1 <= count <= MOST_DIMENSIONS or (dimensions is not None and count != dimensions):
        wanted = f"1 to {MOST_DIMENSIONS}" if dimensions is None else dimensions
        raise UserError(
            f"{path} has {count} dimension(s) where {wanted} must be (images have 3, labels have 1). "
            "Check that images and labels are not swapped"
        )
    return count
