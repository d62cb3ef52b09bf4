"""What cells write to stderr: never on a page, a library's remark no fault, the book's own a fault in every build."""

from pathlib import Path

import nbformat
import pytest
from docutils import nodes

import snnbook

from .build import build, lay_out
from .conftest import ROOT, load

v4 = nbformat.v4
START = "# Start\n\n[On](page.ipynb)\n"
LIBRARY = "import sys\n\nprint('just so you know', file=sys.stderr)\n"
OWN = "import warnings\n\nwarnings.warn('mind ' + 'this')"
PACKAGE = Path(snnbook.__file__).parent
RAN = "Executed notebook"


@pytest.mark.parametrize(
    ("text", "code", "own"),
    [
        ("/tmp/ipykernel_12/34.py:1: UserWarning: mind this", "f()", True),
        ("<ipython-input-1>:1: DeprecationWarning: mind this", "f()", True),
        (f"first\n{PACKAGE}/layers.py:12: RuntimeWarning: mind this", "f()", True),
        ("mind this", "print('mind this', file=sys.stderr)", True),
        ("/usr/lib/library/core.py:7: FutureWarning: soon", "f()", False),
        ("100%|██████████| 5/5 [00:00<00:00]", "f()", False),
        ("Matplotlib is building the font cache; this may take a moment.", "f()", False),
    ],
)
def test_whose_words_they_are(text, code, own):
    source = nodes.container("", nodes.literal_block("", code), nb_element="cell_code_source")
    stderr = load(ROOT / "book" / "_ext" / "stderr.py")
    assert stderr.is_our_own(text, nodes.container("", source)) == own


def page(code):
    cells = [
        v4.new_markdown_cell("# 1. One", id="a"),
        v4.new_code_cell(code, id="b"),
        v4.new_code_cell("1 + 1", id="c"),
    ]
    notebook = v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.writes(notebook)


@pytest.fixture
def book(tmp_path):
    """A book of one page whose code can be changed, beside a library that has something to say."""

    def write(code):
        found = tmp_path / "book"
        if not found.exists():
            found = lay_out(tmp_path, {"index.md": START, "page.ipynb": page(code)})
        (found / "talkative.py").write_text(LIBRARY)
        (found / "page.ipynb").write_text(page(code))
        return found

    return write


def shown(book):
    return (book / "_build" / "html" / "page.html").read_text()


@pytest.mark.slow
def test_a_library_s_remark_is_no_fault(book):
    for _ in range(2):  # it runs anew, since the next time the library may have nothing to say
        done = build(book("import talkative"))
        assert done.returncode == 0, done.stdout
        assert RAN in done.stdout
        assert "page: cell 2 wrote to stderr: just so you know (a library's remark" in done.stdout
        assert "just so you know" not in shown(book("import talkative"))


@pytest.mark.slow
def test_the_book_s_own_warning_fails_every_build_until_it_is_gone(book):
    for _ in range(2):
        done = build(book(OWN))
        assert done.returncode != 0
        assert RAN in done.stdout
        assert "cell 2 wrote to stderr" in done.stdout
        assert "mind this" not in shown(book(OWN))
    done = build(book("2 + 2"))
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_an_error_in_a_cell_fails_every_build(book):
    for _ in range(2):
        done = build(book("1 / 0"))
        assert done.returncode != 0
        assert "ZeroDivisionError" in done.stdout


@pytest.mark.slow
def test_another_fault_fails_every_build(book):
    found = book("2 + 2")
    (found / "index.md").write_text("# Start\n\n{eq}`eq-nowhere`\n")
    for _ in range(2):
        assert build(found).returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("where", [{"MPLCONFIGDIR": "/proc/nope"}, {"HOME": "/proc/nope"}])
def test_folders_that_cannot_be_written_to(book, monkeypatch, where):
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    done = build(book("from snnbook.book import figure\n\nfigure(lambda ax: ax.plot([1, 2]), alt='A line.')"))
    assert done.returncode == 0, done.stdout
    assert "wrote to stderr" not in done.stdout
    assert "temporary" not in shown(book("2 + 2"))
