"""Turn a drawing function into a picture, with or without controls.

A drawing function takes matplotlib axes and draws on them; it creates no figure of its own and returns nothing.
"""

import io
import re
from collections.abc import Callable
from typing import Any

from ..errors import UserError
from ..results.style import BOOK_SETTINGS
from .elements import caption_tag, element, image_tag
from .matplotlib_quietly import Figure, FigureCanvasSVG, mpl
from .shown import Shown, Still
from .themes import DARK_SHEET

FIGSIZE = (6.0, 3.5)
"""Default width and height, inches: the width of the book's text column."""

POINTS = 72
"""Points per inch: an SVG's coordinates are points."""

PRINT_DPI = 200
"""Resolution of the PNG for a PDF of the book and for exports."""

MARGINS = {"left": max, "right": min, "bottom": max, "top": min, "wspace": max, "hspace": max}
"""Matplotlib's names for the margins, and which of two values leaves more room."""

NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""Leaves out of an SVG what would change from one drawing to the next."""

FIXED = re.compile(r'("data:[^"]*"|scale\([^)]*\))')
"""What `shorten` must not round: images are data, and glyphs are scaled by numbers such as 0.015625."""

LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
INVISIBLE = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>", re.S)


def description(alt: object, owner: str) -> str:
    """Return a picture's description on one line.

    Raises:
        UserError: if there is none
    """
    if not isinstance(alt, str) or not alt.strip():
        raise UserError(f"{owner} needs alt=...: one or two sentences that say what the picture shows, not {alt!r}")
    return " ".join(alt.split())


def read_caption(caption: str | None) -> str:
    """Return the HTML of a figure's caption, "" for None.

    Raises:
        UserError: if it is no text
    """
    if caption is None:
        return ""
    if not isinstance(caption, str) or not caption.strip():
        raise UserError(f"caption must be a sentence that says what to look for, not {caption!r}")
    return caption_tag(" ".join(caption.split()))


class Canvas:
    """A figure that one drawing function draws again and again, always with the same margins.

    Args:
        draw: draw(ax, **values); with `subplots`, ax is the array of axes that matplotlib's `Figure.subplots` returns
        figsize: width and height, inches
        subplots: arguments for `Figure.subplots`, such as {"ncols": 2}
        layouts: the states that the margins leave room for

    Raises:
        UserError: if draw is not a function
    """

    def __init__(self, draw: Callable, figsize=FIGSIZE, subplots: dict | None = None, layouts=({},)):
        if not callable(draw):
            raise UserError(f"the first argument must be a function draw(ax, ...), not {draw!r}")
        self.draw = draw
        self.subplots = subplots or {}
        self.layouts = layouts
        self.figure = Figure(figsize=figsize, dpi=POINTS)
        self.margins: dict[str, float] | None = None

    @property
    def width(self) -> float:
        """Width in inches."""
        return float(self.figure.get_figwidth())

    def svg_lines(self, values: dict[str, Any]) -> list[str]:
        """Draw one state as SVG text, shortened, in lines that similar states have in common."""

        # savefig would draw twice, the first time for a layout engine that is not used here.
        def write(file: io.BytesIO) -> None:
            FigureCanvasSVG(self.figure).print_svg(file, metadata=NO_METADATA)

        root, *lines = shorten(self._save(values, write).decode())
        return [root, DARK_SHEET, *lines]

    def svg(self, values: dict[str, Any]) -> bytes:
        """Draw one state as an SVG file; the same state gives the same bytes on every machine."""
        return "".join(self.svg_lines(values)).encode()

    def png(self, values: dict[str, Any]) -> bytes:
        """Draw one state as a PNG file, for print."""
        return self._save(values, lambda file: self.figure.savefig(file, format="png", dpi=PRINT_DPI))

    def places(self, state: dict[str, Any], axis: str, panel: int, values: list[float]) -> list[float]:
        """Return where values of an axis lie in the picture.

        Args:
            state: what is drawn
            axis: "x" or "y"
            panel: place of the axes among those of the figure
            values: along that axis
        Returns:
            for each value its share of the picture's width from the left, or of its height from the top
        """
        self.svg_lines(state)
        axes = self.figure.axes[panel]
        along_x = axis == "x"
        points = [(value, axes.get_ylim()[0]) if along_x else (axes.get_xlim()[0], value) for value in values]
        shares = self.figure.transFigure.inverted().transform(axes.transData.transform(points))
        return [round(float(x if along_x else 1 - y), 4) for x, y in shares]

    def image_tag(self, values: dict[str, Any], alt: str, attributes: dict[str, str | bool] | None = None) -> str:
        """Draw one state as an <img> that carries its SVG."""
        return image_tag(self.svg(values), alt, self.width, attributes=attributes)

    def still(self, values: dict[str, Any], alt: str, note: str = "") -> Still:
        """Return one state as a still picture, which is drawn when it is needed."""
        return Still(lambda: self.png(values), alt, self.width, note)

    def _save(self, values: dict[str, Any], write: Callable[[io.BytesIO], None]) -> bytes:
        """Draw one state with the book's settings alone, and return the file that `write` writes."""
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(BOOK_SETTINGS)
            # The margins are computed once, so that the axes do not jump from state to state.
            if self.margins is None:
                found = [self._margins_for(layout) for layout in self.layouts]
                self.margins = {name: widest(each[name] for each in found) for name, widest in MARGINS.items()}
            self._fill(values)
            file = io.BytesIO()
            write(file)
        return file.getvalue()

    def _margins_for(self, values: dict[str, Any]) -> dict[str, float]:
        """Compute margins that leave room for the labels of one state."""
        self._fill(values)
        self.figure.tight_layout()
        return {name: getattr(self.figure.subplotpars, name) for name in MARGINS}

    def _fill(self, values: dict[str, Any]) -> None:
        """Draw one state on an empty figure."""
        # Clearing a figure resets its margins and colour.
        self.figure.clear()
        self.figure.set(facecolor=BOOK_SETTINGS["figure.facecolor"])
        if self.margins:
            self.figure.subplots_adjust(**self.margins)
        try:
            self.draw(self.figure.subplots(**self.subplots), **values)
        except Exception as error:
            error.add_note(f"while {name_of(self.draw)} drew {values}")
            raise


