"""What a notebook shows to whom: widgets and stills to people, stills to exports, text to nbval."""

import base64
import re
import sys
from types import SimpleNamespace

import IPython
import pytest
from jupyter_client.manager import start_new_kernel

from snnbook.book import explore, figure, shown
from snnbook.book.shown import WIDGET, Audience

PERSON = {"allow_stdin": True}
EXPORT = {"allow_stdin": False}
CHECK = {"allow_stdin": False, "store_history": False}
IMPORTS = "from snnbook import neuron\nfrom snnbook.book import explore, figure, live, raster, show"
NO_WIDGETS = "import sys\nsys.modules['ipywidgets'] = None"
SHOWING = ("display_data", "execute_result", "update_display_data")
THINGS = {
    "figure": "figure(lambda ax: ax.plot([1, 2]), alt='A line.')",
    "explore": "explore(lambda ax, m: ax.plot([0, m]), alt='m = {m}', m=(0, 2))",
    "raster": "raster({'start': ['00101', '01010']})",
    "show": "show(neuron.eps)",
}
LOOP = "picture = live(lambda ax: ax.plot([1, 2]), alt='A curve.')\npicture.update(now=True)"


class Kernel:
    """A kernel that cells are sent to as different front ends send them."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, code, **how):
        """The data of what a cell displays, and of its updates; an error fails the test."""
        found = []

        def take(message):
            content = message["content"]
            assert message["msg_type"] != "error", content
            if message["msg_type"] in SHOWING:
                found.append(content["data"])

        self.client.execute_interactive(code, output_hook=take, timeout=120, **how)
        return found

    def stop(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernels():
    """One with ipywidgets, one without."""
    both = {"live": Kernel(), "plot": Kernel()}
    both["plot"].run(NO_WIDGETS)
    for kernel in both.values():
        kernel.run(IMPORTS)
    yield both
    for kernel in both.values():
        kernel.stop()


@pytest.mark.parametrize("thing", THINGS)
def test_a_person_gets_a_widget_with_a_still_picture_beside_it(kernels, thing):
    (data,) = kernels["live"].run(THINGS[thing], **PERSON)
    pictures = set() if thing == "show" else {"image/png"}
    assert set(data) == {WIDGET, "text/html", "text/plain"} | pictures


@pytest.mark.parametrize("extra", ["live", "plot"])
@pytest.mark.parametrize("thing", THINGS)
def test_an_export_gets_what_needs_no_kernel(kernels, thing, extra):
    (data,) = kernels[extra].run(THINGS[thing], **EXPORT)
    assert WIDGET not in data
    if thing != "show":
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
        assert re.search(r'<img [^>]*alt="[^"]+"[^>]*src="data:image/png;base64,', data["text/html"])
    assert "<script" not in data["text/html"]
    assert ("snnbook[live]" in data["text/html"]) == (thing in ("explore", "raster"))


@pytest.mark.parametrize("thing", THINGS)
def test_without_ipywidgets_a_person_gets_the_still_picture(kernels, thing):
    (data,) = kernels["plot"].run(THINGS[thing], **PERSON)
    (exported,) = kernels["plot"].run(THINGS[thing], **EXPORT)
    assert data == exported


@pytest.mark.parametrize("thing", THINGS)
def test_nbval_compares_text_alone(kernels, thing):
    (data,) = kernels["live"].run(THINGS[thing], **CHECK)
    assert set(data) == {WIDGET, "text/plain"}


def test_the_text_is_the_same_for_all(kernels):
    for code in THINGS.values():
        assert len({kernels["live"].run(code, **how)[0]["text/plain"] for how in (PERSON, EXPORT, CHECK)}) == 1


def test_a_loop_is_followed_by_a_widget_or_by_updates(kernels):
    (data,) = kernels["live"].run(LOOP, **PERSON)
    assert WIDGET in data
    for extra, how in (("plot", PERSON), ("plot", EXPORT), ("live", EXPORT)):
        first, last = kernels[extra].run(LOOP, **how)
        assert set(first) == set(last) == {"text/plain", "text/html", "image/png"}
        assert first["text/plain"] == "live: A curve."


def test_colab_and_unknown_front_ends_count_as_people(monkeypatch):
    request = {"allow_stdin": False}
    kernel = SimpleNamespace(get_parent=lambda: {"content": request})
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    assert shown.audience() is Audience.EXPORT
    monkeypatch.setitem(sys.modules, shown.COLAB, object())
    assert shown.audience() is Audience.PERSON
    monkeypatch.delitem(sys.modules, shown.COLAB)
    request.clear()
    assert shown.audience() is Audience.PERSON


def test_plain_python_without_ipywidgets_has_the_text(monkeypatch, line):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert set(figure(line, alt="A line.")._repr_mimebundle_()) == {"text/plain"}
    assert set(explore(line, alt="m = {m}", m=(0, 2))._repr_mimebundle_()) == {"text/plain"}
