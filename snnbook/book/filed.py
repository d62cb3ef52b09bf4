"""Tables and figures from the records in results/.

A notebook is committed with its cells' texts, which must not change when a record is added. So everything here has a
fixed text, and its content is made when the page is built.
"""

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import results
from ..results import render
from ..results.render import Table
from .elements import element
from .shown import Shown, Still

ROOT = Path(__file__).parents[2] / "results"
"""The records beside the package's sources."""

RUNS_PAGE = "09_the_tables.html"
"""The page that lists all runs."""


def on_file(root: str | Path = ROOT) -> list[results.Result]:
    """Load all records."""
    return results.load(root)


def to_run(run: str) -> str:
    """Return the address of a run in the list of all runs, from any page of the book."""
    return RUNS_PAGE + render.anchor(run)


def to_record(run: str) -> str:
    """Return the address of a run's record, which the build copies into the book."""
    # A record is named after its run. Reading all records for each of a table's rows would take a minute.
    (path,) = ROOT.glob(f"*/{glob.escape(run)}.jsonl")
    return f"results/{path.relative_to(ROOT).as_posix()}"


class Sheet(Shown):
    """A table of results; see `sheet`."""

    def __init__(self, table: Table, link: Callable[[str], str], targets: bool) -> None:
        self.table = table
        self.link = link
        self.targets = targets

    def __repr__(self) -> str:
        return f"from the records: {self.table.title}"

    def html(self) -> str:
        name = "snn-sheet snn-runs" if self.targets else "snn-sheet"
        return element("div", {"class": name}, render.to_html(self.table, self.link, self.targets))


def sheet(table: Table, link: Callable[[str], str] = to_run, targets: bool = False) -> Sheet:
    """Show a table of results, as the last line of a cell.

    Args:
        table: such as `tables.build("3", on_file())`
        link: run's name -> address
        targets: whether links from other tables lead to its rows
    """
    return Sheet(table, link, targets)


class Growing(Shown):
    """A figure whose content depends on records, or on a training run; see `growing`."""

    def __init__(self, inner: Shown, text: str) -> None:
        self.inner = inner
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def html(self) -> str:
        return self.inner.html()

    def still(self) -> Still | None:
        return self.inner.still()

    def live(self) -> Any:
        return self.inner.live()


def growing(inner: Shown, text: str) -> Growing:
    """Show a figure under a fixed text, where its own description has numbers that differ from machine to machine.

    Args:
        inner: what `figure` or `explore` returned
        text: for the committed notebook, instead of the figure's description
    """
    return Growing(inner, text)
