"""Decide whether a result agrees with the paper, is equivalent to it, and whether one of ours is above another.

results/PROTOCOL.md states the same rules in words, and says when each was set; tests/results/test_protocol.py compares
the two.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from . import student

SEEDS = 3
"""Smallest number of seeds that allows a conclusion."""

FLOOR = 0.2
"""Two accuracies agree up to this difference, whatever the spread. Percentage points; 20 of 10,000 test images."""

CEILING = 1.0
"""Above this difference a wide spread is no agreement: the verdict is "undecided". Percentage points."""

MARGIN = 0.3
"""Two accuracies are equivalent if a difference of this size or more is ruled out. Percentage points."""

LEVEL = 0.05
"""Largest probability of a wrong conclusion, of each test or of each table's orders."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of one figure over seeds.

    Args:
        n: number of seeds
        mean: over the seeds
        std: sample standard deviation (n - 1 in the denominator); None for a single seed
    """

    n: int
    mean: float
    std: float | None


def spread(values: Sequence[float]) -> Spread | None:
    """Return mean and deviation; None without a value. Eq. (eq-spread)."""
    n = len(values)
    if not n:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Spread(n, mean, None)
    return Spread(n, mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1)))


def _error(ours: Spread) -> float:
    """Return the standard error of the difference between our mean and one more run."""
    return (ours.std or 0.0) * math.sqrt(1 + 1 / ours.n)


def reach(ours: Spread) -> float:
    """Return the half-width of the interval that would hold another run of ours 19 times out of 20. Eq. (eq-reach)."""
    return student.quantile(1 - LEVEL / 2, ours.n - 1) * _error(ours)


def verdict(paper: float, ours: Spread | None, full: bool = True) -> str:
    """Compare an accuracy of the paper with ours.

    The paper gives one number without a deviation. It is taken as one run, and its distance is compared with `reach`.

    Args:
        paper: accuracy, %
        ours: accuracy over seeds, %; None without a run
        full: whether our runs had the paper's number of epochs
    Returns:
        "missing", "undecided", "agrees" or "differs"
    """
    if ours is None:
        return "missing"
    if not full or ours.n < SEEDS:
        return "undecided"
    # Without rounding, a difference of 0.2 points could exceed FLOOR by a float's last digit.
    gap = round(abs(ours.mean - paper), 9)
    if gap > max(FLOOR, reach(ours)):
        return "differs"
    if gap > CEILING:
        return "undecided"
    return "agrees"


def equivalence(paper: float, ours: Spread | None, full: bool = True) -> str:
    """Decide by two one-sided tests whether a difference of MARGIN or more is ruled out. Eq. (eq-equivalent).

    Args:
        paper: accuracy, %; taken as one run, as in `verdict`
        ours: accuracy over seeds, %; None without a run
        full: whether our runs had the paper's number of epochs
    Returns:
        "missing", "undecided", "equivalent" or "not shown"
    """
    if ours is None:
        return "missing"
    if not full or ours.n < SEEDS:
        return "undecided"
    farthest = abs(ours.mean - paper) + student.quantile(1 - LEVEL, ours.n - 1) * _error(ours)
    # Rounded, because the difference of two floats may be a last digit too small.
    if round(farthest, 9) < MARGIN:
        return "equivalent"
    return "not shown"


def welch(first: Spread | None, second: Spread | None) -> float | None:
    """Return the p-value of Welch's test on two means, two-sided; None if a side has fewer than SEEDS seeds."""
    if first is None or second is None or min(first.n, second.n) < SEEDS:
        return None
    # Squared standard errors of the two means.
    a = (first.std or 0.0) ** 2 / first.n
    b = (second.std or 0.0) ** 2 / second.n
    gap = first.mean - second.mean
    if not a + b:
        return float(gap == 0)
    degrees = (a + b) ** 2 / (a * a / (first.n - 1) + b * b / (second.n - 1))
    return student.tails(gap / math.sqrt(a + b), degrees)


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's method.

    Args:
        values: p-values of all tests that are made together
    Returns:
        corrected p-values, in the same order; the chance of one wrong conclusion or more among those that are at most
        LEVEL is at most LEVEL
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        # The smallest of m values is multiplied by m, the next by m - 1, and so on.
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = largest
    return corrected


class Order(NamedTuple):
    """What the seeds say of two rows.

    Args:
        first: name of a row
        second: name of another
        p: of Welch's test; None if a row has fewer than SEEDS seeds
        corrected: the same after Holm's correction
        higher: True if the first row is above the second, False if it is below, None if that is undecided
    """

    first: str
    second: str
    p: float | None
    corrected: float | None
    higher: bool | None


def orders(rows: Mapping[str, Spread | None]) -> list[Order]:
    """Compare all pairs of a table's rows on one figure, corrected for the number of pairs that can be tested.

    Args:
        rows: name of each row, and its figure over seeds
    """
    pairs = list(itertools.combinations(rows, 2))
    tested = {}
    for first, second in pairs:
        p = welch(rows[first], rows[second])
        if p is not None:
            tested[first, second] = p
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    found = []
    for first, second in pairs:
        higher = None
        if corrected.get((first, second), 1.0) <= LEVEL:
            higher = rows[first].mean > rows[second].mean
        found.append(Order(first, second, tested.get((first, second)), corrected.get((first, second)), higher))
    return found
