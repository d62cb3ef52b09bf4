"""What benchmarks measured, as tables: read when the page is built, never typed, and never compared by nbval."""

import html
import json
from pathlib import Path
from typing import Any

from ..errors import UserError
from .shown import bundle, html_widget

ROOT = Path(__file__).parents[2]
"""The project's folder; in an installed package there are neither benchmarks nor records beside it."""

NOT_YET = "not measured yet"

FIRST = "training_step"
"""The record that is shown unfolded."""


class Measured:
    """The records of the benchmarks; see `measured`."""

    def __init__(self, root: Path = ROOT) -> None:
        scripts = {path.stem for path in (root / "benchmarks").glob("*.py")} - {"__init__"}
        self.records = {path.stem: path for path in sorted((root / "results" / "benchmarks").glob("*.json"))}
        self.missing = sorted(scripts - set(self.records))

    def __repr__(self) -> str:
        return "measured: the benchmarks' records, as tables"

    def html(self) -> str:
        """One folded block per record, that of FIRST open, and a line per benchmark without one."""
        parts = [_folded(name, read(path)) for name, path in self.records.items()]
        parts += [f"<p><b>{_words(name)}</b>: {NOT_YET}.</p>" for name in self.missing]
        return f'<div class="snn-measured">{"".join(parts) or f"<p>{NOT_YET}</p>"}</div>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return bundle(repr(self), self.html, lambda: html_widget(self.html()))


def measured() -> Measured:
    """Show the records in results/benchmarks, as the last line of a cell; `not measured yet` where one is missing."""
    return Measured()


def table(value: Any) -> str:
    """Plain JSON as HTML: a list of rows as a table, keys and values as a table of two columns, the rest as text."""
    if isinstance(value, dict):
        rows = "".join(f'<tr><th scope="row">{_words(k)}</th><td>{table(v)}</td></tr>' for k, v in value.items())
        return _scroll(f"<table><tbody>{rows}</tbody></table>")
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        keys = list(dict.fromkeys(key for row in value for key in row))
        head = "".join(f'<th scope="col">{_words(key)}</th>' for key in keys)
        rows = "".join(f"<tr>{''.join(f'<td>{table(row.get(key))}</td>' for key in keys)}</tr>" for row in value)
        return _scroll(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    if isinstance(value, list):
        return ", ".join(map(table, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return html.escape(
        f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
    )


def _folded(name: str, record: Any) -> str:
    """A record that unfolds on a click on its name and question."""
    question = record.get("question") if isinstance(record, dict) else None
    title = f"<b>{_words(name)}</b>" + (f": {html.escape(question)}" if isinstance(question, str) else "")
    return f"<details{' open' * (name == FIRST)}><summary>{title}</summary>{table(record)}</details>"


def _scroll(content: str) -> str:
    """A table that scrolls where it is wider than the page, by keyboard too."""
    return f'<div class="snn-table" tabindex="0">{content}</div>'


def _words(key: str) -> str:
    return html.escape(key.replace("_", " "))


def read(path: Path) -> Any:
    """A record's values.

    Raises:
        UserError: if it is damaged
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}; run its benchmark again") from error
