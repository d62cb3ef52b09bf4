"""Checkers of chapter 9: the tables."""

import math

from ...results import paper
from ...results.protocol import CEILING, FLOOR, Spread, reach, spread, t_quantile, verdict
from . import Wrong, close, exercise, number, one_of, try_cases


def right_deviation(values):
    """Solution of 9.1."""
    n = len(values)
    mean = sum(values) / n
    return (sum((x - mean) ** 2 for x in values) / (n - 1)) ** 0.5


@exercise(
    "9.1",
    "A deviation from three seeds",
    solution=right_deviation,
    mistakes={
        "n, not n - 1": lambda values: (sum((x - sum(values) / len(values)) ** 2 for x in values) / len(values)) ** 0.5,
        "no root": lambda values: right_deviation(values) ** 2,
        "of the mean": lambda values: right_deviation(values) / len(values) ** 0.5,
    },
)
def deviation(answer):
    samples = ([93.9, 94.0, 94.1], [94.0, 94.0], [80.0, 85.0, 81.0, 82.0], [93.95, 94.02, 94.01, 93.88, 94.1])
    cases = [({"values": values}, spread(values).std) for values in samples]
    try_cases(answer, cases, hint="squares around the mean, divided by one less than their number; then the root")
    return "the mean was taken from the same values, which costs one of them"


REACH = Spread(3, 94.0, 0.15)


@exercise(
    "9.2",
    "How far is not far",
    solution=4.303 * 0.15 * math.sqrt(4 / 3),
    mistakes={
        "of the mean, not of one more run": 4.303 * 0.15 / math.sqrt(3),
        "as if the deviation were known": 1.96 * 0.15 * math.sqrt(4 / 3),
        "one deviation": 0.15,
    },
)
def how_far(answer):
    value, expected = number(answer), reach(REACH)
    if not math.isclose(value, expected, rel_tol=2e-3):
        raise Wrong(
            f"{value:.4g} is too {'large' if value > expected else 'small'}",
            hint=f"two uncertainties add up in the root, ours and that of one more run; t is {t_quantile(2)} for n = 3",
        )
    return "with a deviation of 0.15 points, three seeds leave three quarters of a point open"


@exercise(
    "9.3",
    "Judge a row",
    solution="undecided",
    mistakes={"within reach, so it agrees": "agrees", "three points off, so it differs": "differs"},
)
def judge(answer):
    row = next(row for row in paper.TABLES["3"] if row.experiment.endswith("tet"))
    word, right = one_of(answer, ["agrees", "differs", "undecided"]), verdict(row.accuracy, JUDGED)
    if word != right:
        raise Wrong(
            f"r is {reach(JUDGED):.1f} points, and the paper's number is {JUDGED.mean - row.accuracy:.1f} points away: "
            f"not {word}",
            hint=f"first ask whether it is within r (or {FLOOR} points), then whether it is within {CEILING:g} point",
        )
    return "a spread so wide would agree with nearly anything; more seeds are needed"


JUDGED = Spread(3, 84.0, 2.1)
"""What exercise 9.3 takes for our runs of the TET row; not a result."""


@exercise(
    "9.4",
    "Orders that are none",
    solution=0.75,
    mistakes={
        "six comparisons": 0.3,
        "the chance of one or more, pairs taken as independent": 1 - 0.95**15,
        "every pair twice": 1.5,
    },
)
def wrong_orders(answer):
    rows, level = len(paper.TABLES["3"]), 0.05
    value, expected = number(answer), math.comb(rows, 2) * level
    if not close(value, expected):
        raise Wrong(
            f"{value:.4g} is too {'large' if value > expected else 'small'}",
            hint="count the pairs of six rows; each is declared in 5 % of the cases, and expectations add up",
        )
    return "nearly one wrong order in every such table, if all rows were equal"
