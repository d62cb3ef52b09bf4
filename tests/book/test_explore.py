"""Slider figures: the page shows exactly what Python draws, and faulty calls are refused in one line."""

import base64
import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from snnbook.book import explore
from snnbook.book.explore import Control, Explore
from snnbook.errors import UserError

from .frames import frame, unpack

ALT = "m = {m}, {loss}"


@pytest.fixture
def shown(line):
    return explore(line, alt=ALT, labels={"m": "spikes m"}, start={"m": 2}, m=(0, 3), loss=["counting", "tet"])


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag, **wanted):
        return [a for t, a in self.found if t == tag and all(a.get(k) == v for k, v in wanted.items())]


def test_the_packed_table_is_python_s_own_drawing_byte_for_byte(shown):
    table = unpack(shown.html())
    states = list(shown.states())
    assert len(states) == len(table["frames"]) == len(table["alts"]) == 8
    for k, values in enumerate(states):
        assert frame(table, k).encode() == shown.canvas.svg(values)
        assert table["alts"][k] == f"m = {values['m']}, {values['loss']}"


def test_states_of_unlike_length_are_packed_whole():
    def draw(ax, n):
        for i in range(n):
            ax.plot([0, 1], [i, i])

    figure = Explore(draw, alt="{n} lines", n=(1, 3))
    table = unpack(figure.html())
    assert [whole for whole, _ in table["frames"]] == [0, 1, 1]
    assert [frame(table, k).encode() for k in range(3)] == [figure.canvas.svg(v) for v in figure.states()]


def test_the_page_repeats(shown, line):
    again = explore(line, alt=ALT, labels={"m": "spikes m"}, start={"m": 2}, m=(0, 3), loss=["counting", "tet"])
    assert shown.html() == again.html()


def test_controls_are_native_named_and_off_until_the_script_runs(shown):
    page = Elements(shown.html())
    (slider,) = page.all("input", type="range")
    assert slider["aria-valuetext"] == "2"
    assert (slider["min"], slider["max"], slider["value"], json.loads(slider["data-names"])) == (
        "0",
        "3",
        "2",
        list("0123"),
    )
    radios = page.all("input", type="radio")
    assert [("checked" in r, r["value"]) for r in radios] == [(True, "0"), (False, "1")]
    assert len({r["name"] for r in radios}) == 1
    assert all("disabled" in control for control in [slider, *radios])
    assert '<label class="snn-control"><span>spikes m</span><input' in shown.html()
    assert '<fieldset class="snn-control"><legend>loss</legend>' in shown.html()
    assert page.all("img")[0]["alt"] == "m = 2, counting"
    assert page.all("p", **{"class": "snn-note"})
    assert page.all("p", role="status")


def test_a_caption_and_a_play_button(line):
    figure = explore(line, alt=ALT, m=(0, 3), loss=["a", "b"], caption="See\n τ_m < 1.", play="loss")
    assert '<figcaption class="snn-caption">See τ<sub>m</sub> &lt; 1.</figcaption>' in figure.html()
    buttons = Elements(figure.html()).all("button")
    assert [button["class"] for button in buttons] == ["snn-play", "snn-reset", "snn-link"]
    assert buttons[0]["data-control"] == "1"
    assert all("disabled" in button for button in buttons)
    plain = explore(line, alt=ALT, m=(0, 3), loss=["a", "b"]).html()
    assert "figcaption" not in plain
    assert "snn-play" not in plain.partition("<script")[0]


def test_what_is_dragged_lies_where_the_axes_say(line):
    figure = explore(line, alt=ALT, m=(0, 10, 5), loss=["a", "b"], drag={"m": "x"})
    (data,) = json.loads(Elements(figure.html()).all("figure")[0]["data-drag"])
    assert (data["control"], data["axis"]) == (0, "x")
    # The axes' own box: 0 is its left edge, and 10 its right one.
    box = figure.canvas.figure.axes[0].get_position()
    assert data["places"] == pytest.approx([box.x0, (box.x0 + box.x1) / 2, box.x1], abs=1e-3)
    upwards = explore(line, alt=ALT, m=[0, 1], loss=["a", "b"], drag={"m": "y"})
    (data,) = json.loads(Elements(upwards.html()).all("figure")[0]["data-drag"])
    box = upwards.canvas.figure.axes[0].get_position()
    assert data["places"] == pytest.approx([1 - box.y0, 1 - box.y1], abs=1e-3)


@pytest.mark.parametrize(
    ("drag", "said"), [({"n": "x"}, "parameter in drag"), ({"m": "z"}, '"x" or "y"'), ({"loss": "x"}, "names")]
)
def test_what_cannot_be_dragged(line, drag, said):
    with pytest.raises(UserError, match=said):
        explore(line, alt=ALT, m=(0, 3), loss=["a", "b"], drag=drag)


@pytest.mark.parametrize(
    ("argument", "said"), [({"play": "n"}, "parameter to play"), ({"caption": " "}, "caption"), ({"caption": 3}, "3")]
)
def test_no_caption_and_no_parameter_to_play(line, argument, said):
    with pytest.raises(UserError, match=said):
        explore(line, alt=ALT, m=(0, 3), loss=["a", "b"], **argument)


