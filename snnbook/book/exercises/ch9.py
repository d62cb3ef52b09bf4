"""Checkers of chapter 9: the tables."""

import math

from ...results import paper, student
from ...results.protocol import CEILING, FLOOR, Spread, reach, spread, verdict
from . import Wrong, compare, exercise, expect, one_of
from .page import Field, ask, values


def right_deviation(values):
    """Compute the standard deviation of a sample."""
    n = len(values)
    mean = sum(values) / n
    return (sum((x - mean) ** 2 for x in values) / (n - 1)) ** 0.5


def _divided_by_n(values):
    """Make a mistake in 9.1: divide by the number of values."""
    n = len(values)
    return right_deviation(values) * ((n - 1) / n) ** 0.5


@exercise(
    "9.1",
    "A deviation from three seeds",
    solution=right_deviation,
    mistakes={
        "n, not n - 1": _divided_by_n,
        "no root": lambda values: right_deviation(values) ** 2,
        "of the mean": lambda values: right_deviation(values) / len(values) ** 0.5,
    },
    page=values(([93.9, 94.0, 94.1],), ([80.0, 85.0, 81.0, 82.0],)),
)
def deviation(answer):
    samples = ([93.9, 94.0, 94.1], [94.0, 94.0], [80.0, 85.0, 81.0, 82.0], [93.95, 94.02, 94.01, 93.88, 94.1])
    hint = "squares around the mean, divided by one less than their number; then the root"
    compare(answer, lambda values: spread(values).std, [(values,) for values in samples], hint=hint)
    return "the mean was taken from the same values, which costs one of them"


REACH = Spread(3, 94.0, 0.15)
"""The spread in exercise 9.2; not a result."""

JUDGED = Spread(3, 84.0, 2.1)
"""Our runs of the TET row in exercise 9.3; not a result."""


@exercise(
    "9.2",
    "How far is not far",
    solution=4.303 * 0.15 * math.sqrt(4 / 3),
    mistakes={
        "of the mean, not of one more run": 4.303 * 0.15 / math.sqrt(3),
        "as if the deviation were known": 1.96 * 0.15 * math.sqrt(4 / 3),
        "one deviation": 0.15,
    },
    page=ask("r, in points"),
)
def how_far(answer):
    t = f"{student.quantile(0.975, REACH.n - 1):.3f}"
    hint = f"two uncertainties add up in the root, ours and that of one more run; t is {t} for n = {REACH.n}"
    expect(answer, reach(REACH), hint=hint, relative=2e-3)
    return "with a deviation of 0.15 points, three seeds leave three quarters of a point open"


@exercise(
    "9.3",
    "Judge a row",
    solution="undecided",
    mistakes={"within reach, so it agrees": "agrees", "three points off, so it differs": "differs"},
    page=ask(Field("the rule says", choices=("agrees", "differs", "undecided"))),
)
def judge(answer):
    row = next(row for row in paper.TABLES["3"] if row.experiment.endswith("tet"))
    word = one_of(answer, ["agrees", "differs", "undecided"])
    if word != verdict(row.accuracy, JUDGED):
        raise Wrong(
            f"r is {reach(JUDGED):.1f} points, and the paper's number is {JUDGED.mean - row.accuracy:.1f} points away: "
            f"not {word}",
            hint=f"first ask whether it is within r (or {FLOOR} points), then whether it is within {CEILING:g} point",
        )
    return "a spread so wide would agree with nearly anything; more seeds are needed"


@exercise(
    "9.4",
    "Orders that are none",
    solution=0.75,
    mistakes={
        "six comparisons": 0.3,
        "the chance of one or more, pairs taken as independent": 1 - 0.95**15,
        "every pair twice": 1.5,
    },
    page=ask("wrong orders expected"),
)
def wrong_orders(answer):
    level = 0.05
    pairs = math.comb(len(paper.TABLES["3"]), 2)
    hint = "count the pairs of six rows; each is declared in 5 % of the cases, and expectations add up"
    expect(answer, pairs * level, hint=hint)
    return "nearly one wrong order in every such table, if all rows were equal"
