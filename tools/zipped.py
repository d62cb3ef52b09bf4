"""Pack the built book into one file, for a class for example: `python tools/zipped.py`, or `make zip`.

Unpack it and open index.html to read the whole book, without a network and without Python.
"""

import argparse
import io
import os
import sys
import zipfile
from pathlib import Path

from snnbook.errors import UserError
from snnbook.records.files import write_atomic

BUILD = Path(__file__).resolve().parents[1] / "book" / "_build"

FOLDER = "spikes-that-learn-when-to-fire"
"""Folder that the file unpacks to."""

LEFT_OUT = {".buildinfo", ".doctrees", "objects.inv"}
"""Files for later builds and for other books."""

SOURCE_MAPS = ".map"
"""Ending of files that help to debug the theme."""

DATE = (1980, 1, 1, 0, 0, 0)
"""A fixed date, so that the same book gives the same bytes."""

PERMISSIONS = 0o644


def pack(html: Path, target: Path) -> int:
    """Write the file completely or not at all.

    Args:
        html: folder of the built book
        target: the zip file; an existing one is replaced
    Returns:
        size of the file, bytes
    Raises:
        FileNotFoundError: if there is no built book
        UserError: if the file cannot be written
    """
    if not (html / "index.html").is_file():
        raise FileNotFoundError(f"{html} holds no built book: run make book first")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(html.rglob("*")):
            name = path.relative_to(html)
            if path.is_file() and not LEFT_OUT & set(name.parts) and path.suffix != SOURCE_MAPS:
                entry = zipfile.ZipInfo(f"{FOLDER}/{name.as_posix()}", DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                # The upper two bytes are the permissions on Unix.
                entry.external_attr = PERMISSIONS << 16
                archive.writestr(entry, path.read_bytes())
    write_atomic(target, content.getbuffer())
    return target.stat().st_size


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "target", nargs="?", type=Path, default=BUILD / "book.zip", help="default: book/_build/book.zip"
    )
    target = parser.parse_args(arguments).target
    try:
        size = pack(BUILD / "html", target)
    except (OSError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{os.path.relpath(target)}: {size / 1e6:.1f} MB. Unpack it and open {FOLDER}/index.html in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
