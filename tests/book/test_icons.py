"""The theme's script, with the icons that are shown and no others: what is named stays, under any of its names."""

import re

import pytest

from .conftest import ROOT, load

SCRIPT = (
    'before();var x={"arrow-up":[384,512,[8593],"f062","M1 2z"],sun:[512,512,[9728,"day"],"f185","M3 4z"],'
    '"moon-cloud":[640,512,["night"],"f754",["M5 6z","M7 8z"]]};after([1,2,[3]]);'
)


@pytest.fixture(scope="module")
def icons():
    return load(ROOT / "book" / "_ext" / "icons.py")


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (set(), []),
        ({"arrow-up"}, ["M1 2z"]),
        ({"sun"}, ["M3 4z"]),
        ({"day", "night"}, ["M3 4z", "M5 6z", "M7 8z"]),
        ({"arrow", "up", "moon", "solid"}, []),
        ({"arrow-up", "sun", "moon-cloud"}, ["M1 2z", "M3 4z", "M5 6z", "M7 8z"]),
    ],
)
def test_what_is_named_stays(icons, names, kept):
    found = icons.thinned(SCRIPT, names)
    assert re.findall(r"M\d \dz", found) == kept
    assert found.startswith("before();var x={")
    assert found.endswith("};after([1,2,[3]]);")


def test_a_script_in_another_way_is_left_alone(icons):
    other = 'var x={"sun":{path:"M3 4z"}};'
    assert icons.thinned(other, set()) == other
