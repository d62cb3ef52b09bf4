"""Build a small book with the project's own settings, as `jupyter-book build` does."""

import shutil
import subprocess
import sys
from pathlib import Path

from .browser import ROOT

COMMAND = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_book.cli.main import main; sys.exit(main())"
"""jsonschema imports this package where it is there; reading its grammar takes a third of the time of a small build."""


def lay_out(folder: Path, pages: dict[str, str]) -> Path:
    """Create a book's folder with the project's settings and extensions, and pages by file name, the first the root."""
    book = folder / "book"
    shutil.copytree(ROOT / "book" / "_ext", book / "_ext", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "book" / "_static", book / "_static")
    shutil.copy(ROOT / "book" / "references.bib", book)
    shutil.copy(ROOT / "_config.yml", book)
    for name, text in pages.items():
        (book / name).write_text(text, encoding="utf-8")
    root, *others = pages
    contents = f"format: jb-book\nroot: {root}\n"
    if others:
        contents += "chapters:\n" + "".join(f"  - file: {name}\n" for name in others)
    (book / "_toc.yml").write_text(contents, encoding="utf-8")
    return book


def build(book: Path) -> subprocess.CompletedProcess:
    """Build a book with warnings as errors; stdout and stderr come back as one text."""
    command = [sys.executable, "-c", COMMAND, "build", "-W", "--keep-going", "-n", str(book)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
