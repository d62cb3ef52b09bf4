"""The built pages over HTTP, for readers who use a keyboard, a screen reader, a dark screen or no motion."""

import pytest

from .browser import FINDINGS, MADE_BY_SPHINX, TALLY
from .expected import PAGES
from .test_browser import assert_complete

pytestmark = pytest.mark.browser

every_page = pytest.mark.parametrize("served", [*PAGES, *MADE_BY_SPHINX], indirect=True)
every_page_of_ours = pytest.mark.parametrize("served", PAGES, indirect=True)
GRAVE = {"serious", "critical"}
CONTRAST = "color-contrast"


@every_page_of_ours
def test_a_served_page_is_complete(served):
    assert_complete(served, served.name)


@every_page
def test_a_served_page_is_quiet(served):
    served.assert_quiet()


@pytest.fixture(scope="module")
def axe():
    found = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing")
    return found.Axe()


def grave(axe, seen, options, context=None):
    """Axe's serious and critical findings on a page; the others are counted."""
    # no preload: it would ask for style sheets a second time
    found = axe.run(seen.page, context, {"resultTypes": ["violations"], "preload": False, **options}).response
    TALLY[seen.name]["axe passes"] += len(found["passes"])
    for each in found["violations"]:
        if each["impact"] not in GRAVE:
            FINDINGS[each["id"], each["impact"]] += 1
    return [
        (each["id"], node["html"][:150], node["failureSummary"][:300])
        for each in found["violations"]
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


UNFOLD = """document.querySelectorAll("details").forEach(e => { e.open = true; });
document.querySelectorAll(".toggle-hidden").forEach(e => e.classList.remove("toggle-hidden"));
new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)))"""

PLAIN = """document.querySelectorAll("mjx-container svg").forEach(e => e.replaceChildren());
document.querySelectorAll(".highlight pre").forEach(e => { e.textContent = e.textContent; });"""
"""Takes the insides out of equations' pictures and the colours out of code: thousands of nodes without a role."""

ONE_OF_EACH = """() => {
    document.querySelectorAll("[data-contrast]").forEach(e => delete e.dataset.contrast);
    const kinds = new Set();
    for (const element of document.querySelectorAll("body *")) {
        if (![...element.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim())) continue;
        if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        const s = getComputedStyle(element), kind = [s.color, s.fontSize, s.fontWeight, s.textShadow];
        for (let e = element; e; e = e.parentElement) {
            const {backgroundColor, backgroundImage, opacity, position} = getComputedStyle(e);
            kind.push(backgroundColor, backgroundImage, opacity, position === "fixed");
            if (/^rgb\\(/.test(backgroundColor)) break; // opaque: nothing below is seen
        }
        const key = kind.join();
        if (kinds.has(key)) continue;
        kinds.add(key);
        element.dataset.contrast = "";
    }
    return kinds.size;
}"""
"""Marks one text of each kind: colour, size, weight, background. Axe needs a minute for all of the API page."""


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_kind_of_text_stands_out(served, axe, scheme):
    served.page.emulate_media(color_scheme=scheme)
    served.page.evaluate(UNFOLD)
    served.page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
    kinds = served.page.evaluate(ONE_OF_EACH)
    assert kinds > 5
    TALLY[served.name]["contrasts"] += kinds
    only = {"runOnly": [CONTRAST]}
    assert grave(axe, served, only, {"include": [["[data-contrast]"]]}) == []
    # A picture brings its own card, in the colours of the page's theme, and the theme does not dim it.
    for style in served.page.locator("img.snn-picture").evaluate_all(
        "all => all.map(i => [getComputedStyle(i).colorScheme, getComputedStyle(i).filter])"
    ):
        assert style == [scheme, "none"]


@every_page
def test_nothing_moves_for_readers_who_ask_for_stillness(served):
    longest = served.page.evaluate(
        """Math.max(...[...document.querySelectorAll("a, button, input, div, header, summary")].flatMap(e => {
            const s = getComputedStyle(e);
            return [...s.transitionDuration.split(","), ...s.animationDuration.split(",")].map(parseFloat);
        }))"""
    )
    assert longest < 0.001  # s
    assert served.count("video[autoplay], audio[autoplay], marquee") == 0


READING = """() => {
    const shown = e => e.checkVisibility() && e.getBoundingClientRect().width > 1;
    const headings = [...document.querySelectorAll(".bd-article-container :is(h1, h2, h3, h4, h5, h6)")].filter(shown);
    const named = [...document.querySelectorAll("article :is(input, button, select, a[href])")].filter(shown);
    return {
        levels: headings.map(h => +h.tagName[1]), tops: headings.map(h => h.getBoundingClientRect().top),
        jumps: [...document.querySelectorAll("[tabindex]")].filter(e => e.tabIndex > 0).length,
        sliders: [...document.querySelectorAll("input[type=range]")].map(i => i.labels[0]?.innerText.trim() ?? ""),
        language: document.documentElement.lang,
    };
}"""


@every_page
def test_a_page_reads_from_top_to_bottom(served):
    found = served.page.evaluate(READING)
    assert found["levels"].count(1) == 1
    assert found["levels"][0] == 1
    steps = zip(found["levels"], found["levels"][1:], strict=False)
    assert all(below <= above + 1 for above, below in steps), "a level of headings is left out"
    assert found["tops"] == sorted(found["tops"])
    assert found["jumps"] == 0
    assert all(found["sliders"])
    assert found["language"] == "en"


@every_page
def test_axe_finds_nothing_grave(served, axe):
    served.page.evaluate(UNFOLD)
    served.page.evaluate(PLAIN)
    assert grave(axe, served, {"rules": {CONTRAST: {"enabled": False}}}) == []


RING = """() => {
    const e = document.activeElement, s = getComputedStyle(e), box = e.getBoundingClientRect();
    return {
        tag: e.tagName, text: e.outerHTML.slice(0, 120), seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
        ring: (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none",
    };
}"""


@pytest.mark.parametrize("served", ["index", "06_six_losses_one_train"], indirect=True)
def test_focus_is_always_visible(served):
    served.page.reload()
    served.page.wait_for_selector("figure.snn-raster[data-state]")
    press = served.page.keyboard.press
    press("Tab")
    first = served.page.evaluate(RING)
    assert "skip" in first["text"].lower()
    assert first["seen"]
    assert first["ring"]
    press("Enter")
    served.page.wait_for_url("**/*#main-content")  # the browser tells a moment after the key; never: an error
    stops = []
    for _ in range(40):
        press("Tab")
        stop = served.page.evaluate(RING)
        if stop["tag"] == "BODY":
            break
        stops.append(stop)
    assert len(stops) > 15
    assert [stop for stop in stops if not (stop["seen"] and stop["ring"])] == []


@pytest.mark.parametrize("served", ["04_counting_and_enhanced"], indirect=True)
def test_a_solution_unfolds_by_keyboard(served):
    served.page.reload()
    button = served.page.locator(".solution.dropdown button.toggle-button").first
    hidden = "b => b.closest('.dropdown').classList.contains('toggle-hidden')"
    assert button.evaluate(hidden)
    button.focus()
    served.page.keyboard.press("Enter")
    assert not button.evaluate(hidden)


@pytest.mark.parametrize("served", ["04_counting_and_enhanced"], indirect=True)
def test_a_click_on_a_solution_s_title_unfolds_it(served):
    """Most of the title is a link to the exercise, which is just above."""
    served.page.reload()
    title = served.page.locator(".solution.dropdown > .admonition-title").first
    title.scroll_into_view_if_needed()
    box = title.locator("a").bounding_box()
    address = served.page.url
    served.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert not title.evaluate("t => t.closest('.dropdown').classList.contains('toggle-hidden')")
    assert served.page.url == address


SEARCHED = "threshold"


@pytest.mark.parametrize("where", ["served", "disk"])
def test_search_needs_no_network(where, request, visit, chromium, origin):
    from .browser import Visit

    seen = Visit(chromium, f"{origin}/search.html", origin) if where == "served" else visit("search")
    try:
        field = seen.page.locator("#search-input, .bd-article input[name=q], main input[name=q]").first
        field.fill(SEARCHED)
        field.press("Enter")
        seen.page.wait_for_function("document.querySelectorAll('#search-results li a').length > 3")
        seen.page.wait_for_function("/found \\d+ page/.test(document.querySelector('.search-summary').innerText)")
        links = seen.page.locator("#search-results li a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        assert any(link.startswith("07_thresholds_that_learn.html") for link in links)
        if where == "served":
            seen.page.wait_for_selector("#search-results li .context")
        seen.assert_quiet()
        seen.page.locator("#search-results li a").first.click()
        seen.page.wait_for_load_state("load")
        assert seen.count("article h1") == 1
        seen.assert_quiet()
    finally:
        seen.context.close()
