"""From a drawing function to a picture: the one way in which the book draws, still or moving.

A drawing function takes matplotlib axes and draws on them; it makes no figure of its own and returns nothing.
"""

import base64
import html
import io
import os
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..errors import UserError
from .style import RC

BAKE = "SNNBOOK_BAKE"
"""Environment variable: "1" while the book is built, so that pictures come as HTML that needs no kernel."""

FIGSIZE = (6.0, 3.5)
"""Default width and height, inches: the width of the book's text column."""

POINTS = 72
"""Points in an inch: the unit of the SVG's coordinates."""

PRINT_DPI = 200
"""Resolution of the extra PNG that a PDF of the book takes."""

MARGINS = {"left": max, "right": min, "bottom": max, "top": min, "wspace": max, "hspace": max}
"""Matplotlib's names, and which of two values leaves more room."""

NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
FIXED = re.compile(r'("data:[^"]*"|scale\([^)]*\))')
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
UNSEEN = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>", re.S)


def baking() -> bool:
    """Whether the book is being built (pictures must then live without a kernel)."""
    return os.environ.get(BAKE) == "1"


def require_text(alt: object, owner: str) -> None:
    """Refuse a picture without a description."""
    if not isinstance(alt, str) or not alt.strip():
        raise UserError(f"{owner} needs alt=...: one or two sentences that tell what the picture shows, not {alt!r}")


class Canvas:
    """A figure that one drawing function fills, as often as asked, always with the same margins.

    Args:
        draw: draw(ax, **values); with `subplots`, ax is the array of axes that matplotlib's `Figure.subplots` returns
        figsize: width and height, inches
        subplots: arguments for `Figure.subplots`, such as {"ncols": 2}
        layouts: the values for which the margins are computed, once: room for the labels of each

    Raises:
        UserError: if draw is not a function
    """

    def __init__(self, draw: Callable, figsize=FIGSIZE, subplots: dict | None = None, layouts=({},)):
        if not callable(draw):
            raise UserError(f"the first argument must be a function draw(ax, ...), not {draw!r}")
        self.draw, self.subplots, self.layouts = draw, subplots or {}, layouts
        self.figure = Figure(figsize=figsize, dpi=POINTS)
        self.margins: dict[str, float] | None = None

    @property
    def width(self) -> float:
        """Inches."""
        return float(self.figure.get_figwidth())

    def svg_lines(self, values: dict[str, Any]) -> list[str]:
        """One state as SVG text, shortened, in lines that states share where they look alike."""
        # savefig would draw twice, the first time for a layout engine that is not used here
        return shorten(
            self._save(values, lambda file: FigureCanvasSVG(self.figure).print_svg(file, metadata=NO_METADATA)).decode()
        )

    def svg(self, values: dict[str, Any]) -> bytes:
        """One state as an SVG file; the same bytes whenever and wherever it is drawn."""
        return "".join(self.svg_lines(values)).encode()

    def png(self, values: dict[str, Any]) -> bytes:
        """One state as a PNG file, for print."""
        return self._save(values, lambda file: self.figure.savefig(file, format="png", dpi=PRINT_DPI))

    def _save(self, values: dict[str, Any], write: Callable[[io.BytesIO], None]) -> bytes:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)
            if self.margins is None:  # laid out once: axes must not jump between states
                found = [self._fitting(layout) for layout in self.layouts]
                self.margins = {name: widest(each[name] for each in found) for name, widest in MARGINS.items()}
            self._fill(values)
            file = io.BytesIO()
            write(file)
        return file.getvalue()

    def _fitting(self, values: dict[str, Any]) -> dict[str, float]:
        """Margins that hold the labels of one state."""
        self._fill(values)
        self.figure.tight_layout()
        return {name: getattr(self.figure.subplotpars, name) for name in MARGINS}

    def _fill(self, values: dict[str, Any]) -> None:
        self.figure.clear()  # resets the margins
        self.figure.set(facecolor=RC["figure.facecolor"])
        if self.margins:
            self.figure.subplots_adjust(**self.margins)
        try:
            self.draw(self.figure.subplots(**self.subplots), **values)
        except Exception as error:
            error.add_note(f"while {name_of(self.draw)} drew {values}")
            raise


def shorten(svg: str) -> list[str]:
    """Take out of an SVG text what nobody sees: comments, metadata, indents, digits after the second.

    Glyphs are scaled by numbers such as 0.015625, and images are data: neither is touched.
    """
    seen = UNSEEN.sub("", svg[svg.index("<svg") :])
    parts = (part if FIXED.fullmatch(part) else LONG_NUMBER.sub(_two_digits, part) for part in FIXED.split(seen))
    return [line + "\n" for line in re.split(r"[ \t]*\n[ \t]*", "".join(parts)) if line]


def _two_digits(number: re.Match) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def name_of(function: Callable) -> str:
    """A function's name, for messages."""
    return getattr(function, "__name__", type(function).__name__)


def image_tag(svg: bytes, alt: str, width: float) -> str:
    """An <img> that carries its SVG and its description.

    Args:
        svg: what `Canvas.svg` returned
        alt: description
        width: inches; the picture shrinks where the page is narrower

    The class "dark-light" tells the book's theme not to dim it on a dark page.
    """
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    style = f"width:{width:g}in;max-width:100%;height:auto"
    return f'<img class="snn-picture dark-light" alt="{html.escape(alt)}" style="{style}" src="{source}">'


def bundle(text: str, page: Callable[[], str], live: Callable[[], Any], png: Callable[[], bytes] | None = None) -> dict:
    """What Jupyter shows of an object: a widget with a kernel, plain HTML when the book is built.

    A live cell leaves nothing but text and the widget's address, so that a notebook stripped to its text passes nbval.

    Args:
        text: the stable description that a stripped notebook keeps
        page: makes the HTML for the built page
        live: makes the widget
        png: makes the picture for print
    """
    if baking():
        found = {"text/html": page(), "text/plain": text}
        return found | ({"image/png": base64.b64encode(png()).decode()} if png else {})
    return view_of(live(), text)


def view_of(widget: Any, text: str) -> dict:
    """A widget as Jupyter shows it, and the text that stays; in ipywidgets 7 too, which Colab has.

    Args:
        widget: of ipywidgets
        text: the stable description that a stripped notebook keeps
    """
    return {"application/vnd.jupyter.widget-view+json": widget.get_view_spec(), "text/plain": text}


class Picture:
    """A still picture; see `figure`."""

    def __init__(self, draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None):
        require_text(alt, "figure")
        self.canvas = Canvas(draw, figsize, subplots)
        self.alt = " ".join(alt.split())

    def __repr__(self) -> str:
        return f"figure: {self.alt}"

    def html(self) -> str:
        """The picture as it stands in a page."""
        return f'<figure class="snn-figure">{image_tag(self.canvas.svg({}), self.alt, self.canvas.width)}</figure>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        import ipywidgets

        return bundle(repr(self), self.html, lambda: ipywidgets.HTML(self.html()), lambda: self.canvas.png({}))


def figure(draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None) -> Picture:
    """Show a still picture: `figure(draw, alt="...")` as the last line of a cell.

    Args:
        draw: draw(ax), or draw(axes) with `subplots`
        alt: what the picture shows, in words. A stripped notebook keeps nothing else and nbval compares it, so
            round its numbers
        figsize: width and height, inches
        subplots: arguments for matplotlib's `Figure.subplots`, such as {"ncols": 2, "sharey": True}

    Raises:
        UserError: if alt is missing or empty, or draw is not a function
    """
    return Picture(draw, alt=alt, figsize=figsize, subplots=subplots)
