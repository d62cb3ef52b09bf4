"""Print the whole book to one PDF file with Chromium: `python tools/pdf.py`, or `make pdf`, which builds the one page.

The file has bookmarks and page numbers, and the equations as text for screen readers. No TeX is needed.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "book" / "_build"
ONE_PAGE = BUILD / "singlehtml" / "index.html"

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Names of the browser's command, by system."""

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]

TYPESET = "MathJax.startup.promise.then(() => MathJax.startup.document.lazyTypesetAll()).then(() => true)"
"""Sets all equations: those far below the window, too."""

PATIENCE = 600_000
"""Milliseconds that all equations of the book may take together."""

FOOTER = (
    '<div style="width:100%;font-size:8px;text-align:center;color:#444">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
"""Chromium's template of the line at the foot of each sheet."""

MARGINS = {"top": "16mm", "bottom": "18mm", "left": "18mm", "right": "18mm"}


class Problem(Exception):
    """What is missing, and what to do about it."""


def browser_command() -> str:
    """Return the path of a Chromium or Chrome that is on this machine."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise Problem(f"no browser to print with: install one of {', '.join(BROWSERS)}")


def print_page(page: Path, target: Path) -> None:
    """Print a page to a PDF file, which appears under its name when it is complete.

    Args:
        page: an HTML file
        target: the PDF file; an existing one is replaced
    Raises:
        Problem: if there is no page, no browser, or no package to drive it
    """
    if not page.is_file():
        raise Problem(f"{page} is missing: run make pdf, which builds it")
    command = browser_command()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise Problem("playwright is missing: run make setup") from None
    part = target.with_name(target.name + ".part")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=command, args=OPTIONS)
            seen = browser.new_page()
            seen.set_default_timeout(PATIENCE)
            seen.goto(page.as_uri())
            seen.evaluate(TYPESET)
            seen.pdf(
                path=part,
                format="A4",
                margin=MARGINS,
                outline=True,
                tagged=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
            )
            browser.close()
        part.replace(target)
    except Error as error:
        raise Problem(f"the browser could not print: {str(error).splitlines()[0]}") from None
    finally:
        part.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Print the book; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "target", nargs="?", type=Path, default=BUILD / "book.pdf", help="default: book/_build/book.pdf"
    )
    target = parser.parse_args(arguments).target
    try:
        print_page(ONE_PAGE, target)
    except (Problem, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    print(f"{os.path.relpath(target)}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
