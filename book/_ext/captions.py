"""Sphinx extension of the book: numbers the figures that cells show, by chapter: "Figure 4.1.".

A figure with a number has an address, too: #fig-4-1.
"""

import re
from itertools import count

from docutils import nodes
from sphinx.application import Sphinx

CHAPTER = re.compile(r"(\d+|[A-Z])\. ")
"""How a chapter's title begins; figures of other pages have one number."""

FIGURE = re.compile(r'<figure (class="snn-figure(?:(?!</figure>).)*?)<figcaption class="snn-caption">', re.S)
"""A figure from its first attribute to its caption."""


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", number_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def number_figures(app: Sphinx, document: nodes.document) -> None:
    """Put the number into each figure's caption, and the id that goes with it into the figure."""
    title = document.next_node(nodes.title)
    chapter = CHAPTER.match(title.astext()) if title else None
    prefix = f"{chapter[1]}." if chapter else ""
    places = count(1)

    def number(found: re.Match) -> str:
        """Return the beginning of a figure with its number."""
        own = f"{prefix}{next(places)}"
        name = f"fig-{own.replace('.', '-')}"
        return f'<figure id="{name}" {found[1]}<figcaption class="snn-caption"><b>Figure {own}.</b> '

    for node in document.findall(nodes.raw):
        if "html" in node.get("format", "") and "snn-caption" in node.astext():
            text = FIGURE.sub(number, node.astext())
            node.rawsource = text
            node[:] = [nodes.Text(text)]
