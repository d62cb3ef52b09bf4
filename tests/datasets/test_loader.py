"""The loader: every image once, order and augmentation from seed and epoch alone, exact normalisation, frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnbook import datasets
from snnbook.datasets import Dataset, augment, loader
from snnbook.datasets.loader import Batches
from snnbook.datasets.recordings import Recordings

from ..conftest import fails
from ..small_runs import write_nmnist

MEAN, STD = 0.1307, 0.3081


def numbered(count):
    """A data set whose image i has i in its top left corner and 255 - i in the top right one; label i mod 10."""
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count)
    images[:, 0, 0, -1] = 255 - torch.arange(count)
    images[:, 0, 1, :] = torch.arange(28)
    return Dataset("numbered", "train", images, torch.arange(count) % 10, 10, Path(), "")


def batches_of(data, batch_size=7, **changes):
    return Batches(data, batch_size, **(dict(device="cpu", mean=(MEAN,), std=(STD,)) | changes))


def pixels(images):
    """Undo the normalisation."""
    return ((images.double() * STD + MEAN) * 255).round().long()


def drawn(batches, epoch):
    """The whole epoch: images, labels, the index of each image and whether it was mirrored."""
    images, labels = (torch.cat(parts) for parts in zip(*batches.epoch(epoch), strict=True))
    left = pixels(images)[:, 0, 0, 0]
    right = pixels(images)[:, 0, 0, -1]
    mirrored = pixels(images)[:, 0, 1, 0] == 27
    return images, labels, torch.where(mirrored, right, left), mirrored


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 60),
    size=st.integers(1, 70),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 500),
    flip=st.booleans(),
    shuffle=st.booleans(),
)
def test_an_epoch_shows_every_image_once_with_its_label(count, size, seed, epoch, flip, shuffle):
    batches = batches_of(numbered(count), size, seed=seed, augmentation=("flip",) * flip, shuffle=shuffle)
    sizes = [len(labels) for _, labels in batches.epoch(epoch)]
    assert len(sizes) == len(batches)
    assert sizes[:-1] == [size] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= size
    _, labels, index, mirrored = drawn(batches, epoch)
    assert sorted(index.tolist()) == list(range(count))
    assert labels.tolist() == [i % 10 for i in index.tolist()]
    assert shuffle or index.tolist() == list(range(count))
    assert flip or not mirrored.any()


def test_order_and_flips_depend_on_seed_and_epoch_only():
    data = numbered(200)
    images, _, index, mirrored = drawn(batches_of(data, seed=3, augmentation=("flip",)), 5)
    again = batches_of(data, seed=3, augmentation=("flip",))
    drawn(again, 0)  # another epoch before it, other random numbers around it
    torch.manual_seed(99)
    torch.rand(10)
    assert torch.equal(drawn(again, 5)[0], images)
    assert torch.equal(
        drawn(batches_of(data, 50, seed=3, augmentation=("flip",)), 5)[0], images
    )  # whatever the batch size
    state = torch.random.get_rng_state()
    drawn(again, 6)
    assert torch.equal(torch.random.get_rng_state(), state)  # and it leaves torch's own generator alone
    for seed, epoch in ((3, 6), (4, 5), (5, 3)):
        _, _, other, flipped = drawn(batches_of(data, seed=seed, augmentation=("flip",)), epoch)
        assert (other == index).float().mean() < 0.1
        assert not torch.equal(flipped, mirrored)


def test_flips_are_exact_mirror_images_of_about_half():
    data = numbered(250)
    whole = batches_of(data)
    straight = whole.first(250)
    share = []
    seen = torch.zeros(250, 2, dtype=torch.bool)
    for epoch in range(20):
        images, _, index, mirrored = drawn(batches_of(data, augmentation=("flip",)), epoch)
        expected = torch.where(mirrored[:, None, None, None], straight[index].flip(-1), straight[index])
        assert torch.equal(images, expected)
        seen[index, mirrored.long()] = True
        share.append(mirrored.float().mean().item())
    assert np.mean(share) == pytest.approx(0.5, abs=0.03)  # 5,000 draws: four standard deviations
    assert seen.all()  # each image is shown both ways in the end: drawn anew each epoch


def test_images_are_normalised():
    data = numbered(256)
    out = batches_of(data).first(256)
    assert out.dtype == torch.float32
    assert out.shape == (256, 1, 28, 28)
    expected = (data.images.double() / 255 - MEAN) / STD
    assert (out.double() - expected).abs().max() < 1e-6
    for images, labels in batches_of(data).epoch(0):
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert data.images.dtype == torch.uint8  # untouched
    assert data.images[-1, 0, 0, 0] == 255


def test_first_is_in_order_and_never_mirrored():
    batches = batches_of(numbered(20), augmentation=("flip",), seed=1)
    assert pixels(batches.first(8))[:, 0, 0, 0].tolist() == list(range(8))
    assert len(batches.first(50)) == 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, ["batch_size", "1 or more", "0"]),
        ({"batch_size": 2.5}, ["batch_size", "whole number", "2.5"]),
        ({"batch_size": True}, ["batch_size", "True"]),
        ({"seed": -1}, ["seed", "0 or more", "-1"]),
        ({"std": (0.0,)}, ["std", "above 0", "0.0"]),
        ({"mean": (float("nan"),)}, ["mean", "finite", "nan"]),
        ({"mean": (0.0, 0.0)}, ["mean", "1 number(s)", "2"]),
        ({"std": (1e-300,)}, ["not finite", "1e-300"]),
        ({"std": (5e-324,), "mean": (0.5,)}, ["not finite"]),
        ({"mean": (1e300,)}, ["not finite"]),
        ({"augmentation": ("flop",)}, ["unknown augmentation", "flip"]),
        ({"augmentation": ("autoaugment",)}, ["colour"]),
        ({"steps": 0}, ["steps"]),
    ],
)
def test_settings_of_the_loader_are_checked(changes, words):
    fails(lambda: batches_of(numbered(5), **changes), *words)


def test_epoch_and_count_are_checked_at_once():
    batches = batches_of(numbered(5))
    fails(lambda: batches.epoch(-1), "epoch index")
    fails(lambda: batches.first(0), "count")


# ---- colour ----


def coloured(count=30, seed=0):
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
    return Dataset("coloured", "train", images, torch.arange(count) % 10, 10, Path(), "")


CIFAR = dict(
    device="cpu",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    augmentation=("crop", "flip", "autoaugment"),
    seed=3,
)


def whole_epoch(batches, epoch):
    images, labels = zip(*batches.epoch(epoch), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_channels_are_normalised_one_by_one():
    data = coloured()
    mean, std = (np.array(CIFAR[name])[:, None, None] for name in ("mean", "std"))
    expected = (data.images.numpy() / 255 - mean) / std
    assert np.abs(Batches(data, 7, **CIFAR).first(30).numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("chunk", [1, 5 * 3072 * 7, loader.CHUNK])
def test_augmented_batches_hold_what_was_drawn_for_their_images(chunk, monkeypatch):
    """Whatever the size of a batch, and however many are made ready at once."""
    monkeypatch.setattr(loader, "CHUNK", chunk)
    data = coloured()
    images, labels = whole_epoch(Batches(data, 7, **CIFAR), 4)
    other, order = whole_epoch(Batches(data, 11, **CIFAR), 4)
    assert torch.equal(images, other)
    assert torch.equal(labels, order)
    assert [len(labels) for _, labels in Batches(data, 7, **CIFAR).epoch(4)] == [7, 7, 7, 7, 2]
    plain, _ = whole_epoch(Batches(data, 7, **CIFAR | {"augmentation": ()}), 4)
    same = (images == plain).flatten(1).all(1)
    assert same.double().mean() < 0.2, "crop, mirror or policy changes nearly every image"


def test_augmentation_is_the_augmentation_of_the_raw_bytes():
    data = coloured()
    entropy = np.random.SeedSequence([3, 4]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(entropy[0]))
    order = torch.randperm(30, generator=generator)
    drawn = augment.apply(data.images[order], augment.draw(CIFAR["augmentation"], 30, generator))
    raw = Dataset("raw", "train", drawn, data.labels[order], 10, Path(), "")
    images, labels = whole_epoch(Batches(data, 7, **CIFAR), 4)
    assert torch.equal(images, Batches(raw, 7, **CIFAR).first(30))
    assert torch.equal(labels, data.labels[order])


def test_augmentation_depends_on_seed_and_epoch_only():
    data = coloured()
    images, _ = whole_epoch(Batches(data, 7, **CIFAR), 2)
    torch.manual_seed(9)
    again = Batches(data, 7, **CIFAR)
    whole_epoch(again, 1)
    assert torch.equal(whole_epoch(again, 2)[0], images)
    assert not torch.equal(whole_epoch(again, 3)[0], images)
    assert not torch.equal(whole_epoch(Batches(data, 7, **CIFAR | {"seed": 4}), 2)[0], images)


# ---- recordings ----


def recordings(*counts, seed=0):
    rng = np.random.default_rng(seed)
    cells = torch.from_numpy(rng.integers(0, 2 * 34 * 34, sum(counts)).astype(np.int16))
    return Recordings(cells, torch.tensor([0, *np.cumsum(counts)]), (2, 34, 34))


def counted(events, steps):
    """Frames of one recording, event by event."""
    frames = np.zeros((steps, 2 * 34 * 34), np.float32)
    share = max(len(events) // steps, 1)
    for number, cell in enumerate(events):
        frames[min(number // share, steps - 1), cell] += 1
    return frames.reshape(steps, 2, 34, 34)


@pytest.mark.parametrize("steps", [1, 4, 30])
def test_frames_count_the_events_of_equal_slices(steps):
    stored = recordings(400, 1, 61, 59, 30, 7)
    rows = torch.tensor([2, 0, 5, 1, 3])
    frames = stored.frames(rows, steps)
    assert frames.shape == (steps, 5, 2, 34, 34)
    for place, row in enumerate(rows.tolist()):
        events = stored.cells[stored.starts[row] : stored.starts[row + 1]].tolist()
        assert np.array_equal(frames[:, place].numpy(), counted(events, steps))
    assert frames.sum((0, 2, 3, 4)).tolist() == [61, 400, 7, 1, 59]


def test_counts_are_not_cut_to_one():
    stored = Recordings(torch.full((6,), 5, dtype=torch.int16), torch.tensor([0, 6]), (2, 34, 34))
    frames = stored.frames(torch.tensor([0]), 2)
    assert frames[:, 0, 0, 0, 5].tolist() == [3, 3]


def test_slices_have_the_same_number_of_events_and_the_last_the_rest():
    frames = recordings(64).frames(torch.tensor([0]), 30)
    assert frames.sum((1, 2, 3, 4)).tolist() == [2] * 29 + [6]


def test_batches_of_recordings(monkeypatch, tmp_path):
    monkeypatch.setenv("SNNBOOK_DATA", str(write_nmnist(tmp_path)))
    data = datasets.load("nmnist", "train")
    assert len(data) == len(data.images) == 40
    assert data.labels.tolist() == [number % 10 for number in range(40)]
    assert data.sha256 == datasets.load("nmnist", "train").sha256 != datasets.load("nmnist", "test").sha256
    given = dict(device="cpu", mean=(0.0, 0.0), std=(1.0, 1.0), steps=6, seed=1)
    batches = Batches(data, 9, **given)
    frames, labels = whole_epoch(batches, 0)
    assert frames.shape == (40, 6, 2, 34, 34)
    assert torch.bincount(labels).tolist() == [4] * 10
    # in a recording most events lie in the row of its class
    assert frames.sum((1, 2, 4)).argmax(1).tolist() == (3 * labels + 2).tolist()
    assert torch.equal(batches.first(5), data.images.frames(torch.arange(5), 6).transpose(0, 1))
    scaled = Batches(data, 9, **given | {"mean": (1.0, 0.0), "std": (2.0, 4.0)}).first(5)
    plain = batches.first(5)
    assert torch.allclose(
        scaled, (plain - torch.tensor([1.0, 0])[:, None, None]) / torch.tensor([2.0, 4])[:, None, None]
    )
    fails(lambda: Batches(data, 9, **given, augmentation=("flip",)), "cannot be augmented")


def test_decoding_happens_once(monkeypatch, tmp_path):
    """The files may go once the data set is loaded: epochs make frames of the events in memory."""
    root = write_nmnist(tmp_path)
    monkeypatch.setenv("SNNBOOK_DATA", str(root))
    batches = Batches(datasets.load("nmnist", "train"), 9, device="cpu", mean=(0, 0), std=(1, 1), steps=3)
    (root / "n-mnist" / "Train.zip").unlink()
    assert torch.equal(whole_epoch(batches, 0)[0], whole_epoch(batches, 0)[0])
