"""The states of a slider figure, as a page packs them: read in Python, to check the page's script."""

import base64
import gzip
import json
import re


def unpack(page: str) -> dict:
    """Read the table of the first slider figure in HTML: lines, base, frames and alts (explore.py)."""
    data = re.search(r'class="snn-frames">([^<]*)<', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(data)))


def frame(table: dict, state: int) -> str:
    """Return one state's SVG text, which explore.js puts together."""
    whole, changes = table["frames"][state]
    ids = changes if whole else list(table["base"])
    if not whole:
        for place, line in zip(changes[::2], changes[1::2], strict=True):
            ids[place] = line
    return "".join(table["lines"][i] for i in ids)


def stored_as_difference(table: dict) -> list[int]:
    """Return the states that a page stores as changes of the first, and that differ from it."""
    return [state for state, (whole, changes) in enumerate(table["frames"]) if not whole and changes]
