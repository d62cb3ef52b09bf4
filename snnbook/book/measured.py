"""The records of the benchmarks as tables: read when the page is built, never typed, and never compared by nbval."""

import html
import json
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..results import render
from ..results.render import Cell, Table
from .elements import element
from .shown import Shown

ROOT = Path(__file__).parents[2]
"""The project's folder; an installed package has neither benchmarks nor records next to it."""

NOT_YET = "not measured yet"

FIRST = "training_step"
"""The record that is shown unfolded."""


class Measured(Shown):
    """The records of the benchmarks; see `measured`."""

    def __init__(self, root: Path = ROOT) -> None:
        scripts = {path.stem for path in (root / "benchmarks").glob("*.py")} - {"__init__"}
        self.records = {path.stem: path for path in sorted((root / "results" / "benchmarks").glob("*.json"))}
        self.missing = sorted(scripts - set(self.records))

    def __repr__(self) -> str:
        return "measured: the benchmarks' records, as tables"

    def html(self) -> str:
        """Return one folded block per record, and a line per benchmark without one."""
        parts = [_folded(name, read(path)) for name, path in self.records.items()]
        parts += [element("p", {}, _bold(name), f": {NOT_YET}.") for name in self.missing]
        return element("div", {"class": "snn-measured"}, *(parts or [element("p", {}, NOT_YET)]))


def measured() -> Measured:
    """Show the records in results/benchmarks, as the last line of a cell; `not measured yet` where one is missing."""
    return Measured()


def tables(name: str, record: Any) -> list[Table]:
    """Turn a record, whatever its keys, into tables.

    Args:
        name: of the record
        record: plain JSON
    Returns:
        one table for each list of rows and each group of values, and a last one for single values
    """
    if not isinstance(record, dict):
        record = {"values": record}
    found = []
    single = {}
    for key, value in record.items():
        title = f"{_words(name)}: {_words(key)}"
        if isinstance(value, dict):
            found.append(_pairs(title, value))
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            found.append(_rows(title, value))
        else:
            single[key] = value
    if single:
        found.append(_pairs(f"{_words(name)}: about the record", single))
    return found


def _rows(title: str, rows: list[dict[str, Any]]) -> Table:
    """Make a table with a column for each key; a row may lack some."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(tuple(Cell(_text(row.get(key))) for key in keys) for row in rows)
    # Numbers are aligned to the right in the columns after the last one with words.
    left = 0
    for place, key in enumerate(keys, start=1):
        if any(isinstance(row.get(key), str) for row in rows):
            left = place
    return Table(title, tuple(map(_words, keys)), cells, align="<" * left)


def _pairs(title: str, values: dict[str, Any]) -> Table:
    """Make a table of two columns: names and values."""
    rows = tuple((Cell(_words(key)), Cell(_text(value))) for key, value in values.items())
    return Table(title, ("name", "value"), rows, align="<<")


def _text(value: Any) -> str:
    """Return a value as the text of one cell."""
    if isinstance(value, dict):
        return ", ".join(f"{_words(key)} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if value is None:
        return render.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value


def _folded(name: str, record: Any) -> str:
    """Write a record that a click on its name and question unfolds."""
    title = _bold(name)
    if isinstance(record, dict) and isinstance(record.get("question"), str):
        record = dict(record)
        title += f": {html.escape(record.pop('question'))}"
    shown = [render.to_html(table) for table in tables(name, record)]
    return element("details", {"open": name == FIRST}, element("summary", {}, title), *shown)


def _bold(name: str) -> str:
    """Write a benchmark's name in bold."""
    return element("b", {}, html.escape(_words(name)))


def _words(key: str) -> str:
    """Return a key as readers see it."""
    return key.replace("_", " ")


def read(path: Path) -> Any:
    """Read a record.

    Raises:
        UserError: if it is damaged
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}; run its benchmark again") from error
