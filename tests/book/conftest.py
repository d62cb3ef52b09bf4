"""Fixtures of the book's tests: modules outside the package, a drawing function, pages in a browser."""

import contextlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import browser
from .browser import ROOT

STATES_COMPARED = 3


def load(path: Path):
    """Import a module from a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickles look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def book_static():
    return load(ROOT / "book" / "_ext" / "book_static.py")


@pytest.fixture(scope="session")
def notebooks():
    return load(ROOT / "tools" / "notebooks.py")


@pytest.fixture
def baking(monkeypatch):
    monkeypatch.setenv("SNNBOOK_BAKE", "1")


@pytest.fixture(autouse=True)
def live(monkeypatch):
    monkeypatch.delenv("SNNBOOK_BAKE", raising=False)


@pytest.fixture
def line():
    def draw(ax, m=3, loss="counting"):
        ax.plot([0, m, 10], [0, 1 / 3, 1], label=loss)
        ax.set(xlim=(0, 10), ylim=(0, 1), xlabel="$m$", title=loss)

    return draw


@pytest.fixture(scope="session")
def book():
    """The folder of the built pages."""
    if not (browser.HTML / "index.html").exists():
        browser.missing("the book is not built: run make book first")
    return browser.HTML


@pytest.fixture(scope="session")
def chromium(request):
    """One browser for all tests, since a process can drive but one.

    Meanwhile Python draws in the background what the pages' pictures are compared with.
    """
    if any("redrawn" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("redrawn")
    with browser.launched() as found:
        yield found


@pytest.fixture(scope="session")
def redrawn(request, book, tmp_path_factory):
    """A function of a page: for every figure with controls, some states as Python draws them now (redraw.py)."""
    pages = [item.callspec.params["disk"] for item in request.session.items if "redrawn" in item.fixturenames]
    command = [sys.executable, str(Path(__file__).with_name("redraw.py")), str(STATES_COMPARED)]
    folder = tmp_path_factory.mktemp("redraw")
    # Not to pipes: they would fill, and stop the process.
    with (folder / "drawn").open("w") as drawn, (folder / "errors").open("w") as errors:
        notebooks = [f"{page}.ipynb" for page in pages]
        process = subprocess.Popen([*command, *notebooks], cwd=browser.BOOK, stdout=drawn, stderr=errors)

    def of(page):
        while True:
            ended = process.poll() is not None
            # The last line may not be finished.
            lines = (folder / "drawn").read_text().split("\n")[:-1]
            for name, states in map(json.loads, lines):
                if name == page:
                    return states
            if ended:
                pytest.fail(f"{page} cannot be drawn again:\n{(folder / 'errors').read_text()[-2000:]}")
            time.sleep(0.1)

    yield of
    process.kill()
    process.wait()


@pytest.fixture
def visit(chromium, book):
    """Open a page from the disk, for one test."""
    with contextlib.ExitStack() as open_pages:

        def open_page(name, **settings):
            seen = browser.Visit(chromium, (browser.HTML / f"{name}.html").as_uri(), **settings)
            open_pages.callback(seen.context.close)
            return seen

        yield open_page


@pytest.fixture(scope="module")
def disk(chromium, book, request):
    """A page from the disk, open for all tests of one module."""
    seen = browser.Visit(chromium, (browser.HTML / f"{request.param}.html").as_uri(), reduced_motion="reduce")
    seen.name = request.param
    yield seen
    seen.context.close()


@pytest.fixture(scope="session")
def origin(book):
    """Address of a server of the built book."""
    with browser.serving(book) as address:
        yield address


@pytest.fixture(scope="module")
def served(chromium, origin, request):
    """A page over HTTP, open for all tests of one module."""
    seen = browser.Visit(chromium, f"{origin}/{request.param}.html", origin, reduced_motion="reduce")
    seen.name = request.param
    yield seen
    seen.context.close()


def pytest_terminal_summary(terminalreporter):
    """Print what the browser tests checked, for maintainers."""
    if browser.TALLY or browser.LIVE or browser.DRAGS or browser.LAYOUT:
        terminalreporter.section("pages in the browser")
        for line in [*browser.table(), *browser.remarks()]:
            terminalreporter.write_line(line)
