"""The built pages in Chromium, from the disk, with no network: complete, quiet, driven by keyboard, light, narrow.

A page is opened once for all tests of it. Set SNNBOOK_SCREENSHOTS to a folder to get a picture of every page, light,
dark and narrow, to look at.
"""

import os
from pathlib import Path

import pytest

from .browser import HTML, MADE_BY_SPHINX, NARROW, NOT_FOUND, PATIENCE, TALLY, WIDE
from .expected import PAGES
from .frames import frame, stored_as_difference, unpack

pytestmark = pytest.mark.browser

PAGES_WITH_CONTROLS = [name for name, page in PAGES.items() if page.explores]
MAX_KB = 400
"""Largest page, kB compressed."""

MAX_ALL_KB = 2000
"""Largest page with all that the book's first visit loads (MathJax 680, theme 870), kB compressed."""

EDGE = 0.5
"""Points by which a label's box may stand over the picture's edge."""

every_page = pytest.mark.parametrize("disk", [*PAGES, *MADE_BY_SPHINX], indirect=True)
every_page_of_ours = pytest.mark.parametrize("disk", PAGES, indirect=True)
every_page_with_controls = pytest.mark.parametrize("disk", PAGES_WITH_CONTROLS, indirect=True)


def test_the_table_names_every_page(book):
    assert {path.stem for path in HTML.glob("*.html")} == {*PAGES, *MADE_BY_SPHINX, NOT_FOUND}


RAW_EQUATIONS = r"""() => {
    const copy = document.querySelector("article").cloneNode(true);
    copy.querySelectorAll("pre, code, script, style, mjx-container").forEach(e => e.remove());
    return copy.textContent.match(/\$[^$]{1,80}\$|\\[([]|\\begin\{|\\[a-z]+\{/g) ?? [];
}"""


def assert_complete(seen, name):
    """All that the page must hold is there, each picture with words, each equation set."""
    wanted = PAGES[name]
    if wanted.rasters:
        seen.page.wait_for_selector("figure.snn-raster[data-state]")
    if wanted.math:
        seen.typeset()
        assert seen.count("mjx-container") >= seen.count(".math") > 0
        assert seen.count("mjx-assistive-mml") > 0  # what a screen reader reads
        assert seen.count("mjx-merror, [data-mjx-error]") == 0
    assert seen.page.evaluate(RAW_EQUATIONS) == []
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
    TALLY[name]["widgets"] = found["explores"] + found["rasters"]


ICONS = """() => [...document.querySelectorAll("[class*='fa-']:not(svg *)")].map(icon => [
    icon.dataset.icon ?? icon.className, icon.querySelector("path") !== null && !icon.querySelector(".missing")])"""

DRAWN = "html.fontawesome-i2svg-complete"
"""Font Awesome adds this class when it has drawn all icons, some time after the page has loaded."""


@every_page
def test_every_icon_is_drawn(disk):
    """Font Awesome draws another icon, of the class "missing", for a name that it does not know."""
    disk.page.wait_for_selector(DRAWN)
    drawn = disk.page.evaluate(ICONS)
    assert len(drawn) > 3
    assert [icon for icon, own in drawn if not own] == []


@every_page_of_ours
def test_a_page_is_complete(disk):
    assert_complete(disk, disk.name)


@every_page
def test_a_page_is_quiet_and_light(disk):
    disk.assert_quiet()
    own, everything = disk.weight()
    TALLY[disk.name] |= {"page kB": own, "all kB": everything}
    assert 3 < own < MAX_KB
    assert own < everything < MAX_ALL_KB


MOVE = """async ([figure, before]) => {
    const patience = performance.now() + %d;
    while ((figure.dataset.state ?? null) === before) {
        if (performance.now() > patience) throw new Error("the picture has not moved");
        await new Promise(resolve => setTimeout(resolve, 2));
    }
    return look(figure);
}"""
LOOK = """window.look = async figure => {
    const image = figure.querySelector("img"), ring = figure.querySelector("input:focus");
    return {
        state: figure.dataset.state ?? null, alt: image.alt, picture: await (await fetch(image.src)).text(),
        spoken: [...figure.querySelectorAll("input[type=range]")].map(i => i.getAttribute("aria-valuetext")),
        written: [...figure.querySelectorAll(".snn-value")].map(v => v.textContent),
        ring: ring && getComputedStyle(ring).outlineStyle,
    };
};
null"""


