"""What the book's tests share: modules that live outside the package, and a drawing function."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(path: Path):
    """A module from a file that is in no package."""
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
