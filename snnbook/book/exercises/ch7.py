"""Checkers of chapter 7: thresholds that learn."""

import math

from ...neuron import SLOPE_BOUND_WEIGHT
from ...ops.reference import VARIANCE_FLOOR
from . import exercise, try_cases


def right_fold(gamma, theta, beta):
    """Solution of 7.1."""
    return [theta / gamma, beta / gamma]


@exercise(
    "7.1",
    "Fold by hand",
    solution=right_fold,
    mistakes={
        "multiplied": lambda gamma, theta, beta: [theta * gamma, beta * gamma],
        "the shift forgotten": lambda gamma, theta, beta: [theta / gamma, beta],
        "the wrong order": lambda gamma, theta, beta: [beta / gamma, theta / gamma],
    },
)
def fold(answer):
    cases = [
        ({"gamma": g, "theta": theta, "beta": beta}, right_fold(g, theta, beta))
        for g, theta, beta in ((2.0, 3.0, 0.5), (0.5, 1.0, -0.2), (1.0, 4.0, 0.1))
    ]
    try_cases(answer, cases, hint="divide both sides of 'potential >= threshold' by gamma; which weights are left?")
    return "three numbers become two, and the neuron cannot tell"


def right_share(fan_in):
    """Solution of 7.2."""
    variance = 1 / (3 * fan_in)
    return math.sqrt(variance / (variance + VARIANCE_FLOOR))


@exercise(
    "7.2",
    "A small number that is not small",
    solution=right_share,
    mistakes={
        "the root forgotten": lambda fan_in: 1 / (1 + 3 * fan_in * VARIANCE_FLOOR),
        "the width for the variance": lambda fan_in: math.sqrt(1 / (1 + fan_in * VARIANCE_FLOOR)),
        "nothing lost": lambda fan_in: 1.0,
    },
)
def share(answer):
    cases = [({"fan_in": n}, right_share(n)) for n in (25, 784, 3136)]
    try_cases(
        answer, cases, hint="a number spread evenly over -w to w has variance w^2/3; it is divided by sqrt(var + 1e-5)"
    )
    return "with 3136 inputs more than 4 % of gamma are gone before training begins"


def right_trials(low, high, ratio):
    """Solution of 7.3."""
    trials = 0
    while high / low >= ratio:
        high = math.sqrt(low * high)
        trials += 1
    return trials


@exercise(
    "7.3",
    "How long is the search?",
    solution=right_trials,
    mistakes={
        "halved on a plain scale": lambda low, high, ratio: math.ceil(math.log2((high - low) / (ratio - 1))),
        "one too few": lambda low, high, ratio: right_trials(low, high, ratio) - 1,
        "one step at a time": lambda low, high, ratio: math.ceil(math.log(high / low) / math.log(ratio)),
    },
)
def trials(answer):
    cases = [
        ({"low": low, "high": high, "ratio": ratio}, right_trials(low, high, ratio))
        for low, high, ratio in ((0.01, 100.0, 1.01), (1.0, 2.0, 1.5), (0.5, 8.0, 1.1), (1.0, 1.2, 1.3))
    ]
    try_cases(
        answer, cases, hint="each trial takes the square root of high/low; how often until it is below the ratio?"
    )
    return "four orders of magnitude cost no more than ten passes"


def right_growth(rate, decay, steps):
    """Solution of 7.4."""
    return (1 - rate * decay) ** -steps


@exercise(
    "7.4",
    "What decay does to a threshold",
    solution=right_growth,
    mistakes={
        "it shrinks": lambda rate, decay, steps: (1 - rate * decay) ** steps,
        "no rate": lambda rate, decay, steps: (1 - decay) ** -steps,
        "one step": lambda rate, decay, steps: 1 / (1 - rate * decay),
        "added up": lambda rate, decay, steps: 1 + rate * decay * steps,
    },
)
def growth(answer):
    cases = [
        ({"rate": rate, "decay": decay, "steps": steps}, right_growth(rate, decay, steps))
        for rate, decay, steps in ((0.1, 0.5, 1), (5e-4, 0.005, 60_600), (1e-3, 0.01, 1000))
    ]
    try_cases(answer, cases, hint="AdamW multiplies gamma by 1 - rate * decay; then the threshold is divided by gamma")
    return "a decay meant to keep numbers small makes thresholds large"


def right_gradient(e, du):
    """Solution of 7.5."""
    return sum(x * min(1 / rise, SLOPE_BOUND_WEIGHT) for x, rise in zip(e, du, strict=True) if rise > 0)


@exercise(
    "7.5",
    "The gradient of a threshold",
    solution=right_gradient,
    mistakes={
        "the sign of the weights": lambda e, du: -right_gradient(e, du),
        "no bound": lambda e, du: sum(x / rise for x, rise in zip(e, du, strict=True) if rise > 0),
        "a slope for its inverse": lambda e, du: sum(x * rise for x, rise in zip(e, du, strict=True)),
        "falling potentials counted": lambda e, du: sum(
            x * min(1 / abs(rise), SLOPE_BOUND_WEIGHT) for x, rise in zip(e, du, strict=True)
        ),
    },
)
def gradient(answer):
    cases = [
        ({"e": e, "du": du}, right_gradient(e, du))
        for e, du in (
            ([1.0], [0.5]),
            ([1.0, -2.0], [0.5, 2.0]),
            ([1.0, 1.0], [0.1, 1.0]),
            ([1.0, 1.0], [-0.5, 1.0]),
        )
    ]
    try_cases(
        answer, cases, hint="a spike moves by +1/du, at most by the bound 4, and not at all where u does not rise"
    )
    return "e > 0 gives a positive slope, and descent lowers the threshold"
