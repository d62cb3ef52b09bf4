"""The readers: bytes written by hand in the true formats against expectations, and a line for everything damaged."""

import gzip
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from snnbook.datasets import cifar, idx, nmnist
from snnbook.datasets.sources import SOURCES

from ..conftest import fails
from ..small_runs import idx as idx_file
from ..small_runs import tar_gz

# ---- IDX ----


@pytest.mark.parametrize("packed", [False, True])
def test_read_idx_reads_bytes_written_by_hand(tmp_path, packed):
    # two images of 2 x 3 pixels
    raw = bytes.fromhex("00000803 00000002 00000002 00000003 000102fdfeff 0a0b0c0d0e0f")
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    values = idx.read(path)
    assert values.dtype == np.uint8
    assert values.tolist() == [[[0, 1, 2], [253, 254, 255]], [[10, 11, 12], [13, 14, 15]]]
    labels = tmp_path / "labels"
    labels.write_bytes(bytes.fromhex("00000801 00000004 09000003"))
    assert idx.read(labels, dimensions=1).tolist() == [9, 0, 0, 3]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", ["0 bytes", "header"]),
        (bytes.fromhex("0000"), ["2 bytes", "header"]),
        (b"<html>gone</html>", ["not an IDX file", "3c 68 74 6d"]),
        (bytes.fromhex("01000801 00000001 07"), ["not an IDX file", "01 00 08 01"]),
        (bytes.fromhex("00000d01 00000001 00000000"), ["type 0x0d", "unsigned bytes"]),
        (bytes.fromhex("00000800"), ["0 dimension(s)"]),
        (bytes.fromhex("00000803 00000001 0000"), ["inside its header", "10 of 16"]),
        (bytes.fromhex("00000801 00000003 0102"), ["holds 2 values", "3"]),
        (bytes.fromhex("00000801 00000003 01020304"), ["holds 4 values", "3"]),
        (bytes.fromhex("00000803 00000001 00000002 00000002 010203"), ["1 x 2 x 2 = 4"]),
    ],
)
def test_read_idx_says_what_is_wrong_with_a_file(tmp_path, raw, words):
    path = tmp_path / "broken-idx"
    path.write_bytes(raw)
    fails(lambda: idx.read(path), path, *words, "swapped" if raw == b"\0\0\x08\0" else "Get")


def test_read_idx_wants_the_number_of_dimensions_asked_for(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(idx_file(np.arange(5, dtype=np.uint8)))
    fails(lambda: idx.read(path, dimensions=3), path, "1 dimension(s) where 3", "swapped")


def test_read_idx_names_a_gzip_file_that_is_cut_short_or_damaged(tmp_path):
    packed = gzip.compress(idx_file(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)))
    path = tmp_path / "labels.gz"
    for size in (5, 100, len(packed) - 1):
        path.write_bytes(packed[:size])
        fails(lambda: idx.read(path), path, "cut short", "get it again")
    for place in (10, 200, len(packed) - 6):  # the kind of the first block, the data, the checksum
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :])
        fails(lambda: idx.read(path), path, "damaged", "get it again")


def test_read_idx_names_a_file_that_cannot_be_read(tmp_path):
    fails(lambda: idx.read(tmp_path / "none"), tmp_path / "none", "No such file")
    fails(lambda: idx.read(tmp_path), f"cannot read {tmp_path}: it is a folder")


# ---- CIFAR ----

CIFAR10 = SOURCES["cifar10"]
CIFAR100 = SOURCES["cifar100"]
TRAIN10 = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]


def pixels(number):
    """One image, 3,072 bytes: the red of its first row counts up from `number`, the rest is 0 but for marks."""
    red = bytes((number + column) % 256 for column in range(32)) + bytes(992)
    green = bytes(32) + b"\xaa" + bytes(991)  # row 1, column 0
    blue = bytes(1023) + b"\xbb"  # row 31, column 31
    return red + green + blue


def test_cifar10_reads_bytes_written_by_hand(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    # five batches of two records: label, then pixels; in the archive out of order, with other files between
    batches = {name: bytes([n]) + pixels(n) + bytes([9 - n]) + pixels(100 + n) for n, name in enumerate(TRAIN10)}
    members = dict(reversed(batches.items()))
    tar_gz(path, {"cifar-10-batches-bin/readme.html": b"hello", **members, "./unread": b"x"})
    images, labels = cifar.read(path, "train", CIFAR10)
    assert labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert (images.dtype, images.shape) == (np.uint8, (10, 3, 32, 32))
    assert images[3, 0, 0].tolist() == [(101 + column) % 256 for column in range(32)]
    assert np.argwhere(images[:, 1] == 0xAA).tolist() == [[n, 1, 0] for n in range(10)]
    assert np.argwhere(images[:, 2] == 0xBB).tolist() == [[n, 31, 31] for n in range(10)]
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "lacks cifar-10-batches-bin/test_batch.bin")


