"""The buttons of slider figures, and pictures on a dark page, in Chromium: pages of one figure, written here."""

import base64

import pytest

from snnbook.book import explore, style
from snnbook.results.style import DARK_COLORS, DARK_PAPER

from . import browser

pytestmark = pytest.mark.browser

PIXELS = """async data => {
    const image = new Image();
    image.src = "data:image/png;base64," + data;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    return [...pen.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The address of a page with one figure, at its start m = 1."""

    def draw(ax, m, loss):
        ax.plot([0, m], [0, 1], color=style.COLORS["label"], linewidth=8)
        ax.set(xlim=(0, 3), title=loss)

    html = explore(
        draw, alt="m = {m}, {loss}", m=(0, 3), loss=["a", "b"], start={"m": 1}, play="m", drag={"m": "x"}
    ).html()
    figure = html.replace("<figure ", '<figure id="fig-1" ', 1)
    sheet = (browser.BOOK / "_static" / "snnbook.css").read_text()
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>A page</title><style>{sheet}</style><body>{figure}")
    return path.as_uri()


@pytest.fixture
def opened(chromium, page):
    seen = []

    def open_page(hash_="", **settings):
        seen.append(browser.Visit(chromium, page + hash_, **settings))
        return seen[-1]

    yield open_page
    for each in seen:
        each.assert_quiet()
        each.context.close()


def state(seen):
    return seen.page.locator("figure").get_attribute("data-state")


def alt(seen):
    return seen.page.locator("figure img").get_attribute("alt")


def wait_for(seen, words):
    seen.page.wait_for_selector(f"figure img[alt='{words}']")


def test_play_runs_to_the_end_and_starts_anew(opened):
    seen = opened()
    play = seen.page.get_by_role("button", name="Play")
    play.click()
    assert seen.page.get_by_role("button", name="Stop").count() == 1
    for words in ("m = 2, a", "m = 3, a"):
        wait_for(seen, words)
    play.wait_for()  # it says Play again
    play.click()
    wait_for(seen, "m = 0, a")
    seen.page.get_by_role("button", name="Stop").click()
    seen.page.wait_for_timeout(1000)
    assert alt(seen) == "m = 0, a"


def test_a_move_of_the_reader_s_stops_the_play(opened):
    seen = opened()
    seen.page.get_by_role("button", name="Play").click()
    seen.page.locator("input[type=range]").press("Home")
    wait_for(seen, "m = 0, a")
    seen.page.wait_for_timeout(1000)
    assert alt(seen) == "m = 0, a"


def test_reset_puts_the_start_back(opened):
    seen = opened()
    seen.page.locator("input[type=range]").press("End")
    seen.page.get_by_label("b").check()
    wait_for(seen, "m = 3, b")
    seen.page.get_by_role("button", name="Reset").click()
    wait_for(seen, "m = 1, a")


def test_the_address_of_a_state_leads_back_to_it(opened):
    seen = opened()
    seen.page.locator("input[type=range]").press("End")
    seen.page.get_by_label("b").check()
    wait_for(seen, "m = 3, b")
    seen.page.get_by_role("button", name="Link to this state").click()
    hash_ = seen.page.evaluate("location.hash")
    assert hash_ == "#fig-1=3.1"
    again = opened(hash_)
    wait_for(again, "m = 3, b")
    assert again.page.locator("input[type=range]").input_value() == "3"


@pytest.mark.parametrize("hash_", ["#fig-1=4.0", "#fig-1=1", "#fig-1=1.x", "#fig-2=3.1", "#fig-1", "#fig-1=-1.0"])
def test_another_address_changes_nothing(opened, hash_):
    seen = opened(hash_)
    seen.page.wait_for_timeout(300)
    assert state(seen) is None
    assert alt(seen) == "m = 1, a"


def test_the_picture_is_dragged_along_its_axis(opened):
    seen = opened()
    box = seen.page.locator("figure img").bounding_box()
    mouse = seen.page.mouse
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2 + 0.3 * box["width"], box["y"] + box["height"] / 2, steps=5)
    wait_for(seen, "m = 2, a")  # the axis of 3 units is some 0.85 of the picture: one unit is 0.28 of it
    mouse.move(box["x"] + box["width"] / 2 - 0.6 * box["width"], box["y"], steps=5)
    wait_for(seen, "m = 0, a")
    mouse.up()
    mouse.move(box["x"] + box["width"] - 5, box["y"] + 5, steps=5)
    seen.page.wait_for_timeout(200)
    assert alt(seen) == "m = 0, a"
    assert seen.page.locator("input[type=range]").input_value() == "0"


def rgb(colour):
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_has_the_page_s_theme(opened, theme, system):
    seen = opened(color_scheme=system)
    seen.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    seen.page.wait_for_timeout(200)
    shot = seen.page.locator("figure img").screenshot()
    found = seen.page.evaluate(PIXELS, base64.b64encode(shot).decode())
    pixels = {tuple(found[place : place + 3]) for place in range(0, len(found), 4)}
    wanted = (DARK_PAPER, DARK_COLORS["label"]) if theme == "dark" else (style.PAPER, style.COLORS["label"])
    assert {tuple(rgb(colour)) for colour in wanted} <= pixels
