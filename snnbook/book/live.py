"""A picture that follows a loop: `picture = live(draw, alt="...")`, then `picture.update()` as the loop goes on.

With a kernel the picture is redrawn in its place while the cell runs: in a widget, or where there are no widgets by
updates of the cell's output. When the book is built nothing is shown: a page cannot follow a loop, and a later cell
shows the finished picture.
"""

import time
from collections.abc import Callable
from typing import Any

from .canvas import FIGSIZE, Canvas, description
from .shown import Shown, Still, baking, bare_figure, html_widget, shows_widgets, view_of

SECONDS = 0.5
"""Least time between two drawings, so that drawing does not slow down the loop."""


class Live(Shown):
    """A picture that follows a loop; see `live`."""

    def __init__(self, draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None) -> None:
        self.alt = description(alt, "live")
        self.canvas = Canvas(draw, figsize, subplots)
        # One of the two is set while there is a kernel: a widget, or a handle of the cell's output.
        self.view: Any = None
        self.output: Any = None
        self._drawn = 0.0

    def __repr__(self) -> str:
        return f"live: {self.alt}"

    def show(self) -> None:
        """Display the picture under the cell, if there is a kernel to redraw it."""
        if baking():
            return
        from IPython.display import display

        if shows_widgets():
            self.view = html_widget()
            self.update(now=True)
            display(self)
        else:
            self.output = display(self, display_id=True)

    def update(self, now: bool = False) -> None:
        """Draw again, if the last drawing is at least SECONDS old.

        Args:
            now: draw in any case, as at the end of the loop
        """
        if not (now or time.monotonic() - self._drawn >= SECONDS):
            return
        if self.view is not None:
            self.view.value = bare_figure(self.canvas.image_tag({}, self.alt))
        if self.output is not None:
            self.output.update(self)
        self._drawn = time.monotonic()

    def still(self) -> Still:
        return self.canvas.still({}, self.alt)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        # Never both: a still picture beside the widget would be the loop's start, and would stay.
        form = view_of(self.view) if self.view is not None else self.still().data()
        return {"text/plain": repr(self)} | form


def live(draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None) -> Live:
    """Show a picture that a loop redraws by `update()`.

    Args:
        draw: draw(ax), or draw(axes) with `subplots`; it draws whatever there is so far, nothing at first
        alt: what the picture shows, in words that stay true while the loop goes on
        figsize, subplots: as for `figure`
    Returns:
        the picture, which is displayed already

    Raises:
        UserError: if alt is missing or empty, or draw is not a function
    """
    picture = Live(draw, alt=alt, figsize=figsize, subplots=subplots)
    picture.show()
    return picture
