"""A table of results as text, Markdown, HTML or CSV."""

import csv
import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import unknown, visible

NONE = "–"
"""Stands where there is nothing to show."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: as readers see it
        value: as CSV has it; None leaves the field empty
        runs: names of the runs that it was made from
        std: deviation of the value over seeds, for CSV
    """

    text: str
    value: str | float | int | None = None
    runs: tuple[str, ...] = ()
    std: float | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: one line
        columns: headings
        rows: each as many cells as there are columns
        notes: sentences below it
        left: how many columns, from the left, hold words
        spread: columns that CSV gives a second one, for the deviation
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    left: int = 1
    spread: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of all runs that the table was made from, each once."""
        return tuple(dict.fromkeys(run for row in self.rows for cell in row for run in cell.runs))


FORMULA = re.compile("[=+@\\-\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Begins a cell that a spreadsheet takes for a formula; the last four are wide forms of the first."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)

ACTIVE = re.compile(r"[\\|<`\[]")
"""Characters with a meaning of their own in a Markdown cell: column, HTML, code, link or picture."""


def _grid(table: Table) -> list[tuple[str, ...]]:
    lines = [table.columns, *(tuple(cell.text for cell in row) for row in table.rows)]
    return [tuple(map(visible, line)) for line in lines]


def text(table: Table) -> str:
    """Columns lined up by spaces."""
    grid = _grid(table)
    widths = [max(len(line[i]) for line in grid) for i in range(len(table.columns))]
    lines = [
        "  ".join(
            s.ljust(w) if i < table.left else s.rjust(w) for i, (s, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in grid
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    shown = [line.rstrip() for line in lines]
    return "\n".join([visible(table.title), "", *shown, "", *map(visible, table.notes)]).rstrip()


def markdown(table: Table) -> str:
    """A pipe table."""
    head, *rows = ([ACTIVE.sub(r"\\\g<0>", part) for part in line] for line in _grid(table))
    rule = [":--" if i < table.left else "--:" for i in range(len(head))]
    lines = ["| " + " | ".join(line) + " |" for line in (head, rule, *rows)]
    notes = [f"{visible(note)}  " for note in table.notes]
    return "\n".join([f"**{visible(table.title)}**", "", *lines, "", *notes]).rstrip()


def anchor(run: str) -> str:
    """Address of a run's line in the list that stands on the same page."""
    return f"#run-{run}"


def _safe(shown: str) -> str:
    """Text for HTML."""
    return html.escape(visible(shown))


def to_html(table: Table, link: Callable[[str], str] = anchor, targets: bool = False) -> str:
    """An HTML table; a cell made from runs links to the first, and names all.

    Args:
        table: to show
        link: run's name -> address
        targets: whether each row is what `anchor` points to, for the run in its first cell
    """

    def cell(content: Cell, column: int) -> str:
        shown = re.sub(r"± [\d.]+", r'<span class="snn-deviation">\g<0></span>', _safe(content.text))
        shown = re.sub(r"(?<=\w)_(?=\w)", "_<wbr>", shown)  # where a long name may go on in the next line
        if content.runs:
            title = _safe(", ".join(content.runs))
            shown = f'<a href="{_safe(link(content.runs[0]))}" title="{title}">{shown}</a>'
        return f'<td class="{kinds[column]}">{shown}</td>'

    kinds = ["snn-word" if i < table.left else "snn-number" for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col" class="{kind}">{_safe(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    ids = [f' id="{_safe(anchor(row[0].runs[0])[1:])}"' if targets else "" for row in table.rows]
    cells = ["".join(cell(content, i) for i, content in enumerate(row)) for row in table.rows]
    body = "".join(f"<tr{name}>{content}</tr>\n" for name, content in zip(ids, cells, strict=True))
    notes = "".join(f'<p class="snn-table-note">{_safe(note)}</p>' for note in table.notes)
    return (
        f'<div class="snn-table" tabindex="0" role="region" aria-label="{_safe(table.title)}"><table>'
        f"<caption>{_safe(table.title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"
        f"</div>{notes}"
    )


def to_csv(table: Table) -> str:
    """Comma-separated values, full precision; a last column names the runs, parted by spaces."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    rows = [[*_twice(table, table.columns, [f"{name} std" for name in table.columns]), "runs"]]
    for row in table.rows:
        runs = " ".join(dict.fromkeys(run for cell in row for run in cell.runs))
        rows.append([*_twice(table, [cell.value for cell in row], [cell.std for cell in row]), runs])
    writer.writerows(map(_field, row) for row in rows)
    return file.getvalue().rstrip("\n")


def _field(value: Any) -> Any:
    """A field of CSV; text that a spreadsheet would take for a formula gets an apostrophe in front of it."""
    if not isinstance(value, str):
        return value
    formula = FORMULA.match(value) and not NUMBER.fullmatch(value)
    return ("'" if formula else "") + visible(value)


def _twice(table: Table, values: Sequence[Any], seconds: Sequence[Any]) -> list[Any]:
    """The values, those of the `spread` columns followed by their second one."""
    fields = []
    for name, value, second in zip(table.columns, values, seconds, strict=True):
        fields += [value, second] if name in table.spread else [value]
    return ["" if field is None else field for field in fields]


FORMATS = ("text", "markdown", "html", "csv")


def render(table: Table, form: str, link: Callable[[str], str] = anchor) -> str:
    """The table in one of FORMATS.

    Args:
        table: to show
        form: of FORMATS
        link: run's name -> address, for HTML
    Raises:
        UserError: for another format
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return to_html(table, link) if form == "html" else {"text": text, "markdown": markdown, "csv": to_csv}[form](table)
