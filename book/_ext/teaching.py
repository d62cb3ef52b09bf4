"""Sphinx extension of the book: help for teachers.

- The directive `chapter-times` shows how long chapters take: to read, from their words and figures; to solve, from
  their exercises; to compute, as the build measured it. It takes the chapters' numbers, or none for all.
- Where `hide_solutions` is set in _config.yml, the notebooks that can be downloaded have no solutions either.
"""

import math
import re
from pathlib import Path

import nbformat
from docutils import nodes
from myst_nb.ext.execution_tables import METADATA_KEY
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

WORDS_A_MINUTE = 120
"""For careful reading of a text with formulas: an assumption, not a measurement."""

MINUTES_A_FIGURE = 3
"""For a figure with sliders or a raster: an assumption."""

MINUTES_AN_EXERCISE = 10
"""An assumption, too: the short exercises take two minutes, the long ones half an hour."""

ROUND_TO = 5
"""Minutes: times to read are rounded up to multiples of this."""

CHAPTER = re.compile(r"(\d+)\. ")
EXERCISE = re.compile(r"^```\{exercise\}", re.M)
FIGURE = re.compile(r"^(?:explore|raster)\(", re.M)
SOLUTION = re.compile(r"^(`{3,})\{solution\}.*?^\1[ \t]*\n?", re.M | re.S)
HEADER = ("chapter", "read", "exercises", "solve", "in all", "computes")
SPACE = "\N{NO-BREAK SPACE}"


def setup(app: Sphinx) -> dict:
    app.add_node(Times)
    app.add_directive("chapter-times", ChapterTimes)
    app.add_post_transform(FillTimes)
    app.connect("build-finished", hide_solutions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Times(nodes.General, nodes.Element):
    """Marks the table's place until all chapters have run."""


class ChapterTimes(SphinxDirective):
    """A table of the times of some chapters, or of all."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        # With this key myst-nb writes the page again after each run of a notebook.
        NbMetadataCollector.set_doc_data(self.env, self.env.docname, METADATA_KEY, True)
        numbers = self.arguments[0].split() if self.arguments else []
        return [Times(chapters=[int(number) for number in numbers])]


class FillTimes(SphinxPostTransform):
    """Puts the table in its place, before references are resolved (priority 10)."""

    default_priority = 8

    def run(self, **kwargs) -> None:
        for node in list(self.document.findall(Times)):
            chapters = self.chapters()
            wanted = node["chapters"] or sorted(chapters)
            for number in wanted:
                if number not in chapters:
                    raise self.error(f"chapter-times: there is no chapter {number}")
            node.replace_self(table([self.row(chapters[number]) for number in wanted]))

    def chapters(self) -> dict[int, str]:
        """Return the page of each chapter, by its number."""
        found = {}
        for page, title in self.env.titles.items():
            numbered = CHAPTER.match(title.astext())
            if numbered:
                found[int(numbered[1])] = page
        return found

    def row(self, page: str) -> tuple[nodes.Node, int, int, int, float]:
        """Return a link to the chapter, minutes to read, exercises, minutes to solve them, seconds to compute."""
        read, exercises = effort(nbformat.read(self.env.doc2path(page), as_version=4))
        link = pending_xref(
            refdoc=self.env.docname, reftarget=page, reftype="doc", refdomain="std", refexplicit=True, refwarn=True
        )
        link += nodes.inline(text=self.env.titles[page].astext())
        execution = NbMetadataCollector.get_doc_data(self.env)[page].get("exec_data") or {}
        return link, read, exercises, exercises * MINUTES_AN_EXERCISE, execution.get("runtime") or 0.0


def effort(notebook: nbformat.NotebookNode) -> tuple[int, int]:
    """Return a chapter's minutes to read, for text without solutions and figures, and its number of exercises."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    minutes = len(SOLUTION.sub("", text).split()) / WORDS_A_MINUTE + len(FIGURE.findall(code)) * MINUTES_A_FIGURE
    return ROUND_TO * math.ceil(minutes / ROUND_TO), len(EXERCISE.findall(text))


def table(rows: list[tuple[nodes.Node, int, int, int, float]]) -> nodes.table:
    """Build the table, with a last row of sums."""
    sums = [sum(row[column] for row in rows) for column in range(1, 5)]
    group = nodes.tgroup(cols=len(HEADER))
    group += [nodes.colspec(colwidth=1) for _ in HEADER]
    group += nodes.thead("", line(*map(nodes.Text, HEADER)))
    body = nodes.tbody()
    for first, read, exercises, solve, seconds in [*rows, (nodes.strong(text="together"), *sums)]:
        cells = (duration(read), str(exercises), duration(solve), duration(read + solve), f"{seconds:.0f}{SPACE}s")
        body += line(first, *map(nodes.Text, cells))
    group += body
    return nodes.table("", group, classes=["colwidths-auto"])


def line(*cells: nodes.Node) -> nodes.row:
    """Build a row of the table."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def duration(minutes: int) -> str:
    """Return a duration such as "35 min" or "2 h 05"."""
    text = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02}"
    return text.replace(" ", SPACE)


def without_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with its exercises, and without their solutions."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source).strip("\n")
    notebook.cells = [cell for cell in notebook.cells if cell.source or cell.cell_type != "markdown"]
    return notebook


def hide_solutions(app: Sphinx, exception: Exception | None) -> None:
    """Remove the solutions from the notebooks for download, where the pages do not show them."""
    if exception is not None or app.builder.format != "html" or not app.config.hide_solutions:
        return
    for path in sorted(Path(app.outdir, "_sources").glob("*.ipynb")):
        notebook = without_solutions(nbformat.read(path, as_version=4))
        path.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8", newline="\n")
