"""Links of the built pages, and of the texts beside them: within the book they arrive, out of it they have form."""

import re

import pytest

from .browser import HTML, ROOT
from .conftest import load
from .expected import PAGES

TEXTS = [path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "results").glob("*.md"))]


@pytest.fixture(scope="module")
def links():
    return load(ROOT / "tools" / "links.py")


@pytest.fixture
def folder(tmp_path):
    """A book of two pages; `write` puts a link into the first."""
    (tmp_path / "two.html").write_text('<h1 id="a-b">Two</h1><a href="index.html#">up</a><img src="a%20b.png">')
    (tmp_path / "a b.png").touch()
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "template.html").write_text('<a href="{{ no }}">')

    def write(link):
        (tmp_path / "index.html").write_text(f'<p id="here"><a href="{link}">a link</a></p>')
        return tmp_path

    return write


@pytest.mark.parametrize(
    "link",
    ["two.html", "two.html#a-b", "two.html?q=1#a-b", "#here", "#", "mailto:me@example.org", "_static/template.html"],
)
def test_a_link_that_arrives(links, folder, link):
    outward, faults, within = links.follow(folder(link))
    assert (outward, faults) == ({}, [])
    assert within >= 2


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("three.html", "there is no such file"),
        ("two.html#c", "the page has no such place"),
        ("#equation-eq-nowhere", "the page has no such place"),
        ("../two.html", "leaves the book's folder"),
        ("/two.html", "leaves the book's folder"),
        ("two.html/", "there is no such file"),
        ("http://example.org/a", "is no https address"),
        ("//example.org/a", "is no https address"),
        ("https://example.org/a b", "is no https address"),
        ("https://example", "is no https address"),
        ("http://localhost:8888/lab", "leads into one machine"),
        ("https://127.0.0.1/", "leads into one machine"),
        ("file:///home/me/a.html", "leads into one machine"),
    ],
)
def test_a_link_that_does_not(links, folder, link, said, capsys):
    root = folder(link)
    assert links.follow(root)[1] == [f"index.html: {link} {said}"]
    assert links.main([str(root)]) == 1
    assert capsys.readouterr().err == f"index.html: {link} {said}\n"


def test_links_out_of_the_book_are_listed(links, folder, capsys):
    assert links.main([str(folder("https://example.org/~me/a(1).html?b=c&d#e"))]) == 0
    assert capsys.readouterr().out == (
        "https://example.org/~me/a(1).html?b=c&d#e  (index)\n2 links within the book, 1 out of it, 0 faults\n"
    )


def test_a_folder_without_a_book(links, tmp_path, capsys):
    assert links.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("holds no built book: run make book first\n")


def test_every_link_of_the_built_book(links):
    if not (HTML / "index.html").exists():
        pytest.skip("the book is not built: run make book first")
    outward, faults, within = links.follow(HTML)
    assert faults == []
    assert within > 1000
    cited = re.compile(r'href="[^"]*#equation-')
    assert sum(len(cited.findall((HTML / f"{name}.html").read_text(encoding="utf-8"))) for name in PAGES) > 200
    print(*outward, sep="\n")


@pytest.mark.parametrize("text", TEXTS, ids=str)
def test_every_link_of_the_texts_beside_the_book(links, text):
    """README and the like, as a page of a repository's host shows them."""
    source = re.sub(r"```.*?```", "", (ROOT / text).read_text(encoding="utf-8"), flags=re.S)
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", source, re.M)
    }
    for link in re.findall(r"\]\(([^)\s]+)\)", source):
        path, _, place = link.partition("#")
        if "://" in link:
            assert links.external_fault(link) is None, link
        else:
            assert not path or (ROOT / text).parent.joinpath(path).exists(), link
            assert path or place in headings, link
