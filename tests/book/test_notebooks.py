"""Committed notebooks hold text outputs only, their bytes repeat, and strict nbval sees a changed number."""

import subprocess
import sys

import nbformat
import pytest

from .demo import notebook

v4 = nbformat.v4


def cell(*outputs, **settings):
    return v4.new_notebook(cells=[v4.new_code_cell("1", outputs=list(outputs), id="one", **settings)])


def stream(text, name="stdout"):
    return v4.new_output("stream", text=text, name=name)


def result(**data):
    return v4.new_output("execute_result", data=data, execution_count=7, metadata={"a": 1})


def test_strip_keeps_text_only(notebooks):
    kept = notebooks.strip(
        cell(
            stream("a\n"),
            stream("b\n"),
            result(**{"text/plain": "x", "image/png": "...", "text/html": "<p>"}),
            execution_count=9,
            metadata={"tags": ["hide-input"], "scrolled": True},
        )
    ).cells[0]
    assert kept.execution_count == 1
    assert kept.metadata == {"tags": ["hide-input"]}
    assert kept.outputs == [
        {"output_type": "stream", "name": "stdout", "text": "a\nb\n"},
        {"output_type": "execute_result", "data": {"text/plain": "x"}, "metadata": {}, "execution_count": 1},
    ]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (stream("careful", "stderr"), "cell 0 wrote to stderr: careful"),
        (v4.new_output("error", ename="ValueError", evalue="no", traceback=[]), "cell 0 ended in ValueError: no"),
        (v4.new_output("display_data", data={"image/png": "..."}), "cell 0 shows image/png and no text/plain"),
    ],
)
def test_strip_refuses_what_nobody_should_commit(notebooks, output, message):
    with pytest.raises(notebooks.NotebookFault, match=message):
        notebooks.strip(cell(output))


def test_check_judges_the_bytes(notebooks, tmp_path, capsys):
    path = tmp_path / "page.ipynb"
    good = notebooks.text_of(notebooks.strip(cell(result(**{"text/plain": "x"}))))
    path.write_text(good)
    assert notebooks.main(["check", str(path)]) == 0
    for old, new in [
        ('"text/plain"', '"image/png"'),
        ('"execution_count": 1', '"execution_count": 2'),
        ('"metadata": {}', '"metadata": {"collapsed": true}'),
        ('"name": "python3"', '"name": "mine"'),
        ("\n}", "\n}\n"),
    ]:
        assert old in good
        path.write_text(good.replace(old, new))
        assert notebooks.main(["check", str(path)]) == 1
        assert "Run: python tools/notebooks.py refresh" in capsys.readouterr().err


def test_the_book_s_notebooks_are_in_the_committed_form(notebooks):
    assert notebooks.main(["check"]) == 0


@pytest.mark.slow
def test_refresh_repeats_and_nbval_compares(notebooks, tmp_path):
    path = tmp_path / "demo.ipynb"
    nbformat.write(notebook(), path)
    notebooks.refresh(path)
    first = path.read_text()
    notebooks.refresh(path)
    assert path.read_text() == first
    notebooks.check(path)
    assert len(first) < 10_000
    assert nbval(path) == (6, 0)
    number = "0.488889"
    assert number in first
    path.write_text(first.replace(number, "0.488888"))
    assert nbval(path) == (5, 1)
    path.write_text(first.replace("At the start: m = 2", "At the start: m = 3"))
    assert nbval(path) == (5, 1)


def nbval(path):
    """Cells that pass and fail under strict nbval."""
    command = [sys.executable, "-m", "pytest", "--nbval", path.name, "-q", "-p", "no:cacheprovider", "-rA"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=path.parent).stdout
    return said.count("\nPASSED "), said.count("\nFAILED ")
