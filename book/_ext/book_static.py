"""Sphinx extension of the book: pages that load nothing from other hosts, and pictures that all have alt texts.

- It bakes figures with controls: the kernels that the build starts inherit the environment variable BAKE.
- It runs notebooks again when the package changes, not only when they do.
- It copies MathJax and the records of results/ into the built book.
- It numbers theorems, exercises, equations and figures by chapter: the title "4. ..." makes them 4.1, 4.2.
- It links the equation labels in listings of the package's source.
- It leaves out the scripts of a service for live code that the book does not use.
- It fails the build on a picture without alt text, or a page that would load something from another host.
"""

import hashlib
import importlib.util
import os
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util import logging

logger = logging.getLogger(__name__)

BAKE = "SNNBOOK_BAKE"
ONE_PAGE = "singlehtml"
"""The builder that puts all chapters into one page."""

RESULTS = "results"
LIBRARIES = ("torch", "numpy", "matplotlib")
MATHJAX = "mathjax/tex-svg.js"
MATHJAX_FILES = (MATHJAX, "mathjax/ui/lazy.js")
CHAPTER = re.compile(r"(\d+|[A-Z])\. ")
UNUSED = "sphinx_thebe"
"""Jupyter Book always loads this extension, which would fetch its code from a CDN."""

AFTER_SPHINX = 900
"""Event priority: Sphinx's own handlers run at 500."""

EQUATION_LINK = re.compile(r'<a class="snn-equation" data-label="([\w-]+)">')
FILE_NAME = re.compile(r"\S+\.(png|svg|jpe?g|gif)$", re.I)
ELSEWHERE = re.compile(r"(https?:)?//", re.I)
LOADED_BY_LINK = {"stylesheet", "preload", "prefetch", "modulepreload", "icon", "manifest"}


def setup(app: Sphinx) -> dict:
    os.environ[BAKE] = "1"
    # Where this value has changed, Sphinx reads every page again.
    app.add_config_value("book_package_hash", package_hash(), "env")
    app.connect("config-inited", configure, priority=100)
    app.connect("builder-inited", place_mathjax)
    app.connect("builder-inited", place_records)
    app.connect("env-get-updated", number_by_chapter, priority=AFTER_SPHINX)
    app.connect("html-page-context", link_equations)
    app.connect("build-finished", inspect_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def package_hash() -> str:
    """Return a digest of what the notebooks' outputs depend on: the package, the libraries, the records."""
    root = Path(importlib.util.find_spec("snnbook").origin).parent
    digest = hashlib.sha256(repr([(name, version(name)) for name in LIBRARIES]).encode())
    for path in [*sorted(root.rglob("*")), *sorted((root.parent / "results").rglob("*"))]:
        if path.suffix in {".py", ".js", ".css", ".json", ".jsonl"}:
            digest.update(path.relative_to(root.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def records() -> list[Path]:
    """List the records of finished runs, which are next to the package's sources."""
    root = Path(importlib.util.find_spec("snnbook").origin).parents[1] / RESULTS
    return sorted(root.glob("*/*.jsonl"))


def configure(app: Sphinx, config) -> None:
    """Set a new execution cache for every state of the package, and MathJax from the book itself."""
    config.nb_execution_cache_path = str(Path(app.outdir).parent / ".jupyter_cache" / config.book_package_hash)
    # The path is relative to _static.
    config.mathjax_path = f"../{MATHJAX}"
    if not config.html_theme_options.get("launch_buttons", {}).get("thebe"):
        for event in ("env-before-read-docs", "doctree-resolved"):
            for listener in list(app.events.listeners[event]):
                if listener.handler.__module__ == UNUSED:
                    app.disconnect(listener.id)


def place_mathjax(app: Sphinx) -> None:
    """Copy MathJax (no fonts) from the Python package that includes it."""
    if app.builder.format != "html":
        return
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None:
        raise ExtensionError("MathJax is missing: run pip install sphinx-mathjax-offline")
    for name in MATHJAX_FILES:
        target = Path(app.outdir) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(spec.origin).parent / "static" / name, target)


def place_records(app: Sphinx) -> None:
    """Copy the records into the built book, whose pages link to them."""
    if app.builder.format != "html":
        return
    for path in records():
        target = Path(app.outdir) / RESULTS / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def number_by_chapter(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Number theorems, figures and the rest as 4.1, 4.2; pages without a chapter's number have one common count."""
    counts: Counter = Counter()
    for page, kinds in env.toc_fignumbers.items():
        chapter = CHAPTER.match(env.titles[page].astext())
        prefix = (chapter[1],) if chapter else ()
        for kind, numbers in kinds.items():
            for label in numbers:
                counts[kind, prefix] += 1
                numbers[label] = (*prefix, counts[kind, prefix])
    return list(env.toc_fignumbers)


def link_equations(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Point the labels in source listings, such as (eq-neuron), at their equations."""
    equations = app.env.get_domain("math").equations

    def link(found: re.Match) -> str:
        """Return the link for one label; its number is where Sphinx has counted it for this builder."""
        label = found[1]
        if label not in equations:
            logger.warning("a source listing cites the equation %s, which no page has", label, location=pagename)
            return found[0]
        page = equations[label][0]
        if app.builder.name == ONE_PAGE:
            numbers = app.env.toc_fignumbers[app.config.root_doc][f"{page}/displaymath"]
            address = ""
        else:
            numbers = app.env.toc_fignumbers[page]["displaymath"]
            address = app.builder.get_relative_uri(pagename, page)
        number = ".".join(map(str, numbers[f"equation-{label}"]))
        return f'<a class="snn-equation" href="{address}#equation-{label}" title="equation ({number})">'

    if "body" in context:
        context["body"] = EQUATION_LINK.sub(link, context["body"])


class PageInspector(HTMLParser):
    """Collects the faults of one built page."""

    def __init__(self):
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        source = given.get("src") or ""
        if tag == "img":
            alt = (given.get("alt") or "").strip()
            if not alt or FILE_NAME.match(alt):
                self.faults.append(f"a picture has no alt text (alt={alt!r}, src={source[:60]!r})")
        if tag == "link" and LOADED_BY_LINK & set((given.get("rel") or "").split()):
            source = given.get("href") or ""
        if ELSEWHERE.match(source):
            self.faults.append(f"<{tag}> loads {source[:100]} from another host")


def inspect_pages(app: Sphinx, exception: Exception | None) -> None:
    """Fail the build where a page, rebuilt or not, has a picture without alt text or loads from another host."""
    if exception is not None or app.builder.format != "html":
        return
    faults = []
    for page in sorted(app.env.found_docs):
        path = Path(app.builder.get_outfilename(page))
        if not path.exists():
            continue
        inspector = PageInspector()
        inspector.feed(path.read_text(encoding="utf-8"))
        faults += [f"{page}: {fault}" for fault in inspector.faults]
    if faults:
        raise ExtensionError("the built pages have faults:\n  " + "\n  ".join(faults))
