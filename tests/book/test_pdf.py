"""The book as one PDF file: Chromium prints it with bookmarks and page numbers, or one line says what is missing."""

import re
import shutil
import subprocess
import sys

import pytest

from . import browser
from .browser import ROOT
from .conftest import load


@pytest.fixture(scope="module")
def pdf():
    return load(ROOT / "tools" / "pdf.py")


@pytest.fixture
def one_page(pdf, tmp_path, monkeypatch):
    """A page with an outline and a stand-in for MathJax, which counts what is asked of it."""
    page = tmp_path / "index.html"
    page.write_text(
        "<!doctype html><html lang=en><title>Book</title><h1>A book</h1><h2>One</h2><p>Text</p><h2>Two</h2>"
        "<script>window.MathJax = {startup: {promise: Promise.resolve(), document: "
        "{lazyTypesetAll: async () => { document.querySelector('p').style.height = '3000px'; }}}}</script>"
    )
    monkeypatch.setattr(pdf, "ONE_PAGE", page)
    return page


@pytest.mark.browser
def test_a_page_becomes_a_file_with_bookmarks(one_page, tmp_path):
    if shutil.which("chromium") is None:
        browser.missing("there is no chromium on the path")
    target = tmp_path / "book.pdf"
    # In a process of its own: one process can drive but one browser.
    code = f"import pathlib, pdf; pdf.print_page(pathlib.Path({str(one_page)!r}), pathlib.Path({str(target)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tools", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    data = target.read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"/Outlines" in data
    assert len(re.findall(rb"/Type */Page\b", data)) > 2  # what was set late is there, too
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_without_the_page_one_line(pdf, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pdf, "ONE_PAGE", tmp_path / "nothing.html")
    assert pdf.main([str(tmp_path / "book.pdf")]) == 2
    assert "run make pdf" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_a_browser_one_line(pdf, one_page, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert pdf.main([str(tmp_path / "book.pdf")]) == 2
    assert "install one of chromium" in capsys.readouterr().err
