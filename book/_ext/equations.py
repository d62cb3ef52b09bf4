"""Sphinx extension of the book: the notation page's equations are (N.1), (N.2), ... on every page.

Sphinx numbers the equations of a chapter by the chapter's number, (2.8). The notation page has none, and a reference to
its (1) would read like a footnote.
"""

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PAGE = "notation"
LETTER = "N"


def setup(app: Sphinx) -> dict:
    # Sphinx numbers the equations at priority 500.
    app.connect("env-get-updated", name_equations, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def name_equations(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Number the page's equations by their order; no other page must be written again for that."""
    numbers = env.toc_fignumbers.get(PAGE, {}).get("displaymath", {})
    for number, label in enumerate(numbers, start=1):
        numbers[label] = (LETTER, number)
    return []
