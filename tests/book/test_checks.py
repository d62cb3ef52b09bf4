"""`make test`: whatever job fails, the whole fails, and all lines are shown; every test is in one job."""

import re
import signal
import sys
import time

import pytest

from .conftest import ROOT, load

SLOW = "{}.25s call     tests/test_{}.py::test_it\n"


@pytest.fixture
def checks():
    return load(ROOT / "tools" / "checks.py")


def says(word, code=0):
    return [sys.executable, "-c", f"print({word!r}); raise SystemExit({code})"]


@pytest.mark.parametrize("failing", [None, "build", "engines", "notebooks", "pages"])
def test_all_jobs_count(failing, checks, monkeypatch, capfd):
    jobs = {
        "build": checks.Job("book", "build", says("(build)", failing == "build")),
        "engines": checks.Job("code", "engines", says("(engines)", failing == "engines")),
        "notebooks": checks.Job("book", "notebooks", says("(notebooks)", failing == "notebooks")),
        "pages": checks.Job("book", "pages", says("(pages)", failing == "pages"), reads_pages=True),
    }
    monkeypatch.setattr(checks, "BUILD", jobs["build"])
    monkeypatch.setattr(checks, "OTHERS", list(jobs.values())[1:])
    assert checks.main() == (failing is not None)
    said = capfd.readouterr().out
    for name in jobs:
        left_out = name == "pages" and failing == "build"
        assert said.count(f"({name})") == (not left_out)
    assert ("not run" in said) == (failing == "build")
    code, book = re.fullmatch(r"code: (.*), book: (.*); in 0 minutes", said.splitlines()[-1]).groups()
    assert code == ("FAILED" if failing == "engines" else "all well")
    assert book == ("all well" if failing in (None, "engines") else "FAILED")


def test_pages_are_read_after_the_build(checks, monkeypatch, tmp_path):
    page = tmp_path / "page"
    build = f"import time, pathlib; time.sleep(1); pathlib.Path({str(page)!r}).touch()"
    read = f"import pathlib, sys; sys.exit(not pathlib.Path({str(page)!r}).exists())"
    monkeypatch.setattr(checks, "BUILD", checks.Job("book", "build", [sys.executable, "-c", build]))
    monkeypatch.setattr(checks, "OTHERS", [checks.Job("book", "pages", [sys.executable, "-c", read], True)])
    assert checks.main() == 0


def test_nothing_is_run_after_ctrl_c(checks, monkeypatch, tmp_path, capfd):
    late = tmp_path / "late"
    wait = "import time; time.sleep(1)"
    stop = f"import os, signal, time; os.kill(os.getppid(), signal.SIGINT); {wait}"
    touch = f"import pathlib; pathlib.Path({str(late)!r}).touch()"
    commands = [[sys.executable, "-c", code] for code in (wait, stop, touch, touch)]
    build, *others = [checks.Job("code", "job", command) for command in commands]
    monkeypatch.setattr(checks, "BUILD", build)
    monkeypatch.setattr(checks, "OTHERS", others)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert checks.main() == checks.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    time.sleep(0.5)
    assert not late.exists()
    assert "stopped" in capfd.readouterr().out


def test_the_slowest_tests_of_each_half_are_listed(checks, monkeypatch, capfd):
    outputs = {"code": [SLOW.format(n, "code") for n in range(30)], "book": [SLOW.format(50, "book")]}
    monkeypatch.setattr(checks, "BUILD", checks.Job("book", "build", says("no test")))
    jobs = [checks.Job(half, half, says(line)) for half in outputs for line in outputs[half][:2]]
    jobs.append(checks.Job("code", "many", says("".join(outputs["code"][2:]))))
    monkeypatch.setattr(checks, "OTHERS", jobs)
    checks.main()
    code, book = capfd.readouterr().out.split("slowest tests of the ")[1:]
    assert code.splitlines()[1:11] == [f"{n + 0.25:6.1f} s  tests/test_code.py::test_it" for n in range(29, 19, -1)]
    assert "test_book" not in code
    assert book.splitlines()[1] == "  50.2 s  tests/test_book.py::test_it"


def words_of(job, checks):
    """What a job that runs pytest takes, what it leaves out, and its marks."""
    words = [word for word in job.command[len(checks.PYTEST) :] if not word.startswith("--durations")]
    ignored = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
    marks = words[words.index("-m") + 1] if "-m" in words else None
    taken = [word for word in words if word.startswith("tests")]
    return taken, ignored, marks


def test_every_test_is_in_one_job(checks):
    jobs = [words_of(job, checks) for job in checks.OTHERS if "--nbval" not in job.command]
    assert [job.command[-2:] for job in checks.OTHERS if "--nbval" in job.command] == [["--nbval", "book/"]]
    assert [(taken, ignored) for taken, ignored, marks in jobs if marks == "browser"] == [(["tests"], [])]
    others = [(taken, ignored) for taken, ignored, marks in jobs if marks == "not browser"]
    assert len(others) == len(jobs) - 1
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(files) > 60
    for file in files:
        places = {str(parent) for parent in file.parents}
        found = [taken for taken, ignored in others if places & set(taken) and not places & set(ignored)]
        assert len(found) == 1, file


def test_jobs_that_read_pages_wait_for_them(checks):
    reading = [job for job in checks.OTHERS if job.reads_pages]
    assert checks.OTHERS[-len(reading) :] == reading, "a job that waits keeps a lane from the others"
    for job in checks.OTHERS:
        taken, ignored, _ = words_of(job, checks)
        takes_the_book_s = bool({"tests", "tests/book"} & set(taken)) and "tests/book" not in ignored
        assert job.reads_pages == takes_the_book_s
