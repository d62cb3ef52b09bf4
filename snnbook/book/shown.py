"""The base class of all that the book displays. The reader decides which form of a figure or listing a notebook shows.

- The built book gets HTML that needs no kernel (`BAKE`).
- A person in JupyterLab, VS Code or Colab gets the live widget. A still picture comes with it, for front ends that
  cannot show widgets, such as GitHub.
- An export by nbconvert, papermill or Quarto gets the still picture alone: a widget would need a kernel or a CDN.
- nbval gets text and the widget. It compares everything else with the notebook in git, which holds text only.
"""

import base64
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .elements import element, image_tag, note

BAKE = "SNNBOOK_BAKE"
"""Environment variable: "1" while the book is built, so that pictures come as HTML that needs no kernel."""

WIDGET = "application/vnd.jupyter.widget-view+json"
COLAB = "google.colab"

NO_CONTROLS = (
    "This picture is still: its controls work in the built book, and in JupyterLab where <code>snnbook[live]</code> "
    "is installed."
)
"""Below a still picture whose controls are missing, HTML."""


class Audience(Enum):
    """Who runs the current cell."""

    PERSON = "a front end with somebody in front of it"
    EXPORT = "a program that keeps the outputs, such as nbconvert"
    CHECK = "a program that compares the outputs, such as nbval"
    NOBODY = "plain Python"


def audience() -> Audience:
    """Find out who runs the current cell, from the request that the kernel works on.

    Only front ends with a person accept questions (`input()`), and nbval alone keeps its cells out of the history.
    """
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if not hasattr(kernel, "get_parent"):
        return Audience.NOBODY
    request = kernel.get_parent().get("content", {})
    if request.get("allow_stdin", True) or COLAB in sys.modules:
        return Audience.PERSON
    if request.get("store_history", True):
        return Audience.EXPORT
    return Audience.CHECK


def baking() -> bool:
    """Return whether the book is being built: figures must then work without a kernel."""
    return os.environ.get(BAKE) == "1"


def shows_widgets() -> bool:
    """Return whether the current cell should show widgets."""
    return audience() is not Audience.EXPORT and importlib.util.find_spec("ipywidgets") is not None


@dataclass(frozen=True)
class Still:
    """The still picture of something that is displayed.

    Args:
        png: draws it
        alt: description
        width: inches
        note: HTML below it, such as NO_CONTROLS
    """

    png: Callable[[], bytes]
    alt: str
    width: float
    note: str = ""

    def data(self) -> dict[str, str]:
        """Return the picture as HTML and as a file; both are PNG, since GitHub and others remove SVG."""
        image = self.png()
        tag = image_tag(image, self.alt, self.width, "png")
        below = note(self.note) if self.note else ""
        return {"text/html": bare_figure(tag, below), "image/png": base64.b64encode(image).decode()}


class Shown:
    """Something that a cell displays.

    A subclass defines `__repr__` and `html`, and where it has more than HTML to show, `still` and `live`.
    `repr` is the stable description: a notebook stripped to its text keeps it, and nbval compares it.
    """

    def html(self) -> str:
        """Return the HTML of the built page."""
        raise NotImplementedError

    def still(self) -> Still | None:
        """Return the still picture; None where the HTML moves nothing, and so serves an export, too."""
        return None

    def live(self) -> Any:
        """Return the widget of a session with a kernel."""
        return html_widget(self.html())

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        """Return what Jupyter displays, by media type."""
        still = self.still()
        found: dict[str, Any] = {"text/plain": repr(self)}
        if baking():
            found["text/html"] = self.html()
            if still is not None:
                found["image/png"] = base64.b64encode(still.png()).decode()
            return found
        if audience() in (Audience.PERSON, Audience.EXPORT):
            found |= {"text/html": self.html()} if still is None else still.data()
        if shows_widgets():
            found |= view_of(self.live())
        return found


def view_of(widget: Any) -> dict[str, Any]:
    """Return a widget as Jupyter displays it; in ipywidgets 7 too, which Colab has."""
    return {WIDGET: widget.get_view_spec()}


def html_widget(content: str = "") -> Any:
    """Create a widget that shows HTML."""
    import ipywidgets

    return ipywidgets.HTML(content)


def bare_figure(*content: str) -> str:
    """Write a <figure> for outputs of a notebook, which bring their own margins."""
    return element("figure", {"class": "snn-figure", "style": "margin:0"}, *content)
