"""Chapters in JupyterLab, with a kernel: run all, move every slider by keyboard, edit the raster, train.

Three chapters are tried; SNNBOOK_LIVE=all tries every one. Key to picture is measured in the page itself, from the
key's event to the arrival of the new picture.
"""

import importlib.util
import os
import statistics

import pytest

from . import lab
from .browser import BOOK, LIVE, Visit
from .expected import PAGES
from .test_browser_raster import alive, assert_shows_the_losses, state_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="jupyterlab is not installed"),
]

ALL = [name for name in PAGES if (BOOK / f"{name}.ipynb").exists()]
SOME = ["01_spikes_in_time", "06_six_losses_one_train", "08_training_for_real"]
CHAPTERS = ALL if os.environ.get("SNNBOOK_LIVE") == "all" else SOME
RUN_ALL_PATIENCE = 240_000  # ms
KEYS = 24
QUICK = 150  # ms: what a reader on a quiet machine gets, in the median
BUSY = 1000  # ms: what a machine may need that does much else
GOAL = QUICK if os.environ.get("SNNBOOK_QUIET") == "1" else BUSY

WATCH = """window.arrivals = {};
document.addEventListener("load", event => {
    if (event.target.tagName === "IMG") {
        const {alt} = event.target;
        arrivals[alt] = (arrivals[alt] ?? 0) + 1;
        window.arrived = performance.now();
    }
}, true);
document.addEventListener("keydown", () => { window.pressed = performance.now(); window.arrived = null; }, true);"""
PICTURE = "box => [box.querySelector('img').src, box.querySelector('img').alt]"


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium):
    with lab.jupyterlab([BOOK / f"{name}.ipynb" for name in CHAPTERS], tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="module")
def chapter(request, chromium, server):
    """A chapter of which every cell has run."""
    name = request.param
    origin = server.split("/lab")[0]
    seen = Visit(chromium, server.format(name), origin)
    seen.name = name
    page = seen.page
    page.evaluate(WATCH)
    page.set_default_timeout(RUN_ALL_PATIENCE)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("| Idle").wait_for()  # cells run before that are dropped
    page.locator("[role=menubar]").get_by_text("Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).first.click()
    page.wait_for_function(
        """words => [...document.querySelectorAll(".jp-OutputArea-output")].some(
            o => o.innerText.includes(words) || o.dataset.mimeType === "application/vnd.jupyter.error")""",
        arg=lab.LAST_WORDS,
    )
    yield seen
    seen.context.close()


chapters = pytest.mark.parametrize("chapter", CHAPTERS, indirect=True)
moving = pytest.mark.parametrize("chapter", [name for name in CHAPTERS if PAGES[name].explores], indirect=True)


@chapters
def test_every_cell_runs(chapter):
    bad = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
    assert chapter.page.locator(bad).all_inner_texts() == []
    wanted = PAGES[chapter.name]
    assert chapter.count(".snn-live") == wanted.explores
    assert chapter.count("figure.snn-raster[data-state]") == wanted.rasters
    assert chapter.count(".jp-Notebook img:not([alt])") == 0
    assert chapter.asked == []


@moving
def test_a_key_moves_the_picture_at_once(chapter):
    page = chapter.page
    times = []
    for box in chapter.page.locator(".snn-live").all():
        box.scroll_into_view_if_needed()
        for slider in box.locator("[role=slider]").all():
            assert slider.get_attribute("aria-label")
            slider.focus()
            first = box.evaluate(PICTURE)
            changes = 0
            for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowRight"):
                before = slider.get_attribute("aria-valuetext"), slider.get_attribute("aria-valuenow")
                page.keyboard.press(key)
                now = slider.get_attribute("aria-valuenow")
                if now == before[1]:
                    continue  # at its end
                page.wait_for_function("window.arrived !== null")
                times.append(page.evaluate("arrived - pressed"))
                after = box.evaluate(PICTURE)
                changes += after[0] != first[0] and after[1] != first[1]
            assert changes, f"{slider.get_attribute('aria-label')} moves nothing"
    slider = page.locator(".snn-live [role=slider]").first
    slider.focus()
    key = "ArrowRight"
    while len(times) < KEYS:
        before = slider.get_attribute("aria-valuenow")
        page.keyboard.press(key)
        if slider.get_attribute("aria-valuenow") == before:
            key = "ArrowLeft" if key == "ArrowRight" else "ArrowRight"
            continue
        page.wait_for_function("window.arrived !== null")
        times.append(page.evaluate("arrived - pressed"))
    LIVE[chapter.name] = (len(times), statistics.median(times), max(times))
    assert statistics.median(times) < GOAL


@pytest.mark.parametrize("chapter", ["06_six_losses_one_train"], indirect=True)
def test_the_raster_is_edited_by_click(chapter):
    (figure,) = alive(chapter)
    before, *_ = state_of(figure)
    figure.locator("[role=grid] button").nth(8).click()
    after, *_ = state_of(figure)
    assert (after != before).sum() == 1
    assert_shows_the_losses(figure)
    figure.locator("[role=grid] button").nth(9).focus()
    chapter.page.keyboard.press("Space")
    assert_shows_the_losses(figure)


@pytest.mark.parametrize("chapter", ["08_training_for_real"], indirect=True)
def test_the_curves_follow_the_training(chapter):
    arrivals = chapter.page.evaluate("arrivals")
    (curves,) = [count for alt, count in arrivals.items() if "while the cell runs" in alt]
    assert curves > 3
