"""Folders for kernels: those in use stay where they can be written to, others are replaced."""

import os

import pytest

from snnbook.book import kernels
from snnbook.errors import UserError


@pytest.fixture(autouse=True)
def environment():
    """A copy of the environment that `prepare` may change."""
    copy = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(copy)


def test_folders_that_can_be_written_to_stay(monkeypatch, tmp_path):
    for name in kernels.FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / name))
    kernels.prepare()
    assert {name: os.environ[name] for name in kernels.FOLDERS} == {n: str(tmp_path / n) for n in kernels.FOLDERS}


@pytest.mark.parametrize("bad", ["/proc/nope", __file__, "/dev/null/folder"])
def test_others_are_replaced(monkeypatch, bad):
    for name in kernels.FOLDERS:
        monkeypatch.setenv(name, bad)
    kernels.prepare()
    for name in kernels.FOLDERS:
        assert kernels.writable(os.environ[name])


def test_no_folder_at_all_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", "/proc/nope")
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: os.mkdir("/proc/nope/x"))
    with pytest.raises(UserError, match="set TMPDIR") as raised:
        kernels.prepare()
    assert "\n" not in str(raised.value)