def test_two_figures_of_one_page_do_not_share_radio_buttons():
    pages = [
        explore(lambda ax, loss: ax.set(title=loss), alt=word + " {loss}", loss=["a", "b"]).html()
        for word in ("one", "two")
    ]
    names = [Elements(page).all("input", type="radio")[0]["name"] for page in pages]
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("choices", "kind"),
    [
        ((0, 1), "range"),
        ([0.5, 2], "range"),
        ([False, True], "radio"),
        (["a", "b", "c", "d"], "radio"),
        ({"T": 1, "4T": 4, "20T": 20}, "radio"),
        ({"T": 1, "2T": 2, "4T": 4, "20T": 20}, "range"),
    ],
)
def test_numbers_get_a_slider_and_names_radio_buttons(choices, kind):
    page = Elements(explore(lambda ax, x: None, alt="{x}", x=choices).html())
    assert {control["type"] for control in page.all("input")} == {kind}


def test_an_index_in_a_label_is_set_as_one():
    shown = Control("tau_m", (1, 3), "time τ_m <").html(0, "here")
    assert "<span>time τ<sub>m</sub> &lt;</span>" in shown
    assert "<span>same_peak</span>" in Control("same_peak", (1, 3), "same_peak").html(0, "here")


def test_long_names_get_a_row_to_themselves():
    page = explore(lambda ax, loss: None, alt="{loss}", loss=["counting", "enhanced counting"]).html()
    assert '<fieldset class="snn-control snn-wide">' in page


def test_a_live_figure_follows_its_sliders(shown):
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    view, m, loss = shown.widget.children
    assert m.description == "spikes m"
    before = view.value
    assert 'alt="m = 2, counting"' in before
    m.value, loss.value = 3, 1
    assert 'alt="m = 3, tet"' in view.value
    assert json.loads(Elements(view.value).all("img")[0]["data-sliders"]) == [["spikes m", "3"], ["loss", "tet"]]
    source = Elements(view.value).all("img")[0]["src"].removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(source) == shown.canvas.svg({"m": 3, "loss": "tet"})


def test_the_text_that_nbval_compares(shown):
    assert repr(shown) == ("explore: spikes m 0 to 3 (4), loss counting to tet (2). At the start: m = 2, counting")


def test_a_baked_figure_is_html(shown, baking):
    assert set(shown._repr_mimebundle_()) == {"text/plain", "text/html", "image/png"}


@pytest.mark.parametrize(
    ("choices", "values", "names"),
    [
        ((0, 3), [0, 1, 2, 3], ["0", "1", "2", "3"]),
        ((0.1, 0.4, 0.1), [0.1, 0.2, 0.3, 0.4], ["0.1", "0.2", "0.3", "0.4"]),
        ((1, 2, 0.5), [1, 1.5, 2], ["1", "1.5", "2"]),
        (range(2, 9, 3), [2, 5, 8], ["2", "5", "8"]),
        (np.array([1.0, 2.5]).tolist(), [1, 2.5], ["1", "2.5"]),
        (list(np.arange(2)), [0, 1], ["0", "1"]),
        ([False, True], [False, True], ["no", "yes"]),
        (["counting", "tet"], ["counting", "tet"], ["counting", "tet"]),
        ({"T": 1, "4T": 4}, [1, 4], ["T", "4T"]),
    ],
)
def test_ways_to_name_values(choices, values, names):
    control = Control("x", choices, "x")
    assert control.values == values
    assert control.shown == names


def test_alt_texts_get_numbers_as_numbers_and_names_as_names():
    figure = explore(
        lambda ax, x, clip, t: None, alt="{x:.2f} {clip} {t}", x=(0, 1, 0.5), clip=[False, True], t={"T": 1, "4T": 4}
    )
    assert figure.alt_text({"x": 0.5, "clip": True, "t": 4}) == "0.50 yes 4T"
    figure = explore(lambda ax, x: None, alt=lambda x: f"{x + 1}", x=(0, 1))
    assert figure.alt_text({"x": 1}) == "2"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs a parameter to move"),
        ({"m": 3}, r"m=3: give \(low, high\)"),
        ({"m": (3, 0)}, "low must be below high"),
        ({"m": (0, 3, 0)}, "step above 0"),
        ({"m": (0, 3, 2)}, "steps of 2 from 0 miss 3"),
        ({"m": ("a", "b")}, "names go in a list"),
        ({"m": (0, 1, 2, 3)}, r"a range is \(low, high\)"),
        ({"m": [1]}, "leaves nothing to choose"),
        ({"m": []}, "leaves nothing to choose"),
        ({"m": [1, 1]}, "shows the same name twice"),
        ({"m": [1, None]}, "runs through None"),
        ({"m": (0, 3), "start": {"n": 1}}, "unknown parameter in start 'n'"),
        ({"m": (0, 3), "start": {"m": 9}}, "unknown value of m 9"),
        ({"m": (0, 3), "labels": {"k": "k"}}, "unknown parameter in labels 'k'"),
        ({"m": (0, 3), "alt": "{l}"}, "unknown parameter in alt 'l'"),
        ({"m": (0, 3), "alt": "{m:q}"}, "is no format string"),
        ({"m": (0, 3), "alt": ""}, "needs alt"),
        ({"m": (0, 3), "alt": 7}, "needs alt"),
        ({"target": (0, 3), "alt": "x"}, "does not take the axes and target"),
        ({"m": (0, 400)}, "401 states are more than 400"),
        ({"m": (0, 20), "loss": [str(i) for i in range(20)]}, "21 x 20 = 420 states"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(line, settings, message):
    with pytest.raises(UserError, match=message) as fault:
        explore(line, **({"alt": "m = {m}"} | settings))
    assert "\n" not in str(fault.value)


def test_a_figure_too_heavy_for_a_page_is_refused(shown, monkeypatch):
    monkeypatch.setattr(sys.modules["snnbook.book.explore"], "MAX_BYTES", 2000)
    with pytest.raises(UserError, match="take fewer states"):
        shown.html()
