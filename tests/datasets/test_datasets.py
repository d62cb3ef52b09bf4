"""The data sets: where files are looked for, downloads from a server on this machine, what comes with the package."""

import dataclasses
import gzip
import hashlib
import importlib.util
import os
import struct
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from snnbook import datasets
from snnbook.datasets import download, sources
from snnbook.datasets.idx import parts
from snnbook.datasets.sources import SOURCES

from ..conftest import CLOSED, fails
from ..small_runs import write_cifar, write_nmnist

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("SNNBOOK_DATA") or ROOT.parent / "shared" / "data")
TRAIN, TEST = 30, 12  # images in the small data set

needs_real = pytest.mark.skipif(
    not (REAL / "fashion-mnist").is_dir() or not (REAL / "mnist").is_dir(),
    reason="the real MNIST and Fashion-MNIST files are not here: set SNNBOOK_DATA to their folder",
)


def idx(values):
    """An IDX file of unsigned bytes, written out by hand."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def small(seed=0):
    """Content of the four files of a small data set of random images, by name."""
    rng = np.random.default_rng(seed)
    contents = {}
    for split, count in (("train", TRAIN), ("t10k", TEST)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        contents[f"{split}-images-idx3-ubyte"] = idx(images)
        contents[f"{split}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return contents


def write(folder, contents, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return folder


def publish(monkeypatch, contents, mirrors, name="fashion_mnist"):
    """Let `contents` be the published files of a data set, and `mirrors` its mirrors."""
    kinds = {file: known.partition(":")[0] for file, known in SOURCES[name].checksums.items()}
    sums = {
        file: f"{kinds[file]}:{hashlib.new(kinds[file], content).hexdigest()}" for file, content in contents.items()
    }
    monkeypatch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], mirrors=tuple(mirrors), checksums=sums))


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    """Every place that is looked in lies in an empty folder; no mirror answers (conftest.py)."""
    monkeypatch.delenv("SNNBOOK_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name, appauthor: str(tmp_path / "cache" / name))
    monkeypatch.setattr(download, "DEBIAN_FOLDER", tmp_path / "debian")
    return tmp_path


@pytest.fixture
def serve():
    """serve(folder) -> address of a server on this machine that gives out a folder; .asked lists the requests."""
    servers = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, form, *values):
            self.server.asked.append(self.path)

    def start(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        server.asked = start.asked
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    start.asked = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


# ---- loading, and where files are looked for ----


@pytest.mark.parametrize("folder", ["fashion-mnist", "fashion_mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_load_reads_the_readers_own_folder(monkeypatch, tmp_path, folder, packed):
    contents = small()
    where = write(tmp_path / "own" / folder, contents, packed)
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    for split, prefix, count in (("train", "train", TRAIN), ("test", "t10k", TEST)):
        data = datasets.load("fashion_mnist", split)
        pixels = contents[f"{prefix}-images-idx3-ubyte"][16:]
        labels = contents[f"{prefix}-labels-idx1-ubyte"][8:]
        assert (data.name, data.split, data.classes, data.source) == ("fashion_mnist", split, 10, where)
        assert len(data) == count
        assert data.images.dtype == torch.uint8
        assert data.images.shape == (count, 1, 28, 28)
        assert data.images.numpy().tobytes() == pixels
        assert data.labels.dtype == torch.int64
        assert data.labels.tolist() == list(labels)
        assert data.sha256 == hashlib.sha256(pixels + labels).hexdigest()


def test_load_takes_the_first_place_that_has_the_files(monkeypatch, tmp_path):
    own = small(1)
    cache = small(2)
    debian = small(3)
    publish(monkeypatch, debian, [CLOSED])
    write(tmp_path / "debian" / "fashion-mnist", debian)
    assert datasets.load("fashion_mnist", "train").source == tmp_path / "debian" / "fashion-mnist"
    publish(monkeypatch, cache, [CLOSED])
    write(tmp_path / "cache" / "snnbook" / "fashion-mnist", cache)
    assert datasets.load("fashion_mnist", "train").source == tmp_path / "cache" / "snnbook" / "fashion-mnist"
    write(tmp_path / "own" / "fashion-mnist", own)
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    assert datasets.load("fashion_mnist", "train").source == tmp_path / "own" / "fashion-mnist"


@pytest.mark.parametrize("place", ["cache/snnbook", "debian"])
def test_a_file_that_is_not_the_published_one_is_refused_outside_the_readers_folder(monkeypatch, tmp_path, place):
    publish(monkeypatch, small(0), [CLOSED])
    folder = write(tmp_path / place / "fashion-mnist", small(1))
    fails(
        lambda: datasets.load("fashion_mnist", "test"),
        folder / "t10k-images-idx3-ubyte.gz",
        "not the published file",
        "Delete it",
    )


def own_folder(monkeypatch, tmp_path, **changes):
    """SNNBOOK_DATA with a small data set in which some files are replaced (keys with _ for -)."""
    contents = small() | {name.replace("_", "-"): content for name, content in changes.items()}
    folder = write(tmp_path / "own" / "fashion-mnist", contents)
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    return folder


def test_load_refuses_images_and_labels_that_do_not_fit_together(monkeypatch, tmp_path):
    def load():
        return datasets.load("fashion_mnist", "train")

    good = small()
    folder = own_folder(monkeypatch, tmp_path, train_labels_idx1_ubyte=good["t10k-labels-idx1-ubyte"])
    fails(load, folder, "30 images", "12 labels", "same split")
    own_folder(monkeypatch, tmp_path, train_images_idx3_ubyte=good["train-labels-idx1-ubyte"])
    fails(load, "train-images", "1 dimension(s) where 3", "swapped")
    own_folder(monkeypatch, tmp_path, train_images_idx3_ubyte=idx(np.zeros((30, 27, 28), np.uint8)))
    fails(load, "train-images", "27 x 28", "28 x 28")
    own_folder(monkeypatch, tmp_path, train_labels_idx1_ubyte=idx(np.full(30, 10, np.uint8)))
    fails(load, "train-labels", "label 10", "0 to 9")
    own_folder(
        monkeypatch,
        tmp_path,
        train_images_idx3_ubyte=idx(np.zeros((0, 28, 28), np.uint8)),
        train_labels_idx1_ubyte=idx(np.zeros(0, np.uint8)),
    )
    fails(load, "train-images", "no images")


def test_load_notices_published_files_in_the_wrong_place(monkeypatch, tmp_path):
    fashion = small(0)
    digits = small(1)
    publish(monkeypatch, fashion, [CLOSED])
    publish(monkeypatch, digits, [CLOSED], "mnist")
    swapped = {name: fashion[name.replace("train", "t10k")] for name in fashion if name.startswith("train")}
    write(tmp_path / "own" / "fashion-mnist", fashion | swapped)
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    fails(
        lambda: datasets.load("fashion_mnist", "train"),
        "fashion-mnist",
        "published t10k-images-idx3-ubyte of fashion_mnist",
        "swapped",
        "Put train-images-idx3-ubyte of fashion_mnist there",
    )
    write(tmp_path / "own" / "fashion-mnist", digits)
    fails(lambda: datasets.load("fashion_mnist", "train"), "published train-images-idx3-ubyte of mnist", "swapped")


def test_names_are_checked():
    fails(lambda: datasets.load("fashion_mist", "train"), "unknown data set", "Did you mean 'fashion_mnist'?")
    fails(lambda: datasets.load("mnist", "tests"), "unknown split", "Did you mean 'test'?")


# ---- downloads ----


def test_download_goes_on_to_the_next_mirror_and_fills_the_cache(monkeypatch, tmp_path, serve, capfd):
    contents = small()
    empty = tmp_path / "empty"
    full = write(tmp_path / "full", contents)
    empty.mkdir()
    publish(monkeypatch, contents, [CLOSED, serve(empty), serve(full)])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    data = datasets.load("fashion_mnist", "train")
    cache = tmp_path / "cache" / "snnbook" / "fashion-mnist"
    assert data.source == cache
    assert data.images.numpy().tobytes() == contents["train-images-idx3-ubyte"][16:]
    names = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}
    assert {path.name for path in cache.iterdir()} == names  # no other split, nothing unfinished
    assert all((cache / name).read_bytes() == (full / name).read_bytes() for name in names)
    assert "train-images-idx3-ubyte.gz: 100%" in capfd.readouterr().err  # the progress bar
    asked = list(serve.asked)
    assert len(asked) >= 4  # two files, each asked of the empty and of the full mirror
    datasets.load("fashion_mnist", "train")
    assert serve.asked == asked  # the second time nothing is asked


def test_download_brings_only_the_file_that_the_cache_lacks(monkeypatch, tmp_path, serve):
    contents = small()
    publish(monkeypatch, contents, [serve(write(tmp_path / "full", contents))])
    cache = tmp_path / "cache" / "snnbook" / "fashion-mnist"
    write(cache, {"train-images-idx3-ubyte": contents["train-images-idx3-ubyte"]}, packed=False)
    assert len(datasets.load("fashion_mnist", "train")) == TRAIN
    assert any("train-labels" in line for line in serve.asked)
    assert not any("train-images" in line for line in serve.asked)


def test_a_download_with_a_wrong_checksum_leaves_nothing(monkeypatch, tmp_path, serve):
    publish(monkeypatch, small(0), [serve(write(tmp_path / "other", small(1)))])
    fails(lambda: datasets.load("fashion_mnist", "test"), "SHA-256 is not the published file's", "t10k-images")
    assert list((tmp_path / "cache" / "snnbook" / "fashion-mnist").iterdir()) == []


def test_a_download_that_is_cut_short_leaves_nothing(monkeypatch, tmp_path, serve):
    contents = small()
    cut = write(tmp_path / "cut", contents)
    for path in cut.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    publish(monkeypatch, contents, [serve(cut)])
    fails(lambda: datasets.load("fashion_mnist", "test"), "cut short or damaged")
    assert list((tmp_path / "cache" / "snnbook" / "fashion-mnist").iterdir()) == []


def test_an_interrupted_download_leaves_nothing(monkeypatch, tmp_path):
    def interrupted(url, path, most):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.load("mnist", "test")
    assert list((tmp_path / "cache" / "snnbook" / "mnist").iterdir()) == []


def test_where_all_fails_one_line_names_every_place(monkeypatch, tmp_path, serve):
    missing = serve(tmp_path)
    publish(monkeypatch, small(), [CLOSED, missing])
    cache = tmp_path / "cache" / "snnbook" / "fashion-mnist"
    debian = tmp_path / "debian" / "fashion-mnist"
    write(debian, {"train-images-idx3-ubyte": b""})
    line = fails(
        lambda: datasets.load("fashion_mnist", "train"),
        "SNNBOOK_DATA (not set)",
        f"{cache} (no such folder)",
        f"{debian} (lacks train-labels-idx1-ubyte.gz)",
        f"{CLOSED}train-images-idx3-ubyte.gz (ConnectionError)",
        f"{missing}train-images-idx3-ubyte.gz (HTTP status 404)",
        "What to do",
        "set SNNBOOK_DATA",
    )
    assert line.startswith("the train files of fashion_mnist")
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    fails(lambda: datasets.load("fashion_mnist", "train"), f"{tmp_path / 'own' / 'fashion-mnist'} (no such folder)")


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    fails(lambda: datasets.load("mnist", "train"), "cannot write", tmp_path / "cache", "SNNBOOK_DATA")


def test_the_mirrors_of_the_package_are_folders_on_the_web():
    """Read afresh: in tests, mirrors are closed."""
    fresh = importlib.util.spec_from_file_location("snnbook.fresh_sources", sources.__file__)
    module = importlib.util.module_from_spec(fresh)
    sys.modules[fresh.name] = module
    fresh.loader.exec_module(module)
    del sys.modules[fresh.name]
    for name, source in module.SOURCES.items():
        assert bool(source.mirrors) == (name != "fashion_mnist_subset")
        assert all(mirror.startswith(("https://", "http://")) and mirror.endswith("/") for mirror in source.mirrors)
        assert set(source.checksums) == {file for files in source.files.values() for file in files}
        for known in source.checksums.values():
            kind, _, digest = known.partition(":")
            assert len(digest) == 2 * hashlib.new(kind).digest_size
            assert int(digest, 16)
        assert set(source.addresses) <= set(source.checksums)


# ---- archives ----


def archives(tmp_path, seed=0):
    """The files of N-MNIST and CIFAR in their folders under one root: name of the data set -> its folder."""
    root = tmp_path / f"made-{seed}"
    write_nmnist(root, seed=seed)
    for classes in (10, 100):
        write_cifar(root, classes, seed=seed)
    return {"nmnist": root / "n-mnist", "cifar10": root / "cifar10", "cifar100": root / "cifar100"}


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["nmnist", "cifar10", "cifar100"])
def test_archives_are_found_downloaded_and_checked(name, monkeypatch, tmp_path, serve):
    folder = archives(tmp_path)[name]
    contents = contents_of(folder)
    source = SOURCES[name]
    web = tmp_path / "web"  # under the addresses that the mirror has
    for file, content in contents.items():
        path = web / source.addresses.get(file, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    publish(monkeypatch, contents, [CLOSED, serve(web)], name)
    train, test = (datasets.load(name, split) for split in ("train", "test"))
    cache = tmp_path / "cache" / "snnbook" / source.folders[0]
    assert contents_of(cache) == contents
    assert (train.source, len(train), len(test)) == (cache, 40, 20)
    assert train.images.shape[-3:] == source.shape
    assert (train.classes, int(train.labels.max()) < train.classes) == (source.classes, True)
    assert [rows()[name, split].state for split in ("train", "test")] == ["ok", "ok"]
    asked = len(serve.asked)
    assert datasets.load(name, "train").sha256 == train.sha256 != test.sha256
    assert len(serve.asked) == asked

    file = next(iter(contents))
    (cache / file).write_bytes(contents_of(archives(tmp_path, seed=1)[name])[file])
    kind = "MD5" if name == "nmnist" else "SHA-256"
    split = "test" if file == "Test.zip" else "train"
    fails(lambda: datasets.load(name, split), cache / file, "not the published file", kind)
    assert rows()[name, split].state == "differs"
    (cache / file).write_bytes(contents[file][:-30])
    assert rows()[name, split].state == "damaged"


def test_archives_of_the_readers_own_may_differ(monkeypatch, tmp_path):
    root = archives(tmp_path)["nmnist"].parent
    monkeypatch.setenv("SNNBOOK_DATA", str(root))
    for name in ("nmnist", "cifar10", "cifar100"):
        assert (datasets.load(name, "test").source.parent, rows()[name, "test"].state) == (root, "differs")


def test_archives_in_each_others_place_are_named(monkeypatch, tmp_path):
    made = archives(tmp_path)
    for name, folder in made.items():
        publish(monkeypatch, contents_of(folder), [CLOSED], name)
    monkeypatch.setenv("SNNBOOK_DATA", str(made["nmnist"].parent))
    events = made["nmnist"]
    train = (events / "Train.zip").read_bytes()
    test = (events / "Test.zip").read_bytes()
    (events / "Train.zip").write_bytes(test)
    fails(lambda: datasets.load("nmnist", "train"), "published Test.zip of nmnist", "swapped")
    (events / "Test.zip").write_bytes(train + b"tail")  # no published file, and not the test set
    fails(lambda: datasets.load("nmnist", "test"), "no recordings such as Test/", "swapped")
    ten = made["cifar10"] / "cifar-10-binary.tar.gz"
    ten.write_bytes((made["cifar100"] / "cifar-100-binary.tar.gz").read_bytes())
    fails(lambda: datasets.load("cifar10", "train"), "published cifar-100-binary.tar.gz of cifar100", "swapped")


def test_an_archive_with_a_wrong_checksum_is_not_kept(monkeypatch, tmp_path, serve):
    made = archives(tmp_path)["cifar10"]
    other = archives(tmp_path, seed=1)["cifar10"]
    publish(monkeypatch, contents_of(made), [serve(other)], "cifar10")
    fails(lambda: datasets.load("cifar10", "train"), "SHA-256 is not the published file's", "cifar-10-binary.tar.gz")
    assert list((tmp_path / "cache" / "snnbook" / "cifar10").iterdir()) == []


# ---- the check ----


def rows():
    return {(row.name, row.split): row for row in datasets.check()}


def test_check_says_what_is_there_without_a_network(monkeypatch, tmp_path):
    def never(*_):
        raise AssertionError("check must not use the network")

    monkeypatch.setattr(download, "_fetch", never)
    contents = small()
    publish(monkeypatch, contents, [CLOSED])
    cache = write(tmp_path / "cache" / "snnbook" / "fashion-mnist", contents)
    seen = rows()
    assert set(seen) == {(name, split) for name in datasets.NAMES for split in ("train", "test")}
    assert seen["mnist", "train"].state == "missing"
    assert (seen["fashion_mnist", "test"].state, seen["fashion_mnist", "test"].images) == ("ok", TEST)
    assert seen["fashion_mnist", "test"].source == cache
    assert (seen["fashion_mnist_subset", "train"].state, seen["fashion_mnist_subset", "train"].images) == ("ok", 2000)
    assert (seen["fashion_mnist_subset", "test"].state, seen["fashion_mnist_subset", "test"].images) == ("ok", 1000)

    write(cache, small(1))
    row = rows()["fashion_mnist", "test"]
    assert (row.state, row.images) == ("differs", TEST)
    assert "delete it" in row.note

    own = write(tmp_path / "own" / "fashion-mnist", small(1))
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    row = rows()["fashion_mnist", "test"]
    assert (row.state, row.images, row.source) == ("differs", TEST, own)
    assert "used all the same" in row.note

    (own / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b")
    row = rows()["fashion_mnist", "test"]
    assert (row.state, row.images) == ("damaged", None)
    assert "cut short" in row.note


def test_describe_is_one_line():
    for row in datasets.check():
        line = datasets.describe(row)
        assert "\n" not in line
        assert line.startswith(row.name)
        assert row.split in line
        assert row.state in line
    subset = datasets.describe(rows()["fashion_mnist_subset", "train"])
    assert "2,000 images" in subset
    assert str(ROOT / "snnbook" / "data") in subset


# ---- what comes with the package ----


def test_the_bundled_subset_is_balanced_and_complete():
    for split, each in (("train", 200), ("test", 100)):
        data = datasets.load("fashion_mnist_subset", split)
        assert torch.bincount(data.labels).tolist() == [each] * 10
    folder = ROOT / "snnbook" / "data" / "fashion_mnist_subset"
    assert "Copyright (c) 2017 Zalando SE, https://tech.zalando.com" in (folder / "LICENSE").read_text()
    assert "Permission is hereby granted, free of charge" in (folder / "LICENSE").read_text()
    assert all(path.stat().st_size < 900_000 for path in folder.iterdir())


@needs_real
def test_the_bundled_subset_is_made_by_its_script(monkeypatch, tmp_path):
    monkeypatch.setenv("SNNBOOK_DATA", str(REAL))
    spec = importlib.util.spec_from_file_location("make_subset", ROOT / "tools" / "make_subset.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.make(tmp_path / "made")
    bundled = ROOT / "snnbook" / "data" / "fashion_mnist_subset"
    for files in SOURCES["fashion_mnist_subset"].files.values():
        for file in (f"{name}.gz" for name in files):
            # another zlib may pack the same content in other bytes
            assert parts(tmp_path / "made" / file) == parts(bundled / file)


@needs_real
@pytest.mark.parametrize(("name", "first"), [("fashion_mnist", [9, 0, 0, 3, 0]), ("mnist", [5, 0, 4, 1, 9])])
def test_the_real_files(monkeypatch, name, first):
    monkeypatch.setenv("SNNBOOK_DATA", str(REAL))
    train = datasets.load(name, "train")
    test = datasets.load(name, "test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels[:5].tolist() == first
    scaled = train.images.double() / 255
    wanted = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}[name]
    assert (scaled.mean().item(), scaled.std().item()) == pytest.approx(wanted, abs=1e-4)
    assert all(row.state == "ok" for row in datasets.check() if row.name == name)


def test_the_reader_needs_torch_and_numpy_alone():
    code = (
        "import sys, snnbook.datasets; "
        "print([name for name in ('pooch', 'platformdirs', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
