"""Sphinx extension of the book: of the theme's 2,000 icons, the pages load those that they show.

The theme brings Font Awesome as one script, which holds a drawing of every icon there is: 540 kB compressed, a third of
what a page loads. The script is written anew from the theme's own at each build, with the drawings that some page or
script names; what it does stays the same. A theme that writes them in another way keeps its script whole
(tests/book/test_browser.py holds the weight of the pages).
"""

import importlib.util
import re
from pathlib import Path

from sphinx.application import Sphinx

SCRIPT = Path("scripts") / "fontawesome.js"
DRAWING = re.compile(
    r'(?:"(?P<quoted>[\w-]+)"|(?P<bare>[\w$]+)):'  # name
    r"\[\d+,\d+,\[(?P<others>[^\]]*)\]"  # width, height, other names
    r',"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'  # letter in the font, path or paths
)
NAMED = re.compile(r"\bfa-([a-z0-9-]+)")


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", place_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def place_icons(app: Sphinx, exception: Exception | None) -> None:
    """Write the theme's script with the icons that the built pages and their scripts name."""
    theme = importlib.util.find_spec("pydata_sphinx_theme")
    if exception is not None or app.builder.format != "html" or theme is None:
        return
    source = Path(theme.origin).parent / "theme" / "pydata_sphinx_theme" / "static" / SCRIPT
    static = Path(app.outdir) / "_static"
    target = static / SCRIPT
    if not (source.is_file() and target.is_file()):
        return
    readers = [*Path(app.outdir).rglob("*.html"), *(path for path in static.rglob("*.js") if path != target)]
    names = {name for path in readers for name in NAMED.findall(path.read_text(encoding="utf-8"))}
    target.write_text(thinned(source.read_text(encoding="utf-8"), names), encoding="utf-8")


def thinned(script: str, names: set[str]) -> str:
    """A script without the drawings that go by none of the names.

    Args:
        script: Font Awesome's, as the theme brings it
        names: of icons, without `fa-`
    """

    def kept(drawing: re.Match) -> str:
        others = re.findall(r'"([\w-]+)"', drawing["others"])
        return drawing[0] if names & {drawing["quoted"] or drawing["bare"], *others} else ""

    return DRAWING.sub(kept, script)
