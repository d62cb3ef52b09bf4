"""A picture that follows a loop: redrawn with a kernel, absent from the built page, silent in a stripped notebook."""

import pytest

from snnbook.book import live
from snnbook.errors import UserError


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr("IPython.display.display", found.append)
    return found


@pytest.fixture
def curve():
    points = []

    def draw(ax):
        ax.plot(points)

    return points, draw


def test_it_is_redrawn_in_its_place(shown, curve):
    points, draw = curve
    picture = live(draw, alt="a curve\n  that grows")
    assert shown == [picture]
    bundle = picture._repr_mimebundle_()
    assert bundle["text/plain"] == "live: a curve that grows"
    assert any("widget-view" in kind for kind in bundle)
    first = picture.view.value
    assert 'alt="a curve that grows"' in first
    points += [1, 2, 3]
    picture.update()
    assert picture.view.value == first, "half a second has not passed: no time is spent on drawing"
    picture.update(now=True)
    assert picture.view.value != first


def test_it_draws_again_after_a_while(shown, curve, monkeypatch):
    points, draw = curve
    picture = live(draw, alt="a curve")
    first = picture.view.value
    points += [1, 2]
    now = picture._drawn
    monkeypatch.setattr("time.monotonic", lambda: now + 0.6)
    picture.update()
    assert picture.view.value != first


def test_the_built_page_shows_and_draws_nothing(shown, baking):
    picture = live(lambda ax: pytest.fail("drawn"), alt="a curve")
    picture.update(now=True)
    assert shown == []
    assert picture.view is None


def test_what_is_refused(shown, curve):
    with pytest.raises(UserError, match="live needs alt"):
        live(curve[1], alt=" ")
    with pytest.raises(UserError, match="must be a function"):
        live("curve", alt="a curve")
