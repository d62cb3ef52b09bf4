"""The data sets: the paper's five, and a small part of Fashion-MNIST that comes with the package.

Files are looked for (see download.py) in the folder that SNNBOOK_DATA names, the user's cache folder and the folder of
Debian's dataset-fashion-mnist package; what is nowhere is downloaded. The SNNBOOK_DATA folder has a folder per data
set, such as `fashion-mnist/` or torchvision's `FashionMNIST/raw/`. It may also be such a folder itself, or hold the
published files as they are.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .. import inputs
from ..errors import UserError, choice, shown, visible
from . import cifar, download, idx, nmnist
from .recordings import Recordings
from .sources import SOURCES, SPLITS

NAMES = tuple(SOURCES)
"""The data sets that `load` reads."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, whole, as it is stored.

    Args:
        name, split: what it is
        images: uint8 (N, C, H, W), 0 is black; of N-MNIST, N recordings
        labels: int64 (N,)
        classes: number of classes; labels are below it
        source: the folder its files came from
        sha256: of the images' bytes followed by the labels' bytes (one each), the data hash of a run's record; of
            recordings, of the events' cells (two bytes each, small end first), their number in each recording (eight
            bytes each) and the labels
    """

    name: str
    split: str
    images: torch.Tensor | Recordings = field(repr=False)
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
        UserError: if the name, split or device is unknown or not here, SNNBOOK_DATA names no folder, or the files are
            nowhere, damaged, swapped, not the published ones (outside the SNNBOOK_DATA folder), or do not fit together
    """
    name, split = choice("data set", name, NAMES), choice("split", split, SPLITS)
    device = inputs.device("device", device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {str(device)!r} is not here: torch sees {torch.cuda.device_count()} GPU(s)")
    found = download.obtain(name, split)
    altered = _altered(name, split, found)
    if altered and not found.own:
        kind = download.checksum_kind(SOURCES[name].files[split][found.paths.index(altered[0])], SOURCES[name])
        raise UserError(
            f"{altered[0]} is not the published file: the {kind} of its content differs. Delete it and try again "
            "(for a file of a package: install the package again)"
        )
    images, labels, digest = _read(name, split, found)
    labels = torch.tensor(labels, dtype=torch.int64)
    return Dataset(name, split, images.to(device), labels.to(device), SOURCES[name].classes, found.folder, digest)


def _altered(name: str, split: str, found: download.Found) -> list[Path]:
    """Which files differ from the published ones.

    Raises:
        UserError: if one is another published file
    """
    source, altered = SOURCES[name], []
    for path, file in zip(found.paths, source.files[split], strict=True):
        checksum = download.checksum(path, file, source)
        if checksum != source.checksums[file]:
            altered.append(path)
            if original := download.published_as(checksum):
                raise UserError(f"{path} holds the published {original}: files are swapped. Put {file} of {name} there")
    return altered


def _read(name: str, split: str, found: download.Found) -> tuple[torch.Tensor | Recordings, np.ndarray, str]:
    """Images, labels and the hash of both."""
    source = SOURCES[name]
    if source.format == "events":
        cells, starts, labels = nmnist.read(found.paths[0], split, source)
        parts = (cells.astype("<i2", copy=False), np.diff(starts).astype("<i8"), labels)
        images = Recordings(torch.from_numpy(cells), torch.from_numpy(starts), source.shape)
    else:
        if source.format == "cifar":
            array, labels = cifar.read(found.paths[0], split, source)
        else:
            array, labels = idx.read_pair(found.paths, source)
        parts, images = (array, labels), torch.from_numpy(array)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part))
    return images, labels, digest.hexdigest()


@dataclass(frozen=True)
class DataStatus:
    """What `check` saw of one split.

    Args:
        name, split: what it is
        state: "ok" (the published files), "differs" (readable, other content), "damaged" (unusable) or "missing"
        images: number of images; None if unreadable or missing
        source: the folder with the files; None if missing, or if something else is where a file must be
        note: what to know or do; empty if all is well
    """

    name: str
    split: str
    state: str
    images: int | None
    source: Path | None
    note: str


def check(names: Collection[str] = NAMES) -> list[DataStatus]:
    """Look at the files of data sets, every one unless some are named, on this machine.

    Reads them whole; uses no network.

    Raises:
        UserError: if a name is unknown, or SNNBOOK_DATA names no folder
    """
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Collection) or hasattr(names, "dtype"):
        raise UserError(f"names must be a list of data sets, not {shown(names)}")
    names = [choice("data set among names", name, NAMES) for name in names]
    chosen = [name for name in NAMES if name in names]
    if any(SOURCES[name].mirrors for name in chosen):
        # once, and not in each line
        download.own_folder()
    return [_status(name, split) for name in chosen for split in SPLITS]


def _status(name: str, split: str) -> DataStatus:
    try:
        found, missing = download.search(name, split)
    except UserError as error:
        return DataStatus(name, split, "damaged", None, None, str(error))
    if found is None:
        return DataStatus(
            name, split, "missing", None, None, f"downloaded when first used; not in {'; '.join(missing)}"
        )
    try:
        altered = _altered(name, split, found)
        images, *_ = _read(name, split, found)
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
    line = "  ".join(part for part in parts if part).rstrip()
    return visible(line)  # a folder's name may hold line breaks, and what a terminal takes for commands
