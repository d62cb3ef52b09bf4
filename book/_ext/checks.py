"""Sphinx extension of the book: what proves is folded into one line, and every fold says what it holds.

- A cell tagged `check` becomes one line, "checked: ...", with what the cell printed; it unfolds to text, code and
  output. A section that is titled "Check: ..." and holds such cells is folded with its title and its first paragraphs.
- A cell tagged hide-input or hide-output is folded under a name of its own, such as "Code of this figure (draw_rule)".
- Copy buttons stand on code, not on what code has printed.

The tags change the page alone. The cells stay in the notebooks, run, and are compared as before.
"""

import re
from html import escape

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.writers.html5 import HTML5Translator

TAG = "check"
TITLE = re.compile(r"Check:\s*")
COPIED = "div.notranslate:not(.output) > div.highlight > pre, .snn-source pre"
"""What has a copy button: inputs, code in the text, and listings."""

SAID = re.compile(r"^(.*?)[:,]?\s+(True|False)$")
"""A printed line that ends in a verdict."""

TRUE = re.compile(r":? True(?=;)| (?=:)")
"""Further verdicts within a line, and spaces that align a column."""

LINES = 4
"""The most printed lines that a check's line repeats."""

DRAWS = re.compile(r"^(?:explore|figure|raster|growing|scaling|measured)\(\s*(\w*)", re.M)
TABLE = re.compile(r"^sheet\(", re.M)
DEFINES = re.compile(r"^(?:def|class) (\w+)", re.M)
SHOWN = re.compile(r"source of ([\w., ]+)")
FILED = re.compile(r"from the records: (.+)")


def setup(app: Sphinx) -> dict:
    app.add_node(Check, html=(open_check, close_check))
    app.add_node(HideCodeCellNode, override=True, html=(open_fold, close_fold))
    app.add_post_transform(FoldChecks)
    app.add_post_transform(NameFolds)
    app.connect("config-inited", configure, priority=100)  # before the extension that makes the buttons reads it
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Sphinx, config) -> None:
    """Put copy buttons on code alone."""
    config.copybutton_selector = COPIED


class Check(nodes.General, nodes.Element):
    """A fold for a check; `title` and `said` are its line."""


def open_check(self: HTML5Translator, node: Check) -> None:
    first, *others = node["ids"] or [""]
    places = "".join(f'<span id="{place}"></span>' for place in others)
    title = f'<span class="snn-check-title">{escape(node["title"])}</span> ' if node["title"] else ""
    identity = f' id="{first}"' if first else ""
    self.body.append(
        f'<details class="snn-check"{identity}><summary>{places}<span class="snn-badge">checked</span> {title}'
        f'<span class="snn-said">{escape(node["said"])}</span></summary>\n'
    )


def close_check(self: HTML5Translator, node: Check) -> None:
    self.body.append("</details>\n")


def open_fold(self: HTML5Translator, node: HideCodeCellNode) -> None:
    classes = " ".join(["snn-fold", *node["classes"]])
    self.body.append(f'<details class="{classes}"><summary>{escape(node["prompt_show"])}</summary>\n')


def close_fold(self: HTML5Translator, node: HideCodeCellNode) -> None:
    self.body.append("</details>\n")


def is_cell(node: nodes.Node) -> bool:
    """Return whether a node is a code cell of a notebook."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def is_check(node: nodes.Node) -> bool:
    """Return whether a node is a code cell tagged as a check."""
    return is_cell(node) and TAG in (node.get("cell_metadata") or {}).get("tags", [])


def source(cell: nodes.container) -> str:
    """Return a cell's code."""
    parts = [part for part in cell.children if part.get("nb_element") == "cell_code_source"]
    return "\n".join(part.astext() for part in parts)


def printed(cell: nodes.container) -> list[str]:
    """Return the lines that a cell has printed, without those that are empty."""
    blocks = [block for block in cell.findall(nodes.literal_block) if "stream" in block["classes"]]
    lines = "\n".join(block.astext() for block in blocks).splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


def summary(lines: list[str]) -> str:
    """Return a check's line: what was found true, and what not; without verdicts, the last printed lines."""
    found = [SAID.match(line) for line in lines]
    if not any(found):
        few = lines if len(lines) <= LINES else lines[-1:]
        return "; ".join(few)
    said = [("" if each[2] == "True" else "not so: ") + TRUE.sub("", each[1]) for each in found if each]
    more = len(said) - LINES
    return "; ".join(said[:LINES]) + (f"; and {more} more" if more > 0 else "")


class FoldChecks(SphinxPostTransform):
    """Folds checks, before outputs are chosen by format and inputs are folded."""

    default_priority = 3
    formats = ("html",)

    def run(self, **kwargs) -> None:
        for section in list(self.document.findall(nodes.section)):
            if any(map(is_check, section.children)) and TITLE.match(section[0].astext()):
                self.fold_section(section)
        for cell in [node for node in self.document.findall(nodes.container) if is_check(node)]:
            if not isinstance(cell.parent, Check):
                fold = Check(title="", said=summary(printed(cell)))
                cell.replace_self(fold)
                fold += cell

    def fold_section(self, section: nodes.section) -> None:
        """Replace a section by a fold with all up to its first checks in a row, and by the rest of its text."""
        end = next(place for place, child in enumerate(section.children) if is_check(child))
        while end < len(section.children) and is_check(section.children[end]):
            end += 1
        title, *inside = section.children[:end]
        lines = [line for cell in inside if is_check(cell) for line in printed(cell)]
        words = TITLE.sub("", title.astext())
        fold = Check(title=f"{words[:1].upper()}{words[1:]}:", said=summary(lines), ids=section["ids"])
        fold += inside
        section.replace_self([fold, *section.children[end:]])


class NameFolds(SphinxPostTransform):
    """Names the folds of code and output, before outputs are chosen by format: their texts say what they are."""

    default_priority = 3
    formats = ("html",)

    def run(self, **kwargs) -> None:
        for cell in self.document.findall(nodes.container):
            if is_cell(cell) and cell.get("hide_mode"):
                shown = contents(cell)
                is_silent = len(cell.children) == 1 and not shown
                cell["prompt_show"] = cell["prompt_hide"] = name(source(cell), cell["hide_mode"], shown, is_silent)


def contents(cell: nodes.container) -> str:
    """Return what a cell's output says that it is: a listing or a table."""
    text = cell.astext()
    listed, filed = SHOWN.search(text), FILED.search(text)
    if listed:
        return f"Listing: {listed[1].strip()}"
    return f"Table: {filed[1].strip()}" if filed else ""


def name(code: str, mode: str, shown: str, is_silent: bool = False) -> str:
    """Return the name of a cell's fold.

    Args:
        code: of the cell
        mode: what is folded: "input", "output", or both
        shown: what the output says that it is
        is_silent: whether there is no output
    """
    if mode != "input":
        return shown or "What the cell prints"
    drawn = DRAWS.search(code)
    if drawn:
        return f"Code of this figure ({drawn[1]})" if drawn[1] else "Code of this figure"
    if TABLE.search(code):
        return "Code of this table"
    defined = ", ".join(DEFINES.findall(code)[:2])
    if is_silent:
        return f"Functions for what follows ({defined})" if defined else "Imports and settings"
    return f"Code of this output ({defined})" if defined else "Code of this output"
