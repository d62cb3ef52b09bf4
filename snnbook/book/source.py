"""Show the package's own source beside the equation it computes: `show(losses.Counting)`. Never a pasted copy."""

import ast
import html
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

from ..errors import UserError
from .shown import baking, bundle, html_widget

EQUATION = re.compile(r"\((eq-[\w-]+)\)")
LIVE_LOOK = {
    "noclasses": True,
    "style": "a11y-high-contrast-light",  # comes with the extra snnbook[live]
    "prestyles": "white-space:pre;overflow-x:auto;padding:.5em",
}
PACKAGE_ROOT = Path(__file__).parents[2]


class Source:
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
        """The listing, highlighted: by the page's own style sheet in the book, with its own colours elsewhere."""
        code = _highlighted("\n\n".join(text.rstrip() + "\n" for text in self.texts))
        code = code.replace("<pre", '<pre tabindex="0"', 1)  # long lines scroll: by keyboard too
        code = EQUATION.sub(r'(<a class="snn-equation" data-label="\1">\1</a>)', code)
        where = html.escape(", ".join(dict.fromkeys(_place(item) for item in self.objects)))
        return (
            f'<figure class="snn-source highlight-python notranslate"><figcaption>{where}</figcaption>{code}</figure>'
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return bundle(repr(self), self.html, lambda: html_widget(self.html()))


def show(*objects: Any, doc: bool = True, start: str | None = None, stop: str | None = None) -> Source:
    """Show the source of functions, classes or methods of the package, as the last line of a cell.

    Equation labels such as (eq-neuron) become links in the built book.

    Args:
        *objects: what to show, one after the other
        doc: False leaves docstrings out
        start: show from the first line that contains this text
        stop: and up to, without, the next line that contains this text

    Raises:
        UserError: if an object has no Python source, or start or stop is not found in it
    """
    return Source(*objects, doc=doc, start=start, stop=stop)


def _highlighted(code: str) -> str:
    """Code as HTML, in colours: those of the page's style sheet in the book."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer
    from pygments.util import ClassNotFound

    try:
        formatter = HtmlFormatter() if baking() else HtmlFormatter(**LIVE_LOOK)
    except ClassNotFound:
        formatter = HtmlFormatter(**LIVE_LOOK | {"style": "default"})
    return highlight(code, PythonLexer(), formatter)


def _unwrap(item: Any) -> Any:
    return inspect.unwrap(item.fget if isinstance(item, property) else item)


def _name(item: Any) -> str:
    module = getattr(item, "__module__", None)
    name = getattr(item, "__qualname__", getattr(item, "__name__", repr(item)))
    return f"{module}.{name}" if module else name


def _place(item: Any) -> str:
    path = Path(inspect.getsourcefile(item)).resolve()
    shown = path.relative_to(PACKAGE_ROOT).as_posix() if path.is_relative_to(PACKAGE_ROOT) else path.name
    return f"{shown}: {item.__qualname__}" if hasattr(item, "__qualname__") else shown


def _text(item: Any, doc: bool, start: str | None, stop: str | None) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(item))
    except (TypeError, OSError):
        raise UserError(f"{item!r} has no Python source to show: give a function, class or method") from None
    lines = text.splitlines() if doc else _without_docstrings(text)
    first = _find(lines, start, item, 0) if start else 0
    last = _find(lines, stop, item, first + 1) if stop else len(lines)
    return textwrap.dedent("\n".join(lines[first:last]))


def _find(lines: list[str], text: str, item: Any, first: int) -> int:
    for i in range(first, len(lines)):
        if text in lines[i]:
            return i
    raise UserError(f"{text!r} is on no line of {_name(item)} from line {first + 1} on: the code may have changed")


def _without_docstrings(text: str) -> list[str]:
    """The lines of a source text without its docstrings, and without the blank lines that follow them."""
    lines = text.splitlines()
    drop: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            end = node.body[0].end_lineno
            while end < len(lines) and not lines[end].strip():
                end += 1
            drop.update(range(node.body[0].lineno - 1, end))
    return [line for i, line in enumerate(lines) if i not in drop]
