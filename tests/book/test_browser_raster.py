"""The rasters in Chromium: every number and arrow shown is the losses' own, by mouse, finger, keyboard and live."""

import os
import random
import statistics

import pytest
import torch

from snnbook.book import raster
from snnbook.book.fingerprints import FAMILIES, T_UNFIRED, fingerprint, gradient
from snnbook.results.style import LOSSES

from .browser import DRAGS, Visit
from .expected import PAGES

pytestmark = pytest.mark.browser

PAGES_WITH_RASTERS = [name for name, page in PAGES.items() if page.rasters]
CLICKS = 25


READ_RASTER = """f => Object.fromEntries([...f.querySelectorAll(".snn-panel")].map(panel => [panel.dataset.loss, {
    sum: +panel.dataset.sum, size: +panel.dataset.size, told: panel.querySelector("svg").getAttribute("aria-label"),
    below: panel.querySelector(".snn-sum").textContent,
    shown: [...f.querySelectorAll(`tr[data-loss=${panel.dataset.loss}] td`)].map(value => value.textContent),
    spikes: panel.querySelectorAll("svg .snn-spike").length,
    arrows: readArrows(panel)
}]))"""
READ_GRID = """f => ({
    spikes: f.querySelectorAll("[role=grid] .snn-spike").length,
    chosen: f.querySelector(".snn-chosen").textContent,
    checked: f.querySelector(".snn-title input:checked").closest(".snn-panel").dataset.loss,
    arrows: readArrows(f.querySelector("[role=grid]"))
})"""
READ_ARROWS = """window.readArrows = inside => [...inside.querySelectorAll(".snn-arrow")].map(a => [
    +a.dataset.step, +a.dataset.neuron, +a.dataset.e, a.getBBox().x, a.getBBox().x + a.getBBox().width,
    +a.dataset.tip, getComputedStyle(a).fill]);
null"""
EARLIER, LATER = "rgb(68, 170, 0)", "rgb(204, 102, 204)"


def alive(seen):
    """The page's rasters, their first state drawn."""
    seen.page.wait_for_selector("figure.snn-raster[data-state]")
    seen.page.evaluate(READ_ARROWS)
    return seen.page.locator("figure.snn-raster[data-state]").all()


def state_of(figure):
    """Spikes (T, C) in float64, label, place of t_unfired, and whether all losses share one scale."""
    *rows, label, choice, shared, _ = figure.get_attribute("data-state").split()
    spikes = torch.tensor([[float(spike) for spike in row] for row in rows], dtype=torch.float64).T
    return spikes, int(label), int(choice), shared == "1"


def chosen_of(figure):
    """The loss whose arrows are in the grid."""
    return figure.get_attribute("data-state").split()[-1]


def two_decimals(text):
    return float(text.replace("−", "-"))


def assert_arrows(found, e):
    """Each arrow is where e is, starts at its spike, and points to the left where e asks for an earlier spike."""
    pushed = {(int(t), int(i)): e[t, i].item() for t, i in e.nonzero()}
    assert {(t, i): value for t, i, value, *_ in found} == pytest.approx(pushed, abs=1e-12)
    for _, _, value, left, right, tip, fill in found:
        assert tip == pytest.approx(left if value > 0 else right, abs=0.01)
        assert fill == (EARLIER if value > 0 else LATER)


def assert_shows_the_losses(figure):
    """Every number and arrow is the losses' own for the spikes shown."""
    spikes, label, choice, shared = state_of(figure)
    pressed = figure.locator("[role=grid] button").evaluate_all("all => all.map(b => b.getAttribute('aria-pressed'))")
    assert pressed == [str(bool(spike)).lower() for spike in spikes.T.flatten()]
    panels = figure.evaluate(READ_RASTER)
    grid = figure.evaluate(READ_GRID)
    assert list(panels) == list(FAMILIES)
    assert grid["checked"] == chosen_of(figure)
    assert grid["spikes"] == spikes.sum()
    lengths = {}
    for name, panel in panels.items():
        e = gradient(name, spikes, label, T_UNFIRED[choice])
        found = fingerprint(e)
        assert (panel["sum"], panel["size"]) == pytest.approx((found.sum, found.size), abs=1e-12)
        values = [found.sum, found.size] + ([] if found.ratio is None else [found.ratio])
        shown = [text for text in panel["shown"] if text != "none"]
        assert [two_decimals(text) for text in shown] == pytest.approx(values, abs=0.00501)
        assert panel["below"] == f"sum {panel['shown'][0]}"
        assert panel["spikes"] == spikes.sum()
        assert panel["told"].count("step") == spikes.sum()
        assert_arrows(panel["arrows"], e)
        if name == grid["checked"]:
            assert_arrows(grid["arrows"], e)
            terms = zip(("sum of e", "sum of |e|", "ratio"), panel["shown"], strict=True)
            assert grid["chosen"] == f"{LOSSES[name].title} " + ", ".join(f"{term} {text}" for term, text in terms)
        for _, _, value, left, right, *_ in panel["arrows"]:
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
        for button in figure.locator(".snn-choices button").all():
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
        wanted = [figure.element_handle(), f"spike {word}. timing: sum "]  # the keys before it have been told of, too
        seen.page.wait_for_function(
            "([f, words]) => f.querySelector('.snn-status').textContent.includes(words)", arg=wanted
        )
        told = figure.locator(".snn-status").text_content()
        assert told.startswith(f"neuron {neurons - 1}")
        assert told.count("ratio") == 1, "the chosen loss alone is read out"
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


