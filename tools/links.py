"""Where the built book's links lead: every one within it must arrive, every one out of it must be well formed.

`python tools/links.py` prints the links out of the book, each with the pages that have it, and what is wrong. No
network is used: whether a page elsewhere is still there, it does not say.
"""

import argparse
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HTML = Path(__file__).resolve().parents[1] / "book" / "_build" / "html"
OUTWARD = re.compile(r"https://(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[\w./~:?#@!$&'()*+,;=%-]*)?", re.I)
INSIDE_A_MACHINE = re.compile(r"https?://(localhost|127\.|0\.0\.0\.0|10\.|192\.168\.|\[)|file:|[a-z]:\\", re.I)
TEMPLATES = "_static"  # the theme leaves templates among its files: no pages
LEADS_NOWHERE = ("data:", "javascript:", "mailto:", "blob:")  # no page behind these


@dataclass
class Page(HTMLParser):
    """What one page links to, and the places in it that a link may name.

    Args:
        links: every href and src, as written
        places: every id and name
    """

    links: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [given[name] for name in ("href", "src") if given.get(name)]
        self.places |= {given[name] for name in ("id", "name") if given.get(name)}


@cache
def read(path: Path) -> Page:
    """One page, read once."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def fault_within(page: Path, link: str, root: Path) -> str | None:
    """What is wrong with a link to a file or a place within the book; None where it arrives.

    Args:
        page: that has the link
        root: the book's folder, which no link may leave: it must work wherever the folder is put
    """
    parts = urlsplit(link)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if parts.path.startswith("/") or not target.is_relative_to(root):
        return "leaves the book's folder"
    if parts.path.endswith("/") or not target.is_file():
        return "there is no such file"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).places:
        return "the page has no such place"
    return None


def fault_outward(link: str) -> str | None:
    """What is wrong with the form of a link out of the book; None where it is well formed."""
    if INSIDE_A_MACHINE.match(link):
        return "leads into one machine"
    return None if OUTWARD.fullmatch(link) else "is no https address"


def follow(root: Path = HTML) -> tuple[dict[str, list[str]], list[str], int]:
    """All links of a built book.

    Returns:
        links out of the book with the pages that have them; faults, one line each; how many links stay within
    """
    root = root.resolve()
    outward, faults, within = defaultdict(list), [], 0
    for path in sorted(root.rglob("*.html")):
        name = path.relative_to(root).as_posix()
        if name.startswith(TEMPLATES):
            continue
        for link in dict.fromkeys(read(path).links):
            if link.startswith(LEADS_NOWHERE) or link == "#":
                continue
            if "://" in link or link.startswith("//"):
                outward[link].append(name)
                fault = fault_outward(link)
            else:
                within += 1
                fault = fault_within(path, link, root)
            faults += [f"{name}: {link} {fault}"] if fault else []
    return dict(sorted(outward.items())), faults, within


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=HTML, help="default: book/_build/html")
    folder = parser.parse_args(arguments).folder
    if not (folder / "index.html").is_file():
        print(f"{folder} holds no built book: run make book first", file=sys.stderr)
        return 2
    outward, faults, within = follow(folder)
    for link, pages in outward.items():
        print(f"{link}  ({', '.join(page.removesuffix('.html') for page in pages)})")
    print(f"{within} links within the book, {len(outward)} out of it, {len(faults)} faults")
    print(*faults, sep="\n", file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
