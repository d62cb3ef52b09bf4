"""Decide whether a result agrees with the paper, and whether one of ours is above another. Set before the runs.

results/PROTOCOL.md states the same rules in words; tests/results/test_protocol.py compares the two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SEEDS = 3
"""Smallest number of seeds that allows a conclusion."""

FLOOR = 0.2
"""Two accuracies agree up to this difference, whatever the spread. Percentage points; 20 of 10,000 test images."""

CEILING = 1.0
"""Above this difference a wide spread is no agreement: the verdict is "undecided". Percentage points."""

T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
"""Student's t at 97.5 %, for 1, 2, ... degrees of freedom. The last value serves all higher ones, which is safe."""


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


def t_quantile(degrees: float) -> float:
    """Return Student's t at 97.5 %; degrees of freedom are rounded down, which is on the safe side."""
    row = min(max(int(degrees), 1), len(T_QUANTILES))
    return T_QUANTILES[row - 1]


def reach(ours: Spread) -> float:
    """Return the half-width of the interval that would hold another run of ours 19 times out of 20. Eq. (eq-reach)."""
    return t_quantile(ours.n - 1) * (ours.std or 0.0) * math.sqrt(1 + 1 / ours.n)


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


def above(first: Spread | None, second: Spread | None) -> bool | None:
    """Decide whether the first mean is above the second, by Welch's test at 95 %.

    Returns:
        True for above, False for below; None if the test does not decide, or a side has fewer than SEEDS seeds
    """
    if first is None or second is None or min(first.n, second.n) < SEEDS:
        return None
    # Squared standard errors of the two means.
    a = (first.std or 0.0) ** 2 / first.n
    b = (second.std or 0.0) ** 2 / second.n
    gap = first.mean - second.mean
    least = 0.0
    if a + b:
        degrees = (a + b) ** 2 / (a * a / (first.n - 1) + b * b / (second.n - 1))
        least = t_quantile(degrees) * math.sqrt(a + b)
    if abs(gap) > least:
        return gap > 0
    return None
