"""When a result of ours agrees with one of the paper, and when one of ours is above another: rules set before the runs.

results/PROTOCOL.md says the same in words; tests/results/test_protocol.py holds the two together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SEEDS = 3
"""Fewest seeds from which anything is concluded."""

FLOOR = 0.2
"""Difference up to which two accuracies agree whatever the spread, points of a percent: 20 of 10,000 test images."""

CEILING = 1.0
"""Difference above which a wide spread no longer excuses it, points: then it is undecided, not agreement."""

T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
"""Student's t at 97.5 %, by degrees of freedom from 1 on; the last serves for all above (a little on the safe side)."""


@dataclass(frozen=True)
class Spread:
    """Mean and deviation of one figure over seeds.

    Args:
        n: number of seeds
        mean: over the seeds
        std: sample standard deviation (n - 1 in the denominator); None for a single seed
    """

    n: int
    mean: float
    std: float | None


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and deviation; None where there is no value. Eq. (eq-spread)."""
    n = len(values)
    if not n:
        return None
    mean = math.fsum(values) / n
    return Spread(n, mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1)) if n > 1 else None)


def t_quantile(degrees: float) -> float:
    """Student's t at 97.5 %; degrees of freedom are rounded down, which is on the safe side."""
    return T_QUANTILES[min(max(int(degrees), 1), len(T_QUANTILES)) - 1]


def reach(ours: Spread) -> float:
    """Half-width of the interval in which one more run of ours would lie 19 times out of 20. Eq. (eq-reach)."""
    return t_quantile(ours.n - 1) * (ours.std or 0.0) * math.sqrt(1 + 1 / ours.n)


def verdict(paper: float, ours: Spread | None, full: bool = True) -> str:
    """What may be said of a paper's accuracy and ours.

    The paper gives one number without a deviation, so it is taken as one run and held against `reach`.

    Args:
        paper: %
        ours: %, over seeds
        full: whether ours had the paper's number of epochs
    Returns:
        "missing", "undecided", "agrees" or "differs"
    """
    if ours is None:
        return "missing"
    if not full or ours.n < SEEDS:
        return "undecided"
    gap, within = round(abs(ours.mean - paper), 9), max(FLOOR, reach(ours))  # 0.2 points are within 0.2
    if gap > within:
        return "differs"
    return "agrees" if gap <= CEILING else "undecided"


def above(first: Spread | None, second: Spread | None) -> bool | None:
    """Whether the first is above the second (True), below it (False), or the runs do not tell (None).

    Welch's test on the difference of the means, at 95 %, from SEEDS seeds or more on each side.
    """
    if first is None or second is None or min(first.n, second.n) < SEEDS:
        return None
    a, b = (first.std or 0.0) ** 2 / first.n, (second.std or 0.0) ** 2 / second.n
    gap = first.mean - second.mean
    if not a + b:
        return gap > 0 if gap else None
    degrees = (a + b) ** 2 / (a * a / (first.n - 1) + b * b / (second.n - 1))
    return gap > 0 if abs(gap) > t_quantile(degrees) * math.sqrt(a + b) else None
