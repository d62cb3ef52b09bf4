"""Data files edited, cut, spliced and swapped at random: a right result or one line, in bounded memory and time."""

import gzip
import io
import re
import struct
import tarfile
import time
import tracemalloc
import zipfile
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnbook import datasets
from snnbook.datasets import cifar, idx, nmnist, tars, zips
from snnbook.datasets.sources import SOURCES
from snnbook.errors import UserError

from ..small_runs import write_cifar, write_data, write_nmnist

LARGEST = 2**21
"""Bytes that any file may have here, packed or unpacked; four times the largest of the files that are edited."""

MEMORY = 8 * LARGEST
SECONDS = 5

READERS = {
    "idx": lambda path: (idx.read(path, 3),),
    "labels": lambda path: (idx.read(path, 1),),
    "cifar10": lambda path: cifar.read(path, "test", SOURCES["cifar10"]),
    "cifar100": lambda path: cifar.read(path, "train", SOURCES["cifar100"]),
    "events": lambda path: nmnist.read(path, "train", SOURCES["nmnist"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Good files of every format; not to be written to but for `broken`."""
    root = tmp_path_factory.mktemp("files")
    write_data(root)
    write_cifar(root, 10, train=10, test=4)
    write_cifar(root, 100, train=10, test=4)
    write_nmnist(root, train=12, test=4)
    return root


@lru_cache
def contents(root):
    """The good files, each as its bytes, by name of the reader that takes it."""
    found = {
        "idx": root / "fashion-mnist" / "t10k-images-idx3-ubyte.gz",
        "labels": root / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz",
        "cifar10": root / "cifar10" / "cifar-10-binary.tar.gz",
        "cifar100": root / "cifar100" / "cifar-100-binary.tar.gz",
        "events": root / "n-mnist" / "Train.zip",
    }
    return {name: path.read_bytes() for name, path in found.items()}


# ---- edits ----

WORDS = [b"", b"\0", b"\xff" * 4, b"\x80" + b"\xff" * 11, b"\0\0\x08\x03", b"PK\5\6", b"PK\1\2", b"\x1f\x8b\x08"]
WORDS += [bytes(600), b"\xff\xfe", b"77777777777\0", b"99 size=9\n", b"18 GNU.sparse.map=a\n", bytes(2**20)]


@st.composite
def edits(draw):
    """Up to four edits: each a kind, two places as shares of the length, and a word or a byte."""
    share = st.floats(0, 1, exclude_max=True)
    kinds = st.sampled_from(["byte", "byte", "byte", "cut", "keep", "word", "over", "swap", "copy", "other"])
    edit = st.tuples(kinds, share, share, st.integers(0, 255), st.sampled_from(WORDS))
    return draw(st.lists(edit, min_size=1, max_size=4))


def edited(data, changes, others):
    """The bytes after these edits."""
    data = bytearray(data)
    for kind, one, two, byte, word in changes:
        first, second = sorted((int(one * len(data)), int(two * len(data))))
        piece = data[first : min(second, first + 600)]
        if kind == "byte" and data:
            data[first] = byte
        elif kind == "cut":
            del data[first : first + byte]
        elif kind == "keep":
            del data[second:]
        elif kind == "word":
            data[first:first] = word
        elif kind == "over":
            data[first : first + len(word)] = word
        elif kind == "swap":
            data[first:second] = data[second : second + len(piece)] + piece
        elif kind == "copy":
            data[second:second] = piece
        elif kind == "other":
            other = others[byte % len(others)]
            data[first:second] = other[int(one * len(other)) :][: 1 + 40 * byte]
    return bytes(data[:LARGEST])


def with_right_sums(raw):
    """A tar's bytes with the checksum of every header made right, so that an edit is seen for what it says."""
    raw = bytearray(raw)
    for start in range(0, len(raw) - 511, 512):
        if raw[start + 257 : start + 262] == b"ustar":
            block = raw[start : start + 512]
            total = sum(block[:148]) + sum(block[156:]) + 256
            raw[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(raw)


def repacked(data, inner, changes, others):
    """A file after edits of itself, or of what is packed in it, packed again with right checksums."""
    if not inner or data.startswith(b"PK"):
        return edited(data, changes, others)
    raw = edited(gzip.decompress(data), changes, [gzip.decompress(other) for other in others if other[:1] == b"\x1f"])
    return gzip.compress(with_right_sums(raw), 1)


# ---- what is right ----


def naive_idx(path):
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    return (np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape),)


UNUSED = ((100, 124), (136, 148), (329, 345))
"""Where a tar header has numbers that nobody needs: mode, owner, time and device. tarfile ends without an error at a
header in which one of them is no number; our reader does not look at them."""


def naive_tar(path, names, depth):
    raw = bytearray(gzip.decompress(path.read_bytes()))
    for start in range(0, len(raw) - 511, 512):
        if raw[start + 257 : start + 262] == b"ustar":
            for first, last in UNUSED:
                raw[start + first : start + last] = b"0000000\0".ljust(last - first, b"\0")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(with_right_sums(raw))) as archive:
        for member in archive:
            if member.name.removeprefix("./") in names and member.isfile():
                found[member.name.removeprefix("./")] = archive.extractfile(member).read()
    raw = b"".join(found[name] for name in names)
    rows = np.frombuffer(raw, np.uint8).reshape(-1, depth + 3072)
    return rows[:, depth:].reshape(-1, 3, 32, 32), rows[:, depth - 1]


def naive_zip(path):
    cells = []
    labels = []
    with zipfile.ZipFile(path) as archive:
        found = []
        for info in archive.infolist():
            if match := re.fullmatch(r"(?:.*/)?Train/([0-9])/([0-9]{1,9})\.bin", info.filename):
                found.append((int(match[2]), int(match[1]), archive.read(info)))
    for _, label, raw in sorted(found, key=lambda each: each[:2]):
        rows = np.frombuffer(raw, np.uint8).reshape(-1, 5).astype(int)
        rows = rows[rows[:, 1] != 240]
        cells.append((rows[:, 2] // 128 * 34 + rows[:, 1]) * 34 + rows[:, 0])
        labels.append(label)
    return np.concatenate(cells), np.cumsum([0, *map(len, cells)]), np.array(labels)


NAIVE = {
    "idx": naive_idx,
    "labels": naive_idx,
    "cifar10": lambda path: naive_tar(path, cifar.LAYOUTS[10].members["test"], 1),
    "cifar100": lambda path: naive_tar(path, cifar.LAYOUTS[100].members["train"], 2),
    "events": naive_zip,
}


def outcome(call):
    """What a call returns, or None and the line of its UserError."""
    try:
        return call(), None
    except UserError as error:
        return None, str(error)


def read(name, path):
    """The result, or None for a line; time and memory are bounded, and a result is what Python's own readers give."""
    start = time.process_time()
    tracemalloc.start()
    found, line = outcome(lambda: READERS[name](path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY
    assert time.process_time() - start < SECONDS
    if line is not None:
        assert str(path) in line
        assert line.isprintable()
        assert len(line) < 1000
        return None
    for ours, theirs in zip(found, NAIVE[name](path), strict=True):
        assert np.array_equal(ours, theirs)
    return found


@pytest.fixture(scope="module", autouse=True)
def small_limits():
    with pytest.MonkeyPatch.context() as patch:
        for module in (idx, tars, zips, cifar, nmnist):
            patch.setattr(module, "LARGEST", LARGEST)
        yield


def check(folder, name, reader, inner, changes):
    """Read one edited file by one reader."""
    good = contents(folder)
    path = folder / "broken"
    others = [good[other] for other in good if other != name]
    path.write_bytes(repacked(good[name], inner, changes, others))
    read(reader, path)


FORMATS = ["idx", "idx", "labels", "cifar10", "cifar10", "cifar100", "events", "events"]
GIVEN = given(
    name=st.sampled_from(FORMATS),
    mislabelled=st.sampled_from([None] * 9 + FORMATS),
    inner=st.booleans(),
    changes=edits(),
)


def test_good_files_are_read(folder):
    """So that what is refused below is refused for what is wrong with it."""
    for name, content in contents(folder).items():
        (folder / "broken").write_bytes(content)
        assert read(name, folder / "broken") is not None
        if name != "events":
            (folder / "broken").write_bytes(repacked(content, True, [], []))
            assert read(name, folder / "broken") is not None


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@GIVEN
def test_edited_files(folder, name, mislabelled, inner, changes):
    check(folder, name, mislabelled or name, inner, changes)


@pytest.mark.slow
@settings(max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
@GIVEN
def test_edited_files_in_the_thousands(folder, name, mislabelled, inner, changes):
    check(folder, name, mislabelled or name, inner, changes)


NAMES = ["fashion-mnist/t10k-images-idx3-ubyte.gz", "fashion-mnist/t10k-labels-idx1-ubyte.gz"]
NAMES += ["cifar10/cifar-10-binary.tar.gz", "cifar100/cifar-100-binary.tar.gz", "n-mnist/Test.zip"]


@settings(max_examples=60)
@given(st.permutations(range(len(NAMES))), st.lists(st.sampled_from(range(len(NAMES))), max_size=2), edits())
def test_files_in_each_others_place(folder, order, damaged, changes):
    """`load` and `check` agree on which data sets can be used, and neither fails in another way."""
    good = list(contents(folder).values())
    root = folder / "swapped"
    for place, source in enumerate(order):
        path = root / NAMES[place]
        path.parent.mkdir(parents=True, exist_ok=True)
        content = good[source] if source != 4 else (folder / "n-mnist" / "Test.zip").read_bytes()
        path.write_bytes(edited(content, changes, good) if place in damaged else content)
    sets = {"fashion_mnist": order[:2] == [0, 1]}
    sets |= {name: order[place] == place for place, name in ((2, "cifar10"), (3, "cifar100"), (4, "nmnist"))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNNBOOK_DATA", str(root))
        states = {row.name: row.state for row in datasets.check(sets) if row.split == "test"}
        for name, right in sets.items():
            found, line = outcome(lambda name=name: datasets.load(name, "test"))
            assert states[name] == ("damaged" if found is None else "differs")
            assert found is not None or line.isprintable()
            assert found is not None or not right or damaged
