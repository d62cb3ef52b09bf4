"""The pages around the chapters: commands exist, the API page leaves no module out, docstrings read as they stand."""

import re
import sys

import pytest

from snnbook import experiments
from snnbook.__main__ import main

from .browser import HTML, ROOT
from .conftest import load

REPRODUCE = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^snnbook (.+?)(?: +#.*)?$", "\n".join(re.findall(r"```\n(.*?)```", REPRODUCE, re.S)), re.M)


@pytest.fixture(scope="module")
def api_docs():
    return load(ROOT / "book" / "_ext" / "api_docs.py")


def test_the_commands_of_the_reproduce_page_exist(monkeypatch):
    assert len(COMMANDS) > 10
    for word in {command.split()[0] for command in COMMANDS}:
        monkeypatch.setattr(sys, "argv", ["snnbook", word, "--help"])
        assert main() == 0, word


def test_the_experiments_of_the_reproduce_page_exist():
    named = {command.split()[1] for command in COMMANDS if command.startswith("train ") and "--resume" not in command}
    named |= set(re.findall(r"`snnbook train (\w+)`", REPRODUCE))
    assert len(named) > 8
    assert named <= set(experiments.names())


def test_the_make_targets_of_the_reproduce_page_exist():
    for target in set(re.findall(r"(?:^|`)make (\w+)(?:`|$)", REPRODUCE, re.M)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target


def test_the_api_pages_leave_no_module_out(api_docs):
    rooms = {}
    for path in (ROOT / "book").glob("api_*.md"):
        (room,) = api_docs.ROOM.findall(path.read_text(encoding="utf-8"))
        assert path.stem == f"api_{room}"
        source = [f"# Title\n\n% api: {room}\n"]
        api_docs.add_modules(None, path.stem, source)
        rooms[room] = re.findall(r"^## (\S+)$", source[0], re.M)
        assert re.findall(r"^\.\. automodule:: (\S+)$", source[0], re.M) == rooms[room]
    named = [name for names in rooms.values() for name in names]
    assert sorted(named) == sorted(api_docs.modules())
    assert "snnbook.losses" in rooms["heart"]
    assert {"snnbook.ops", "snnbook.ops.reference"} <= set(rooms["ops"])
    flat = {path.stem for path in (ROOT / "snnbook").glob("*.py")} - {"__init__", "__main__"}
    assert flat == {name.split(".")[-1] for name in rooms["heart"]}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("Eq. (eq-neuron) of the book.", "Eq. :eq:`eq-neuron` of the book."),
        ("sum of |e|, as `backward` has it", r"sum of \|e\|, as ``backward`` has it"),
        ("theta * 2, `a * b`", r"theta \* 2, ``a * b``"),
        ("(T, N, C, ...), 1/step", "(T, N, C, ...), 1/step"),
    ],
)
def test_a_docstring_reads_as_it_stands(api_docs, line, wanted):
    assert api_docs.marked(line) == wanted


def test_a_constant_s_first_words_are_no_type(api_docs):
    from sphinx.ext.napoleon import Config, GoogleDocstring

    lines = ["Largest slope kept: see eq. (eq-time-slope)."]
    api_docs.mark_up(None, "attribute", "snnbook.neuron.BOUND", None, None, lines)
    lines = GoogleDocstring(lines, Config(), None, "attribute", "BOUND").lines()
    api_docs.restore_colons(None, "attribute", "snnbook.neuron.BOUND", None, None, lines)
    assert lines == ["Largest slope kept: see eq. :eq:`eq-time-slope`."]


def test_built_pages_name_no_path_of_a_machine():
    page = HTML / "api.html"
    if not page.exists():
        pytest.skip("the book is not built: run make book first")
    assert not re.findall(r"PosixPath\(.{0,10}/[^)]*\)", page.read_text(encoding="utf-8"))
