"""Sphinx extension of the book: the API page from the package's docstrings.

- docstrings are plain text here, with `code` in backticks and equation labels such as (eq-neuron): made into markup,
  with each label a link to its equation;
- the line "% api: the rest" on a page stands for all modules that the page does not name, so that none is missing.
"""

import pkgutil
import re
from importlib.util import find_spec

from sphinx.application import Sphinx

PACKAGE = "snnbook"
THE_REST = "% api: the rest"
NAMED = re.compile(r"^\.\. automodule:: (\S+)", re.M)
LEFT_OUT = re.compile(r"(^|\.)_|\.ops\.|\.book\.")
"""Private modules, the engines' insides (compiled, for some machines only), and the chapters' checkers and tools."""

BEFORE_NAPOLEON, AFTER_NAPOLEON = 400, 600  # event priorities
ONE_LINERS, COLON = ("attribute", "data", "property"), "\ue000"  # a letter for private use
CODE = re.compile(r"`([^`]+)`")
EQUATION = re.compile(r"\((eq-[\w-]+)\)")
MARKUP = re.compile(r"([*|\\])")


def setup(app: Sphinx) -> dict:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("config-inited", configure)
    app.connect("source-read", add_the_rest)
    app.connect("autodoc-process-docstring", mark_up, priority=BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", restore_colons, priority=AFTER_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Sphinx, config) -> None:
    """Members in the order of the source, short names, one parameter a line where a signature is long."""
    config.autodoc_member_order = "bysource"
    config.add_module_names = False
    config.autodoc_preserve_defaults = True
    config.python_maximum_signature_line_length = 60
    config.toc_object_entries = False
    config.nitpick_ignore_regex = [
        *config.nitpick_ignore_regex,
        ("py:.*", ".*"),
    ]  # types of other packages have no page


def add_the_rest(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the modules that a page does not name in place of its mark."""
    if THE_REST in source[0]:
        blocks = [
            f".. automodule:: {name}\n   :members:\n   :no-value:\n"
            for name in modules()
            if name not in NAMED.findall(source[0])
        ]
        source[0] = source[0].replace(THE_REST, "```{eval-rst}\n" + "\n".join(blocks) + "```")


def modules() -> list[str]:
    """The package's public modules, by name."""
    walked = pkgutil.walk_packages(find_spec(PACKAGE).submodule_search_locations, f"{PACKAGE}.")
    return [module.name for module in walked if not LEFT_OUT.search(module.name)]


def mark_up(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """A docstring of the package as reStructuredText."""
    if name.startswith(PACKAGE):
        lines[:] = [marked(line) for line in lines]
        if what in ONE_LINERS:
            lines[:] = [line.replace(":", COLON) for line in lines]


def restore_colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put back what `mark_up` hid from napoleon, which reads "Such: so" of a constant as a type and a description."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def marked(line: str) -> str:
    """One line: signs that would be markup are escaped, code is code, equation labels are links."""
    parts = CODE.split(line)
    parts[::2] = [EQUATION.sub(r":eq:`\1`", MARKUP.sub(r"\\\1", part)) for part in parts[::2]]
    parts[1::2] = [f"``{part}``" for part in parts[1::2]]
    return "".join(parts)
