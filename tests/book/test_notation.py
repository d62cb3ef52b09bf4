"""The notation page names the package's own functions, classes and settings: each name it gives must exist."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "book" / "notation.md"
MODULES = ("neuron", "ops", "events", "encoding", "layers", "networks", "losses", "readout")
NAMES = sorted(set(re.findall(rf"`((?:{'|'.join(MODULES)})(?:\.\w+)+)(?:\([^`]*\))?`", PAGE.read_text("utf-8"))))


def resolve(name: str) -> object:
    """Return the object of a dotted name below snnbook: modules first, then attributes."""
    found = importlib.import_module("snnbook")
    path = "snnbook"
    for part in name.split("."):
        path = f"{path}.{part}"
        if not hasattr(found, part):
            importlib.import_module(path)
        found = getattr(found, part)
    return found


def test_the_page_names_code():
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_name_exists(name):
    resolve(name)


def test_a_wrong_name_is_found():
    with pytest.raises(ImportError):
        resolve("losses.NoSuchLoss")


def test_every_symbol_row_has_all_columns():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    tables = re.findall(
        r"\| symbol \| in the code \| meaning \| shape \| unit \|\n(?:\|.*\n)+", PAGE.read_text("utf-8")
    )
    assert len(tables) == 5
    assert len(rows) > 50
    for table in tables:
        for row in table.splitlines():
            assert row.count("|") == 6, row
