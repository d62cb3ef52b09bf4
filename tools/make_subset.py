"""Make the part of Fashion-MNIST that comes with the package: the first images of each class, in the file's order.

Usage: python tools/make_subset.py FOLDER

Reads the published files (found or downloaded as `snnbook train fashion_mnist` does) and writes four IDX files. Run
again, it writes the same bytes: images are chosen by place, and the gzip headers carry neither name nor time.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

from snnbook import datasets
from snnbook.datasets import idx
from snnbook.datasets.sources import SOURCES

PER_CLASS = {"train": 200, "test": 100}
"""Images of each class; 10 classes give 2,000 and 1,000."""

COMPRESSION = 9
"""Level of gzip, the highest."""


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write unsigned bytes as an IDX file compressed by gzip."""
    header = bytes([0, 0, idx.UBYTE, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    with path.open("wb") as raw, gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as packed:
        packed.write(header + values.tobytes())


def choose(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Places of the first `per_class` images of each class, ascending."""
    places = [np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(places))


def make(folder: Path) -> None:
    """Write the four files of the subset into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, per_class in PER_CLASS.items():
        whole = datasets.load("fashion_mnist", split)
        images, labels = whole.images.squeeze(1).numpy(), whole.labels.numpy().astype(np.uint8)
        rows = choose(labels, per_class)
        for file, values in zip(SOURCES["fashion_mnist"].files[split], (images[rows], labels[rows]), strict=True):
            write_idx(folder / f"{file}.gz", values)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/make_subset.py FOLDER")
    make(Path(sys.argv[1]))
