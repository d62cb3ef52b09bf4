"""Runs that take a second: a data set of 60 + 30 drawn patterns in the true file format, and a network to match."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch

from snnbook import experiments, records, training
from snnbook.records import checkpoints
from snnbook.settings import Experiment

TRAIN, TEST = 60, 30
BATCH = 20


def idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_data(root: Path, seed: int = 0) -> Path:
    """Fill root/fashion-mnist with images whose class shows as a bright row; returns root."""
    rng = np.random.default_rng(seed)
    folder = root / "fashion-mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", TRAIN), ("t10k", TEST)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 6] += 180
        for name, values in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
    return root


def tar_gz(path: Path, members: dict[str, bytes]) -> None:
    """An archive of these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_cifar(root: Path, classes: int, train: int = 40, test: int = 20, seed: int = 0) -> Path:
    """Fill root/cifar10 or root/cifar100 with noise whose class shows as a coloured row; returns root."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(train + test):
        label = number % classes
        image = rng.integers(0, 100, (3, 32, 32), dtype=np.uint8)
        image[label % 3, label % 32] += 150
        records.append(bytes([label // 5, label] if classes == 100 else [label]) + image.tobytes())
    folder = root / f"cifar{classes}"
    folder.mkdir(parents=True, exist_ok=True)
    if classes == 100:
        names = {"cifar-100-binary/train.bin": records[:train], "cifar-100-binary/test.bin": records[train:]}
    else:
        names = {f"cifar-10-batches-bin/data_batch_{n + 1}.bin": records[:train][n::5] for n in range(5)}
        names["cifar-10-batches-bin/test_batch.bin"] = records[train:]
    tar_gz(folder / f"cifar-{classes}-binary.tar.gz", {name: b"".join(parts) for name, parts in names.items()})
    return root


def write_nmnist(root: Path, train: int = 40, test: int = 20, seed: int = 0) -> Path:
    """Fill root/n-mnist with recordings of 300 to 400 events, most in a row of the class's own; returns root."""
    rng = np.random.default_rng(seed)
    folder = root / "n-mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("Train", train), ("Test", test)):
        with zipfile.ZipFile(folder / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(count):
                label, events = number % 10, rng.integers(300, 401)
                raw = np.zeros((events, 5), np.uint8)
                raw[:, 0] = rng.integers(0, 34, events)
                raw[:, 1] = np.where(rng.random(events) < 0.7, 3 * label + 2, rng.integers(0, 34, events))
                time = np.sort(rng.integers(0, 300_000, events))
                raw[:, 2] = (rng.integers(0, 2, events) << 7) | (time >> 16)
                raw[:, 3], raw[:, 4] = time >> 8 & 255, time & 255
                archive.writestr(f"{split}/{label}/{number + 1:05}.bin", raw.tobytes())
    return root


def small(**changes: object) -> Experiment:
    """Three epochs of three steps on `write_data`'s images."""
    settings = {"network": "2C5-P4-8", "padding": 0, "steps": 3, "epochs": 3, "batch_size": BATCH, "rate": 0.6}
    return experiments.get("fashion_mnist", **{**settings, "learning_rate": 0.01, "engine": "reference", **changes})


class StopAfter(training.Progress):
    """Raise KeyboardInterrupt when an epoch is done, or at its last report, before its figures are written."""

    def __init__(self, epoch: int, mid_epoch: bool = False) -> None:
        self.stop, self.mid_epoch, self.done = epoch, mid_epoch, 0

    def report(self, images: int, loss: float, accuracy: float) -> None:
        if self.mid_epoch and self.done == self.stop - 1:
            raise KeyboardInterrupt

    def epoch(self, figures: training.EpochFigures, best: bool) -> None:
        self.done += 1
        if not self.mid_epoch and figures.epoch == self.stop:
            raise KeyboardInterrupt


def state(folder: Path, name: str = checkpoints.LAST) -> checkpoints.Checkpoint:
    """A folder's checkpoint."""
    return checkpoints.read(folder / name)


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same_state(a: checkpoints.Checkpoint, b: checkpoints.Checkpoint) -> None:
    """Two checkpoints hold the same, to the bit."""
    assert (a.experiment, a.epoch, a.step) == (b.experiment, b.epoch, b.step)
    assert torch.equal(a.sums, b.sums)
    for one, other in ((a.model, b.model), (a.generators, b.generators)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert a.optimiser["param_groups"] == b.optimiser["param_groups"]
    assert a.optimiser["state"].keys() == b.optimiser["state"].keys()
    for key, entry in a.optimiser["state"].items():
        assert all(torch.equal(entry[name], b.optimiser["state"][key][name]) for name in entry)


def same_run(a: Path, b: Path) -> None:
    """Two folders hold the same run: weights to the bit, figures but for the times."""
    same_state(state(a), state(b))
    same_state(state(a, checkpoints.BEST), state(b, checkpoints.BEST))
    lines = [[json.loads(line) for line in (folder / records.EPOCHS).read_text().splitlines()] for folder in (a, b)]
    for line in (*lines[0], *lines[1]):
        for name in records.TIMES:
            del line[name]
    assert lines[0] == lines[1]
