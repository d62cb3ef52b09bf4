"""`make test`: whatever half fails, and wherever in it, the whole fails, and all lines are shown."""

import sys

import pytest

from .conftest import ROOT, load


def says(word, code=0):
    return [sys.executable, "-c", f"print({word!r}); raise SystemExit({code})"]


@pytest.mark.parametrize("failing", [None, "code", "notebooks", "pages"])
def test_both_halves_count(failing, monkeypatch, capfd):
    checks = load(ROOT / "tools" / "checks.py")
    words = {name: says(name, int(name == failing)) for name in ("code", "notebooks", "pages")}
    monkeypatch.setattr(checks, "CODE", [words["code"]])
    monkeypatch.setattr(checks, "BOOK", [words["notebooks"], words["pages"]])
    assert checks.main() == (failing is not None)
    said = capfd.readouterr().out
    assert [word for word in said.split() if word in words] == list(words)
    assert ("FAILED" in said) == (failing is not None)


def test_nothing_is_run_after_ctrl_c(capfd):
    checks = load(ROOT / "tools" / "checks.py")
    assert not checks.run([says("first", checks.STOPPED), says("second")])
    assert capfd.readouterr().out.split() == ["first"]


def test_the_halves_are_the_whole():
    checks = load(ROOT / "tools" / "checks.py")
    (code,), (notebooks, pages, builders) = checks.CODE, checks.BOOK
    assert code[: len(checks.PYTEST) + 3] == [*checks.PYTEST, "tests", "-m", "not browser"]
    assert pages == [*checks.PYTEST, "tests", "-m", "browser"]
    assert "--nbval" in notebooks
    left_out = [word.removeprefix("--ignore=") for word in code[len(checks.PYTEST) + 3 :]]
    assert left_out == builders[len(checks.PYTEST) :]
    for file in left_out:  # of which the browser's part would be run twice
        assert "browser" not in (ROOT / file).read_text()