def test_cifar100_takes_the_fine_label(tmp_path):
    path = tmp_path / "cifar-100-binary.tar.gz"
    record = bytes([19, 99]) + pixels(7)
    tar_gz(path, {"cifar-100-binary/test.bin": record, "cifar-100-binary/train.bin": record + bytes(2) + pixels(0)})
    images, labels = cifar.read(path, "test", CIFAR100)
    assert labels.tolist() == [99]
    assert images.tobytes() == pixels(7)
    assert cifar.read(path, "train", CIFAR100)[1].tolist() == [99, 0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["holds 0 bytes", "3073-byte records"]),
        (bytes(3072), ["holds 3,072 bytes", "3073-byte records"]),
        (bytes(3074), ["holds 3,074 bytes"]),
        (bytes([10]) + bytes(3072), ["label 10", "0 to 9"]),
        (bytes(3073) + bytes([255]) + bytes(3072), ["label 255"]),
    ],
)
def test_cifar_records_that_cannot_be(tmp_path, content, words):
    path = tmp_path / "archive.tar.gz"
    tar_gz(path, {"cifar-10-batches-bin/test_batch.bin": content})
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "test_batch.bin", *words)


def test_cifar100_checks_the_coarse_label_too(tmp_path):
    path = tmp_path / "archive.tar.gz"
    tar_gz(path, {"cifar-100-binary/test.bin": bytes([20, 0]) + pixels(0)})
    fails(lambda: cifar.read(path, "test", CIFAR100), "label 20", "0 to 19")


def test_a_cifar_archive_that_is_cut_or_damaged(tmp_path):
    path = tmp_path / "archive.tar.gz"
    noise = np.random.default_rng(0).integers(0, 10, 3073 * 40, dtype=np.uint8)
    tar_gz(path, {"cifar-10-batches-bin/test_batch.bin": noise.tobytes()})
    whole = path.read_bytes()
    for size in (0, 1, 9, 11, 200, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:size])
        fails(lambda: cifar.read(path, "test", CIFAR10), path, "is cut short: ", "get it again")
    # the last is the tar's own header without gzip
    for content in (b"not an archive at all", b"PK" + whole[2:], gzip.decompress(whole)):
        path.write_bytes(content)
        start = f"it starts with bytes {content[:2].hex(' ')}, not 1f 8b"
        fails(lambda: cifar.read(path, "test", CIFAR10), path, "is not a .tar.gz archive: ", start)
    path.write_bytes(gzip.compress(b"no tar inside"))
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "is damaged, or holds no tar archive")
    path.write_bytes(whole[:30] + bytes([whole[30] ^ 0x55]) + whole[31:])
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "is damaged")
    # a wrong checksum far behind the end of the tar's files
    long = gzip.compress(gzip.decompress(whole) + bytes(10**6))
    path.write_bytes(long[:-8] + bytes([long[-8] ^ 1]) + long[-7:])
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "is damaged: ", "checksum")
    path.write_bytes(long)
    assert len(cifar.read(path, "test", CIFAR10)[1]) == 40
    fails(lambda: cifar.read(tmp_path / "none", "test", CIFAR10), tmp_path / "none", "No such file")


