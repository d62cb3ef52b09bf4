"""When results agree: the rules of results/PROTOCOL.md case by case, and its numbers compared with the code's."""

import math
import random
from pathlib import Path

import pytest

from snnbook.results import protocol, student
from snnbook.results.protocol import Spread, equivalence, holm, orders, reach, spread, verdict, welch

ROOT = Path(__file__).parents[2]


def test_mean_and_deviation():
    assert spread([]) is None
    assert spread([3.0]) == Spread(1, 3.0, None)
    found = spread([1.0, 2.0, 6.0])
    assert (found.n, found.mean) == (3, 3.0)
    assert found.std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_reach_by_hand():
    assert reach(Spread(3, 94.0, 0.1)) == pytest.approx(4.302653 * 0.1 * math.sqrt(4 / 3))


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


@pytest.mark.parametrize(
    ("paper", "ours", "full", "said"),
    [
        (94.0, None, True, "missing"),
        (94.0, Spread(1, 94.0, None), True, "undecided"),
        (94.0, Spread(2, 94.0, 0.0), True, "undecided"),
        (94.0, Spread(3, 94.0, 0.01), False, "undecided"),
        (94.0, Spread(3, 94.0, 0.0), True, "equivalent"),
        (94.0, Spread(3, 94.25, 0.0), True, "equivalent"),  # differs, and yet is equivalent
        (94.0, Spread(3, 93.75, 0.0), True, "equivalent"),
        (94.0, Spread(3, 94.3, 0.0), True, "not shown"),  # the margin itself is too much
        (94.0, Spread(3, 93.7, 0.0), True, "not shown"),
        (94.0, Spread(3, 94.0, 0.088), True, "equivalent"),  # 2.920 deviations, times the root of 4/3: 0.2967
        (94.0, Spread(3, 94.0, 0.09), True, "not shown"),  # 0.3035
        (94.0, Spread(3, 94.01, 0.088), True, "not shown"),
        (94.0, Spread(3, 94.0, 1.0), True, "not shown"),  # which agrees: a wide spread earns nothing here
        (94.0, Spread(10, 94.0, 0.15), True, "equivalent"),  # 1.833 deviations, times the root of 1.1: 0.2884
        (94.0, Spread(10, 94.0, 0.16), True, "not shown"),
    ],
)
def test_equivalence(paper, ours, full, said):
    assert equivalence(paper, ours, full) == said


def test_a_wrong_equivalence_is_rare():
    """The truth lies at the margin: ours is wrongly called equivalent in 5 % of the trials at most."""
    dice = random.Random(0)
    wrong = 0
    trials = 2000
    for _ in range(trials):
        ours = spread([dice.gauss(94.0, 0.06) for _ in range(4)])
        wrong += equivalence(dice.gauss(94.0 + protocol.MARGIN, 0.06), ours) == "equivalent"
    assert 0.03 < wrong / trials < 0.065


def test_the_two_verdicts_are_independent():
    assert verdict(94.0, Spread(3, 94.25, 0.0)) == "differs"
    assert equivalence(94.0, Spread(3, 94.25, 0.0)) == "equivalent"
    assert verdict(94.0, Spread(3, 94.0, 1.0)) == "agrees"
    assert equivalence(94.0, Spread(3, 94.0, 1.0)) == "not shown"


def test_welch_as_r_has_it():
    """Student's sleep data as in the example of R's t.test: t = -1.8608, 17.776 degrees of freedom, p = 0.07939."""
    first = spread([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = spread([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    assert welch(first, second) == pytest.approx(0.07939, abs=5e-6)
    assert welch(second, first) == welch(first, second)


def test_welch_does_not_round_its_degrees():
    """Deviations of 0.01 and 0.1: a little over 2 degrees, so the p-value is below that of 2 degrees."""
    first = Spread(3, 90.25, 0.1)
    second = Spread(3, 90.0, 0.01)
    t = 0.25 / math.sqrt((0.1**2 + 0.01**2) / 3)
    degrees = (0.01 + 0.0001) ** 2 / ((0.01**2 + 0.0001**2) / 2)
    assert 2.01 < degrees < 2.1
    assert welch(first, second) == pytest.approx(student.tails(t, degrees), rel=1e-9)
    assert welch(first, second) < student.tails(t, 2)


def test_welch_needs_three_seeds_on_both_sides():
    high = Spread(3, 94.0, 0.1)
    assert welch(high, Spread(3, 93.0, 0.1)) < 0.001
    assert welch(high, Spread(2, 93.0, 0.1)) is None
    assert welch(Spread(2, 94.0, 0.1), Spread(3, 93.0, 0.1)) is None
    assert welch(None, high) is None
    assert welch(high, None) is None
    assert 0 < welch(high, Spread(3, 93.0, 0.0)) < 0.01
    assert welch(Spread(3, 94.0, 0.0), Spread(3, 93.9, 0.0)) == 0
    assert welch(Spread(3, 94.0, 0.0), Spread(3, 94.0, 0.0)) == 1


def test_holm_by_hand():
    """Four p-values: the smallest counts four times, the next three times; none falls below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_orders_correct_for_all_pairs_that_can_be_tested():
    rows = {"a": Spread(3, 94.0, 0.1), "b": Spread(3, 93.7, 0.1), "c": Spread(3, 90.0, 0.1), "d": None}
    found = {(order.first, order.second): order for order in orders(rows)}
    assert list(found) == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    assert found["a", "d"].p is found["a", "d"].corrected is found["a", "d"].higher is None
    assert found["a", "c"].corrected == pytest.approx(3 * found["a", "c"].p)
    # Twice its own p-value is less than what the pair before it has, which is then the least.
    assert found["b", "c"].corrected == found["a", "c"].corrected > 2 * found["b", "c"].p
    assert found["a", "b"].corrected == found["a", "b"].p == pytest.approx(0.0213, abs=1e-4)
    assert [order.higher for order in found.values()] == [True, True, None, True, None, None]
    turned = orders({"b": rows["b"], "a": rows["a"]})
    assert [order.higher for order in turned] == [False]


def test_a_pair_that_is_ordered_alone_may_be_undecided_among_many():
    same = {name: Spread(3, 93.7, 0.1) for name in ("b", "c", "d")}
    rows = {"a": Spread(3, 94.0, 0.1), **same}
    assert welch(rows["a"], rows["b"]) < 0.05
    assert [order.higher for order in orders(rows)] == [None] * 6


def test_the_words_and_the_code_hold_the_same_numbers():
    words = " ".join((ROOT / "results" / "PROTOCOL.md").read_text().split())
    share = f"{100 * (1 - protocol.LEVEL / 2):g} %"
    for sentence in (
        f"fewer than {protocol.SEEDS} seeds",
        f"{protocol.FLOOR:g} points",
        f"{protocol.CEILING:g} point",
        f"Student's quantile at {share}",
        f"margin of {protocol.MARGIN:g} points",
        f"two one-sided tests at {100 * protocol.LEVEL:g} % each",
        f"Student's quantile at {100 * (1 - protocol.LEVEL):g} %",
        f"corrected p-value is at most {100 * protocol.LEVEL:g} %",
    ):
        assert sentence in words
    needed = protocol.MARGIN / student.quantile(0.95, 2) / math.sqrt(4 / 3)
    assert f"deviation below {math.ceil(100 * needed) / 100:g} points" in words
