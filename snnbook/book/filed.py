"""What the book shows of the records in results/: tables whose cells link to runs, and figures that grow with them.

A notebook is committed with its cells' texts, which must not change when a record is added. So what is shown here has
a fixed text, and the rest is made when the page is built.
"""

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import results
from ..results import render
from ..results.render import Table
from .shown import bundle, html_widget

ROOT = Path(__file__).parents[2] / "results"
"""The records beside the package's sources."""

RUNS_PAGE = "09_the_tables.html"
"""The page that lists all runs."""


def on_file(root: str | Path = ROOT) -> list[results.Result]:
    """All records."""
    return results.load(root)


def to_run(run: str) -> str:
    """Address of a run in the list of all runs, from any page of the book."""
    return RUNS_PAGE + render.anchor(run)


def to_record(run: str) -> str:
    """Address of a run's record; the build puts the records beside the pages."""
    # A record is named after its run. Reading all records for each of a table's rows would take a minute.
    (path,) = ROOT.glob(f"*/{glob.escape(run)}.jsonl")
    return f"results/{path.relative_to(ROOT).as_posix()}"


class Sheet:
    """A table of results; see `sheet`."""

    def __init__(self, table: Table, link: Callable[[str], str], targets: bool) -> None:
        self.table, self.link, self.targets = table, link, targets

    def __repr__(self) -> str:
        return f"from the records: {self.table.title}"

    def html(self) -> str:
        """The table as it stands in a page."""
        return f'<div class="snn-sheet">{render.to_html(self.table, self.link, self.targets)}</div>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return bundle(repr(self), self.html, lambda: html_widget(self.html()))


def sheet(table: Table, link: Callable[[str], str] = to_run, targets: bool = False) -> Sheet:
    """Show a table of results, as the last line of a cell.

    Args:
        table: such as `tables.build("3", on_file())`
        link: run's name -> address
        targets: whether its rows are what links from other tables lead to
    """
    return Sheet(table, link, targets)


class Growing:
    """A figure whose content depends on records, or on a training; see `growing`."""

    def __init__(self, inner: Any, text: str) -> None:
        self.inner, self.text = inner, text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {**self.inner._repr_mimebundle_(include, exclude), "text/plain": self.text}


def growing(inner: Any, text: str) -> Growing:
    """Show a figure under a fixed text: its own words tell numbers that differ from machine to machine.

    Args:
        inner: what `figure` or `explore` gave
        text: for the committed notebook, in place of the figure's words
    """
    return Growing(inner, text)
