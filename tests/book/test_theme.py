"""The colours of what pages draw: dark ones stay apart and stand out as light ones do, and every one is defined."""

import itertools
import re

import pytest

from snnbook.book import theme
from snnbook.results import style

from .browser import ROOT
from .test_style import LEAST_CONTRAST, LEAST_DISTANCE, SEEN_BY, contrast, distance

ROLES = ("label", "other", "earlier", "later", "silent")
LEAST_TEXT_CONTRAST = 4.5  # WCAG 1.4.3
RASTER = [*sorted((ROOT / "snnbook" / "book").glob("raster*.js")), ROOT / "snnbook" / "book" / "raster.css"]


def test_both_themes_have_the_same_colours():
    assert set(theme.LIGHT) == set(theme.DARK)
    assert set(style.LOSSES) <= set(theme.DARK)


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("names", [ROLES, tuple(style.LOSSES)], ids=["roles", "losses"])
def test_dark_colours_stay_apart(names, eyes):
    for one, other in itertools.combinations(names, 2):
        assert distance(theme.DARK[one], theme.DARK[other], SEEN_BY[eyes]) >= LEAST_DISTANCE, (one, other)


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_colours_stand_out_from_the_card(colours):
    for name in (*ROLES, *style.LOSSES, "cell", "brand"):
        assert contrast(colours[name], colours["card"]) >= LEAST_CONTRAST, name
    for ground in ("card", "tint"):
        assert contrast(colours["ink"], colours[ground]) >= LEAST_TEXT_CONTRAST


def test_the_raster_uses_only_colours_that_both_themes_have():
    text = "\n".join(path.read_text(encoding="utf-8") for path in RASTER)
    used = set(re.findall(r"var\(--snn-(\w+)\)", text))
    assert len(used) > 8
    assert used <= set(theme.LIGHT)
    assert not re.search(r"#[0-9a-f]{3,6}\b", text), "a colour of its own"


def test_a_dark_page_is_the_book_s_or_jupyterlab_s():
    sheet = theme.properties(".snn-raster")
    assert sheet.startswith(".snn-raster { color-scheme: light; --snn-card: #ffffff;")
    assert (
        'html[data-theme="dark"] .snn-raster, [data-jp-theme-light="false"] .snn-raster { color-scheme: dark;' in sheet
    )
