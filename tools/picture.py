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
CELL = re.compile(r"^```\{code-cell\}.*?$(.*?)^```$", re.M | re.S)
OPTIONS = re.compile(r"^:.*$", re.M)
"""Lines such as `:tags: [remove-input]`, at the head of a cell."""


def starts() -> dict:
    """Return the spike trains that the figure of the first page starts from: its call's first argument."""
    for cell in CELL.findall(INDEX.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(OPTIONS.sub("", cell))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "raster":
                return ast.literal_eval(node.args[0])
    raise SystemExit(f"{INDEX} calls raster in no cell")


def draw() -> bytes:
    """Draw the figure of the first page as an SVG file on white."""
    return raster(starts()).canvas.svg({})


if __name__ == "__main__":
    PICTURE.write_bytes(draw())
