"""Sphinx extension of the book: what the first page says in numbers, counted or read when the page is built.

- The role `count` gives the number of chapters or exercises, or the hours that they take.
- The role `accuracy` gives an experiment's test accuracy from the records in results/.
- The directive `book-citation` shows how to cite the book and its paper, from CITATION.cff.
- The directive `book-source` says where the project can be fetched.
"""

import importlib.util
from pathlib import Path

import nbformat
import teaching
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

CHAPTERS = "[0-9]*.ipynb"
SPACE = "\N{NO-BREAK SPACE}"
HALVES = ("", "½")
AUTHORS_APART = " and\n    "


def setup(app: Sphinx) -> dict:
    app.add_role("count", Count())
    app.add_role("accuracy", Accuracy())
    app.add_directive("book-citation", Citation)
    app.add_directive("book-source", Source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Count(SphinxRole):
    """The number of chapters, of exercises, or of hours for both, such as {count}`chapters`."""

    def run(self) -> tuple[list[nodes.Node], list]:
        counts = count(Path(self.env.srcdir))
        if self.text not in counts:
            raise ExtensionError(f"count: {self.text!r} is none of {', '.join(counts)}")
        return [nodes.Text(counts[self.text])], []


def count(folder: Path) -> dict[str, str]:
    """Return a book's numbers of chapters, exercises and hours, as texts."""
    efforts = [teaching.effort(nbformat.read(path, as_version=4)) for path in sorted(folder.glob(CHAPTERS))]
    minutes = sum(read for read, _ in efforts)
    exercises = sum(number for _, number in efforts)
    return {
        "chapters": str(len(efforts)),
        "exercises": str(exercises),
        "reading": hours(minutes),
        "solving": hours(exercises * teaching.MINUTES_AN_EXERCISE),
    }


def hours(minutes: int) -> str:
    """Return a duration in hours and halves, such as "5½ hours"."""
    whole, half = divmod(round(minutes / 30), 2)
    number = f"{whole or ''}{HALVES[half]}" or "0"
    return f"{number}{SPACE}hours"


class Accuracy(SphinxRole):
    """A mean test accuracy over the seeds, such as {accuracy}`fashion_mnist_tet, 100 epochs, last`."""

    def run(self) -> tuple[list[nodes.Node], list]:
        experiment, epochs, which = (part.strip() for part in self.text.split(","))
        return [nodes.Text(f"{accuracy(experiment, int(epochs.split()[0]), which):.0f}{SPACE}%")], []


def accuracy(experiment: str, epochs: int, which: str) -> float:
    """Return a mean test accuracy, %.

    Args:
        experiment: name of a row of the tables
        epochs: length of the schedule
        which: "best", "crossed" or "last", as the columns of the tables
    Raises:
        ExtensionError: if no run is on file
    """
    # Only the first page needs the package, which takes seconds to import.
    from snnbook.book import filed
    from snnbook.results import tables

    for group in tables.groups(filed.on_file(), experiment):
        if group.epochs == epochs and group.results:
            return getattr(group, which).mean
    raise ExtensionError(f"accuracy: results/ has no run of {experiment} with {epochs} epochs")


def citation() -> dict:
    """Return the content of CITATION.cff, which is beside the package."""
    package = Path(importlib.util.find_spec("snnbook").origin).parent
    return yaml.safe_load((package.parent / "CITATION.cff").read_text(encoding="utf-8"))


def bibtex(cited: dict) -> str:
    """Write CITATION.cff as two entries of BibTeX: the paper, and the book."""
    paper = cited["preferred-citation"]
    authors = AUTHORS_APART.join(f"{each['family-names']}, {each['given-names']}" for each in paper["authors"])
    first = paper["authors"][0]["family-names"].lower()
    entries = [
        entry(
            "inproceedings",
            f"{first}{paper['year']}loss",
            author=authors,
            title=paper["title"],
            booktitle=paper["collection-title"],
            volume=paper["volume"],
            year=paper["year"],
        ),
        entry(
            "software",
            "snnbook",
            author="{" + " and ".join(each["name"] for each in cited["authors"]) + "}",
            title=cited["title"],
            version=cited["version"],
            license=cited["license"],
        ),
    ]
    return "\n\n".join(entries)


def entry(kind: str, key: str, **fields: object) -> str:
    """Write one entry of BibTeX."""
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


class Citation(SphinxDirective):
    """How to cite the book and its paper, to copy."""

    def run(self) -> list[nodes.Node]:
        text = bibtex(citation())
        block = nodes.literal_block(text, text)
        block["language"] = "bibtex"
        return [block]


class Source(SphinxDirective):
    """Where the project can be fetched: its address, or its content where no address is known."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        address = self.config.html_theme_options.get("repository_url")
        paragraph = nodes.paragraph()
        if address:
            link = nodes.reference("", address, refuri=address)
            paragraph += [nodes.Text("The project is at "), link, nodes.Text(". ")]
        parsed = self.parse_text_to_nodes("\n".join(self.content))
        paragraph += [child for block in parsed for child in block.children]
        return [paragraph]
