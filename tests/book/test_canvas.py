"""Pictures: the same bytes everywhere, always described, and nothing in a live cell that nbval could trip over."""

import base64
import re

import matplotlib as mpl
import pytest

from snnbook.book import explore, figure
from snnbook.book.canvas import Canvas, shorten
from snnbook.errors import UserError

from .redraw import cut


def test_a_state_is_the_same_bytes_whatever_came_before(line):
    canvas = Canvas(line)
    first = canvas.svg({"m": 3})
    canvas.svg({"m": 7})
    assert canvas.svg({"m": 3}) == first == Canvas(line).svg({"m": 3})
    assert canvas.svg({"m": 7}) != first


def test_print_does_not_disturb_the_page(line):
    canvas = Canvas(line)
    first = canvas.svg({})
    assert canvas.png({}).startswith(b"\x89PNG")
    assert canvas.svg({}) == first


def test_the_session_s_own_settings_do_not_leak_in(line):
    plain = Canvas(line).svg({})
    with mpl.rc_context({"font.size": 30, "xtick.direction": "in", "xtick.major.size": 9}):
        assert Canvas(line).svg({}) == plain
        assert mpl.rcParams["font.size"] == 30


def test_margins_stay_when_labels_grow():
    def draw(ax, label):
        ax.set(ylabel=label)

    canvas = Canvas(draw, layouts=[{"label": "a"}])
    canvas.svg({"label": "a"})
    margins = canvas.margins
    canvas.svg({"label": "a\nb\nc\nd"})
    assert canvas.margins == margins
    assert canvas.figure.subplotpars.left == margins["left"]


def test_no_edge_cuts_the_labels_of_a_named_choice():
    def draw(ax, unit, m=0):
        ax.plot([0, 1], [0, {"small": 1, "large": 10_000_000.5}[unit]])
        ax.ticklabel_format(useOffset=False, style="plain")

    one = Canvas(draw, layouts=[{"unit": "small"}])
    one.svg({"unit": "large"})
    assert cut(one.figure) > 10
    shown = explore(draw, alt="{unit}", unit=["small", "large"], m=(0, 2))
    for values in shown.states():
        shown.canvas.svg(values)
        assert cut(shown.canvas.figure) < 0.5


def test_shorten_keeps_glyphs_and_images_and_drops_the_rest():
    svg = '<?xml?>\n<svg>\n <!-- note -->\n  <g transform="translate(1.23456 -0.0001) scale(0.015625 -0.015625)">\n'
    svg += ' <image href="data:image/png;base64,1.23456"/>\n</svg>'
    text = "".join(shorten(svg))
    assert text == (
        '<svg>\n<g transform="translate(1.23 -0) scale(0.015625 -0.015625)">\n'
        '<image href="data:image/png;base64,1.23456"/>\n</svg>\n'
    )


def test_a_fault_in_a_drawing_says_which_state(line):
    def draw(ax, m):
        ax.plot([1], [1 / m])

    with pytest.raises(ZeroDivisionError) as fault:
        Canvas(draw, layouts=[{"m": 1}]).svg({"m": 0})
    assert "while draw drew {'m': 0}" in fault.value.__notes__


@pytest.mark.parametrize("alt", ["", "  \n", None, 3])
def test_a_figure_needs_words(line, alt):
    with pytest.raises(UserError, match="alt"):
        figure(line, alt=alt)
    with pytest.raises(TypeError):
        figure(line)


def test_a_figure_needs_a_function():
    with pytest.raises(UserError, match="function"):
        figure([1, 2], alt="numbers")


def test_a_live_figure_leaves_text_and_a_widget_only(line):
    shown = figure(line, alt="A line\n that rises.")._repr_mimebundle_()
    assert set(shown) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert shown["text/plain"] == "figure: A line that rises."


def test_a_baked_figure_is_html_with_its_words(line, baking):
    shown = figure(line, alt='A "line" < 1')._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/html", "image/png"}
    assert 'alt="A &quot;line&quot; &lt; 1"' in shown["text/html"]
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', shown["text/html"])[1]
    assert base64.b64decode(source) == Canvas(line).svg({})


def test_several_axes(line):
    seen = []
    Canvas(lambda axes: seen.append(axes.shape), subplots={"ncols": 2}).svg({})
    assert seen == [(2,), (2,)]  # once for the margins, once for the picture
