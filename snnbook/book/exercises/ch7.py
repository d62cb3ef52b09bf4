"""Checkers of chapter 7: thresholds that learn."""

import math

from ...neuron import SLOPE_BOUND_WEIGHT
from ...ops.reference import VARIANCE_FLOOR
from . import compare, exercise
from .page import values


def right_scale(gamma, theta, beta):
    """Compute the two numbers that replace gamma, theta and beta."""
    return [gamma / theta, beta / theta]


@exercise(
    "7.1",
    "Fold the other way",
    solution=right_scale,
    mistakes={
        "the fold of the text": lambda gamma, theta, beta: [theta / gamma, beta / gamma],
        "the shift forgotten": lambda gamma, theta, beta: [gamma / theta, beta],
        "multiplied": lambda gamma, theta, beta: [gamma * theta, beta * theta],
    },
    page=values((2.0, 3.0, 0.5), (0.5, 1.0, -0.2)),
)
def unfold(answer):
    cases = [(2.0, 3.0, 0.5), (0.5, 1.0, -0.2), (1.0, 4.0, 0.1)]
    hint = "divide both sides of 'potential >= threshold' by theta; which weights are left?"
    compare(answer, right_scale, cases, hint=hint)
    return "three numbers become two, and the neuron fires as before"


def right_part(fan_in):
    """Compute the part of gamma that the floor of the variance leaves."""
    variance = 1 / (3 * fan_in)
    return math.sqrt(variance / (variance + VARIANCE_FLOOR))


@exercise(
    "7.2",
    "A small number that is not small",
    solution=right_part,
    mistakes={
        "the root forgotten": lambda fan_in: 1 / (1 + 3 * fan_in * VARIANCE_FLOOR),
        "the width for the variance": lambda fan_in: math.sqrt(1 / (1 + fan_in * VARIANCE_FLOOR)),
        "nothing lost": lambda fan_in: 1.0,
    },
    page=values((784,), (3136,)),
)
def part(answer):
    hint = "a number spread evenly over -w to w has variance w^2/3; it is divided by sqrt(var + 1e-5)"
    compare(answer, right_part, [(25,), (784,), (3136,)], hint=hint)
    return "with 3136 inputs more than 4 % of gamma are gone before training begins"


def right_trials(low, high, ratio):
    """Count the trials of a search on a logarithmic scale."""
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
    page=values((1.0, 2.0, 1.5), (0.5, 8.0, 1.1)),
)
def trials(answer):
    cases = [(0.01, 100.0, 1.01), (1.0, 2.0, 1.5), (0.5, 8.0, 1.1), (1.0, 1.2, 1.3)]
    hint = "each trial takes the square root of high/low; how often until it is below the ratio?"
    compare(answer, right_trials, cases, hint=hint)
    return "four orders of magnitude cost no more than ten passes"


def right_growth(rate, decay, steps):
    """Compute the factor by which decay raises a threshold."""
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
    page=values((0.1, 0.5, 10), (0.2, 0.5, 4)),
)
def growth(answer):
    cases = [(0.1, 0.5, 1), (5e-4, 0.005, 60_600), (1e-3, 0.01, 1000)]
    hint = "AdamW multiplies gamma by 1 - rate * decay; then the threshold is divided by gamma"
    compare(answer, right_growth, cases, hint=hint)
    return "a decay meant to keep numbers small makes thresholds large"


def slope(e, du, bound=SLOPE_BOUND_WEIGHT):
    """Compute the gradient on a threshold, from e and the slopes at its spikes."""
    return sum(x * min(1 / rise, bound) for x, rise in zip(e, du, strict=True) if rise > 0)


def right_steps(theta, e, du, rate):
    """Compute the threshold after a step of theta itself, and after a step of gamma that is folded."""
    return [theta - rate * slope(e, du), theta / (1 + rate * theta * slope(e, du))]


@exercise(
    "7.5",
    "Two ways down",
    solution=right_steps,
    mistakes={
        "no bound": lambda theta, e, du, rate: [
            theta - rate * slope(e, du, math.inf),
            theta / (1 + rate * theta * slope(e, du, math.inf)),
        ],
        "the same gradient for both": lambda theta, e, du, rate: [
            theta - rate * slope(e, du),
            theta / (1 - rate * slope(e, du)),
        ],
        "gamma the same way as theta": lambda theta, e, du, rate: [
            theta - rate * slope(e, du),
            theta / (1 - rate * theta * slope(e, du)),
        ],
        "not folded": lambda theta, e, du, rate: [
            theta - rate * slope(e, du),
            1 + rate * theta * slope(e, du),
        ],
        "falling potentials counted": lambda theta, e, du, rate: right_steps(
            theta, e, [abs(rise) for rise in du], rate
        ),
    },
    page=values((0.5, [1.0, 1.0], [0.1, 1.0], 0.1), (1.5, [-1.0, 1.0], [0.5, -0.5], 0.1)),
)
def after(answer):
    cases = [
        (2.0, [1.0], [0.5], 0.1),
        (0.5, [1.0, -2.0], [0.5, 2.0], 0.1),
        (0.5, [1.0, 1.0], [0.1, 1.0], 0.2),
        (1.5, [-1.0, 1.0], [0.5, -0.5], 0.1),
    ]
    hint = "gamma moves a spike the other way than theta does, and theta times as far; what does folding do to it?"
    compare(answer, right_steps, cases, hint=hint)
    return "theta's own step is a difference and can pass 0; gamma's is a ratio and cannot"