START = ["00101", "01010", "11000"]
OTHER = {"first": ["0101", "0011"], "second": ["1000", "0001"]}
PAGE = "<!doctype html><html lang=en data-theme=light><meta charset=utf-8><body>{}<p style='height:90rem'>{}"
TWO = PAGE.format(raster({"start": START}).html(), raster(OTHER).html())
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def two(chromium, tmp_path):
    """Open a page with two rasters, from the disk, at a place in it."""
    path = tmp_path / "two.html"
    path.write_text(TWO, encoding="utf-8")
    contexts = []

    def open_page(place="", **settings):
        seen = Visit(chromium, path.as_uri() + place, **settings)
        contexts.append(seen.context)
        return seen, *alive(seen)

    yield open_page
    for context in contexts:
        context.close()


def middle(figure, neuron, step):
    """The middle of a cell, on the screen."""
    row = figure.locator("[role=grid] tbody tr").nth(neuron)
    box = row.locator("button").nth(step).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def rows_of(figure):
    """The spikes as strings, by neuron."""
    return ["".join(f"{int(spike)}" for spike in row) for row in state_of(figure)[0].T]


def test_a_mouse_drags_a_spike(two):
    seen, figure, other = two()
    untouched = other.get_attribute("data-state")
    mouse = seen.page.mouse
    mouse.move(*middle(figure, 0, 4))
    mouse.down()
    mouse.move(*middle(figure, 0, 3), steps=3)
    assert rows_of(figure) == ["00110", *START[1:]]
    assert figure.locator(".snn-ghost").count() == 1, "a dotted bar where the spike was"
    mouse.move(*middle(figure, 0, 2), steps=3)
    assert rows_of(figure) == ["00110", *START[1:]], "the other spike's step is taken"
    mouse.move(*middle(figure, 0, 0), steps=3)
    mouse.up()
    assert rows_of(figure) == ["10100", *START[1:]]
    assert figure.locator(".snn-ghost").count() == 0
    assert figure.locator("button:focus").get_attribute("aria-label") == "spike of neuron 1, the label, step 1"
    assert_shows_the_losses(figure)
    mouse.click(*middle(figure, 0, 0))
    assert rows_of(figure) == ["00100", *START[1:]], "a click after a drag is a click"
    mouse.move(*middle(figure, 1, 0))
    mouse.down()
    mouse.move(*middle(figure, 1, 4), steps=4)
    mouse.up()
    assert rows_of(figure) == ["00100", *START[1:]], "an empty cell has nothing to drag"
    assert other.get_attribute("data-state") == untouched
    assert seen.complaints == []


def test_a_spike_dragged_back_is_where_it_was(two):
    seen, figure, _ = two()
    mouse = seen.page.mouse
    mouse.move(*middle(figure, 1, 3))
    mouse.down()
    mouse.move(*middle(figure, 1, 4), steps=2)
    mouse.move(*middle(figure, 1, 3), steps=2)
    mouse.up()
    assert rows_of(figure) == START
    assert seen.complaints == []


NO_TAP = 600  # ms after a finger's move, in which Chromium takes a touch for a part of that gesture


