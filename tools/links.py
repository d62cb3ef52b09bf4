"""Check the built book's links: internal ones must arrive, external ones must be well formed.

`python tools/links.py` prints the external links, each with the pages that have it, and the faults. It uses no
network, so it cannot say whether an external page still exists.
"""

import argparse
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

HTML = Path(__file__).resolve().parents[1] / "book" / "_build" / "html"
EXTERNAL = re.compile(r"https://(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[\w./~:?#@!$&'()*+,;=%-]*)?", re.I)
INSIDE_A_MACHINE = re.compile(r"https?://(localhost|127\.|0\.0\.0\.0|10\.|192\.168\.|\[)|file:|[a-z]:\\", re.I)

TEMPLATES = "_static"
"""Folder in which the theme leaves HTML templates, which are no pages."""

NOT_PAGES = ("data:", "javascript:", "mailto:", "blob:")
"""Beginnings of links that lead to no page."""


@dataclass
class Page(HTMLParser):
    """The links of one page, and the anchors in it that a link may name.

    Args:
        links: every href and src, as written
        anchors: every id and name
    """

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}


@cache
def read(path: Path) -> Page:
    """Read a page, once."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def internal_fault(page: Path, link: str, root: Path) -> str | None:
    """Return what is wrong with a link inside the book; None if it arrives.

    Args:
        page: that has the link
        link: as written
        root: folder of the book. No link may leave it, because the book must work wherever the folder is put
    """
    parts = urlsplit(link)
    target = page
    if parts.path:
        target = (page.parent / unquote(parts.path)).resolve()
    if parts.path.startswith("/") or not target.is_relative_to(root):
        return "leaves the book's folder"
    if parts.path.endswith("/") or not target.is_file():
        return "there is no such file"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).anchors:
        return "the page has no such place"
    return None


def external_fault(link: str) -> str | None:
    """Return what is wrong with the form of a link out of the book; None if it is well formed."""
    if INSIDE_A_MACHINE.match(link):
        return "leads into one machine"
    if not EXTERNAL.fullmatch(link):
        return "is no https address"
    return None


class Links(NamedTuple):
    """The links of a built book.

    Args:
        external: links out of the book, with the pages that have them
        faults: one line each
        internal: number of links inside the book
    """

    external: dict[str, list[str]]
    faults: list[str]
    internal: int


def follow(root: Path = HTML) -> Links:
    """Follow all links of a built book."""
    root = root.resolve()
    external: dict[str, list[str]] = defaultdict(list)
    faults = []
    internal = 0
    for path in sorted(root.rglob("*.html")):
        name = path.relative_to(root).as_posix()
        if name.startswith(TEMPLATES):
            continue
        for link in dict.fromkeys(read(path).links):
            if link.startswith(NOT_PAGES) or link == "#":
                continue
            if "://" in link or link.startswith("//"):
                external[link].append(name)
                fault = external_fault(link)
            else:
                internal += 1
                fault = internal_fault(path, link, root)
            if fault:
                faults.append(f"{name}: {link} {fault}")
    return Links(dict(sorted(external.items())), faults, internal)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=HTML, help="default: book/_build/html")
    folder = parser.parse_args(arguments).folder
    if not (folder / "index.html").is_file():
        print(f"{folder} holds no built book: run make book first", file=sys.stderr)
        return 2
    external, faults, internal = follow(folder)
    for link, pages in external.items():
        print(f"{link}  ({', '.join(page.removesuffix('.html') for page in pages)})")
    print(f"{internal} links within the book, {len(external)} out of it, {len(faults)} faults")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
