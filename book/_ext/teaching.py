"""Sphinx extension of the book: what a teacher needs of the build.

- the directive `chapter-times` shows how long chapters take: to read, from their words and figures; to solve, from
  their exercises; to compute, as the build measured it. It takes the chapters' numbers, or none for all;
- where `hide_solutions` is set in _config.yml, the notebooks that can be downloaded have no solutions either.
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
"""Of a text with formulas, read to be understood: an assumption, not a measurement."""

MINUTES_A_FIGURE = 3
"""With sliders or a raster: to play with it and to look. An assumption."""

MINUTES_AN_EXERCISE = 10
"""An assumption too: the short ones take two, the long ones half an hour."""

ROUND_TO = 5  # minutes
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
    """Stands for the table until all chapters have run."""


class ChapterTimes(SphinxDirective):
    """A table of the times of some chapters, or of all."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        NbMetadataCollector.set_doc_data(self.env, self.env.docname, METADATA_KEY, True)  # filled again after each run
        return [Times(chapters=[int(number) for number in (self.arguments or [""])[0].split()])]


class FillTimes(SphinxPostTransform):
    default_priority = 8  # before references are resolved

    def run(self, **kwargs) -> None:
        for node in list(self.document.findall(Times)):
            chapters = {int(found[1]): page for page in self.env.titles if (found := self.numbered(page))}
            wanted = node["chapters"] or sorted(chapters)
            if missing := [number for number in wanted if number not in chapters]:
                raise self.error(f"chapter-times: there is no chapter {missing[0]}")
            node.replace_self(table([self.row(chapters[number]) for number in wanted]))

    def numbered(self, page: str) -> re.Match | None:
        return CHAPTER.match(self.env.titles[page].astext())

    def row(self, page: str) -> tuple[nodes.Node, int, int, int, float]:
        """A link to the chapter, minutes to read, exercises, minutes to solve them, seconds to compute."""
        read, exercises = effort(nbformat.read(self.env.doc2path(page), as_version=4))
        link = pending_xref(
            refdoc=self.env.docname, reftarget=page, reftype="doc", refdomain="std", refexplicit=True, refwarn=True
        )
        link += nodes.inline(text=self.env.titles[page].astext())
        ran = NbMetadataCollector.get_doc_data(self.env)[page].get("exec_data") or {}
        return link, read, exercises, exercises * MINUTES_AN_EXERCISE, ran.get("runtime") or 0.0


def effort(notebook: nbformat.NotebookNode) -> tuple[int, int]:
    """Minutes to read a chapter (its text without solutions, and its figures), and its number of exercises."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    minutes = len(SOLUTION.sub("", text).split()) / WORDS_A_MINUTE + len(FIGURE.findall(code)) * MINUTES_A_FIGURE
    return ROUND_TO * math.ceil(minutes / ROUND_TO), len(EXERCISE.findall(text))


def table(rows: list[tuple[nodes.Node, int, int, int, float]]) -> nodes.table:
    """Rows and their sum."""
    sums = [sum(row[place] for row in rows) for place in range(1, 5)]
    group = nodes.tgroup(cols=len(HEADER))
    group += [nodes.colspec(colwidth=1) for _ in HEADER]
    group += nodes.thead("", line(*map(nodes.Text, HEADER)))
    body = nodes.tbody()
    for first, read, exercises, solve, seconds in [*rows, (nodes.strong(text="together"), *sums)]:
        told = (duration(read), str(exercises), duration(solve), duration(read + solve), f"{seconds:.0f}{SPACE}s")
        body += line(first, *map(nodes.Text, told))
    group += body
    return nodes.table("", group, classes=["colwidths-auto"])


def line(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def duration(minutes: int) -> str:
    """Such as "35 min" or "2 h 05"."""
    told = f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02}"
    return told.replace(" ", SPACE)


def without_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its exercises, and without their solutions."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source).strip("\n")
    notebook.cells = [cell for cell in notebook.cells if cell.source or cell.cell_type != "markdown"]
    return notebook


def hide_solutions(app: Sphinx, exception: Exception | None) -> None:
    """Take the solutions out of the notebooks that the pages offer, where the pages do not show them."""
    if exception is not None or app.builder.format != "html" or not app.config.hide_solutions:
        return
    for path in sorted(Path(app.outdir, "_sources").glob("*.ipynb")):
        notebook = without_solutions(nbformat.read(path, as_version=4))
        path.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8", newline="\n")
