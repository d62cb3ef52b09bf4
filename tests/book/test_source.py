"""Listings show the package's own text, whole or cut, and say so where they cannot."""

import inspect
import re
from html import unescape

import pytest

from snnbook import neuron, ops
from snnbook.book import show
from snnbook.errors import UserError


def text(listing):
    page = re.sub(r"<figcaption>.*?</figcaption>", "", listing.html(), flags=re.S)
    return unescape(re.sub(r"<[^>]+>", "", page)).strip()


@pytest.mark.parametrize("mode", ["live", "built"])
def test_a_listing_is_the_source_itself(mode, request):
    if mode == "built":
        request.getfixturevalue("baking")
    assert text(show(neuron.eps)) == inspect.getsource(neuron.eps).strip()


def test_several_objects():
    both = text(show(neuron.eps, neuron.kappa))
    assert inspect.getsource(neuron.eps) in both
    assert both.endswith(inspect.getsource(neuron.kappa).strip())


def test_the_caption_names_each_file_once():
    page = show(neuron.eps, neuron.kappa, ops.reference.forward).html()
    (caption,) = re.findall(r"<figcaption>(.*?)</figcaption>", page, flags=re.S)
    assert unescape(caption) == "snnbook/neuron.py: eps, kappa; snnbook/ops/reference.py: forward"


def test_without_its_docstrings():
    shown = text(show(neuron.NeuronParameters, doc=False))
    assert '"""' not in shown
    assert "@dataclass(frozen=True)\nclass NeuronParameters:" in shown
    assert "return 1 - 1 / self.tau_m" in shown
    assert "class NeuronParameters:\n    tau_m: float = 5.0" in shown


def test_a_slice_is_cut_by_its_text():
    shown = text(show(ops.reference.forward, start="for c in current", stop="spikes"))
    assert shown.splitlines()[0] == "for c in current:"
    assert shown.splitlines()[-1].strip() == "fired = u >= theta"


def test_methods_and_properties():
    assert text(show(neuron.NeuronParameters.gain)).startswith("@property\ndef gain(self)")


@pytest.mark.parametrize("cut", [{"start": "no such line"}, {"stop": "no such line"}])
def test_a_slice_whose_text_is_gone_fails(cut):
    with pytest.raises(UserError, match=r"'no such line' is on no line of snnbook\.neuron\.eps"):
        show(neuron.eps, **cut)


def test_what_has_no_source():
    for nothing in (len, 3):
        with pytest.raises(UserError, match="has no Python source"):
            show(nothing)
    with pytest.raises(UserError, match="needs a function"):
        show()
    with pytest.raises(UserError, match="one object at a time"):
        show(neuron.eps, neuron.kappa, start="if")


def test_equation_labels_are_links_to_be():
    assert '(<a class="snn-equation" data-label="eq-response">eq-response</a>)' in show(neuron.eps).html()


def test_the_caption_names_the_file():
    assert "<figcaption>snnbook/neuron.py: eps</figcaption>" in show(neuron.eps).html()


def test_live_and_built_outputs(monkeypatch):
    live = show(neuron.eps)._repr_mimebundle_()
    assert set(live) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    monkeypatch.setenv("SNNBOOK_BAKE", "1")
    built = show(neuron.eps)._repr_mimebundle_()
    assert set(built) == {"text/plain", "text/html"}
    assert live["text/plain"] == built["text/plain"] == "source of snnbook.neuron.eps"
    assert 'style="' not in built["text/html"]  # the page's own style sheet, light or dark