@pytest.mark.parametrize(("fingers", "wanted"), [((4, 3, 1), "01100"), ((4, 3, 3), "00110")])
def test_a_finger_drags_a_spike(two, fingers, wanted):
    seen, figure, _ = two(viewport=PHONE, has_touch=True, is_mobile=True)
    touch = seen.context.new_cdp_session(seen.page)
    kinds = ["touchStart"] + ["touchMove"] * (len(fingers) - 1)
    for kind, step in zip(kinds, fingers, strict=True):
        x, y = middle(figure, 0, step)
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    seen.page.wait_for_function("f => !f.querySelector('.snn-ghost')", arg=figure.element_handle())
    assert rows_of(figure) == [wanted, *START[1:]]
    assert_shows_the_losses(figure)
    seen.page.wait_for_timeout(NO_TAP)
    figure.locator("[role=grid] button").nth(0).tap()
    tapped = " ".join(["1" + wanted[1:], *START[1:]])
    seen.page.wait_for_function(
        "([f, rows]) => f.dataset.state.startsWith(rows)", arg=[figure.element_handle(), tapped]
    )


def test_keys_move_a_spike(two):
    seen, figure, _ = two()
    press = seen.page.keyboard.press
    figure.locator("[role=grid] button[tabindex='0']").focus()
    press("End")
    for keys, row in [(1, "00110"), (1, "01100"), (1, "10100"), (1, "10100")]:
        for _ in range(keys):
            press("Shift+ArrowLeft")
        assert rows_of(figure)[0] == row
    assert figure.locator("button:focus").get_attribute("aria-label") == "spike of neuron 1, the label, step 1"
    press("Shift+ArrowRight")
    assert rows_of(figure)[0] == "01100"
    press("Shift+ArrowDown")
    assert rows_of(figure) == ["01100", *START[1:]]
    press("ArrowLeft")
    press("Shift+ArrowRight")
    assert rows_of(figure)[0] == "01100", "an empty cell has nothing to move"
    status = (
        "f => f.querySelector('.snn-status').textContent.startsWith('neuron 1, the label: spike moved from step 1')"
    )
    seen.page.wait_for_function(status, arg=figure.element_handle())
    assert_shows_the_losses(figure)


def test_a_miniature_chooses_the_loss(two):
    seen, figure, _ = two()
    for name in FAMILIES:
        figure.locator(f".snn-panel[data-loss={name}] svg").click(force=True)
        assert chosen_of(figure) == name
        assert_shows_the_losses(figure)
    seen.page.keyboard.press("ArrowRight")
    assert chosen_of(figure) == "counting"
    assert figure.locator(".snn-title input:focus").evaluate("i => getComputedStyle(i).outlineStyle") == "solid"
    seen.page.wait_for_function(
        "f => f.querySelector('.snn-status').textContent.startsWith('counting: sum of e')", arg=figure.element_handle()
    )
    names = figure.locator(".snn-title").evaluate_all("all => all.map(label => label.textContent)")
    assert names == [LOSSES[name].title for name in FAMILIES]


def test_put_back(two):
    seen, _, figure = two()
    start = figure.get_attribute("data-state")
    figure.locator("[role=grid] button").nth(1).click()
    figure.get_by_label("20T").check()
    figure.get_by_label("one scale for all").check()
    figure.get_by_role("button", name="put back").click()
    assert figure.get_attribute("data-state") == start
    figure.get_by_role("button", name="second").click()
    figure.locator("[role=grid] button").nth(2).click()
    figure.get_by_role("group", name="label: neuron").get_by_label("2").check()
    figure.get_by_role("button", name="put back").click()
    assert rows_of(figure) == OTHER["second"]
    assert state_of(figure)[1] == 0
    assert seen.complaints == []


def test_the_address_keeps_both_states(two):
    seen, first, second = two()
    first.locator("[role=grid] button").nth(0).click()
    first.locator(".snn-panel[data-loss=ttfs] input").check()
    first.get_by_label("20T").check()
    seen.page.wait_for_url("**#raster-1=10101-01010-11000.n1.20T.ttfs.own")
    second.locator("[role=grid] button").nth(0).click()
    second.get_by_label("one scale for all").check()
    seen.page.wait_for_url("**&raster-2=1101-0011.n1.4T.timing.one")
    states = [figure.get_attribute("data-state") for figure in (first, second)]
    place = "#" + seen.page.url.partition("#")[2]
    again, *figures = two(place)
    assert [figure.get_attribute("data-state") for figure in figures] == states
    assert again.page.evaluate("scrollY") > 0, "the raster of the address is in view"
    for figure in figures:
        assert_shows_the_losses(figure)
        figure.get_by_role("button", name="put back").click()
        figure.locator(".snn-panel[data-loss=timing] input").check()
    again.page.wait_for_url(lambda address: "#" not in address)
    again.page.evaluate("place => { location.hash = place; }", place)
    again.page.wait_for_function(
        "([f, state]) => f.dataset.state === state", arg=[figures[1].element_handle(), states[1]]
    )
    assert figures[0].get_attribute("data-state") == states[0]
    again.assert_quiet()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10101",
        "1010-0101-1100.n1.4T.timing.own",
        "10101-01010-11000.n4.4T.timing.own",
        "x0101-01010-11000.n1.4T.timing.own",
        "10101-01010-11000.n1.5T.timing.own",
        "10101-01010-11000.n1.4T.count.own",
        "10101-01010-11000.n1.4T.timing.two",
    ],
)
def test_an_address_of_another_raster_changes_nothing(two, text):
    seen, figure, _ = two(f"#raster-1={text}")
    assert rows_of(figure) == START
    seen.assert_quiet()