class Bomb:
    """Running this pickle leaves a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    tar_gz(path, {f"cifar-10-batches-py/data_batch_{number}": bomb for number in range(1, 6)})
    fails(lambda: cifar.read(path, "train", CIFAR10), path, "another archive", "binary version", "pickles")
    assert not (tmp_path / "ran").exists()


def test_nothing_is_unpacked_to_the_disk(tmp_path):
    """Members that would leave the folder, links and devices: none leaves a trace, and links are not followed."""
    (tmp_path / "secret").write_bytes(bytes(3073))
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("../evil", "/tmp/snnbook-evil", "cifar-10-batches-bin/../../evil"):
            archive.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type = tarfile.SYMTYPE
        link.linkname = str(tmp_path / "secret")
        archive.addfile(link)
        device = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        device.type = tarfile.FIFOTYPE
        archive.addfile(device)
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "lacks cifar-10-batches-bin/test_batch.bin")
    fails(lambda: cifar.read(path, "train", CIFAR10), path, "lacks cifar-10-batches-bin/data_batch_1.bin")
    zipped = inside / "Test.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../../Test/1/2.bin", event(1, 2, 1, 3))
        archive.writestr("Test/1/1.bin", event(1, 2, 0, 3))
    assert nmnist.read(zipped, "test", NMNIST)[2].tolist() == [1, 1]
    assert {each.name for each in inside.iterdir()} == {"archive.tar.gz", "Test.zip"}
    assert {each.name for each in tmp_path.iterdir()} == {"inside", "secret"}


def test_a_member_larger_than_can_be_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "archive.tar.gz"
    tar_gz(path, {"cifar-10-batches-bin/test_batch.bin": bytes(3073)})
    monkeypatch.setattr(cifar, "LARGEST", 3072)
    fails(lambda: cifar.read(path, "test", CIFAR10), path, "3,073 bytes, more than can be")
    monkeypatch.setattr(nmnist, "LARGEST", 4)
    with zipfile.ZipFile(tmp_path / "Test.zip", "w") as archive:
        archive.writestr("Test/1/1.bin", event(1, 2, 1, 3))
    fails(lambda: nmnist.read(tmp_path / "Test.zip", "test", NMNIST), "Test/1/1.bin", "5 bytes, more than can be")


# ---- N-MNIST ----

NMNIST = SOURCES["nmnist"]


def event(x, y, polarity, time):
    """40 bits, by hand."""
    return bytes([x, y, polarity << 7 | time >> 16, time >> 8 & 255, time & 255])


def test_events_decode_as_written_by_hand():
    # x 5, y 33, brighter, at 0x012345 us; x 33, y 0, darker, at the latest time; x 0, y 7, brighter, at 0
    data = bytes.fromhex("05 21 81 23 4521 00 7f ff ff00 07 80 00 00")
    found = nmnist.decode(data)
    assert found.x.tolist() == [5, 33, 0]
    assert found.y.tolist() == [33, 0, 7]
    assert found.polarity.tolist() == [1, 0, 1]
    assert found.time.tolist() == [0x012345, 2**23 - 1, 0]


def test_an_overflow_of_the_clock_is_time_and_no_event():
    data = event(1, 1, 0, 10) + event(0, 240, 0, 0) + event(2, 2, 1, 20) + event(0, 240, 0, 0) + event(3, 3, 0, 5)
    found = nmnist.decode(data)
    assert found.x.tolist() == [1, 2, 3]
    assert found.time.tolist() == [10, 8192 + 20, 2 * 8192 + 5]


def test_recordings_come_in_the_order_of_their_numbers(tmp_path):
    path = tmp_path / "Train.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Train/", b"")
        archive.writestr("Train/7/00010.bin", event(3, 2, 0, 1) + event(33, 33, 1, 2))
        archive.writestr("Train/7/00002.bin", event(0, 0, 0, 1))
        archive.writestr("Train/0/00009.bin", event(0, 0, 1, 1) + event(0, 240, 0, 0) + event(1, 0, 1, 1))
        archive.writestr("Test/3/00001.bin", event(9, 9, 1, 1))
        archive.writestr("__MACOSX/Train/readme.txt", b"hello")
    cells, starts, labels = nmnist.read(path, "train", NMNIST)
    assert labels.tolist() == [7, 0, 7]
    assert starts.tolist() == [0, 1, 3, 5]
    assert cells.dtype == np.int16
    # (polarity 34 + y) 34 + x
    assert cells.tolist() == [0, 1156, 1157, 2 * 34 + 3, 1156 + 33 * 34 + 33]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["no events"]),
        (event(0, 240, 0, 0), ["no events"]),
        (bytes(7), ["7 bytes", "5-byte events"]),
        (event(34, 0, 0, 0), ["outside", "34 x 34"]),
        (event(0, 0, 0, 0) + event(0, 34, 0, 0), ["outside"]),
    ],
)
def test_recordings_that_cannot_be(tmp_path, content, words):
    path = tmp_path / "Test.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Test/1/00001.bin", event(1, 1, 1, 1))
        archive.writestr("Test/1/00002.bin", content)
    fails(lambda: nmnist.read(path, "test", NMNIST), path, "Test/1/00002.bin", *words)


def test_a_zip_that_is_cut_damaged_or_another_one(tmp_path):
    path = tmp_path / "Test.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Test/1/00001.bin", event(1, 1, 1, 1) * 500 + event(7, 9, 0, 4))
    fails(lambda: nmnist.read(path, "train", NMNIST), path, "no recordings such as Train/", "swapped")
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        fails(lambda: nmnist.read(path, "test", NMNIST), path, "is cut short: ", "get it again")
    path.write_bytes(b"hello" + whole)
    fails(
        lambda: nmnist.read(path, "test", NMNIST), path, "is not a zip archive: it starts with bytes 68 65, not 50 4b"
    )
    place = 30 + len("Test/1/00001.bin") + 3  # in the packed events
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
    fails(lambda: nmnist.read(path, "test", NMNIST), path, "is damaged: ", "checksums")
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[whole.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(encrypted)
    fails(lambda: nmnist.read(path, "test", NMNIST), path, "is damaged: ", "checksums")
    fails(lambda: nmnist.read(tmp_path / "none", "test", NMNIST), tmp_path / "none", "No such file")
