"""Sphinx extension of the book: what a page loads and does only when a reader needs it.

- Equations are set when they come near the window, and all of them before a page is printed.
- The search index is loaded by the search page alone: the theme's field leads there.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

SEARCH_PAGE = "search.html"
SEARCH_SCRIPT = re.compile(
    r'[ \t]*<script src="[./]*(?:_static/searchtools|_static/language_data|searchindex)\.js[^"]*"></script>\n?'
)


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", set_equations_late)
    app.connect("build-finished", remove_search_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def set_equations_late(app: Sphinx, config) -> None:
    """Add MathJax's lazy typesetting, which book_static.py copies, too."""
    config.mathjax3_config = {**(config.mathjax3_config or {}), "loader": {"load": ["ui/lazy"]}}


def remove_search_scripts(app: Sphinx, exception: Exception | None) -> None:
    """Take the scripts of the search page out of all others."""
    if exception is not None or app.builder.name != "html":
        return
    for path in Path(app.outdir).glob("*.html"):
        if path.name == SEARCH_PAGE:
            continue
        text = path.read_text(encoding="utf-8")
        shorter = SEARCH_SCRIPT.sub("", text)
        if shorter != text:
            path.write_text(shorter, encoding="utf-8")
