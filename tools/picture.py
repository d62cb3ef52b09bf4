"""Draw the README's picture: the figure of the book's first page, as it is before a reader moves anything.

`python tools/picture.py` writes the file; a test compares it with what the package draws now.
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
    """Draw the figure of the first page as an SVG file on white."""
    argument = CALL.search(INDEX.read_text(encoding="utf-8"))[1]
    return raster(ast.literal_eval(argument)).canvas.svg({})


if __name__ == "__main__":
    PICTURE.write_bytes(draw())
