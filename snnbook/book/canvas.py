"""From a drawing function to a picture: the one way in which the book draws, still or moving.

A drawing function takes matplotlib axes and draws on them; it makes no figure of its own and returns nothing.
"""

import io
import re
from collections.abc import Callable
from typing import Any

from ..errors import UserError
from .matplotlib_quietly import Figure, FigureCanvasSVG, mpl
from .shown import BAKE as BAKE
from .shown import Still, bundle, html_widget, image_tag
from .style import RC

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
        still = Still(lambda: self.canvas.png({}), self.alt, self.canvas.width)
        return bundle(repr(self), self.html, lambda: html_widget(self.html()), still)


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
