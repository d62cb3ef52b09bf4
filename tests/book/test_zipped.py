"""The book as one file: it has every page, opens in another folder, and the same book gives the same bytes."""

import os
import zipfile
from pathlib import Path

import pytest

from .browser import HTML, ROOT
from .conftest import load
from .expected import PAGES


@pytest.fixture(scope="module")
def zipped():
    return load(ROOT / "tools" / "zipped.py")


@pytest.fixture
def html(tmp_path):
    folder = tmp_path / "html"
    (folder / "_static").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>Start</h1>")
    (folder / "_static" / "a.css").write_text("p {}")
    (folder / ".buildinfo").write_text("not for readers")
    (folder / "_static" / "a.css.map").write_text("not for readers either")
    return folder


def test_what_is_in_it(zipped, html, tmp_path):
    target = tmp_path / "book.zip"
    assert zipped.pack(html, target) == target.stat().st_size
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == [f"{zipped.FOLDER}/_static/a.css", f"{zipped.FOLDER}/index.html"]
        assert archive.read(f"{zipped.FOLDER}/index.html") == b"<h1>Start</h1>"
    first = target.read_bytes()
    os.utime(html / "index.html", (1e9, 1e9))
    zipped.pack(html, target)
    assert target.read_bytes() == first


def test_nothing_half_written(zipped, html, tmp_path, monkeypatch):
    target = tmp_path / "book.zip"
    target.write_text("the one before")
    monkeypatch.setattr(Path, "read_bytes", lambda self: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        zipped.pack(html, target)
    monkeypatch.undo()
    assert target.read_text() == "the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.zip", "html"]


def test_without_a_book(zipped, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zipped, "BUILD", tmp_path)
    assert zipped.main([str(tmp_path / "book.zip")]) == 2
    assert capsys.readouterr().err.endswith("holds no built book: run make book first\n")


@pytest.mark.browser
def test_the_book_opens_where_it_is_unpacked(zipped, chromium, tmp_path):
    """Every link arrives in the unpacked copy, and a browser without a network opens it without complaint."""
    target = tmp_path / "book.zip"
    assert zipped.pack(HTML, target) < 40e6
    zipfile.ZipFile(target).extractall(tmp_path / "a folder")
    book = tmp_path / "a folder" / zipped.FOLDER
    assert load(ROOT / "tools" / "links.py").follow(book)[1] == []
    assert {path.stem for path in book.glob("*.html")} >= set(PAGES)

    context = chromium.new_context(offline=True)
    page = context.new_page()
    complaints = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((book / "index.html").as_uri())
    page.wait_for_selector("figure.snn-raster[data-state]")
    page.click("text=5. First spikes and the zero sum")
    page.wait_for_selector("figure.snn-explore input")
    page.wait_for_function("document.querySelectorAll('mjx-container').length > 10")
    assert complaints == []
    context.close()
