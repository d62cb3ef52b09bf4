"""The figure of how cost grows: the record's numbers where they belong, and a plain word where there is none."""

import json

import pytest

from snnbook.book.scaling import TEXT, describe, lines, scaling
from snnbook.errors import UserError

START = {"T": 5, "batch": 50, "width": 1.0}
ROWS = [
    {"changed": axis, **START, axis: value, "who": who, "ms": 7.0, "ms_per_image": cost}
    for who, factor in (("snnbook cpu", 1), ("snnbook reference", 4))
    for axis, points in {
        "T": ((20, 4.0), (1, 0.25)),
        "batch": ((10, 1.5), (400, 1.25)),
        "width": ((0.5, 0.5), (2, 3.0)),
    }.items()
    for value, cost in ((value, cost * factor) for value, cost in points)
]


def shown(folder):
    return scaling(folder)._repr_mimebundle_()


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "results" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "scaling.json").write_text(json.dumps({"rows": ROWS}))
    return tmp_path


def test_each_line_holds_the_points_where_one_thing_was_changed():
    assert lines(ROWS, "T") == {"snnbook cpu": [(1, 0.25), (20, 4.0)], "snnbook reference": [(1, 1.0), (20, 16.0)]}
    assert lines(ROWS, "width")["snnbook cpu"] == [(0.5, 0.5), (2, 3.0)]


def test_the_figure_tells_its_numbers_and_keeps_its_text(project, baking):
    bundle = shown(project)
    assert bundle["text/plain"] == TEXT
    assert "snnbook cpu: from 0.25 ms at 1 time steps T to 4 ms at 20" in bundle["text/html"]
    assert "not measured yet" not in bundle["text/html"]


def test_without_a_record_it_says_so(tmp_path, baking):
    bundle = shown(tmp_path)
    assert bundle["text/plain"] == TEXT
    assert "not measured yet" in bundle["text/html"]


def test_another_record_is_named():
    with pytest.raises(UserError, match=r"benchmarks/scaling\.py lacks 'ms_per_image'"):
        describe([{"changed": "T", "T": 5, "who": "snnbook cpu"}])
