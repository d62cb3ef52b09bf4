"""Readers with any kind of colour blindness can tell the book's colours apart, and see them on the card."""

import base64
import gzip
import itertools
import json
import re

import numpy as np
import pytest

from snnbook import losses
from snnbook.book import themes
from snnbook.results import style

from .browser import HTML

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
SEEN_BY = {
    "everyone": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
LEAST_DISTANCE = 30  # in CIELAB; about 2 is just seen side by side
LEAST_CONTRAST = 3  # WCAG 1.4.11, for graphics

SHARED_FIGURE = 20  # least distance of a loss from the spikes that chapter 3's first figure draws beside it


def without_grid(colours):
    return {name: colour for name, colour in colours.items() if name != "grid"}


ROLES = without_grid(style.COLORS)
LOSSES = {name: each.color for name, each in style.LOSSES.items()}
DARK_ROLES = without_grid(style.DARK_COLORS)
DARK_LOSSES = {name: each.dark for name, each in style.LOSSES.items()}
THEMES = {"light": (ROLES, LOSSES, style.PAPER), "dark": (DARK_ROLES, DARK_LOSSES, style.DARK_PAPER)}


def linear(colour):
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, eyes):
    return np.linalg.norm(lab(np.array(eyes) @ linear(one)) - lab(np.array(eyes) @ linear(other)))


def contrast(one, other):
    dark, light = sorted(TO_XYZ[1] @ linear(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_knows_what_red_and_green_are_to_a_deuteranope():
    assert distance("#ff0000", "#00ff00", SEEN_BY["everyone"]) > 150
    assert distance("#c04000", "#608000", SEEN_BY["deuteranopia"]) < LEAST_DISTANCE


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize(
    "colours", [ROLES, LOSSES, DARK_ROLES, DARK_LOSSES], ids=["roles", "losses", "dark roles", "dark losses"]
)
def test_colours_stay_apart(colours, eyes):
    near = {
        (one, other): round(distance(colours[one], colours[other], SEEN_BY[eyes]), 1)
        for one, other in itertools.combinations(colours, 2)
        if distance(colours[one], colours[other], SEEN_BY[eyes]) < LEAST_DISTANCE
    }
    assert not near


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("theme", THEMES)
def test_a_loss_is_told_from_the_spikes_beside_it(theme, eyes):
    roles, losses_, _ = THEMES[theme]
    pairs = itertools.product(("label", "other"), ("counting", "enhanced_counting", "kernel"))
    assert min(distance(roles[role], losses_[loss], SEEN_BY[eyes]) for role, loss in pairs) >= SHARED_FIGURE


@pytest.mark.parametrize("theme", THEMES)
def test_colours_stand_out_from_the_card(theme):
    roles, losses_, paper = THEMES[theme]
    runs = style.DARK_RUN_COLORS if theme == "dark" else ()
    assert min(contrast(colour, paper) for colour in [*roles.values(), *losses_.values(), *runs]) >= LEAST_CONTRAST


def test_every_colour_has_a_dark_one():
    assert set(style.DARK_COLORS) == set(style.COLORS)
    assert len(style.DARK_RUN_COLORS) == len(style.RUN_COLORS)
    # One colour cannot turn into two.
    light = [style.PAPER, *style.COLORS.values(), *LOSSES.values(), *style.RUN_COLORS]
    assert len(set(light)) == len(light)


def test_every_loss_has_a_style_of_its_own():
    for name in style.LOSSES:
        losses.get(name)
    styles = style.LOSSES.values()
    assert len({each.marker for each in styles}) == len({str(each.dash) for each in styles}) == len(styles) == 6


EMBEDDED = re.compile(r'data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)|class="snn-frames">([^<]+)<')
COLOUR = re.compile(r"(?:fill|stroke)(?:: |=\")(#[0-9a-f]{6})\b")


def pictures(page):
    """The SVG texts of a built page, and the lines of its slider figures' states."""
    for svg, frames in EMBEDDED.findall(page):
        if svg:
            yield base64.b64decode(svg).decode()
        else:
            yield "".join(json.loads(gzip.decompress(base64.b64decode(frames)))["lines"])


def test_every_colour_of_the_book_s_pictures_has_a_dark_one():
    pages = sorted(HTML.glob("*.html"))
    if not pages:
        pytest.skip("the book is not built: run make book first")
    found = {}
    for path in pages:
        for picture in pictures(path.read_text(encoding="utf-8")):
            for colour in COLOUR.findall(picture):
                found.setdefault(colour, path.stem)
    assert len(found) > 10
    known = {*themes.TO_DARK, *style.RUN_COLORS}  # most colours of runs are the same on a dark page
    assert {colour: page for colour, page in found.items() if colour not in known} == {}
