"""Pages on paper: in the light theme, with every spike, no line cut, and nothing that only a screen can use."""

import re

import pytest

from .browser import TALLY
from .expected import PAGES

pytestmark = pytest.mark.browser

MAX_PAGES = 16
"""Sheets of A4 that a chapter of the book may fill; the tables' chapter, which lists all runs, is not held to it."""

MARGINS = dict.fromkeys(("top", "right", "bottom", "left"), "15mm")
A4 = {"width": 680, "height": 1000}  # CSS pixels between the margins
SHEET = re.compile(rb"/Type */Page\b")

CHAPTERS = [name for name in PAGES if name[0].isdigit()]
every_chapter = pytest.mark.parametrize("disk", CHAPTERS, indirect=True)

HIDDEN = ".snn-controls, .snn-buttons, .snn-note, .toggle-button, .copybtn, .solution"

CUT = """() => [...document.querySelectorAll("article pre")].filter(
    e => e.offsetParent !== null && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"""


@every_chapter
def test_a_chapter_on_paper(disk):
    page = disk.page
    page.set_viewport_size(A4)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    try:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        schemes = page.locator(".snn-picture").evaluate_all("all => all.map(e => getComputedStyle(e).colorScheme)")
        assert set(schemes) <= {"light"}
        shown = page.locator(HIDDEN).evaluate_all("all => all.filter(e => e.offsetParent !== null).length")
        assert shown == 0
        assert page.evaluate(CUT) == []
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        sheets = len(SHEET.findall(page.pdf(format="A4", margin=MARGINS)))
    finally:
        page.emulate_media(media="screen", color_scheme="light")
        page.evaluate("document.documentElement.dataset.theme = 'light'")
    TALLY[disk.name]["sheets"] = sheets
    assert sheets > 3
    assert sheets <= MAX_PAGES or disk.name.startswith("09")
    # What was set for the printer stays set: no equation is missing on paper.
    assert disk.count("mjx-container") == disk.count("mjx-container > svg")
