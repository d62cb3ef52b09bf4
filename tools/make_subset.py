"""Make the subset of Fashion-MNIST that comes with the package: the first images of each class, in the file's order.

Usage: python tools/make_subset.py FOLDER

Reads the published files (found or downloaded as by `snnbook train fashion_mnist`) and writes four IDX files. A second
call writes the same bytes: images are chosen by position, and the gzip headers contain neither name nor time.
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
    """Write unsigned bytes as a gzipped IDX file."""
    header = bytes([0, 0, idx.UBYTE, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    with path.open("wb") as raw, gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as packed:
        packed.write(header + values.tobytes())


def choose(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Return the sorted indices of the first `per_class` images of each class."""
    indices = [np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(indices))


def make(folder: Path) -> None:
    """Write the four files of the subset into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, per_class in PER_CLASS.items():
        whole = datasets.load("fashion_mnist", split)
        images = whole.images.squeeze(1).numpy()
        labels = whole.labels.numpy().astype(np.uint8)
        rows = choose(labels, per_class)
        images_file, labels_file = SOURCES["fashion_mnist"].files[split]
        write_idx(folder / f"{images_file}.gz", images[rows])
        write_idx(folder / f"{labels_file}.gz", labels[rows])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/make_subset.py FOLDER")
    make(Path(sys.argv[1]))