@every_page_with_controls
def test_every_control_moves_by_keyboard(disk):
    disk.page.evaluate(LOOK)
    for figure in disk.page.locator("figure.snn-explore").all():
        for control in figure.locator(".snn-control").all():
            tries = (None, "End", "Home")  # clipping, for one, needs something to clip: the other sliders at an end
            assert any(moves(disk, figure, control, key) for key in tries), (
                f"{control.inner_text()!r} changes neither picture nor words"
            )
            TALLY[disk.name]["controls"] += 1
    disk.assert_quiet()


def moves(seen, figure, control, others):
    """Whether some key changes picture and words both, on the way through a control's values; every key must move."""
    handle = figure.element_handle()
    changes = 0
    for slider in figure.locator("input[type=range]").all() if others else ():
        slider.press(others)
    keys = round_trip(control)
    before = handle.evaluate("f => look(f)")
    assert before["ring"] not in (None, "", "none"), "focus must be visible"
    for key in keys:
        seen.page.keyboard.press(key)
        after = seen.page.evaluate(MOVE % PATIENCE, [handle, before["state"]])
        assert after["spoken"] == after["written"]
        changes += after["picture"] != before["picture"] and after["alt"] != before["alt"]
        before = after
    TALLY[seen.name]["keys"] += len(keys)
    return changes > 0


def round_trip(control):
    """Focus a control; the keys that take it through all of its values, and back to the first."""
    inputs = control.locator("input")
    if inputs.first.get_attribute("type") == "radio":
        control.locator("input:checked").focus()
        return ["ArrowRight"] * inputs.count()  # from the last on to the first
    inputs.focus()
    last = int(inputs.get_attribute("max"))
    start = int(inputs.input_value())
    return ["ArrowRight"] * (last - start) + ["ArrowLeft"] * last + ["ArrowRight"] * start


CHOOSE = """(figure, choices) => [...figure.querySelectorAll(".snn-control")].forEach((control, i) => {
    const inputs = control.querySelectorAll("input");
    if (inputs[0].type === "range") inputs[0].value = choices[i]; else inputs[choices[i]].checked = true;
    inputs[0].dispatchEvent(new Event("input"));
})"""

CHOICES = """(figure, state) => { // the last control runs fastest
    const sizes = [...figure.querySelectorAll(".snn-control")].map(control => [...control.querySelectorAll("input")])
        .map(inputs => inputs[0].type === "range" ? +inputs[0].max + 1 : inputs.length);
    return sizes.reduceRight((choices, size) => {
        choices.unshift(state % size);
        state = Math.floor(state / size);
        return choices;
    }, []);
}"""


def choose(seen, handle, state, choices):
    """Set all controls of a figure, and wait for the picture."""
    before = handle.get_attribute("data-state")
    if before != str(state):
        handle.evaluate(CHOOSE, choices)
        seen.page.evaluate(MOVE % PATIENCE, [handle, before])


@every_page
def test_a_narrow_page_neither_overflows_nor_cuts(disk):
    disk.page.set_viewport_size(NARROW)
    try:
        assert disk.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        ours = ".snn-figure, .snn-figure img, .snn-control, .snn-control *, .snn-source, .snn-card *:not(.snn-arrow)"
        spilt = disk.page.locator(ours).evaluate_all(
            """(all, width) => all.filter(e => {
                const box = e.getBoundingClientRect(), style = getComputedStyle(e);
                const clipped = style.overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1;
                const meant = e.closest(".snn-source, .snn-status, .snn-unseen");
                return box.left < 0 || box.right > width || (clipped && !meant);
            }).map(e => e.outerHTML.slice(0, 100))""",
            NARROW["width"],
        )
        assert spilt == []
        hidden = disk.page.locator(".output.stream pre").evaluate_all(
            """all => all.filter(e => /(True|False) *$/m.test(e.textContent) && e.scrollWidth > e.clientWidth + 1)
                .map(e => e.textContent.slice(0, 100))"""
        )
        assert hidden == [], "a check whose True or False is out of sight"
    finally:
        disk.page.set_viewport_size(WIDE)


