"""Tables as text, Markdown, HTML or CSV: those of results, and every other table that the package prints."""

import csv
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import unknown, visible

NONE = "–"
"""Shown where there is no value."""

FORMATS = ("text", "markdown", "html", "csv")

FORMULA = re.compile("[=+@\\-\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Begins a cell that a spreadsheet takes for a formula; the last four are wide forms of the first."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)

MEASURED = re.compile(r"[+\-\u2212]?[\d.,]+( ?\u00b1 ?[\d.]+)?( ?[%\w/]{1,3})?|" + NONE)
"""A cell that holds a number, with its deviation or unit, or no value."""

ACTIVE = re.compile(r"[\\|<`\[]")
"""Characters with a meaning of their own in a Markdown cell: column, HTML, code, link or picture."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: shown to readers
        value: written to CSV; None leaves the field empty
        runs: names of the runs that it was made from
        std: deviation of the value over seeds, for CSV
    """

    text: str
    value: str | float | int | None = None
    runs: tuple[str, ...] = ()
    std: float | None = None


def text_cell(word: str | None) -> Cell:
    """Return a cell whose CSV value is its text; NONE is shown if there is no text."""
    return Cell(word or NONE, word)


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: one line; "" for none
        columns: headings
        rows: each with as many cells as there are columns
        notes: sentences below it
        align: "<" or ">" for each column from the left; the columns that it does not reach are aligned right
        spread: columns that get a second one in CSV, for the deviation
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    align: str = "<"
    spread: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of all runs that the table was made from, each once."""
        return tuple(dict.fromkeys(run for row in self.rows for run in _runs_of(row)))

    @property
    def sides(self) -> str:
        """Alignment of every column, "<" or ">"."""
        return self.align.ljust(len(self.columns), ">")


def _runs_of(row: Sequence[Cell]) -> list[str]:
    """List the runs that a row was made from, each once."""
    return list(dict.fromkeys(run for cell in row for run in cell.runs))


def from_rows(rows: Sequence[Mapping[str, Any]], show: Callable[[Any], str] = str, title: str = "") -> Table:
    """Make a table from rows of named values, such as those of a benchmark's record.

    Args:
        rows: values by column; a row may lack columns
        show: value -> text
        title: one line; "" for none
    Returns:
        a table with the columns in the order of their first appearance; columns of numbers are aligned right
    """
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    cells = []
    for row in rows:
        values = [row.get(name) for name in columns]
        cells.append(tuple(Cell("" if value is None else show(value), value) for value in values))
    align = ""
    for name in columns:
        has_words = any(isinstance(row.get(name), str) for row in rows)
        align += "<" if has_words else ">"
    return Table(title, columns, tuple(cells), align=align)


def aligned(lines: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Align the columns of a table by spaces.

    Args:
        lines: cells of each line; all lines have the same number of cells
        sides: "<" or ">" for each column
    Returns:
        one text per line, without spaces at its end
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = []
    for line in lines:
        cells = [f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)]
        shown.append("  ".join(cells).rstrip())
    return shown


def _grid(table: Table) -> list[list[str]]:
    """Return the headings and the rows as text."""
    lines = [table.columns, *([cell.text for cell in row] for row in table.rows)]
    return [list(map(visible, line)) for line in lines]


def text(table: Table) -> str:
    """Render a table as text, with columns aligned by spaces."""
    head, *rows = _grid(table)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = aligned([head, rule, *rows], table.sides)
    if table.title:
        lines = [visible(table.title), "", *lines]
    return "\n".join([*lines, "", *map(visible, table.notes)]).rstrip()


def markdown(table: Table) -> str:
    """Render a table as a pipe table."""
    head, *rows = ([ACTIVE.sub(r"\\\g<0>", cell) for cell in line] for line in _grid(table))
    rule = [{"<": ":--", ">": "--:"}[side] for side in table.sides]
    lines = ["| " + " | ".join(line) + " |" for line in (head, rule, *rows)]
    notes = [f"{visible(note)}  " for note in table.notes]
    return "\n".join([f"**{visible(table.title)}**", "", *lines, "", *notes]).rstrip()


def anchor(run: str) -> str:
    """Return the address of a run's row in the list of runs on the same page."""
    return f"#run-{run}"


