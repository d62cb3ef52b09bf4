"""The raster to edit: its tables are the losses' own gradients, and the page has these tables."""

import base64
import gzip
import html
import json
import re
import sys
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnbook import losses
from snnbook.book import raster
from snnbook.book.fingerprints import FAMILIES, T_UNFIRED, Tables, fingerprint
from snnbook.errors import UserError

from .browser import ROOT

SHAPES = [(6, 4), (5, 3), (1, 2), (2, 5), (7, 2)]  # T, C
STARTS = {"at first": ["010010", "111000", "000000", "000001"], "later": ["011111", "000000", "000000", "000000"]}


@cache
def tables(steps, neurons):
    return Tables(steps, neurons)


@st.composite
def samples(draw):
    """One sample (T, C) in float64, from silent to saturated, and its label."""
    steps, neurons = draw(st.sampled_from(SHAPES))
    rows = [draw(st.integers(0, 2**steps - 1)) for _ in range(neurons)]
    spikes = torch.tensor([[float(row >> t & 1) for row in rows] for t in range(steps)], dtype=torch.float64)
    return spikes, draw(st.integers(0, neurons - 1))


def straight(name, spikes, label, **more):
    """e of one sample, (T, C), from the loss itself, label scaling off."""
    if "counting" in name:
        more = {"label_scaling": False}
    spikes = spikes[:, None].clone().requires_grad_()
    losses.get(name, **more)(spikes, torch.tensor([label])).backward()
    return spikes.grad[:, 0]


@settings(max_examples=200, deadline=None)
@given(samples(), st.sampled_from(sorted(FAMILIES)), st.sampled_from(T_UNFIRED))
def test_the_tables_are_the_losses(sample, name, t_unfired):
    spikes, label = sample
    more = {"t_unfired": t_unfired} if name == "ttfs" else {}
    found = tables(*spikes.shape).look_up(name, spikes, label, t_unfired)
    torch.testing.assert_close(found, straight(name, spikes, label, **more), rtol=0, atol=1e-13)
    assert not found[spikes == 0].any()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_raster_of_a_small_size(name):
    """All 2^6 rasters of 3 neurons and 2 steps, every label."""
    small = Tables(2, 3)
    for code in range(2**6):
        spikes = torch.tensor([float(code >> bit & 1) for bit in range(6)], dtype=torch.float64).reshape(2, 3)
        for label in range(3):
            found = small.look_up(name, spikes, label)
            torch.testing.assert_close(found, straight(name, spikes, label), rtol=0, atol=1e-13)


def test_every_loss_has_its_family():
    assert set(FAMILIES) == set(losses.LOSSES)


def test_a_fingerprint_by_hand():
    found = fingerprint(torch.tensor([[0.5, 0.0], [-2.0, 0.25]]))
    assert (found.sum, found.size) == (-1.25, 2.75)
    assert found.ratio == pytest.approx(-1.25 / 2.75)
    silent = fingerprint(torch.zeros(3))
    assert (silent.sum, silent.size, silent.ratio) == (0, 0, None)


def unpack(page):
    return json.loads(gzip.decompress(base64.b64decode(re.search(r'class="snn-tables">([^<]*)<', page)[1])))


def test_a_page_carries_the_tables_number_for_number():
    shown = raster(STARTS)
    data = unpack(shown.html())
    assert (data["steps"], data["neurons"], data["choices"], data["choice"]) == (6, 4, ["T", "4T", "20T"], 1)
    assert data["losses"][data["chosen"]]["name"] == "timing"
    assert [loss["name"] for loss in data["losses"]] == list(FAMILIES)
    for loss in data["losses"]:
        values = torch.tensor(loss["values"], dtype=torch.float64)[loss["index"]]
        assert torch.equal(values, shown.tables.e[loss["name"]].flatten())
        assert loss["longest"] == values.abs().max()
    assert data["presets"][0] == {
        "name": "at first",
        "label": 0,
        "rows": [[int(x) for x in r] for r in STARTS["at first"]],
    }
    assert shown.html() == raster(STARTS).html()


def test_a_raster_is_light():
    page = raster(STARTS).html()
    assert len(base64.b64decode(re.search(r'class="snn-tables">([^<]*)<', page)[1])) < 60_000
    assert len(page) < 300_000


