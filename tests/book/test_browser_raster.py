"""The rasters in Chromium: every number and arrow shown is the losses' own, by mouse, by keyboard and live."""

import random

import pytest
import torch

from snnbook.book import raster
from snnbook.book.fingerprints import FAMILIES, T_UNFIRED, fingerprint, gradient

from .expected import PAGES

pytestmark = pytest.mark.browser

PAGES_WITH_RASTERS = [name for name, page in PAGES.items() if page.rasters]
CLICKS = 25


READ_RASTER = """f => Object.fromEntries([...f.querySelectorAll(".snn-panel")].map(panel => [panel.dataset.loss, {
    sum: +panel.dataset.sum, size: +panel.dataset.size, told: panel.querySelector("svg").getAttribute("aria-label"),
    shown: [...panel.querySelectorAll("dd")].map(value => value.textContent),
    spikes: panel.querySelectorAll("svg line[stroke-width='3']").length,
    arrows: [...panel.querySelectorAll(".snn-arrow")].map(a => [+a.dataset.step, +a.dataset.neuron, +a.dataset.e,
        a.getBBox().x, a.getBBox().x + a.getBBox().width, +a.dataset.tip, a.getAttribute("fill")])
}]))"""


def alive(seen):
    """The page's rasters, their first state drawn."""
    seen.page.wait_for_selector("figure.snn-raster[data-state]")
    return seen.page.locator("figure.snn-raster[data-state]").all()


def state_of(figure):
    """Spikes (T, C) in float64, label, place of t_unfired, and whether all losses share one scale."""
    *rows, label, choice, shared = figure.get_attribute("data-state").split()
    spikes = torch.tensor([[float(spike) for spike in row] for row in rows], dtype=torch.float64).T
    return spikes, int(label), int(choice), shared == "1"


def two_decimals(text):
    return float(text.replace("−", "-"))


def assert_shows_the_losses(figure):
    """Every number and arrow is the losses' own for the spikes shown."""
    spikes, label, choice, shared = state_of(figure)
    pressed = figure.locator("[role=grid] button").evaluate_all("all => all.map(b => b.getAttribute('aria-pressed'))")
    assert pressed == [str(bool(spike)).lower() for spike in spikes.T.flatten()]
    panels = figure.evaluate(READ_RASTER)
    assert list(panels) == list(FAMILIES)
    lengths = {}
    for name, panel in panels.items():
        e = gradient(name, spikes, label, T_UNFIRED[choice])
        found = fingerprint(e)
        assert (panel["sum"], panel["size"]) == pytest.approx((found.sum, found.size), abs=1e-12)
        values = [found.sum, found.size] + ([] if found.ratio is None else [found.ratio])
        shown = [text for text in panel["shown"] if text != "none"]
        assert [two_decimals(text) for text in shown] == pytest.approx(values, abs=0.00501)
        assert panel["spikes"] == spikes.sum()
        assert panel["told"].count("step") == spikes.sum()
        pushed = {(int(t), int(i)): e[t, i].item() for t, i in e.nonzero()}
        assert {(t, i): value for t, i, value, *_ in panel["arrows"]} == pytest.approx(pushed, abs=1e-12)
        for _, _, value, left, right, tip, fill in panel["arrows"]:
            assert tip == pytest.approx(left if value > 0 else right, abs=0.01)  # left is earlier
            assert fill == ("#44aa00" if value > 0 else "#cc66cc")
            lengths.setdefault("all" if shared else name, []).append((abs(value), right - left))
    for pairs in lengths.values():  # on one scale, twice the push is twice the arrow
        scale = max(length for _, length in pairs) / max(value for value, _ in pairs)
        for value, length in pairs:
            assert length == pytest.approx(scale * value, abs=0.4)  # the least length that can be seen


