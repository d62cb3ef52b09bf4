"""Show the package's own source, never a pasted copy, next to the equation it computes: `show(losses.Counting)`."""

import ast
import html
import inspect
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from .elements import element
from .shown import Shown, baking

EQUATION = re.compile(r"\((eq-[\w-]+)\)")
LIVE_STYLE = {
    "noclasses": True,
    # This style comes with the extra snnbook[live].
    "style": "a11y-high-contrast-light",
    "prestyles": "white-space:pre;overflow-x:auto;padding:.5em",
}
"""pygments' settings where the page brings no style sheet for listings."""

PACKAGE_ROOT = Path(__file__).parents[2]


class Source(Shown):
    """A listing of the package's source; see `show`."""

    def __init__(self, *objects: Any, doc: bool = True, start: str | None = None, stop: str | None = None):
        if not objects:
            raise UserError("show needs a function, class or method of the package")
        if (start or stop) and len(objects) > 1:
            raise UserError("show cuts from start to stop in one object at a time")
        self.objects = [_unwrap(item) for item in objects]
        self.texts = [_text(item, doc, start, stop) for item in self.objects]

    def __repr__(self) -> str:
        return f"source of {', '.join(_name(item) for item in self.objects)}"

    def html(self) -> str:
        code = _highlighted("\n\n".join(text.rstrip() + "\n" for text in self.texts))
        # Long lines scroll. An element that the Tab key reaches can be scrolled by keyboard, too.
        code = code.replace("<pre", '<pre tabindex="0"', 1)
        code = EQUATION.sub(r'(<a class="snn-equation" data-label="\1">\1</a>)', code)
        kind = {"class": "snn-source highlight-python notranslate"}
        return element("figure", kind, element("figcaption", {}, html.escape(_caption(self.objects))), code)


def show(*objects: Any, doc: bool = True, start: str | None = None, stop: str | None = None) -> Source:
    """Show the source of functions, classes or methods of the package, as the last line of a cell.

    Equation labels such as (eq-neuron) become links in the built book.

    Args:
        *objects: what to show, one after the other
        doc: False leaves docstrings out
        start: show from the first line that contains this text
        stop: stop before the next line that contains this text

    Raises:
        UserError: if an object has no Python source, or start or stop is not found in it
    """
    return Source(*objects, doc=doc, start=start, stop=stop)


def _highlighted(code: str) -> str:
    """Highlight code: with the page's style sheet in the book, with LIVE_STYLE elsewhere."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer
    from pygments.util import ClassNotFound

    settings = {} if baking() else LIVE_STYLE
    try:
        formatter = HtmlFormatter(**settings)
    except ClassNotFound:
        formatter = HtmlFormatter(**settings | {"style": "default"})
    return highlight(code, PythonLexer(), formatter)


def _unwrap(item: Any) -> Any:
    """Return the function behind a property or decorators."""
    return inspect.unwrap(item.fget if isinstance(item, property) else item)


def _name(item: Any) -> str:
    """Return an object's full name."""
    module = getattr(item, "__module__", None)
    name = getattr(item, "__qualname__", getattr(item, "__name__", repr(item)))
    return f"{module}.{name}" if module else name


def _caption(items: Sequence[Any]) -> str:
    """Return the files of objects, each with the names that are shown from it."""
    names: dict[str, list[str]] = {}
    for item in items:
        found = names.setdefault(_file(item), [])
        # A module has no name of its own in its file.
        if hasattr(item, "__qualname__"):
            found.append(item.__qualname__)
    return "; ".join(": ".join(filter(None, [file, ", ".join(found)])) for file, found in names.items())


def _file(item: Any) -> str:
    """Return an object's file, relative to the project if it is in there."""
    path = Path(inspect.getsourcefile(item)).resolve()
    if path.is_relative_to(PACKAGE_ROOT):
        return path.relative_to(PACKAGE_ROOT).as_posix()
    return path.name


def _text(item: Any, doc: bool, start: str | None, stop: str | None) -> str:
    """Return an object's source, cut from `start` to `stop`."""
    try:
        text = textwrap.dedent(inspect.getsource(item))
    except (TypeError, OSError):
        raise UserError(f"{item!r} has no Python source to show: give a function, class or method") from None
    lines = text.splitlines() if doc else _without_docstrings(text)
    first = _find(lines, start, item, 0) if start else 0
    last = _find(lines, stop, item, first + 1) if stop else len(lines)
    return textwrap.dedent("\n".join(lines[first:last]))


def _find(lines: list[str], text: str, item: Any, first: int) -> int:
    """Return the place of the first line, from `first` on, that contains a text."""
    for i in range(first, len(lines)):
        if text in lines[i]:
            return i
    raise UserError(f"{text!r} is on no line of {_name(item)} from line {first + 1} on: the code may have changed")


def _without_docstrings(text: str) -> list[str]:
    """Return the lines of a source text without docstrings and the blank lines after them."""
    lines = text.splitlines()
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            end = node.body[0].end_lineno
            while end < len(lines) and not lines[end].strip():
                end += 1
            dropped.update(range(node.body[0].lineno - 1, end))
    return [line for i, line in enumerate(lines) if i not in dropped]