def test_the_words_of_a_start():
    said = repr(raster({"one": ["0101", "0000", "0011"]}, label=2, t_unfired=1))
    assert said.startswith(
        "raster: 3 neurons by 4 steps. At the start: Spike trains: neuron 1 fires at 2, 4; neuron 2 is silent; "
        "neuron 3, the label, fires at 3, 4. Gradients of the six losses. counting: sum +1.00, size 2.00, ratio +0.50."
    )
    assert "timing: " in said
    silent = repr(raster({"one": ["00", "00"]}))
    assert silent.count("no push") == 6


def test_the_live_raster_is_a_widget_that_runs_the_same_script(monkeypatch):
    bundle = raster(STARTS)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    page = raster(STARTS).html()
    live = raster(STARTS).live_html()
    script = page[
        page.index("<script>") + len("<script>") : page.rindex("(document.currentScript.parentElement, true);")
    ]
    for name in sys.modules["snnbook.book.raster"].PARTS:
        assert (ROOT / "snnbook" / "book" / f"{name}.js").read_text() in script
    assert "<script>" not in live
    # A notebook's address is JupyterLab's.
    assert html.escape(f"{script}(this.closest('.snn-raster'), false)") in live
    monkeypatch.setenv("SNNBOOK_BAKE", "1")
    assert set(raster(STARTS)._repr_mimebundle_()) == {"text/plain", "text/html", "image/png"}


@pytest.mark.parametrize(
    ("starts", "more", "message"),
    [
        ({}, {}, "needs spike trains to start from"),
        (["01", "10"], {}, "needs spike trains to start from"),
        ({"a": ["01", "2x"]}, {}, "'a' must be one string of 0s and 1s per neuron"),
        ({"a": ["01", "011"]}, {}, "all of one length"),
        ({"a": [[0, 1], [1, 0]]}, {}, "one string of 0s and 1s"),
        ({"a": [""]}, {}, "one string of 0s and 1s"),
        ({"a": []}, {}, "one string of 0s and 1s"),
        ({"a": ["01", "10"], "b": ["011", "100"]}, {}, "the same neurons and steps"),
        ({"a": ["01", "10"]}, {"label": 2}, "label must be a neuron, 0 to 1, not 2"),
        ({"a": ["01", "10"]}, {"label": True}, "label must be a neuron"),
        ({"a": ["01", "10"]}, {"t_unfired": 3}, "t_unfired must be one of 1, 4, 20"),
        ({"a": ["01", "10"]}, {"t_unfired": "4T"}, "one of 1, 4, 20 .units of T., not '4T'"),
        ({"a": ["01", "10"]}, {"loss": "count"}, "unknown loss 'count'"),
        ({"a": ["01"]}, {}, "two neurons"),
        ({"a": ["0" * 12, "1" * 12, "1" * 12, "1" * 12]}, {}, "4 neurons and 6 steps are a good size"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(starts, more, message):
    with pytest.raises(UserError, match=message) as fault:
        raster(starts, **more)
    assert "\n" not in str(fault.value)


def test_a_raster_too_heavy_for_a_page_is_refused(monkeypatch):
    monkeypatch.setattr(sys.modules["snnbook.book.raster"], "MAX_BYTES", 2000)
    with pytest.raises(UserError, match="fewer neurons or steps"):
        raster(STARTS).html()


@pytest.mark.parametrize(
    ("name", "spikes", "label", "t_unfired", "message"),
    [
        ("count", torch.zeros(6, 4), 0, 4.0, "unknown loss 'count'"),
        ("ttfs", torch.zeros(6, 4), 0, 5.0, "t_unfired must be one of 1, 4, 20"),
        ("tet", torch.zeros(4, 6), 0, 4.0, r"spikes of shape \(6, 4\)"),
        ("tet", torch.zeros(6, 4), 4, 4.0, "a label below 4"),
    ],
)
def test_a_look_up_that_cannot_be(name, spikes, label, t_unfired, message):
    with pytest.raises(UserError, match=message):
        tables(6, 4).look_up(name, spikes, label, t_unfired)


LONGEST_FUNCTION = 60
LONGEST_FILE = 300


@pytest.mark.parametrize("name", sys.modules["snnbook.book.raster"].PARTS)
def test_the_script_s_functions_are_short(name):
    """A function of the outermost level ends with a brace in the first column."""
    lines = (ROOT / "snnbook" / "book" / f"{name}.js").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_FILE
    starts = [place for place, line in enumerate(lines) if re.match(r"const \w+ = .*=> [{(]", line)]
    ends = [place for place, line in enumerate(lines) if line.startswith("}")]
    for start in starts:
        end = min((place for place in ends if place > start), default=start)
        assert end - start < LONGEST_FUNCTION, lines[start]