def shorten(svg: str) -> list[str]:
    """Remove what nobody sees from an SVG text: comments, metadata, indents, digits after the second."""
    visible = INVISIBLE.sub("", svg[svg.index("<svg") :])
    shortened = ""
    for part in FIXED.split(visible):
        shortened += part if FIXED.fullmatch(part) else LONG_NUMBER.sub(_two_digits, part)
    return [line + "\n" for line in re.split(r"[ \t]*\n[ \t]*", shortened) if line]


def _two_digits(number: re.Match) -> str:
    """Round a number to two digits after the point, without trailing zeros."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def name_of(function: Callable) -> str:
    """Return a function's name, for messages."""
    return getattr(function, "__name__", type(function).__name__)


class Picture(Shown):
    """A still picture; see `figure`."""

    def __init__(
        self, draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None, caption: str | None = None
    ):
        self.alt = description(alt, "figure")
        self.caption = read_caption(caption)
        self.canvas = Canvas(draw, figsize, subplots)

    def __repr__(self) -> str:
        return f"figure: {self.alt}"

    def html(self) -> str:
        picture = self.canvas.image_tag({}, self.alt)
        return element("figure", {"class": "snn-figure"}, picture, self.caption)

    def still(self) -> Still:
        return self.canvas.still({}, self.alt)


def figure(
    draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None, caption: str | None = None
) -> Picture:
    """Show a still picture: `figure(draw, alt="...")` as the last line of a cell.

    Args:
        draw: draw(ax), or draw(axes) with `subplots`
        alt: what the picture shows, in words. A stripped notebook keeps nothing else and nbval compares it, so
            round its numbers
        figsize: width and height, inches
        subplots: arguments for matplotlib's `Figure.subplots`, such as {"ncols": 2, "sharey": True}
        caption: one sentence that says what to look for; the built page numbers it

    Raises:
        UserError: if alt is missing or empty, caption is no text, or draw is not a function
    """
    return Picture(draw, alt=alt, figsize=figsize, subplots=subplots, caption=caption)
