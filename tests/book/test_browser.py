"""The built pages in Chromium, with no network: complete, quiet, driven by keyboard, readable wide, narrow and dark.

Set SNNBOOK_SCREENSHOTS to a folder to get a picture of every page, light, dark and narrow, to look at.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snnbook.book import raster
from snnbook.book.fingerprints import FAMILIES, T_UNFIRED, fingerprint, gradient

from .expected import PAGES

pytestmark = pytest.mark.browser

BOOK = Path(__file__).parents[2] / "book"
HTML = BOOK / "_build" / "html"
REQUIRED = os.environ.get("SNNBOOK_REQUIRE_BROWSER") == "1"
LAUNCH = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
LOCAL = {"file", "data", "blob", "about"}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
PATIENCE = 30_000  # ms
STATES_COMPARED = 3
PAGES_WITH_CONTROLS = [name for name, page in PAGES.items() if page.explores]
PAGES_WITH_RASTERS = [name for name, page in PAGES.items() if page.rasters]
CLICKS = 25


def missing(reason):
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium():
    if not (HTML / "index.html").exists():
        missing("the book is not built: run make book first")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        missing("there is no chromium on the path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=LAUNCH)
        yield browser
        browser.close()


CHOOSE = """(figure, choices) => [...figure.querySelectorAll(".snn-control")].forEach((control, i) => {
    const inputs = control.querySelectorAll("input");
    if (inputs[0].type === "range") inputs[0].value = choices[i]; else inputs[choices[i]].checked = true;
    inputs[0].dispatchEvent(new Event("input"));
})"""


class Visit:
    """One page, open, with what it asked for and complained about."""

    def __init__(self, browser, name, **settings):
        self.context = browser.new_context(**({"viewport": WIDE} | settings))
        self.asked, self.complaints = [], []
        self.context.route("**/*", self.filter)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto((HTML / f"{name}.html").as_uri())
        self.page.wait_for_load_state("load")

    def filter(self, route):
        if route.request.url.split(":")[0] in LOCAL:
            return route.continue_()
        self.asked.append(route.request.url)
        return route.abort()

    def count(self, selector):
        return self.page.locator(selector).count()

    def typeset(self):
        """Wait until MathJax has done its work."""
        self.page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
        self.page.evaluate("MathJax.startup.promise.then(() => true)")


@pytest.fixture
def visit(chromium):
    visits = []

    def open_page(name, **settings):
        visits.append(Visit(chromium, name, **settings))
        return visits[-1]

    yield open_page
    for each in visits:
        each.context.close()


def test_the_table_names_every_page(chromium):
    built = {path.stem for path in HTML.glob("*.html")} - {"genindex", "search", "prf-prf", "py-modindex"}
    assert built == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_complete_and_quiet(visit, name):
    seen, wanted = visit(name), PAGES[name]
    if wanted.rasters:
        seen.page.wait_for_selector("figure.snn-raster[data-state]")
    if wanted.math:
        seen.typeset()
        assert seen.count("mjx-container") >= seen.count(".math") > 0
        assert seen.count("mjx-assistive-mml") > 0  # what a screen reader reads
        assert seen.count("mjx-merror, [data-mjx-error]") == 0
    found = {
        "explores": seen.count("figure.snn-explore"),
        "figures": seen.count("figure.snn-figure:not(.snn-explore, .snn-raster)"),
        "rasters": seen.count("figure.snn-raster[data-state]"),
        "listings": seen.count("figure.snn-source"),
        "exercises": seen.count(".exercise.admonition:not(.solution)"),
    }
    assert found == {count: getattr(wanted, count) for count in found}
    blind = seen.page.locator("img").evaluate_all("all => all.filter(i => !i.alt.trim() || !i.naturalWidth).length")
    assert blind == 0
    assert seen.asked == []
    assert seen.complaints == []


@pytest.mark.parametrize("name", PAGES_WITH_CONTROLS)
def test_every_control_moves_by_keyboard(visit, name):
    seen = visit(name)
    for figure in seen.page.locator("figure.snn-explore").all():
        for control in figure.locator(".snn-control").all():
            changed = False
            for key in round_trip(control):
                before = look(figure)
                seen.page.keyboard.press(key)
                wait_for_state(seen.page, figure, "!==", before["state"])
                after = look(figure)
                assert after["spoken"] == after["written"]
                changed |= after["source"] != before["source"] and after["alt"] != before["alt"]
            assert changed, f"{control.inner_text()!r} changes neither picture nor words"
            ring = control.locator("input:focus").evaluate("i => getComputedStyle(i).outlineStyle")
            assert ring not in ("", "none"), "focus must be visible"
    assert seen.complaints == []


def round_trip(control):
    """Focus a control; the keys that take it through all of its values."""
    inputs = control.locator("input")
    if inputs.first.get_attribute("type") == "radio":
        control.locator("input:checked").focus()
        return ["ArrowRight"] * inputs.count()  # from the last on to the first
    inputs.focus()
    last = int(inputs.get_attribute("max"))
    return ["ArrowRight"] * (last - int(inputs.input_value())) + ["ArrowLeft"] * last


def look(figure):
    """What a figure shows now."""
    return figure.evaluate(
        """f => ({state: f.dataset.state ?? null, source: f.querySelector("img").src, alt: f.querySelector("img").alt,
                 spoken: [...f.querySelectorAll("input[type=range]")].map(i => i.getAttribute("aria-valuetext")),
                 written: [...f.querySelectorAll(".snn-value")].map(v => v.textContent)})"""
    )


def wait_for_state(page, figure, how, state):
    page.wait_for_function(
        f"([f, state]) => (f.dataset.state ?? null) {how} state", arg=[figure.element_handle(), state]
    )


@pytest.mark.parametrize("name", PAGES_WITH_CONTROLS)
def test_frames_are_python_s_own_drawing(visit, name):
    seen = visit(name)
    command = [sys.executable, str(Path(__file__).with_name("redraw.py")), f"{name}.ipynb", str(STATES_COMPARED)]
    drawn = json.loads(subprocess.run(command, cwd=BOOK, check=True, stdout=subprocess.PIPE, text=True).stdout)
    shown = seen.page.locator("figure.snn-explore").all()
    assert len(drawn) == len(shown)
    for states, figure in zip(drawn, shown, strict=True):
        for k, choices, svg, alt in states:
            figure.evaluate(CHOOSE, choices)
            wait_for_state(seen.page, figure, "===", str(k))
            assert figure.evaluate("async f => await (await fetch(f.querySelector('img').src)).text()") == svg
            assert figure.locator("img").get_attribute("alt") == alt


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_page_does_not_overflow(visit, name):
    seen = visit(name, viewport=NARROW)
    if PAGES[name].math:
        seen.typeset()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    if PAGES[name].rasters:
        seen.page.wait_for_selector("figure.snn-raster[data-state]")
    bound = ".snn-figure, .snn-figure img, .snn-control, .snn-control *, .snn-source, .snn-card *:not(.snn-arrow)"
    spilt = seen.page.locator(bound).evaluate_all(
        "(all, width) => all.map(e => e.getBoundingClientRect()).filter(r => r.left < 0 || r.right > width).length",
        NARROW["width"],
    )
    assert spilt == 0


@pytest.mark.parametrize("name", PAGES)
def test_a_dark_page_keeps_its_pictures_light(visit, name):
    seen = visit(name, color_scheme="dark")
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"
    for picture in seen.page.locator("img.snn-picture").all():
        style = picture.evaluate("i => [getComputedStyle(i).backgroundColor, getComputedStyle(i).filter]")
        assert style == ["rgb(255, 255, 255)", "none"]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_moves_for_readers_who_ask_for_stillness(visit, name):
    seen = visit(name, reduced_motion="reduce")
    longest = seen.page.evaluate(
        """Math.max(...[...document.querySelectorAll("a, button, input, div, header, summary")].flatMap(e => {
            const s = getComputedStyle(e);
            return [...s.transitionDuration.split(","), ...s.animationDuration.split(",")].map(parseFloat);
        }))"""
    )
    assert longest < 0.001  # s


@pytest.mark.parametrize("name", PAGES_WITH_CONTROLS)
def test_without_javascript_the_first_picture_remains(visit, name):
    seen = visit(name, java_script_enabled=False)
    for figure in seen.page.locator("figure.snn-explore").all():
        assert figure.locator("img").get_attribute("alt")
        assert figure.locator("img").bounding_box()["width"] > 100
        assert figure.locator(".snn-note").is_visible()
        assert figure.locator("input:enabled").count() == 0


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
    """Every number and arrow shown is what the losses themselves give for the spikes shown."""
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
        seen.page.wait_for_function("f => f.querySelector('.snn-status').textContent", arg=figure.element_handle())
        told = figure.locator(".snn-status").text_content()
        assert told.startswith(f"neuron {neurons - 1}")
        assert f"spike {word}. counting: sum " in told
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
    live = raster({"a": ["0101", "0011", "1000"], "b": ["0111", "0000", "0000"]}, label=1, t_unfired=20).html(live=True)
    seen.page.evaluate("html => { document.querySelector('article').innerHTML = html; }", live)
    (figure,) = alive(seen)
    assert state_of(figure)[1:] == (1, 2, False)
    figure.locator("[role=grid] button").nth(5).click()
    assert_shows_the_losses(figure)
    assert seen.complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_screenshots(visit, name):
    folder = os.environ.get("SNNBOOK_SCREENSHOTS")
    if not folder:
        pytest.skip("SNNBOOK_SCREENSHOTS names no folder")
    looks = {"light": {}, "dark": {"color_scheme": "dark"}, "narrow": {"viewport": NARROW}}
    for look_name, settings in looks.items():
        seen = visit(name, **settings)
        if PAGES[name].math:
            seen.typeset()
        path = Path(folder) / f"{name}-{look_name}.png"
        seen.page.screenshot(path=path, full_page=True)
        assert path.stat().st_size > 0
