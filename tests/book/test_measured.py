"""Tables of what benchmarks measured: from their records, whatever keys these have; nothing where there is none."""

import json
import re

import pytest

from snnbook.book.measured import Measured, tables
from snnbook.errors import UserError


@pytest.fixture
def project(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "results" / "benchmarks").mkdir(parents=True)
    for name in ("training_step", "crossover"):
        (tmp_path / "benchmarks" / f"{name}.py").write_text("")
    return tmp_path


def record(project, name, value):
    path = project / "results" / "benchmarks" / f"{name}.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_missing_record_is_named(project):
    assert Measured(project).html().count("not measured yet") == 2
    record(project, "training_step", {"rows": [{"engine": "cpu", "ms": 12.3456}]})
    shown = Measured(project).html()
    assert "<b>crossover</b>: not measured yet" in shown
    assert shown.count("not measured yet") == 1
    assert "12.35" in shown


def test_records_are_folded_but_for_the_first(project):
    record(project, "training_step", {"question": "How fast?", "ms": 1})
    record(project, "crossover", [1, 2])
    shown = Measured(project).html()
    assert "<details open><summary><b>training step</b>: How fast?</summary>" in shown
    assert "<details><summary><b>crossover</b></summary>" in shown


def test_nothing_at_all(tmp_path):
    assert "not measured yet" in Measured(tmp_path).html()


def texts(table):
    """The texts of a table's cells, row by row."""
    return [[cell.text for cell in row] for row in table.rows]


def test_rows_become_a_table():
    (table,) = tables(
        "crossover", [{"engine": "cpu", "images_per_second": 1234}, {"engine": "<reference>", "agree": True}]
    )
    assert table.columns == ("engine", "images per second", "agree")
    assert texts(table) == [["cpu", "1,234", "–"], ["<reference>", "–", "yes"]]
    assert table.align == "<", "numbers, which follow the column of words, are aligned to the right"


def test_what_is_shown_is_escaped(project):
    record(project, "crossover", {"rows": [{"engine": "<reference>", "ms": 1}], "settings": {"<b>": 2}})
    shown = Measured(project).html()
    assert "&lt;reference&gt;" in shown
    assert "<reference>" not in shown
    assert "&lt;b&gt;" in shown


def test_other_shapes():
    values = {"settings": {"batch_size": 50, "else": {"T": 5, "widths": [1, 2.5]}}, "remarks": [1, "x", None, False]}
    settings, about = tables("training_step", values | {"none": []})
    assert settings.title == "training step: settings"
    assert texts(settings) == [["batch size", "50"], ["else", "T 5, widths 1, 2.5"]]
    assert texts(about) == [["remarks", "1, x, –, no"], ["none", ""]]


def test_every_table_has_a_name_of_its_own(project):
    for name in ("training_step", "crossover"):
        record(project, name, {"settings": {"batch": 50}, "rows": [{"ms": 1.5}], "remarks": ["engines agree"]})
    names = re.findall('aria-label="([^"]+)"', Measured(project).html())
    assert len(names) == 6
    assert len(set(names)) == 6, "screen readers list regions by their names"


def test_what_is_compared_never_holds_a_number(project, baking):
    record(project, "training_step", {"ms": 1.5})
    bundle = Measured(project)._repr_mimebundle_()
    assert bundle["text/plain"] == "measured: the benchmarks' records, as tables"
    assert "1.5" in bundle["text/html"]


def test_a_damaged_record_is_named(project):
    path = record(project, "crossover", "{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        Measured(project).html()
    path.unlink()
