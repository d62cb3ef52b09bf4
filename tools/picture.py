"""Draw the README's picture, the figure of the book's first page as it stands before anybody touches it.

`python tools/picture.py` writes it; a test holds it against what the package draws now.
"""

import ast
import re
from pathlib import Path

from snnbook.book import raster

ROOT = Path(__file__).resolve().parents[1]
INDEX = ROOT / "book" / "index.md"
PICTURE = ROOT / "book" / "_static" / "readme.svg"
CALL = re.compile(r"^raster\((.*)\)$", re.M)


def draw() -> bytes:
    """The figure of the first page, as an SVG file on white."""
    return raster(ast.literal_eval(CALL.search(INDEX.read_text(encoding="utf-8"))[1])).canvas.svg({})


if __name__ == "__main__":
    PICTURE.write_bytes(draw())