def _escaped(shown: str) -> str:
    """Escape text for HTML."""
    return html.escape(visible(shown))


def to_html(table: Table, link: Callable[[str], str] = anchor, targets: bool = False) -> str:
    """Render a table as HTML; a cell made from runs links to the first and names all.

    Args:
        table: to render
        link: run's name -> address
        targets: give each row the address that `anchor` returns for the run in its first cell
    """
    classes = [_class(table, place) for place in range(len(table.columns))]
    title = _escaped(table.title)
    head = "".join(
        f'<th scope="col" class="{name}">{_escaped(column)}</th>'
        for name, column in zip(classes, table.columns, strict=True)
    )
    body = ""
    for row in table.rows:
        cells = "".join(_html_cell(cell, name, link) for cell, name in zip(row, classes, strict=True))
        row_id = ""
        if targets:
            row_id = f' id="{_escaped(anchor(row[0].runs[0])[1:])}"'
        body += f"<tr{row_id}>{cells}</tr>\n"
    notes = "".join(f'<p class="snn-table-note">{_escaped(note)}</p>' for note in table.notes)
    return (
        f'<div class="snn-table" tabindex="0" role="region" aria-label="{title}"><table>'
        f"<caption>{title}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"
        f"</div>{notes}"
    )


def _class(table: Table, place: int) -> str:
    """Return the class of a column: words to the left, numbers to the right."""
    cells = [row[place].text for row in table.rows]
    if table.sides[place] == "<" or not all(map(MEASURED.fullmatch, cells)):
        return "snn-word"
    return "snn-number"


def _html_cell(cell: Cell, name: str, link: Callable[[str], str]) -> str:
    """Render a cell of the given class as HTML."""
    shown = re.sub(r"± [\d.]+", r'<span class="snn-deviation">\g<0></span>', _escaped(cell.text))
    # A long name may break at its underscores.
    shown = re.sub(r"(?<=\w)_(?=\w)", "_<wbr>", shown)
    if cell.runs:
        runs = _escaped(", ".join(cell.runs))
        shown = f'<a href="{_escaped(link(cell.runs[0]))}" title="{runs}">{shown}</a>'
    return f'<td class="{name}">{shown}</td>'


def to_csv(table: Table) -> str:
    """Render a table as comma-separated values in full precision; the last column names the runs of each row."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    deviations = [f"{name} std" for name in table.columns]
    writer.writerow(map(_csv_field, [*_with_deviations(table, table.columns, deviations), "runs"]))
    for row in table.rows:
        values = [cell.value for cell in row]
        deviations = [cell.std for cell in row]
        fields = [*_with_deviations(table, values, deviations), " ".join(_runs_of(row))]
        writer.writerow(map(_csv_field, fields))
    return file.getvalue().rstrip("\n")


def _with_deviations(table: Table, values: Sequence[Any], deviations: Sequence[Any]) -> list[Any]:
    """Return one line's values, with the deviation after each value of a `spread` column."""
    fields = []
    for name, value, deviation in zip(table.columns, values, deviations, strict=True):
        fields.append(value)
        if name in table.spread:
            fields.append(deviation)
    return fields


def _csv_field(value: Any) -> Any:
    """Make a field safe for spreadsheets: text that they would take for a formula gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    if FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{visible(value)}"
    return visible(value)


def render(table: Table, form: str, link: Callable[[str], str] = anchor) -> str:
    """Render a table in a format.

    Args:
        table: to render
        form: of FORMATS
        link: run's name -> address, for HTML
    Raises:
        UserError: for another format
    """
    if form == "text":
        return text(table)
    if form == "markdown":
        return markdown(table)
    if form == "html":
        return to_html(table, link)
    if form == "csv":
        return to_csv(table)
    raise unknown("format", form, FORMATS)
