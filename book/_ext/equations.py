"""Sphinx extension of the book: the notation page's equations are (N.1), (N.2), ... on every page.

Sphinx numbers the equations of a chapter by the chapter's number, (2.8). The notation page has none, and a reference to
its (1) would read like a footnote.
"""

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PAGE, LETTER = "notation", "N"


def setup(app: Sphinx) -> dict:
    app.connect("env-get-updated", name_equations, priority=900)  # after Sphinx has numbered them
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def name_equations(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Number them by their order, with the letter; no further page is to be written for it."""
    numbers = env.toc_fignumbers.get(PAGE, {}).get("displaymath", {})
    for place, label in enumerate(numbers, 1):
        numbers[label] = (LETTER, place)
    return []
