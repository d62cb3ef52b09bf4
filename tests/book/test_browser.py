"""The built pages in Chromium, with no network: complete, quiet, driven by keyboard, readable wide, narrow and dark.

Set SNNBOOK_SCREENSHOTS to a folder to get a picture of every page, light, dark and narrow, to look at.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    if wanted.math:
        seen.typeset()
        assert seen.count("mjx-container") >= seen.count(".math") > 0
        assert seen.count("mjx-assistive-mml") > 0  # what a screen reader reads
        assert seen.count("mjx-merror, [data-mjx-error]") == 0
    found = {
        "explores": seen.count("figure.snn-explore"),
        "figures": seen.count("figure.snn-figure:not(.snn-explore)"),
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
    spilt = seen.page.locator(".snn-figure, .snn-figure img, .snn-control, .snn-control *, .snn-source").evaluate_all(
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
