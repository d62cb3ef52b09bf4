"""Sphinx extension of the book: cells' stderr is on no page, and a failed build leaves nothing behind.

- A warning that points at a cell or at the package, or a cell that writes to stderr itself, fails the build (-W).
- A library's remark, such as a progress bar, is printed in the build's log, and the build goes on.
- Either way the notebook runs again in the next build: its execution is removed from the cache.
- A build that fails by its warnings reads every page again the next time. Otherwise a page with a fault would pass the
  second time, because nothing in it has changed.
"""

import importlib.util
import re
import sys
from pathlib import Path

from docutils import nodes
from jupyter_cache import get_cache
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)

PACKAGE = "snnbook"
RUN_AGAIN = "snn_run_again"
WARNING = re.compile(r"^(?P<file>.+?):\d+: \w*Warning: ", re.M)
CELL = re.compile(r"[\\/]ipykernel_\d+[\\/]|<ipython-input")
"""Found in the file names of cells."""

ENVIRONMENT = "environment.pickle"


def setup(app: Sphinx) -> dict:
    prepare_kernels()
    app.connect("doctree-read", clear_stderr)
    app.connect("env-get-outdated", pages_to_run_again)
    app.connect("build-finished", forget_failed_build)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prepare_kernels() -> None:
    """Prepare folders and fonts for the kernels; exit with a sentence if that fails."""
    from snnbook.book import kernels
    from snnbook.errors import UserError

    try:
        kernels.prepare()
    except UserError as error:
        sys.exit(str(error))


def clear_stderr(app: Sphinx, document: nodes.document) -> None:
    """Remove stderr from a page, report it, and make the notebook run again in the next build."""
    written = [node for node in document.findall(nodes.literal_block) if "stderr" in node["classes"]]
    for node in written:
        text = node.astext().strip()
        cell = cell_of(node)
        output = node.parent
        output.remove(node)
        if not output.children:
            output.parent.remove(output)
        first = text.partition("\n")[0]
        summary = f"cell {cell['cell_index'] + 1} wrote to stderr: {first}"
        if is_our_own(text, cell):
            logger.warning(summary, location=node)
        else:
            logger.info(f"{app.env.docname}: {summary} (a library's remark: it is not on the page)")
    if written:
        forget_execution(app, app.env.docname)
        NbMetadataCollector.set_doc_data(app.env, app.env.docname, RUN_AGAIN, True)


def cell_of(node: nodes.Node) -> nodes.container:
    """Return the cell that an output belongs to."""
    while node.get("nb_element") != "cell_code":
        node = node.parent
    return node


def is_our_own(text: str, cell: nodes.container) -> bool:
    """Return whether a text is the book's own: a warning about a cell or the package, or written by a cell itself."""
    root = str(Path(importlib.util.find_spec(PACKAGE).origin).parent)
    files = [found["file"] for found in WARNING.finditer(text)]
    code = "\n".join(child.astext() for child in cell.children if child.get("nb_element") == "cell_code_source")
    return "stderr" in code or any(CELL.search(file) or file.startswith(root) for file in files)


def forget_execution(app: Sphinx, page: str) -> None:
    """Remove a notebook's executions from the cache."""
    cache = get_cache(app.config.nb_execution_cache_path)
    source = Path(app.env.doc2path(page))
    for record in cache.list_cache_records():
        if Path(record.uri) == source:
            cache.remove_cache(record.pk)


def pages_to_run_again(app: Sphinx, env: BuildEnvironment, added: set, changed: set, removed: set) -> list[str]:
    """Return the pages whose cells wrote to stderr in the build before."""
    return [page for page in env.found_docs if NbMetadataCollector.get_doc_data(env)[page].get(RUN_AGAIN)]


def forget_failed_build(app: Sphinx, exception: Exception | None) -> None:
    """Make the next build read every page, where this one fails by its warnings."""
    # Sphinx keeps only one of the two options.
    strict = app.warningiserror or app.keep_going
    if exception is None and strict and app._warncount:
        Path(app.doctreedir, ENVIRONMENT).unlink(missing_ok=True)
