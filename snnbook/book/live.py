"""A picture that follows a loop: `picture = live(draw, alt="...")`, then `picture.update()` as the loop goes on.

With a kernel the picture is redrawn in its place while the cell runs: in a widget, or where there are no widgets by
updates of the cell's output. When the book is built nothing is shown: a page cannot follow a loop, and the finished
picture has its own place after it.
"""

import time
from collections.abc import Callable

from .canvas import FIGSIZE, Canvas, require_text
from .shown import Still, baking, html_widget, image_tag, moving, view_of

SECONDS = 0.5
"""Least time between two drawings: drawing must not slow down what is watched."""


class Live:
    """A picture that follows a loop; see `live`."""

    def __init__(self, draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None) -> None:
        require_text(alt, "live")
        self.canvas, self.alt = Canvas(draw, figsize, subplots), " ".join(alt.split())
        self.view = self.output = None
        self._drawn = 0.0

    def __repr__(self) -> str:
        return f"live: {self.alt}"

    def show(self) -> None:
        """Put the picture under the cell, if there is a kernel to redraw it."""
        if baking():
            return
        from IPython.display import display

        if moving():
            self.view = html_widget()
            self.update(now=True)
            display(self)
        else:
            self.output = display(self, display_id=True)

    def update(self, now: bool = False) -> None:
        """Draw again, if the last drawing is SECONDS old or more.

        Args:
            now: draw in any case, as at the end of the loop
        """
        if not (now or time.monotonic() - self._drawn >= SECONDS):
            return
        if self.view is not None:
            picture = image_tag(self.canvas.svg({}), self.alt, self.canvas.width)
            self.view.value = f'<figure class="snn-figure" style="margin:0">{picture}</figure>'
        if self.output is not None:
            self.output.update(self)
        self._drawn = time.monotonic()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        if self.view is not None:
            return {"text/plain": repr(self)} | view_of(self.view)
        return {"text/plain": repr(self)} | Still(lambda: self.canvas.png({}), self.alt, self.canvas.width).data()


def live(draw: Callable, *, alt: str, figsize=FIGSIZE, subplots: dict | None = None) -> Live:
    """Show a picture that a loop redraws by `update()`.

    Args:
        draw: draw(ax), or draw(axes) with `subplots`; it draws whatever there is so far, nothing at first
        alt: what the picture shows, in words that stay true
        figsize, subplots: as for `figure`
    Returns:
        the picture, shown already

    Raises:
        UserError: if alt is missing or empty, or draw is not a function
    """
    picture = Live(draw, alt=alt, figsize=figsize, subplots=subplots)
    picture.show()
    return picture
