"""SNNBOOK_DATA: what it may name, and what is said where it names something else."""

import os
import sys
from pathlib import Path

import pytest

from snnbook import datasets
from snnbook.__main__ import BAD, main
from snnbook.datasets import download
from snnbook.errors import UserError

from ..conftest import CLOSED
from .test_datasets import (
    TEST,
    archives,
    contents_of,
    fails,
    places,  # noqa: F401  a fixture that every test here uses
    publish,
    rows,
    small,
    write,
)


def load():
    return datasets.load("fashion_mnist", "test")


# ---- no such folder ----


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("~nosuchuser/data", ["home folder of this user is not known"]),
        ("/nowhere/data", ["there is no such folder"]),
        ("nowhere", ["there is no such folder"]),
        (" ", ["there is no such folder"]),
        ('""', ["there is no such folder"]),
        ("x" * 300, ["out of reach", "name too long"]),
        ("/dev/null", ["this is a device"]),
        ("/dev/null/data", ["there is no such folder"]),
        ("$HOME/data", ["there is no such folder", "If '{root}/data' is meant"]),
        ("${{HOME}}/data", ["there is no such folder", "If '{root}/data' is meant"]),
        ('"{root}/data"', ["there is no such folder", "If '{root}/data' is meant"]),
        ("'~/data'", ["there is no such folder", "If '{root}/data' is meant"]),
        ("{root}/data ", ["there is no such folder", "If '{root}/data' is meant"]),
        ("{root}/data\n", ["there is no such folder", "If '{root}/data' is meant"]),
        (" {root}/data", ["there is no such folder", "If '{root}/data' is meant"]),
        ("{root}/data/file.gz", ["this is a file", "If '{root}/data' is meant"]),
        ("{root}/link", ["a link that leads nowhere"]),
        ("{root}/loop", ["a link that leads nowhere"]),
        ("{root}/pipe", ["this is a pipe"]),
    ],
)
def test_a_folder_that_is_not_there_is_said(value, words, monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file.gz").write_bytes(b"")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    # what lies in the cache, or could be downloaded, is not taken in its stead
    contents = small()
    publish(monkeypatch, contents, [CLOSED])
    write(tmp_path / "cache" / "snnbook" / "fashion-mnist", contents)
    assert len(load()) == TEST
    value = value.format(root=tmp_path)
    monkeypatch.setenv("SNNBOOK_DATA", value)
    for call in (load, datasets.check, download.own_folder):
        fails(call, f"SNNBOOK_DATA is {value!r}: ", *(word.format(root=tmp_path) for word in words))
    # what comes with the package does not depend on it
    assert len(datasets.load("fashion_mnist_subset", "test")) == 1000
    assert len(datasets.check(["fashion_mnist_subset"])) == 2


def test_a_folder_may_have_any_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("data ", '"data"', "$HOME", "~nosuchuser", "a\nb", "ä \x1b[31m"):
        write(tmp_path / name / "fashion-mnist", small())
        monkeypatch.setenv("SNNBOOK_DATA", name)
        assert load().source == Path(name) / "fashion-mnist"
        assert datasets.describe(rows()["fashion_mnist", "test"]).isprintable()
    write(tmp_path / "home" / "data" / "fashion-mnist", small())
    monkeypatch.setenv("SNNBOOK_DATA", "~/data")
    assert load().source == tmp_path / "home" / "data" / "fashion-mnist"


@pytest.mark.parametrize("command", [["data", "check"], ["train", "fashion_mnist", "--epochs", "1", "--out", "run"]])
def test_the_command_ends_with_one_line(command, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
    monkeypatch.setenv("SNNBOOK_DATA", "~nosuchuser/data")
    assert main(command) == BAD
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("snnbook: SNNBOOK_DATA is '~nosuchuser/data': ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_home_folder(monkeypatch, tmp_path):
    """There is no cache folder then: files of one's own are taken, and one line says so where there are none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name, appauthor: f"~/.cache/{name}")
    fails(load, "there is no cache folder", "HOME", "SNNBOOK_DATA")
    assert "there is no cache folder" in rows()["mnist", "test"].note
    monkeypatch.setenv("SNNBOOK_DATA", str(tmp_path / "own"))
    write(tmp_path / "own" / "fashion-mnist", small())
    assert len(load()) == TEST
    assert {path.name for path in tmp_path.iterdir()} == {"own"}


# ---- the folder itself ----


@pytest.mark.parametrize(
    ("named", "holds"),
    [
        ("fashion-mnist", "."),
        ("fashion_mnist", "."),
        ("FashionMNIST", "raw"),
        ("FashionMNIST/raw", "."),
        ("deep/FashionMNIST/raw/", "."),
    ],
)
def test_a_data_sets_own_folder_may_be_named(named, holds, monkeypatch, tmp_path):
    """Its name says which data set it is: its files may differ from the published ones."""
    write(tmp_path / named / holds, small())
    monkeypatch.setenv("SNNBOOK_DATA", f"{tmp_path}/{named}")
    assert load().source == tmp_path / named / holds
    assert rows()["fashion_mnist", "test"].state == "differs"
    assert rows()["mnist", "test"].state == "missing"
    monkeypatch.chdir(tmp_path / named)
    monkeypatch.setenv("SNNBOOK_DATA", ".")
    assert len(load()) == TEST


def test_published_files_are_taken_from_a_folder_of_any_name(monkeypatch, tmp_path):
    """MNIST's and Fashion-MNIST's files have the same names: checksums tell them apart."""
    fashion = small(0)
    digits = small(1)
    publish(monkeypatch, fashion, [CLOSED])
    publish(monkeypatch, digits, [CLOSED], "mnist")
    folder = write(tmp_path / "downloads", fashion)
    monkeypatch.setenv("SNNBOOK_DATA", str(folder))
    assert load().source == folder
    assert rows()["fashion_mnist", "train"].state == "ok"
    note = rows()["mnist", "train"].note
    assert f"{folder} (not mnist's published train-images-idx3-ubyte.gz; files of your own go into 'mnist')" in note
    fails(lambda: datasets.load("mnist", "train"), "not mnist's published train-images-idx3-ubyte.gz")
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b")
    fails(load, "t10k-labels-idx1-ubyte.gz is cut short")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    fails(load, f"{folder} (lacks t10k-labels-idx1-ubyte.gz)")
    os.mkfifo(folder / "t10k-labels-idx1-ubyte.gz")
    fails(load, f"{folder} (t10k-labels-idx1-ubyte.gz is a pipe)")
    # files in the data set's folder come first, whatever they are
    write(folder / "fashion-mnist", small(2))
    assert load().source == folder / "fashion-mnist"


def test_archives_are_taken_from_the_folder_itself(monkeypatch, tmp_path):
    made = archives(tmp_path)
    for name, folder in made.items():
        monkeypatch.setenv("SNNBOOK_DATA", str(folder))
        assert datasets.load(name, "test").source == folder
        other = folder.rename(folder.with_name(f"any-{name}"))
        monkeypatch.setenv("SNNBOOK_DATA", str(other))
        with pytest.raises(UserError, match="published"):
            datasets.load(name, "test")
        publish(monkeypatch, contents_of(other), [CLOSED], name)
        assert datasets.load(name, "test").source == other