WIDE_EQUATIONS = """() => { // also those that are folded away: unfolded for the look
    const folded = [...document.querySelectorAll("article .toggle-hidden")];
    folded.forEach(e => e.classList.remove("toggle-hidden"));
    const wide = [...document.querySelectorAll("article mjx-container")].filter(math => {
        const room = math.hasAttribute("display") ? math : math.parentElement.closest("p, li, td, dd, div, figcaption");
        const drawn = math.querySelector("svg").getBoundingClientRect();
        return !math.closest("td, .snn-table") && drawn.right > room.getBoundingClientRect().right + 1;
    }).map(math => math.textContent.slice(0, 60));
    folded.forEach(e => e.classList.add("toggle-hidden"));
    return wide;
}"""


@pytest.mark.parametrize("disk", [name for name, page in PAGES.items() if page.math], indirect=True)
def test_every_equation_fits_a_narrow_page(disk):
    disk.typeset()
    disk.page.set_viewport_size(NARROW)
    try:
        assert disk.page.evaluate(WIDE_EQUATIONS) == []
    finally:
        disk.page.set_viewport_size(WIDE)


@every_page_with_controls
def test_frames_are_python_s_own_drawing(disk, redrawn):
    drawn = redrawn(disk.name)
    shown = disk.page.locator("figure.snn-explore").all()
    assert len(drawn) == len(shown)
    disk.page.evaluate(LOOK)
    for states, figure in zip(drawn, shown, strict=True):
        handle = figure.element_handle()
        for k, choices, svg, alt, over in states:
            choose(disk, handle, k, choices)
            seen = handle.evaluate("f => look(f)")
            assert seen["state"] == str(k)
            assert seen["picture"] == svg
            assert seen["alt"] == alt
            assert over < EDGE, f"the picture's edge cuts a label: {alt}"
            TALLY[disk.name]["frames"] += 1


@every_page_with_controls
def test_a_state_kept_as_a_difference_is_put_together(disk):
    """Few states are, and a sample may miss them: most differ in length from the first, and are kept whole."""
    disk.page.evaluate(LOOK)
    for figure in disk.page.locator("figure.snn-explore").all():
        handle = figure.element_handle()
        table = unpack(handle.inner_html())
        for k in stored_as_difference(table)[-1:]:
            choose(disk, handle, k, handle.evaluate(CHOICES, k))
            assert handle.evaluate("f => look(f)")["picture"] == frame(table, k)


@pytest.mark.parametrize("name", PAGES_WITH_CONTROLS)
def test_without_javascript_the_first_picture_remains(visit, name):
    seen = visit(name, java_script_enabled=False)
    for figure in seen.page.locator("figure.snn-explore").all():
        assert figure.locator("img").get_attribute("alt")
        assert figure.locator("img").bounding_box()["width"] > 100
        assert figure.locator(".snn-note").is_visible()
        assert figure.locator("input:enabled").count() == 0


@every_page
def test_screenshots(disk):
    folder = os.environ.get("SNNBOOK_SCREENSHOTS")
    if not folder:
        pytest.skip("SNNBOOK_SCREENSHOTS names no folder")
    for look, viewport, scheme in (("light", WIDE, "light"), ("dark", WIDE, "dark"), ("narrow", NARROW, "light")):
        disk.page.set_viewport_size(viewport)
        disk.page.emulate_media(color_scheme=scheme)
        path = Path(folder) / f"{disk.name}-{look}.png"
        disk.page.screenshot(path=path, full_page=True)
        assert path.stat().st_size > 0
    disk.page.set_viewport_size(WIDE)
    disk.page.emulate_media(color_scheme="light")
