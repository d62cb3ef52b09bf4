"""Committed notebooks hold text outputs only, their bytes repeat, and strict nbval sees a changed number."""

import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

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
    assert nbval(path) == (7, 0)
    number = "0.488889"
    assert number in first
    path.write_text(first.replace(number, "0.488888"))
    assert nbval(path) == (6, 1)
    path.write_text(first.replace("At the start: m = 2", "At the start: m = 3"))
    assert nbval(path) == (6, 1)


def nbval(path):
    """Cells that pass and fail under strict nbval."""
    command = [sys.executable, "-m", "pytest", "--nbval", path.name, "-q", "-p", "no:cacheprovider", "-rA"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=path.parent).stdout
    return said.count("\nPASSED "), said.count("\nFAILED ")


@pytest.fixture
def addressed(notebooks, tmp_path, monkeypatch):
    """Sets the repository's address and branch, as a publisher does in _config.yml."""

    def set_address(url, branch="main"):
        path = tmp_path / "_config.yml"
        path.write_text(f"repository:\n  url: '{url}'\n  branch: '{branch}'\n")
        monkeypatch.setattr(notebooks, "CONFIG", path)

    return set_address


def test_the_cell_that_fetches_the_package_follows_the_address(notebooks, addressed, tmp_path, capsys):
    path = tmp_path / "page.ipynb"
    addressed("")
    clean = notebooks.text_of(notebooks.strip(notebooks.with_first_cell(notebook())))
    path.write_text(clean)
    for url in ("https://github.com/me/mine.git", "https://gitlab.com/us/ours/", "https://git.school.example/us/ours"):
        addressed(url)
        assert notebooks.main(["check", str(path)]) == 1
        assert notebooks.main(["address", str(path)]) == notebooks.main(["check", str(path)]) == 0
        cells = nbformat.read(path, 4).cells
        assert [cell.cell_type for cell in cells[:3]] == ["markdown", "code", "code"]
        assert cells[1].metadata.tags == ["remove-cell"]
        assert url.rstrip("/").removesuffix(".git") + ' "{home}"' in cells[1].source
        assert cells[2].execution_count == 2
    capsys.readouterr()
    addressed("")
    assert notebooks.main(["address", str(path)]) == notebooks.main(["address", str(path)]) == 0
    assert path.read_text() == clean
    assert capsys.readouterr().out.count("page.ipynb: the first cell") == 1


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import torch\nfrom snnbook import losses", ["snnbook", "torch"]),
        ("import math\nimport sympy as sp\nfrom snnbook.book import figure", ["snnbook.book", "sympy"]),
        ("import torch", []),
        ('print("""\nfrom snnbook to here""")', []),
    ],
)
def test_what_a_notebook_needs(notebooks, code, needed):
    assert notebooks.needs(v4.new_notebook(cells=[v4.new_code_cell(code)])) == needed


@pytest.mark.parametrize("url", ["", "https://github.com/me/mine"])
@pytest.mark.parametrize("missing", ["snnbook", "sympy", "matplotlib"])
def test_one_sentence_where_something_is_missing(notebooks, addressed, missing, url):
    """As a reader sees it who downloaded a chapter: the run stops at the first cell, and nothing else is printed."""
    addressed(url)
    chapter = notebooks.BOOK / "03_rate_losses_keep_time.ipynb"
    source = notebooks.with_first_cell(nbformat.read(chapter, 4)).cells[1].source
    source = source[source.index(notebooks.NEED_CELL[:20]) :]
    block = v4.new_code_cell(f"import sys\nsys.modules[{missing!r}] = None")
    page = v4.new_notebook(cells=[block, v4.new_code_cell(source), v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError):
        NotebookClient(page, kernel_name="python3").execute()
    (output,) = page.cells[1].outputs
    (sentence,) = output.traceback
    assert missing in sentence
    assert "\n" not in sentence
    assert 'pip install --editable ".[live]"' in sentence
    assert (url or "a copy of the project") in sentence
    assert page.cells[2].outputs == []


@pytest.mark.parametrize(
    ("url", "branch"),
    [
        ("http://github.com/me/mine", "main"),
        ("https://github.com/me/mine; rm x", "main"),
        ("https://a.org/b/c", "-x y"),
    ],
)
def test_an_address_that_no_cell_could_use(notebooks, addressed, tmp_path, capsys, url, branch):
    path = tmp_path / "page.ipynb"
    path.write_text("untouched")
    addressed(url, branch)
    assert notebooks.main(["address", str(path)]) == 1
    assert path.read_text() == "untouched"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "must look like https://github.com/NAME/PROJECT and main" in said


class Shell:
    """Replaces IPython for a cell's code: runs system commands, and records what would be installed."""

    def __init__(self):
        self.installed = []

    def system(self, command):
        subprocess.run(command.format(**self.scope), shell=True, check=True, cwd=self.folder)

    def run_line_magic(self, name, line):
        assert name == "pip"
        self.installed.append(line.format(**self.scope))


@pytest.mark.parametrize("where", ["alone", "in a copy of the project", "where the package is there"])
def test_the_cell_fetches_the_package(notebooks, addressed, tmp_path, monkeypatch, where):
    """Run with a repository on the disk instead of the address, so that no network is needed."""
    from IPython.core.inputtransformer2 import TransformerManager

    project = tmp_path / "there" / "mine"
    (project / "snnbook" / "ops").mkdir(parents=True)
    (project / "snnbook" / "ops" / "__init__.py").touch()
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "all"]):
        settings = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", *settings, *words], cwd=project, check=True)
    addressed("https://example.org/me/mine")
    source = notebooks.fetch_source().replace("https://example.org/me/mine", project.as_uri())

    folder = project / "book" if "copy" in where else tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if "is there" not in where:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    shell = Shell()
    shell.folder = folder
    shell.scope = {"get_ipython": lambda: shell}
    exec(TransformerManager().transform_cell(source), shell.scope)

    home = {"alone": folder / "mine", "in a copy of the project": project}.get(where)
    assert shell.installed == ([f'install --quiet --editable "{home}[live]"'] if home else [])
    assert (folder / "mine" / "snnbook").is_dir() == (where == "alone")
    assert (sys.path[0] == str(home)) == bool(home)
