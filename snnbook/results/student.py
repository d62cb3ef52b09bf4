"""Compute tails and quantiles of Student's t distribution for real degrees of freedom.

Welch's test has fractional degrees of freedom, which printed tables do not list. mpmath computes the regularised
incomplete beta function behind them. It is installed wherever torch is, since torch needs SymPy and SymPy needs
mpmath; SciPy would be a new dependency of a hundred megabytes.
"""

import math
from functools import lru_cache

import mpmath

HALVINGS = 200
"""Most steps of the bisection in `quantile`; some 60 are enough for all digits of a float."""


def tails(t: float, degrees: float) -> float:
    """Return the probability of a value beyond t, on both sides: the p-value of a two-sided test.

    Args:
        t: the statistic; its sign does not matter
        degrees: of freedom, above 0
    """
    if math.isinf(t):
        return 0.0
    # P(|X| > t) = I_x(degrees / 2, 1 / 2) with x = degrees / (degrees + t^2).
    x = degrees / (degrees + t * t)
    return float(mpmath.betainc(degrees / 2, 0.5, 0, x, regularized=True))


@lru_cache(maxsize=256)
def quantile(share: float, degrees: float) -> float:
    """Return the value below which a share of the distribution lies.

    Args:
        share: above 0, below 1
        degrees: of freedom, above 0
    """
    if share < 0.5:
        return -quantile(1 - share, degrees)
    beyond = 2 * (1 - share)
    low = 0.0
    high = 1.0
    while tails(high, degrees) > beyond:
        low = high
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if tails(middle, degrees) > beyond:
            low = middle
        else:
            high = middle
    return low
