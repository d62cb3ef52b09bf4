"""Which form of a picture, listing or table a notebook shows: it depends on who looks.

- The built book gets HTML that needs no kernel (`BAKE`).
- A person in JupyterLab, VS Code or Colab gets the live widget. A still picture comes with it, for front ends that
  cannot show widgets, such as GitHub.
- An export by nbconvert, papermill or Quarto gets the still picture alone: a widget would need a kernel or a CDN.
- nbval gets text and the widget. It compares everything else with the notebook in git, which holds text only.
"""

import base64
import html
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

BAKE = "SNNBOOK_BAKE"
"""Environment variable: "1" while the book is built, so that pictures come as HTML that needs no kernel."""

WIDGET = "application/vnd.jupyter.widget-view+json"
COLAB = "google.colab"

NOTE = (
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
    """Read from the request that the kernel works on who sent it.

    Only front ends with a person accept questions (`input()`), and nbval alone keeps its cells out of the history.
    """
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if not hasattr(kernel, "get_parent"):
        return Audience.NOBODY
    request = kernel.get_parent().get("content", {})
    if request.get("allow_stdin", True) or COLAB in sys.modules:
        return Audience.PERSON
    return Audience.EXPORT if request.get("store_history", True) else Audience.CHECK


def baking() -> bool:
    """Whether the book is being built (pictures must then live without a kernel)."""
    return os.environ.get(BAKE) == "1"


def moving() -> bool:
    """Whether the current cell should show widgets."""
    return audience() is not Audience.EXPORT and importlib.util.find_spec("ipywidgets") is not None


def image_tag(image: bytes, alt: str, width: float, kind: str = "svg+xml") -> str:
    """An <img> that carries its picture and its description.

    Args:
        image: what `Canvas.svg` or `Canvas.png` returned
        alt: description
        width: inches; the picture shrinks where the page is narrower
        kind: "svg+xml" or "png"

    The class "dark-light" tells the book's theme not to dim it on a dark page.
    """
    source = f"data:image/{kind};base64," + base64.b64encode(image).decode()
    style = f"width:{width:g}in;max-width:100%;height:auto"
    return f'<img class="snn-picture dark-light" alt="{html.escape(alt)}" style="{style}" src="{source}">'


@dataclass(frozen=True)
class Still:
    """A picture as it is shown where nothing moves.

    Args:
        png: draws it
        alt: description
        width: inches
        note: HTML below it, such as NOTE
    """

    png: Callable[[], bytes]
    alt: str
    width: float
    note: str = ""

    def data(self) -> dict[str, str]:
        """The picture as a page and as a file; both are PNG, since GitHub and others remove SVG."""
        image = self.png()
        note = f'<p class="snn-note">{self.note}</p>' if self.note else ""
        tag = image_tag(image, self.alt, self.width, "png")
        return {
            "text/html": f'<figure class="snn-figure" style="margin:0">{tag}{note}</figure>',
            "image/png": base64.b64encode(image).decode(),
        }


def bundle(text: str, page: Callable[[], str], live: Callable[[], Any], still: Still | None = None) -> dict:
    """What Jupyter shows of an object, by media type.

    Args:
        text: the stable description, which a notebook stripped to its text keeps
        page: makes the HTML for the built page
        live: makes the widget
        still: the picture where nothing moves; what has none is shown as its page
    """
    if baking():
        found = {"text/html": page(), "text/plain": text}
        return found | ({"image/png": base64.b64encode(still.png()).decode()} if still else {})
    found = {"text/plain": text}
    if audience() in (Audience.PERSON, Audience.EXPORT):
        found |= still.data() if still else {"text/html": page()}
    return found | (view_of(live()) if moving() else {})


def view_of(widget: Any) -> dict:
    """A widget as Jupyter shows it; in ipywidgets 7 too, which Colab has."""
    return {WIDGET: widget.get_view_spec()}


def html_widget(content: str = "") -> Any:
    """A widget that shows HTML."""
    import ipywidgets

    return ipywidgets.HTML(content)
