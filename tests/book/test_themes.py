"""The colours of what pages draw themselves: each is defined for light and dark pages, and stands out."""

import re

import pytest

from snnbook.book import themes
from snnbook.results import style

from .browser import ROOT
from .test_style import LEAST_CONTRAST, contrast

LEAST_TEXT_CONTRAST = 4.5  # WCAG 1.4.3
RASTER = [*sorted((ROOT / "snnbook" / "book").glob("raster*.js")), ROOT / "snnbook" / "book" / "raster.css"]


def test_both_themes_have_the_same_colours():
    assert set(themes.LIGHT) == set(themes.DARK)
    assert set(style.LOSSES) < set(themes.DARK)
    assert themes.DARK["earlier"] == style.DARK_COLORS["positive"]
    assert themes.LIGHT["later"] == style.COLORS["negative"]


@pytest.mark.parametrize("colours", [themes.LIGHT, themes.DARK], ids=["light", "dark"])
def test_colours_stand_out_from_the_card(colours):
    for name in ("label", "other", "earlier", "later", "silent", *style.LOSSES, "cell", "brand"):
        assert contrast(colours[name], colours["card"]) >= LEAST_CONTRAST, name
    for ground in ("card", "tint"):
        assert contrast(colours["ink"], colours[ground]) >= LEAST_TEXT_CONTRAST


def test_the_raster_uses_only_colours_that_both_themes_have():
    text = "\n".join(path.read_text(encoding="utf-8") for path in RASTER)
    used = set(re.findall(r"var\(--snn-(\w+)\)", text))
    assert len(used) > 8
    assert used <= set(themes.LIGHT)
    assert not re.search(r"#[0-9a-f]{3,6}\b", text), "a colour of its own"


def test_a_dark_page_is_the_book_s_or_jupyterlab_s():
    sheet = themes.properties(".snn-raster")
    assert sheet.startswith(".snn-raster { color-scheme: light; --snn-card: #ffffff;")
    assert (
        'html[data-theme="dark"] .snn-raster, [data-jp-theme-light="false"] .snn-raster { color-scheme: dark;' in sheet
    )