@pytest.mark.parametrize("name", PAGES_WITH_RASTERS)
def test_a_raster_shows_the_losses_own_numbers(visit, name):
    seen = visit(name)
    chance = random.Random(name)
    for figure in alive(seen):
        assert_shows_the_losses(figure)
        cells = figure.locator("[role=grid] button")
        count = cells.count()
        for number in range(CLICKS):
            cells.nth(chance.randrange(count)).click()
            radios = figure.locator("input[type=radio]")
            radios.nth(chance.randrange(radios.count())).check()
            if number % 5 == 0:
                assert_shows_the_losses(figure)
        assert_shows_the_losses(figure)
        for button in figure.locator("fieldset button").all():
            button.click()
            assert_shows_the_losses(figure)
    assert seen.complaints == []


@pytest.mark.parametrize("name", PAGES_WITH_RASTERS)
def test_a_raster_is_played_by_keyboard(visit, name):
    seen = visit(name)
    keyboard = seen.page.keyboard
    for figure in alive(seen):
        spikes, *_ = state_of(figure)
        steps, neurons = spikes.shape
        grid = figure.get_by_role("grid", name="Spike trains")
        assert grid.get_by_role("row").count() == neurons + 1
        assert grid.get_by_role("gridcell").count() == steps * neurons
        assert grid.locator("button[tabindex='0']").count() == 1
        grid.locator("button[tabindex='0']").focus()
        for keys, place in [
            ((), (0, 0)),
            (("ArrowRight", "ArrowDown"), (1, 1)),
            (("End",), (1, steps - 1)),
            (("ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown"), (neurons - 1, steps - 1)),
            (("Home", "ArrowLeft", "ArrowUp"), (neurons - 2, 0)),
        ]:
            for key in keys:
                keyboard.press(key)
            i, t = place
            focused = grid.locator("button:focus")
            assert focused.get_attribute("aria-label").endswith(f", step {t + 1}")
            assert focused.get_attribute("aria-label").startswith(f"spike of neuron {i + 1}")
            assert focused.evaluate("b => getComputedStyle(b).outlineStyle") == "solid"
            for key in ("Space", "Enter"):
                before, *_ = state_of(figure)
                keyboard.press(key)
                after, *_ = state_of(figure)
                assert (after - before).nonzero().tolist() == [[t, i]]
        assert_shows_the_losses(figure)
        word = "added" if spikes[0, neurons - 2] else "taken away"
        keyboard.press("Space")
        word = "added" if word == "taken away" else "taken away"
        wanted = [figure.element_handle(), f"spike {word}. counting: sum "]  # the keys before it have been told of, too
        seen.page.wait_for_function(
            "([f, words]) => f.querySelector('.snn-status').textContent.includes(words)", arg=wanted
        )
        told = figure.locator(".snn-status").text_content()
        assert told.startswith(f"neuron {neurons - 1}")
        assert told.count("ratio") == len(FAMILIES)
        keyboard.press("Tab")
        assert figure.locator("[role=grid] button:focus").count() == 0  # one stop for the whole grid
    assert seen.complaints == []


@pytest.mark.parametrize("name", PAGES_WITH_RASTERS)
def test_a_raster_without_javascript_is_a_picture(visit, name):
    seen = visit(name, java_script_enabled=False)
    for figure in seen.page.locator("figure.snn-raster").all():
        assert "Gradients of the six losses" in figure.locator("img").get_attribute("alt")
        assert figure.locator("img").bounding_box()["width"] > 100
        assert figure.locator(".snn-note").is_visible()
        assert figure.locator("button").count() == 0


def test_a_live_raster_comes_alive_where_a_notebook_puts_it(visit):
    """In JupyterLab the same HTML is set into the page by ipywidgets, which runs no script elements."""
    seen = visit("references")
    live = raster({"a": ["0101", "0011", "1000"], "b": ["0111", "0000", "0000"]}, label=1, t_unfired=20).live_html()
    seen.page.evaluate("html => { document.querySelector('article').innerHTML = html; }", live)
    (figure,) = alive(seen)
    assert state_of(figure)[1:] == (1, 2, False)
    figure.locator("[role=grid] button").nth(5).click()
    assert_shows_the_losses(figure)
    assert seen.complaints == []
