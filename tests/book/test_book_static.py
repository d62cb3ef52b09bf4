"""The book's build: what it bakes, numbers, links and refuses."""

import re
from types import SimpleNamespace

import nbformat
import pytest

from snnbook.book import shown

from .build import build, lay_out
from .demo import notebook


def faults(book_static, page):
    inspector = book_static.PageInspector()
    inspector.feed(page)
    return inspector.faults


@pytest.mark.parametrize(
    "page",
    [
        '<img src="a.png">',
        '<img src="a.png" alt="">',
        '<img src="a.png" alt="  ">',
        '<img src="a.png" alt="_images/a1b2.png">',
        '<script src="https://cdn.example/x.js"></script>',
        '<script src="//cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="http://cdn.example/x.css">',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_a_page_with_a_fault(book_static, page):
    assert len(faults(book_static, f"<body><p>text</p>{page}</body>")) == 1


def test_a_page_without_faults(book_static):
    page = """<link rel="stylesheet" href="_static/x.css"><link rel="search" href="https://example.org/search">
    <script src="_static/x.js"></script><a href="https://example.org">elsewhere</a>
    <img src="data:image/svg+xml;base64,PHN2" alt="A line that ends in x.png and rises.">
    <script>const text = '<img src="https://example.org/a.png">';</script>"""
    assert faults(book_static, page) == []


def test_the_extension_sets_the_variable_that_the_package_reads(book_static):
    assert book_static.BAKE == shown.BAKE


def test_the_hash_follows_every_source_file(book_static, tmp_path, monkeypatch):
    package = tmp_path / "snnbook"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1\n")
    monkeypatch.setattr(
        book_static.importlib.util, "find_spec", lambda name: SimpleNamespace(origin=package / "__init__.py")
    )
    seen = [book_static.package_hash()]
    for change in (
        lambda: (package / "__init__.py").write_text("a = 2\n"),
        lambda: (package / "explore.js").write_text("1\n"),
        lambda: (package / "explore.js").rename(package / "other.js"),
        lambda: (package / "raster.css").write_text("p {}\n"),
        lambda: (package.parent / "results").mkdir() or (package.parent / "results" / "run.jsonl").write_text("1\n"),
    ):
        change()
        seen.append(book_static.package_hash())
    (package / "notes.txt").write_text("not code")
    assert len(set(seen)) == len(seen)
    assert book_static.package_hash() == seen[-1]


def test_numbers_follow_the_chapter(book_static):
    titles = {"index": "Start", "three": "3. Rates", "four": "4. Counts", "a": "A. Notation", "notes": "Notes"}
    env = SimpleNamespace(
        titles={page: SimpleNamespace(astext=lambda title=title: title) for page, title in titles.items()},
        toc_fignumbers={
            "index": {"displaymath": {"e0": (1,)}},
            "three": {"displaymath": {"e1": (2,), "e2": (3,)}, "theorem": {"t1": (1,)}},
            "four": {"displaymath": {"e3": (4,)}, "theorem": {"t2": (2,)}},
            "a": {"displaymath": {"e4": (5,)}},
            "notes": {"displaymath": {"e5": (6,)}},
        },
    )
    assert set(book_static.number_by_chapter(None, env)) == set(titles)
    given = {
        label: n for kinds in env.toc_fignumbers.values() for numbers in kinds.values() for label, n in numbers.items()
    }
    assert given == {
        "e0": (1,),
        "e1": ("3", 1),
        "e2": ("3", 2),
        "t1": ("3", 1),
        "e3": ("4", 1),
        "t2": ("4", 1),
        "e4": ("A", 1),
        "e5": (2,),
    }


@pytest.fixture(scope="module")
def demo_book(tmp_path_factory):
    pages = {"index.md": "# Start\n\n[On](demo.ipynb)\n", "demo.ipynb": nbformat.writes(notebook())}
    book = lay_out(tmp_path_factory.mktemp("demo"), pages)
    return book, build(book)


@pytest.mark.slow
def test_a_book_builds_without_warnings(demo_book):
    book, done = demo_book
    assert done.returncode == 0, done.stdout
    assert (book / "_build/html/mathjax/tex-svg.js").stat().st_size > 1_000_000


@pytest.mark.slow
def test_what_a_built_page_holds(demo_book):
    page = (demo_book[0] / "_build/html/demo.html").read_text()
    assert page.count('class="snn-figure snn-explore"') == 1
    assert page.count('class="snn-picture') == 2
    assert page.count("<b>Figure 4.") == 2
    assert '<figure id="fig-4-1" class="snn-figure snn-explore">' in page
    assert "<b>Figure 4.1.</b> Watch τ<sub>m</sub>.</figcaption>" in page
    assert '<figure id="fig-4-2" class="snn-figure">' in page
    assert "<b>Figure 4.2.</b> Less &lt; more.</figcaption>" in page
    assert "Theorem 4.1" in page
    assert "Exercise 4.1" in page
    assert 'href="#equation-eq-response" title="equation (4.1)">eq-response</a>' in page
    assert "mathjax/tex-svg.js" in page
    assert "thebe.js" not in page
    assert "0.488889" in page
    assert not re.search(r'<(script|img|link|iframe)[^>]*(src|href)="(https?:)?//', page)


@pytest.mark.slow
def test_a_second_build_runs_no_cell_again(demo_book):
    book, _ = demo_book
    caches = list((book / "_build/.jupyter_cache").iterdir())
    before = {path: path.stat().st_mtime_ns for path in (book / "_build/.jupyter_cache").rglob("base.ipynb")}
    assert len(caches) == len(before) == 1
    done = build(book)
    assert done.returncode == 0, done.stdout
    assert {path: path.stat().st_mtime_ns for path in (book / "_build/.jupyter_cache").rglob("base.ipynb")} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("# Start\n\n<img src='_static/x.png'>\n", "index: a picture has no alt text"),
        ("# Start\n\n<script src='https://cdn.example/x.js'></script>\n", "loads https://cdn.example/x.js"),
        ("# Start\n\n{eq}`eq-nowhere`\n", "equation not found: eq-nowhere"),
    ],
)
def test_a_book_with_a_fault_does_not_build(tmp_path, page, said):
    done = build(lay_out(tmp_path, {"index.md": page}))
    assert done.returncode != 0
    assert said in done.stdout
