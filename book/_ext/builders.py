"""Sphinx extension of the book: other forms than one page per chapter (`jupyter-book build --builder ...`).

- Every builder that writes HTML, such as singlehtml, handles nodes of extensions as the builder "html" does.
- Links in tables and listings lead to the right place there, too.
- A builder that cannot show the book ends with one sentence that says what to do instead.
"""

import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from posixpath import relpath
from urllib.parse import unquote

import click
from docutils import nodes
from sphinx.application import Sphinx

PACKAGE = "snnbook"
HTML = "html"
ONE_PAGE = "singlehtml"
EPUB = "epub"
TEX = "latexmk"
INNER = "-content"
"""Ends the ids of exercises' and theorems' parts, which style sheets use."""

HELP = ("htmlhelp", "qthelp", "devhelp")
LISTS = ("linkcheck", "changes", "dummy")
TREES = ("xml", "pseudoxml")
WORKING = (HTML, "dirhtml", ONE_PAGE, "latex", "pdflatex", EPUB, *HELP, *LISTS, *TREES)
"""Builders that were tried. The others stop at theorems and exercises, or would run into the theme."""

SEARCH = re.compile(
    r'<link rel="(?:index|search)"[^>]*>'
    r'|<script src="(?:_static/searchtools|_static/language_data|searchindex)\.js"></script>'
    r'|<dialog id="pst-search-dialog">.*?</dialog>'
    r"|<button[^>]*search-button__button[^>]*>.*?</button>",
    re.S,
)
"""The theme's parts of each page for a search and an index, which a book of one page lacks."""

PRINT = "build with --builder singlehtml, open _build/singlehtml/index.html in a browser, and print it to a PDF file"

LINK = re.compile(r'(?P<before><a\b[^>]*?\bhref=")(?P<page>[\w/-]+)\.html(?P<place>#[^"]*)?(?=")')
RECORD = re.compile(r'(?P<before><a\b[^>]*?\bhref=")(?P<record>results/[^"]+)(?=")')


def setup(app: Sphinx) -> dict:
    refuse(asked_for())
    app.connect("builder-inited", prepare, priority=100)
    app.connect("doctree-resolved", rename_places)
    app.connect("html-page-context", repair_links, priority=900)
    app.connect("build-finished", remove_search)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def asked_for() -> str | None:
    """Return the builder's name on Jupyter Book's command line, which Sphinx may not know; None under Sphinx alone."""
    context = click.get_current_context(silent=True)
    given = context.params if context else {}
    name = given.get("builder")
    return given.get("custom_builder") if name == "custom" else name


def refuse(name: str | None) -> None:
    """Exit with a sentence where a builder cannot build the book.

    Sphinx's own errors would not do: Jupyter Book adds a traceback of fifty lines to them.
    """
    if name == "pdfhtml":
        sys.exit(f"pdfhtml would write over the pages in _build/html; instead, {PRINT}")
    if name == "pdflatex" and shutil.which(TEX) is None:
        sys.exit(f"pdflatex needs {TEX} and a TeX installation; without them, {PRINT}")
    if name is not None and name not in WORKING:
        sys.exit(
            f"the builder {name} cannot show this book's theorems, exercises and figures; take one of "
            f"{', '.join(WORKING)}"
        )


def prepare(app: Sphinx) -> None:
    """Make a builder that writes HTML show what the builder "html" shows."""
    name = app.builder.name
    refuse(name)
    if app.builder.format == HTML:
        handlers = app.registry.translation_handlers
        handlers[name] = handlers.get(HTML, {}) | handlers.get(name, {})
    if name == EPUB:
        app.config.version = app.config.version or version(PACKAGE)
        app.config.suppress_warnings = [*app.config.suppress_warnings, "epub.unknown_project_files"]


def rename_places(app: Sphinx, document: nodes.document, name: str) -> None:
    """Rename sections and cited works of the one page, where several chapters use the same id."""
    if app.builder.name != ONE_PAGE:
        return
    taken: set[str] = set()
    renamed: dict[tuple[str, str], str] = {}
    for node in document.findall(nodes.Element):
        for place, old in enumerate(node.get("ids", [])):
            linked = isinstance(node, (nodes.section, nodes.citation)) and not old.endswith(INNER)
            if old in taken and linked:
                page = page_of(node, name)
                node["ids"][place] = renamed[page, old] = f"{page}-{old}"
            taken.add(node["ids"][place])
    for link in document.findall(nodes.reference):
        page, _, old = link.get("refuri", "").removeprefix("#document-").partition("#")
        if (page, old) in renamed:
            link["refuri"] = f"#document-{page}#{renamed[page, old]}"


def page_of(node: nodes.Node, root: str) -> str:
    """Return the page that a part of the one page comes from: Sphinx stores it at sections."""
    while node is not None and "docname" not in node:
        node = node.parent
    return root if node is None else node["docname"]


def repair_links(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Correct links that the package wrote as PAGE.html#PLACE, where the builder puts pages elsewhere."""
    if "body" not in context or app.builder.name == HTML:
        return

    def to_page(found: re.Match) -> str:
        page = unquote(found["page"])
        place = found["place"] or ""
        if page not in app.env.found_docs:
            return found[0]
        if app.builder.name == ONE_PAGE:
            return found["before"] + (place or f"#document-{page}")
        return found["before"] + app.builder.get_relative_uri(pagename, page) + place

    def to_record(found: re.Match) -> str:
        here = app.builder.get_target_uri(pagename).rpartition("/")[0]
        return found["before"] + relpath(found["record"], here or ".")

    body = RECORD.sub(to_record, LINK.sub(to_page, context["body"]))
    if app.builder.name == ONE_PAGE:
        context["docstitle"] = app.config.html_title
        body = f'<span id="document-{pagename}"></span>{body}'
    context["body"] = body


def remove_search(app: Sphinx, exception: Exception | None) -> None:
    """Take the search field out of the one page."""
    if exception is None and app.builder.name == ONE_PAGE:
        page = Path(app.builder.get_outfilename(app.config.root_doc))
        page.write_text(SEARCH.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
