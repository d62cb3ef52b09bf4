"""When results agree: the rules of results/PROTOCOL.md case by case, and its numbers compared with the code's."""

import math
from pathlib import Path

import pytest

from snnbook.results import protocol
from snnbook.results.protocol import Spread, above, reach, spread, verdict

ROOT = Path(__file__).parents[2]


def test_mean_and_deviation():
    assert spread([]) is None
    assert spread([3.0]) == Spread(1, 3.0, None)
    found = spread([1.0, 2.0, 6.0])
    assert (found.n, found.mean) == (3, 3.0)
    assert found.std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 20])
def test_quantiles_of_student_s_t(degrees):
    """Against the integral of the density: 2.5 % lie above."""
    scale = math.gamma((degrees + 1) / 2) / (math.sqrt(degrees * math.pi) * math.gamma(degrees / 2))
    limit = protocol.t_quantile(degrees)
    cells = 4000
    width = limit / cells
    middle = sum((1 + ((i + 0.5) * width) ** 2 / degrees) ** (-(degrees + 1) / 2) for i in range(cells)) * width
    assert 0.5 + scale * middle == pytest.approx(0.975, abs=2e-5)


def test_quantiles_are_on_the_safe_side():
    assert protocol.t_quantile(2.9) == protocol.t_quantile(2)
    assert protocol.t_quantile(500) == protocol.T_QUANTILES[-1] > 1.96


def test_reach_by_hand():
    assert reach(Spread(3, 94.0, 0.1)) == pytest.approx(4.303 * 0.1 * math.sqrt(4 / 3))


@pytest.mark.parametrize(
    ("paper", "ours", "full", "said"),
    [
        (94.03, None, True, "missing"),
        (94.03, None, False, "missing"),
        (94.03, Spread(1, 94.03, None), True, "undecided"),
        (94.03, Spread(2, 94.03, 0.0), True, "undecided"),
        (94.03, Spread(3, 94.03, 0.0), False, "undecided"),
        (94.03, Spread(3, 94.03, 0.0), True, "agrees"),
        (94.0, Spread(3, 93.85, 0.0), True, "agrees"),
        (94.0, Spread(3, 93.75, 0.0), True, "differs"),
        (94.03, Spread(3, 93.83, 0.0), True, "agrees"),  # 20 images, and a float's last digit more
        (94.03, Spread(3, 95.03, 1.0), True, "agrees"),
        (94.0, Spread(3, 93.6, 0.1), True, "agrees"),  # within 0.497
        (94.0, Spread(3, 93.4, 0.1), True, "differs"),
        (81.0, Spread(3, 85.0, 3.0), True, "undecided"),  # within 14.9, but more than a point off
        (81.0, Spread(3, 85.0, 0.3), True, "differs"),
    ],
)
def test_verdicts(paper, ours, full, said):
    assert verdict(paper, ours, full) == said


def test_a_ranking_needs_three_seeds_on_both_sides():
    high = Spread(3, 94.0, 0.1)
    low = Spread(3, 93.0, 0.1)
    assert above(high, low) is True
    assert above(low, high) is False
    assert above(high, Spread(2, 93.0, 0.1)) is None
    assert above(None, low) is None
    assert above(high, Spread(3, 93.9, 0.1)) is None
    assert above(high, Spread(3, 94.0, 0.0)) is None
    assert above(Spread(3, 94.0, 0.0), Spread(3, 93.9, 0.0)) is True
    assert above(Spread(3, 94.0, 0.0), Spread(3, 94.0, 0.0)) is None


def test_welch_by_hand():
    """Equal deviations, n = 3 each: 4 degrees of freedom, 2.776 standard errors."""
    edge = 2.776 * 0.1 * math.sqrt(2 / 3)
    for gap, said in ((edge * 1.01, True), (edge * 0.99, None)):
        assert above(Spread(3, 90 + gap, 0.1), Spread(3, 90, 0.1)) is said


def test_the_words_and_the_code_hold_the_same_numbers():
    words = " ".join((ROOT / "results" / "PROTOCOL.md").read_text().split())
    for sentence in (
        f"fewer than {protocol.SEEDS} seeds",
        f"{protocol.FLOOR:g} points",
        f"{protocol.CEILING:g} point",
        "97.5 %",
    ):
        assert sentence in words
