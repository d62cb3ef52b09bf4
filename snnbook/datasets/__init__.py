"""The data sets: the paper's five, and a small part of Fashion-MNIST that comes with the package.

`load` searches for the files in the folder that SNNBOOK_DATA names, in the user's cache folder and in the folder of
Debian's package dataset-fashion-mnist, and downloads files that are in none of them (download.py). The SNNBOOK_DATA
folder has one folder per data set, such as `fashion-mnist/` or torchvision's `FashionMNIST/raw/`. It may also be such a
folder itself, or contain the published files directly.
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
from .sources import SOURCES, SPLITS, Source

NAMES = tuple(SOURCES)
"""The data sets that `load` reads."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, whole, as it is stored.

    Args:
        name: of the data set
        split: "train" or "test"
        images: uint8 (N, C, H, W), where 0 is black; for N-MNIST, N recordings
        labels: int64 (N,)
        classes: number of classes; labels are 0 .. classes - 1
        source: the folder its files came from
        sha256: the data hash in a run's record, over the bytes of the images, then of the labels (one byte each). For
            recordings it is over the events' cells (two bytes each, little-endian), the number of events in each
            recording (eight bytes each) and the labels
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
    """Load one split of a data set, from files on this machine or from a download.

    Args:
        name: one of NAMES
        split: "train" or "test"
        device: of the images and labels

    Raises:
        UserError: if the name, split or device is unknown or not available, SNNBOOK_DATA names no folder, or the files
            are missing, damaged, swapped, not the published ones (outside the SNNBOOK_DATA folder), or contradict each
            other
    """
    source = SOURCES[choice("data set", name, NAMES)]
    split = choice("split", split, SPLITS)
    device = inputs.device("device", device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {str(device)!r} is not here: torch sees {torch.cuda.device_count()} GPU(s)")
    found = download.obtain(source, split)
    altered = _altered(source, split, found)
    if altered and not found.own:
        file = source.files[split][found.paths.index(altered[0])]
        raise UserError(
            f"{altered[0]} is not the published file: the {download.checksum_kind(file, source)} of its content "
            "differs. Delete it and try again (for a file of a package: install the package again)"
        )
    images, labels, digest = _read(source, split, found)
    labels = torch.tensor(labels, dtype=torch.int64)
    return Dataset(source.name, split, images.to(device), labels.to(device), source.classes, found.folder, digest)


def _altered(source: Source, split: str, found: download.Found) -> list[Path]:
    """List the files that differ from the published ones; a UserError if one is another published file."""
    altered = []
    for path, file in zip(found.paths, source.files[split], strict=True):
        checksum = download.checksum(path, file, source)
        if checksum == source.checksums[file]:
            continue
        altered.append(path)
        original = download.published_as(checksum)
        if original is not None:
            raise UserError(
                f"{path} holds the published {original}: files are swapped. Put {file} of {source.name} there"
            )
    return altered


def _read(source: Source, split: str, found: download.Found) -> tuple[torch.Tensor | Recordings, np.ndarray, str]:
    """Read images and labels, and hash both."""
    if source.format == "events":
        cells, starts, labels = nmnist.read(found.paths[0], split, source)
        images = Recordings(torch.from_numpy(cells), torch.from_numpy(starts), source.shape)
        # The hash must not depend on the machine's byte order.
        hashed = (cells.astype("<i2", copy=False), np.diff(starts).astype("<i8"), labels)
    else:
        if source.format == "cifar":
            pixels, labels = cifar.read(found.paths[0], split, source)
        else:
            pixels, labels = idx.read_pair(found.paths, source)
        images = torch.from_numpy(pixels)
        hashed = (pixels, labels)
    digest = hashlib.sha256()
    for array in hashed:
        digest.update(np.ascontiguousarray(array))
    return images, labels, digest.hexdigest()


@dataclass(frozen=True)
class DataStatus:
    """The state of one split's files on this machine, as `check` found it.

    Args:
        name: of the data set
        split: "train" or "test"
        state: "ok" (the published files), "differs" (readable, other content), "damaged" (unusable) or "missing"
        images: number of images; None if unreadable or missing
        source: the folder with the files; None if missing, or if something other than a file is in a file's place
        note: what to know or do; empty if all is well
    """

    name: str
    split: str
    state: str
    images: int | None
    source: Path | None
    note: str


def check(names: Collection[str] = NAMES) -> list[DataStatus]:
    """Check the files of some or all data sets on this machine.

    Files are read whole. The network is not used.

    Raises:
        UserError: if a name is unknown, or SNNBOOK_DATA names no folder
    """
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Collection) or hasattr(names, "dtype"):
        raise UserError(f"names must be a list of data sets, not {shown(names)}")
    wanted = {choice("data set among names", name, NAMES) for name in names}
    chosen = [source for source in SOURCES.values() if source.name in wanted]
    if any(source.mirrors for source in chosen):
        # Report a wrong SNNBOOK_DATA once, instead of in each line.
        download.own_folder()
    return [_status(source, split) for source in chosen for split in SPLITS]


def _status(source: Source, split: str) -> DataStatus:
    """Check one split."""
    name = source.name
    try:
        found, missing = download.search(source, split)
    except UserError as error:
        return DataStatus(name, split, "damaged", None, None, str(error))
    if found is None:
        note = f"downloaded when first used; not in {'; '.join(missing)}"
        return DataStatus(name, split, "missing", None, None, note)
    try:
        altered = _altered(source, split, found)
        images, _, _ = _read(source, split, found)
    except UserError as error:
        return DataStatus(name, split, "damaged", None, found.folder, str(error))
    if not altered:
        return DataStatus(name, split, "ok", len(images), found.folder, "")
    verdict = "refused: delete it, it is then downloaded again"
    if found.own:
        verdict = "used all the same: the folder is yours"
    note = f"{' and '.join(path.name for path in altered)} not as published; {verdict}"
    return DataStatus(name, split, "differs", len(images), found.folder, note)


def describe(status: DataStatus) -> str:
    """Format a status as one line: name, split, state, number of images, folder, note."""
    parts = [f"{status.name:<21}{status.split:<6}{status.state:<8}"]
    if status.images is not None:
        parts.append(f"{status.images:,} images")
    if status.source is not None:
        parts.append(str(status.source))
    if status.note:
        parts.append(status.note)
    # A folder's name may contain line breaks and terminal control sequences.
    return visible("  ".join(parts).rstrip())