TIMED = """async figure => {
    const rows = [...figure.querySelectorAll("tbody tr")].map(row => [...row.querySelectorAll("button")]);
    const at = (type, t) => {
        const box = rows[0][t].getBoundingClientRect(), options = {bubbles: true, pointerId: 1, button: 0};
        rows[0][4].dispatchEvent(new PointerEvent(type, {...options, clientX: box.x + box.width / 2}));
    };
    rows[0][4].setPointerCapture = () => {};
    const times = [];
    at("pointerdown", 4);
    for (const t of [3, 1, 0, 1, 3, 4, 3, 1, 0, 1, 3, 4]) {
        const state = figure.dataset.state, begin = performance.now();
        at("pointermove", t);
        if (figure.dataset.state === state) throw new Error(`nothing moved to ${t}`);
        await new Promise(resolve => requestAnimationFrame(() => {
            const painted = new MessageChannel();
            painted.port1.onmessage = resolve;
            painted.port2.postMessage(0);
        }));
        times.push(performance.now() - begin);
    }
    at("pointerup", 4);
    return times;
}"""
QUICK = 30  # ms from a move to its picture, on a quiet machine
BUSY = 200


def test_a_drag_is_drawn_at_once(two):
    _, figure, _ = two()
    times = figure.evaluate(TIMED)
    DRAGS.extend(times)
    assert statistics.median(times) < (QUICK if os.environ.get("SNNBOOK_QUIET") == "1" else BUSY)


@pytest.mark.parametrize("name", PAGES_WITH_RASTERS)
def test_a_phone_shows_the_grid_and_all_six_losses_at_once(visit, name):
    seen = visit(name, viewport=PHONE, has_touch=True, is_mobile=True)
    (figure,) = alive(seen)
    figure.evaluate("f => { f.scrollIntoView(); scrollBy(0, -60); }")  # below the header
    boxes = [figure.locator("[role=grid]").bounding_box(), figure.locator(".snn-panels").bounding_box()]
    assert boxes[0]["y"] > 50
    assert boxes[1]["y"] + boxes[1]["height"] < PHONE["height"]
    sizes = figure.locator("[role=grid] button").evaluate_all("all => all.map(b => b.getBoundingClientRect().width)")
    assert min(sizes) >= 32
    figure.locator(".snn-panel[data-loss=tet]").tap()
    assert chosen_of(figure) == "tet"
    assert_shows_the_losses(figure)


@pytest.mark.parametrize("mark", [{"theme": "dark"}, {"jpThemeLight": "false"}])
def test_a_raster_follows_a_dark_page(two, mark):
    seen, figure, _ = two()
    seen.page.evaluate("mark => Object.assign(document.documentElement.dataset, mark)", mark)
    card = figure.locator(".snn-card").evaluate("c => getComputedStyle(c).backgroundColor")
    spike = figure.locator(".snn-spike.snn-own").first.evaluate("s => getComputedStyle(s).stroke")
    assert (card, spike) == ("rgb(21, 23, 28)", "rgb(103, 67, 255)")


def test_a_caption_is_below_the_raster(chromium, tmp_path):
    path = tmp_path / "one.html"
    path.write_text(PAGE.format(raster({"start": START}, caption="What to see.").html(), ""), encoding="utf-8")
    seen = Visit(chromium, path.as_uri())
    (figure,) = alive(seen)
    tops = [figure.locator(part).bounding_box()["y"] for part in (".snn-card", ".snn-caption")]
    assert tops == sorted(tops)
    seen.context.close()
