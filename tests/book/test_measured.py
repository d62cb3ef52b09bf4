"""Tables of what benchmarks measured: from their records, whatever keys these have; nothing where there is none."""

import json

import pytest

from snnbook.book.measured import Measured, table
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


def test_a_missing_record_is_told(project):
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


def test_rows_become_a_table():
    shown = table([{"engine": "cpu", "images_per_second": 1234}, {"engine": "<reference>", "agree": True}])
    assert '<th scope="col">images per second</th>' in shown
    assert "<td>1,234</td>" in shown
    assert "&lt;reference&gt;" in shown
    assert "<td>yes</td>" in shown
    assert shown.count("<tr>") == 3
    assert shown.count("<td>–</td>") == 2


def test_other_shapes():
    assert '<th scope="row">batch size</th><td>50</td>' in table({"batch_size": 50})
    assert table([1, 2.5, "x", None, False]) == "1, 2.5, x, –, no"
    assert table([]) == ""


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
