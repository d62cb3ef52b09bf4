"""Other forms of the book: one page, a folder a page, an EPUB; and what cannot be built says so in one sentence."""

import re
import subprocess
import sys

import nbformat
import pytest

from .build import COMMAND, lay_out
from .conftest import ROOT, load
from .demo import notebook

LINK = '<a href="demo.html#theorem-demo">a run</a> <a href="results/paper/x.jsonl">its record</a>'
START = f"# Start\n\n[On](demo.ipynb), {{eq}}`eq-response`, {{ref}}`exercise-demo`.\n\n{LINK}\n"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    pages = {"index.md": START, "demo.ipynb": nbformat.writes(notebook())}
    return lay_out(tmp_path_factory.mktemp("builders"), pages)


def build(book, *words):
    """Build it with a builder; exit code, and the lines printed."""
    command = [sys.executable, "-c", COMMAND, "build", "-W", "--keep-going", "-n", *words, str(book)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout.strip().splitlines()


def hrefs(page):
    return set(re.findall(r'<a [^>]*href="([^"]*)"', page))


@pytest.mark.slow
def test_one_page(book):
    code, lines = build(book, "--builder", "singlehtml")
    assert code == 0, lines
    folder = book / "_build" / "singlehtml"
    page = (folder / "index.html").read_text()
    assert page.count('class="snn-figure snn-explore"') == 1
    assert page.count('class="snn-picture') == 2
    assert "Theorem 4.1" in page
    assert "Exercise 4.1" in page
    assert 'title="equation (4.1)">eq-response</a>' in page
    assert (folder / "mathjax" / "tex-svg.js").is_file()
    scripts = re.findall(r'<script[^>]* src="([^"]*)"', page)  # the theme's own settings mention the word
    assert not [address for address in (*scripts, *hrefs(page)) if "search" in address.lower()]
    assert 'type="search"' not in page
    assert re.search(r'logo__title">Spikes that learn', page)
    places = set(re.findall(r'\bid="([^"]+)"', page))
    for link in hrefs(page):
        target, _, place = link.partition("#")
        assert target in ("", "index.html") or target.startswith(("http", "results/")), link
        assert place in places | {""}, link


@pytest.mark.slow
def test_a_folder_a_page(book):
    code, lines = build(book, "--builder", "dirhtml")
    assert code == 0, lines
    folder = book / "_build" / "dirhtml"
    assert {"demo/#theorem-demo", "results/paper/x.jsonl"} <= hrefs((folder / "index.html").read_text())
    assert "snn-explore" in (folder / "demo" / "index.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("words", [("latex",), ("custom", "--custom-builder", "epub")])
def test_other_builders_that_work(book, words):
    code, lines = build(book, "--builder", *words)
    assert code == 0, lines


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pdfhtml",), "pdfhtml would write over the pages in _build/html; instead, build with --builder singlehtml"),
        (("custom", "--custom-builder", "text"), "the builder text cannot show this book's theorems"),
        (("custom", "--custom-builder", "gettext"), "the builder gettext cannot show this book's theorems"),
        (("custom", "--custom-builder", "nosuch"), "take one of html, dirhtml, singlehtml, latex"),
    ],
)
def test_a_builder_that_cannot_says_so_in_one_sentence(book, words, said):
    code, lines = build(book, "--builder", *words)
    assert code == 1
    assert said in lines[-1]
    assert "Traceback" not in "\n".join(lines)
    assert not (book / "_build" / "html" / "index.html").exists()


def test_pdflatex_without_tex_says_so(monkeypatch):
    builders = load(ROOT / "book" / "_ext" / "builders.py")
    monkeypatch.setattr(builders.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="pdflatex needs latexmk and a TeX installation"):
        builders.refuse("pdflatex")
    monkeypatch.setattr(builders.shutil, "which", lambda name: f"/usr/bin/{name}")
    builders.refuse("pdflatex")
