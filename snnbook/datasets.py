"""The data sets: MNIST, Fashion-MNIST and a small part of it that comes with the package; and the loader on the device.

Files are in the IDX format and are looked for (see download.py) in the folder that SNNBOOK_DATA names, the user's cache
folder and the folder of Debian's dataset-fashion-mnist package; what is nowhere is downloaded. In the SNNBOOK_DATA
folder the files stand in a folder per data set, such as `fashion-mnist/` or torchvision's `FashionMNIST/raw/`.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import download
from .errors import UserError, real, unknown, whole

NAMES = tuple(download.SOURCES)
"""The data sets that `load` reads."""

NOT_YET = ("nmnist", "cifar10", "cifar100")
"""Data sets of the paper that this version has no reader for."""

SPLITS = tuple(download.FILES)

CLASSES, IMAGE_SIZE = 10, 28
"""Classes, and height and width of an image in pixels."""

IDX_UBYTE = 0x08
"""The IDX type code of unsigned bytes, the only type read here."""

FLIP_PROBABILITY = 0.5
"""Share of training images shown mirrored when horizontal flips are on."""


def read_idx(path: str | Path, dimensions: int | None = None) -> np.ndarray:
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
    return _parse_idx(download.content(Path(path)), path, dimensions)


def _parse_idx(data: bytes, path: str | Path, dimensions: int | None) -> np.ndarray:
    again = "Get the file again from where it is published"
    if len(data) < 4:
        raise UserError(f"{path} holds {len(data)} bytes, too few for the header of an IDX file. {again}")
    if data[:2] != b"\0\0":
        raise UserError(f"{path} is not an IDX file: it starts with bytes {data[:4].hex(' ')}, not 00 00. {again}")
    code, count = data[2], data[3]
    if code != IDX_UBYTE:
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


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, whole, as it is stored.

    Args:
        name, split: what it is
        images: uint8 (N, 1, 28, 28), 0 is black
        labels: int64 (N,)
        classes: number of classes; labels are below it
        source: the folder its files came from
        sha256: of the images' bytes followed by the labels' bytes (one each), the data hash of a run's record
    """

    name: str
    split: str
    images: torch.Tensor = field(repr=False)
    labels: torch.Tensor = field(repr=False)
    classes: int
    source: Path
    sha256: str

    def __len__(self) -> int:
        return len(self.labels)


def load(name: str, split: str, device: str | torch.device = "cpu") -> Dataset:
    """One split of a data set, found on this machine or downloaded.

    Args:
        name: one of NAMES
        split: "train" or "test"
        device: where images and labels are put

    Raises:
        UserError: if the name or split is unknown, the files are nowhere, damaged, swapped, not the published ones
            (outside the SNNBOOK_DATA folder), or do not fit together
    """
    if name in NOT_YET:
        raise UserError(f"this version has no reader for data set {name!r} yet. It reads: {', '.join(NAMES)}")
    if name not in NAMES:
        raise unknown("data set", name, NAMES)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    found = download.obtain(name, split)
    images, labels, altered = _read(name, split, found)
    if altered and not found.own:
        raise UserError(
            f"{altered[0]} is not the published file: the SHA-256 of its content differs. Delete it and try again "
            "(for a file of a package: install the package again)"
        )
    return Dataset(
        name,
        split,
        torch.tensor(images).unsqueeze(1).to(device),
        torch.tensor(labels, dtype=torch.int64).to(device),
        CLASSES,
        found.folder,
        hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(),
    )


def _read(name: str, split: str, found: download.Found) -> tuple[np.ndarray, np.ndarray, list[Path]]:
    """Images (N, 28, 28) and labels (N,) as uint8, and which of the two files differ from the published ones."""
    arrays, altered = [], []
    for path, file, dimensions in zip((found.images, found.labels), download.FILES[split], (3, 1), strict=True):
        data = download.content(path)
        digest = download.digest(data)
        if digest != download.SOURCES[name].sha256[file]:
            altered.append(path)
            if original := download.published_as(digest):
                raise UserError(f"{path} holds the published {original}: files are swapped. Put {file} of {name} there")
        arrays.append(_parse_idx(data, path, dimensions))
    images, labels = arrays
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        size = " x ".join(map(str, images.shape[1:]))
        raise UserError(f"{found.images} holds images of {size} pixels; {name} has {IMAGE_SIZE} x {IMAGE_SIZE}")
    if len(images) != len(labels):
        counts = f"{found.images} holds {len(images):,} images and {found.labels} {len(labels):,} labels"
        raise UserError(f"{counts}. They must be as many: take both from the same split")
    if len(images) == 0:
        raise UserError(f"{found.images} holds no images. Get the file again")
    if labels.max() >= CLASSES:
        raise UserError(f"{found.labels} holds label {labels.max()}; labels of {name} are 0 to {CLASSES - 1}")
    return images, labels, altered


