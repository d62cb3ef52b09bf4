"""Read the IDX format of MNIST and Fashion-MNIST; `read` describes it."""

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
"""Most dimensions of an array that every NumPy supports."""

AGAIN = "Get the file again from where it is published"


def read_pair(paths: tuple[Path, ...], source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Read the images and labels of one split.

    Args:
        paths: the file of images and the file of labels
        source: the data set
    Returns:
        images (N, 1, H, W) and labels (N,), uint8
    Raises:
        UserError: as `read`, and if the two contradict each other or the data set
    """
    image_path, label_path = paths
    images = read(image_path, 3)
    labels = read(label_path, 1)
    height, width = source.shape[1:]
    if images.shape[1:] != (height, width):
        size = " x ".join(map(str, images.shape[1:]))
        raise UserError(f"{image_path} holds images of {size} pixels where {height} x {width} must be")
    if len(images) != len(labels):
        counts = f"{image_path} holds {len(images):,} images and {label_path} {len(labels):,} labels"
        raise UserError(f"{counts}. They must be as many: take both from the same split")
    if len(images) == 0:
        raise UserError(f"{image_path} holds no images. Get the file again")
    if labels.max() >= source.classes:
        raise UserError(f"{label_path} holds label {labels.max()}; labels are 0 to {source.classes - 1}")
    return images[:, None], labels


def read(path: str | Path, dimensions: int | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, packed by gzip or plain.

    The format: two zero bytes, the type code, the number of dimensions, each dimension as four bytes (big-endian), then
    the values.

    Args:
        path: the file
        dimensions: required number of dimensions: 3 for images, 1 for labels; None accepts any number

    Returns:
        uint8, of the shape in the header

    Raises:
        UserError: if the file cannot be read or unpacked, does not start as IDX does, holds another type or number of
            dimensions, or holds more or fewer bytes than its header says
    """
    header, values = parts(path, dimensions)
    return np.frombuffer(values, np.uint8).reshape(_shape(header))


def parts(path: str | Path, dimensions: int | None = None) -> tuple[bytearray, bytearray]:
    """Read an IDX file's header and values as bytes; arguments and errors as in `read`.

    At most one byte more than the header declares is unpacked, so that a small file cannot fill the memory.
    """
    path = Path(path)
    with opened(path, LARGEST) as file:
        unpacked = Unpacked(file, path)
        header = unpacked.read(4)
        start = 4 + 4 * _dimensions(header, path, dimensions)
        header += unpacked.read(start - 4)
        if len(header) < start:
            raise UserError(f"{path} ends inside its header, after {len(header)} of {start} bytes. {AGAIN}")
        shape = _shape(header)
        count = math.prod(shape)
        declared = f"{' x '.join(map(str, shape))} = {count:,}"
        # Zeros are left out because NumPy refuses an empty array whose other dimensions are too large.
        if math.prod(size for size in shape if size) > LARGEST:
            raise UserError(f"{path} has {declared} values by its header, more than can be. {AGAIN}")
        values = unpacked.read(count + 1)
    if len(values) > count:
        raise UserError(f"{path} holds {len(values):,} values or more where its header says {declared}. {AGAIN}")
    if len(values) < count:
        raise UserError(f"{path} holds {len(values):,} values where its header says {declared}. {AGAIN}")
    return header, values


def _shape(header: bytes) -> tuple[int, ...]:
    """Decode the dimensions in a header."""
    return tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))


def _dimensions(header: bytes, path: Path, required: int | None) -> int:
    """Check the first four bytes, and return the number of dimensions that they declare."""
    if len(header) < 4:
        raise UserError(f"{path} holds {len(header)} bytes, too few for the header of an IDX file. {AGAIN}")
    if header[:2] != b"\0\0":
        raise UserError(f"{path} is not an IDX file: it starts with bytes {header.hex(' ')}, not 00 00. {AGAIN}")
    _, _, code, count = header
    if code != UBYTE:
        raise UserError(f"{path} holds values of IDX type 0x{code:02x}; only unsigned bytes (0x08) are read. {AGAIN}")
    if not 1 <= count <= MOST_DIMENSIONS or (required is not None and count != required):
        wanted = required or f"1 to {MOST_DIMENSIONS}"
        raise UserError(
            f"{path} has {count} dimension(s) where {wanted} must be (images have 3, labels have 1). "
            "Check that images and labels are not swapped"
        )
    return count
