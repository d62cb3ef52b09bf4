"""Sphinx extension of the book: the API page from the package's docstrings.

- The package's docstrings are plain text, with `code` in backticks and equation labels such as (eq-neuron). The page
  gets them as reStructuredText, with a link from each label to its equation.
- The line "% api: ops" on a page is replaced by all public modules of that room, each under a heading; "% api: heart"
  by those that are in no room. So no module is missing (a test looks whether every room has its page).
"""

import pkgutil
import re
from functools import cache
from importlib.util import find_spec

from sphinx.application import Sphinx

PACKAGE = "snnbook"
HEART = "heart"
"""Stands for the modules that are in no room."""

ROOM = re.compile(r"^% api: (\w+)$", re.M)
LEFT_OUT = re.compile(r"(^|\.)_|\.ops\.(cpu|triton)\b|\.book\.")
"""Private modules, the engines' insides (compiled, for some machines only), and the chapters' checkers and tools."""

# Event priorities: napoleon's own handler runs at 500.
BEFORE_NAPOLEON = 400
AFTER_NAPOLEON = 600

ONE_LINERS = ("attribute", "data", "property")
"""Kinds of objects whose docstrings napoleon reads in another way: "Such: so" as a type and a description."""

COLON = "\ue000"
"""Hides a colon from napoleon: a character for private use, which no docstring has."""

CODE = re.compile(r"`([^`]+)`")
EQUATION = re.compile(r"\((eq-[\w-]+)\)")
MARKUP = re.compile(r"([*|\\])")


def setup(app: Sphinx) -> dict:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("config-inited", configure)
    app.connect("source-read", add_modules)
    app.connect("autodoc-skip-member", skip_what_has_another_home)
    app.connect("autodoc-process-docstring", mark_up, priority=BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", restore_colons, priority=AFTER_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def configure(app: Sphinx, config) -> None:
    """List members in the order of the source, with short names, and long signatures with one parameter a line."""
    config.autodoc_member_order = "bysource"
    config.add_module_names = False
    config.autodoc_preserve_defaults = True
    config.python_maximum_signature_line_length = 60
    config.toc_object_entries = False
    # Types of other packages have no page that a signature could link to.
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, ("py:.*", ".*")]


def add_modules(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace each room's mark on a page by the room's modules."""
    source[0] = ROOM.sub(lambda found: described(found[1]), source[0])


def described(room: str) -> str:
    """Return the Markdown that describes the modules of a room, or of the heart."""
    parts = []
    for name in modules():
        if room_of(name) == room:
            parts.append(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :no-value:\n```\n")
    return "\n".join(parts)


def room_of(name: str) -> str:
    """Return the room that a module is in: snnbook.ops and snnbook.ops.reference are in ops."""
    first = name.split(".")[1]
    is_package = find_spec(f"{PACKAGE}.{first}").submodule_search_locations is not None
    return first if is_package else HEART


@cache
def modules() -> list[str]:
    """Return the names of the package's public modules."""
    walked = pkgutil.walk_packages(find_spec(PACKAGE).submodule_search_locations, f"{PACKAGE}.")
    return [module.name for module in walked if not LEFT_OUT.search(module.name)]


def skip_what_has_another_home(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out of a module what another described module defines, so that nothing is described twice."""
    home = getattr(obj, "__module__", None)
    here = app.env.temp_data.get("autodoc:module")
    if what == "module" and home != here and home in modules():
        return True
    return None


def mark_up(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn a docstring of the package into reStructuredText."""
    if name.startswith(PACKAGE):
        lines[:] = [marked(line) for line in lines]
        if what in ONE_LINERS:
            lines[:] = [line.replace(":", COLON) for line in lines]


def restore_colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put back the colons that `mark_up` hid from napoleon."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def marked(line: str) -> str:
    """Turn one line into reStructuredText, with code as code and equation labels as links."""
    marked_up = ""
    # Every other part is what stood between backticks.
    for place, part in enumerate(CODE.split(line)):
        if place % 2:
            marked_up += f"``{part}``"
        else:
            marked_up += EQUATION.sub(r":eq:`\1`", MARKUP.sub(r"\\\1", part))
    return marked_up
