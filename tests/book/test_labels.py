"""Code and book cite the same equations: every label in the package is in the book, once."""

import re
from collections import Counter

import nbformat

from .browser import ROOT

CITED = re.compile(r"\((eq-[\w-]+)\)")
DEFINED = re.compile(r"^\$\$ \((eq-[\w-]+)\)\s*$|^:label: (eq-[\w-]+)\s*$", re.M)
REFERRED = re.compile(r"\{eq\}`(eq-[\w-]+)`")


def pages():
    """The text of every page of the book, by file name."""
    found = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")}
    for path in (ROOT / "book").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        found[path.name] = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return found


def defined():
    return Counter(found[1] or found[2] for text in pages().values() for found in DEFINED.finditer(text))


def test_every_equation_that_the_package_cites_is_in_the_book():
    cited = {
        label: path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "snnbook").rglob("*.py"))
        for label in CITED.findall(path.read_text(encoding="utf-8"))
    }
    assert len(cited) > 10
    assert {label: where for label, where in cited.items() if label not in defined()} == {}


def test_every_equation_that_a_page_refers_to_is_in_the_book_once():
    assert {label for text in pages().values() for label in REFERRED.findall(text)} - set(defined()) == set()
    assert {label: count for label, count in defined().items() if count > 1} == {}