@dataclass(frozen=True)
class DataStatus:
    """What `check` saw of one split.

    Args:
        name, split: what it is
        state: "ok" (the published files), "differs" (readable, other content), "damaged" (unusable) or "missing"
        images: number of images; None if unreadable or missing
        source: the folder with the files; None if missing
        note: what to know or do; empty if all is well
    """

    name: str
    split: str
    state: str
    images: int | None
    source: Path | None
    note: str


def check() -> list[DataStatus]:
    """Look at the files of every data set on this machine. Reads them whole; uses no network."""
    return [_status(name, split) for name in NAMES for split in SPLITS]


def _status(name: str, split: str) -> DataStatus:
    found, missing = download.search(name, split)
    if found is None:
        return DataStatus(
            name, split, "missing", None, None, f"downloaded when first used; not in {'; '.join(missing)}"
        )
    try:
        images, _, altered = _read(name, split, found)
    except UserError as error:
        return DataStatus(name, split, "damaged", None, found.folder, str(error))
    if not altered:
        return DataStatus(name, split, "ok", len(images), found.folder, "")
    verdict = (
        "used all the same: the folder is yours" if found.own else "refused: delete it, it is then downloaded again"
    )
    files = " and ".join(path.name for path in altered)
    return DataStatus(name, split, "differs", len(images), found.folder, f"{files} not as published; {verdict}")


def describe(status: DataStatus) -> str:
    """One line for a person: what, state, number of images, folder, note."""
    counted = "" if status.images is None else f"{status.images:,} images"
    place = "" if status.source is None else str(status.source)
    parts = [f"{status.name:<21}{status.split:<6}{status.state:<8}", counted, place, status.note]
    return "  ".join(part for part in parts if part).rstrip()


class Batches:
    """Batches of a data set that lies whole on the device: gather, mirror and normalise there.

    Mirrored images lie beside the originals, so a flip is the choice of another index. Order and flips are drawn on
    the CPU from (seed, epoch) alone: the same on every device, and the same when a run resumes at an epoch.

    Args:
        dataset: what to draw from
        batch_size: images a batch; the last batch of an epoch holds what is left
        device: where the batches are made
        mean, std: of pixel values scaled to 0..1; an image becomes (x / 255 - mean) / std
        flip: mirror each image left to right with probability 1/2, drawn anew each epoch
        seed: of order and flips, >= 0
        shuffle: draw a new order each epoch; False keeps the data set's

    Raises:
        UserError: if batch_size, std or seed is out of its range
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        device: str | torch.device,
        mean: float,
        std: float,
        flip: bool = False,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        whole("batch_size", batch_size, 1)
        whole("seed", seed, 0)
        real("mean", mean)
        real("std", std, above=0)
        self.batch_size, self.flip, self.seed, self.shuffle = batch_size, flip, seed, shuffle
        self._count = len(dataset)
        self._scale, self._shift = 1 / (255 * std), -mean / std
        self._images, self._labels = dataset.images.to(device), dataset.labels.to(device)
        if flip:
            self._images = torch.cat([self._images, self._images.flip(-1)])
            self._labels = self._labels.repeat(2)

    def __len__(self) -> int:
        return math.ceil(self._count / self.batch_size)

    def epoch(self, index: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of one epoch.

        Args:
            index: number of the epoch, >= 0

        Returns:
            pairs of images, float32 (N, 1, 28, 28), normalised, and labels, int64 (N,)
        """
        whole("epoch index", index, 0)
        entropy = np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0]))
        order = torch.randperm(self._count, generator=generator) if self.shuffle else torch.arange(self._count)
        if self.flip:
            order += self._count * (torch.rand(self._count, generator=generator) < FLIP_PROBABILITY)
        chosen = order.to(self._images.device).split(self.batch_size)
        return (
            (self._normalise(self._images.index_select(0, rows)), self._labels.index_select(0, rows)) for rows in chosen
        )

    def first(self, count: int) -> torch.Tensor:
        """The first `count` images (all, if there are fewer) in the data set's order, unmirrored, normalised.

        Returns:
            float32 (count, 1, 28, 28)
        """
        whole("count", count, 1)
        return self._normalise(self._images[: min(count, self._count)])

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        return torch.mul(images, self._scale).add_(self._shift)
