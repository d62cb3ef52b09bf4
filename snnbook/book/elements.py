"""The HTML that figures, listings and tables are made of: elements, pictures, and data packed into a page."""

import base64
import gzip
import html
import json
import re
from typing import Any

from ..errors import UserError

SUBSCRIPT = re.compile(r"\b(\w)_(\w+)")
"""A letter with a subscript in plain text, such as τ_m."""


def element(tag: str, attributes: dict[str, str | bool], *content: str) -> str:
    """Write an HTML element.

    Args:
        tag: name of the element
        attributes: by name, not yet escaped; True writes the name alone, False leaves the attribute out
        *content: HTML between the tags, such as other elements
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items() if value is not False)
    return f"<{tag}{written}>{''.join(content)}</{tag}>"


def void_element(tag: str, attributes: dict[str, str | bool]) -> str:
    """Write an HTML element that has neither content nor an end tag, such as <img> and <input>."""
    return element(tag, attributes).removesuffix(f"</{tag}>")


def _attribute(name: str, value: str | bool) -> str:
    """Write an attribute with the space before it."""
    if value is True:
        return f" {name}"
    return f' {name}="{html.escape(str(value))}"'


def image_tag(
    image: bytes, alt: str, width: float, kind: str = "svg+xml", attributes: dict[str, str | bool] | None = None
) -> str:
    """Write an <img> that carries its picture and its description.

    The class "dark-light" stops the book's theme from dimming the picture on a dark page; see themes.py.

    Args:
        image: what `Canvas.svg` or `Canvas.png` returned
        alt: description
        width: inches; the picture shrinks where the page is narrower
        kind: "svg+xml" or "png"
        attributes: further attributes, written before the others
    """
    own = {
        "class": "snn-picture dark-light",
        "alt": alt,
        "style": f"width:{width:g}in;max-width:100%;height:auto",
        "src": f"data:image/{kind};base64," + base64.b64encode(image).decode(),
    }
    return void_element("img", (attributes or {}) | own)


def note(content: str) -> str:
    """Write the small print below a figure, from HTML."""
    return element("p", {"class": "snn-note"}, content)


def caption_tag(caption: str) -> str:
    """Write a figure's caption; the build puts its number in front (book/_ext/captions.py)."""
    return element("figcaption", {"class": "snn-caption"}, with_subscripts(caption))


def with_subscripts(text: str) -> str:
    """Write plain text as HTML, and what follows a letter and "_" as a subscript, such as in τ_m."""
    return SUBSCRIPT.sub(r"\1<sub>\2</sub>", html.escape(text, quote=False))


def packed_data(data: Any, name: str, limit: int, owner: str, remedy: str) -> str:
    """Write a script element with JSON data, compressed: the same bytes for the same data.

    Args:
        data: what JSON can hold
        name: the element's class, by which a figure's script finds it
        limit: the most bytes that the data may add to the page
        owner: what the data are, for the message
        remedy: what to do if they are too heavy, for the message

    Raises:
        UserError: if the data are heavier than the limit
    """
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    packed = base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
    if len(packed) > limit:
        raise UserError(f"{owner} weigh {len(packed) // 1000} kB, more than {limit // 1000}: {remedy}")
    return element("script", {"type": "text/plain", "class": name}, packed)
