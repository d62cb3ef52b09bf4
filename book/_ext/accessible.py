"""Sphinx extension of the book: repairs of built pages for screen readers, and for pages opened from the disk.

axe-core checks the pages in tests/book/test_access.py.

- A signature's parameters, one a line, are no definition list without terms.
- The references in a list are items of that list.
- Whether a chapter ran is told in words: not every machine has a font with the table's signs.
- The search shows no summaries from the disk, where a page may not read another page.
"""

import re

from sphinx.application import Sphinx

PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")
PARAMETER = re.compile(r"<dd>(.*)</dd>")
NO_SUMMARIES = 'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'


SIGNS = {"\u2705": "yes", "\u274c": "no"}
"""Signs in the table of execution times, and their words."""


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", repair_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def repair_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Repair one page's body; the search page gets NO_SUMMARIES."""
    if "body" in context:
        context["body"] = repaired(context["body"])
    if pagename == "search":
        app.add_js_file(None, body=NO_SUMMARIES)


def repaired(body: str) -> str:
    """Return a body whose lists are lists."""

    def without_list(found: re.Match) -> str:
        return PARAMETER.sub(r'<span class="snn-parameter">\1</span>', found[1])

    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    for sign, word in SIGNS.items():
        body = body.replace(f"<td><p>{sign}</p></td>", f"<td><p>{word}</p></td>")
    return PARAMETERS.sub(without_list, body)
