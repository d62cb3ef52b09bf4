"""Checkers of chapter 2: learning by moving spikes."""

import itertools

import torch

from ...neuron import NeuronParameters, eps, kappa
from ...ops.reference import pool_backward
from . import Wrong, close, compare, exercise, number, pair, try_cases
from .page import ask, values

RISE = 0.05
"""Change of the weight in exercise 2.1."""

SLOPE = 0.25
"""Slope of the potential in exercise 2.1, 1/step."""

RESPONSE = 0.4
"""Response at the spike in exercise 2.1."""

LOUD = -2.0
"""The old input of exercise 2.3 must get less than this fraction of the gradient."""

OLDEST = 1000
"""The largest age in exercise 2.3."""


@exercise(
    "2.1",
    "How far?",
    solution=-RESPONSE * RISE / SLOPE,
    mistakes={
        "later, not earlier": RESPONSE * RISE / SLOPE,
        "the response left out": -RISE / SLOPE,
        "times the slope": -RESPONSE * RISE * SLOPE,
        "per unit of weight": -RESPONSE / SLOPE,
    },
    page=ask("move, in steps"),
)
def how_far(answer):
    move = number(answer)
    expected = -RESPONSE * RISE / SLOPE
    if close(move, -expected):
        raise Wrong(f"{move:g} steps means a later spike", hint="a raised potential reaches the threshold sooner")
    if not close(move, expected):
        raise Wrong(
            f"in {abs(move):.6g} steps the potential rises by {SLOPE * abs(move):.6g}, "
            "which is not what the weight adds to it",
            hint="how much higher is the potential at t*, and how long does it need for that at its slope?",
        )
    return "0.02 higher, 0.25 per step: 0.08 steps earlier"


def hand_down(e, weights, kappas):
    """Compute what the inputs of exercise 2.2 get of e."""
    parts = [w * k for w, k in zip(weights, kappas, strict=True)]
    slope = sum(parts)
    if slope <= 0:
        return [0 for _ in parts]
    return [e * part / slope for part in parts]


def _any_slope(e, weights, kappas):
    """Make a mistake in 2.2: hand e down at a falling potential, too."""
    parts = [w * k for w, k in zip(weights, kappas, strict=True)]
    return [e * part / sum(parts) for part in parts]


@exercise(
    "2.2",
    "Hand it down",
    solution=hand_down,
    mistakes={
        "the slope's sign ignored": _any_slope,
        "not divided by the slope": lambda e, weights, kappas: [
            e * w * k for w, k in zip(weights, kappas, strict=True)
        ],
        "shared equally": lambda e, weights, kappas: [e / len(weights)] * len(weights),
        "the weights left out": lambda e, weights, kappas: [e * k / sum(kappas) for k in kappas],
        "the sign of the weights' gradient": lambda e, weights, kappas: [-x for x in hand_down(e, weights, kappas)],
    },
    page=values((2.0, [1.0, -0.5], [0.3, 0.1]), (1.0, [1.0, -2.0], [0.3, 0.25])),
)
def hand_it_down(answer):
    cases = [
        (1.0, [1.0], [0.3]),
        (0.5, [1.0, 2.0], [0.6, 0.36]),
        (-2.0, [1.0, -0.5, 0.5], [0.3, 0.15, -0.05]),
        (1.0, [1.0, -2.0], [0.3, 0.25]),
        (1.0, [1.0, -1.0], [0.25, 0.25]),
    ]
    hint = "an input gets the same fraction of e as it adds to the slope, which is the sum of weight times kappa"
    compare(answer, hand_down, cases, hint=hint)
    return "the list adds up to e wherever the slope is positive"


@exercise(
    "2.3",
    "An amplifier",
    solution=(4, 6),
    mistakes={
        "too young": (2, 4),
        "too weak": (6, 1),
        "the loudest of the sliders": (6, 3),
        "the neuron would have fired before": (6, 4),
        "too strong, no slope is left": (6, 10),
        "a negative weight": (0, -0.6),
    },
    page=ask("age", "weight", whole=range(13)),
)
def amplifier(answer):
    age, weight = map(number, pair(answer, "give age and weight, such as (2, 1)"))
    if not (0 <= age <= OLDEST and age == int(age)):
        raise Wrong(f"{age:g} is not a whole age from 0 to {OLDEST}", hint="count whole steps before the spike")
    age = int(age)
    if not 0 < weight < float("inf"):
        raise Wrong(f"the weight {weight:g} is not a positive number", hint="the old input must lift the potential")
    neuron = NeuronParameters(kernel="exact")
    old = weight * kappa(age, neuron)
    new = kappa(0, neuron)
    if old + new <= 0:
        raise Wrong(f"the slope is {old + new:.4g}: no spike gets through", hint="a smaller weight keeps it positive")
    fraction = old / (old + new)
    if not fraction < LOUD:
        raise Wrong(
            f"it gets {fraction:+.4g} of the gradient, not less than {LOUD:g}",
            hint="beyond the peak kappa is negative; a larger weight makes its part larger and the slope smaller",
        )
    # Before the new input comes, the old one alone must not lift the potential to the threshold.
    highest = weight * max((eps(k, neuron) for k in range(age)), default=0)
    at_spike = weight * eps(age, neuron) + eps(0, neuron)
    if highest >= at_spike:
        raise Wrong(
            f"a threshold that is reached at {at_spike:.4g} would have been reached before, "
            f"when the old input alone lifted the potential to {highest:.4g}",
            hint="the response to a younger old input has fallen less when the new input comes",
        )
    return f"it gets {fraction:+.2f} of the gradient, and the new input {1 - fraction:+.2f}"


def pool_back(e, window):
    """Compute what the inputs of a window get of e."""
    spikes = sum(window)
    if not spikes:
        return [0 for _ in window]
    return [e * x / spikes for x in window]


@exercise(
    "2.4",
    "Pool it back",
    solution=pool_back,
    mistakes={
        "plain average pooling": lambda e, window: [e / len(window)] * len(window),
        "plain, spikes only": lambda e, window: [e * x / len(window) for x in window],
        "shared by all positions": lambda e, window: [e / max(sum(window), 1)] * len(window),
        "an empty window forgotten": lambda e, window: [e * x / sum(window) for x in window],
    },
    page=values((0.6, [1, 0, 1, 0]), (0.6, [0, 0, 0, 0])),
)
def pool_it_back(answer):
    cases = []
    for window in itertools.product([0, 1], repeat=4):
        spikes = torch.tensor(window, dtype=torch.float64).reshape(1, 1, 1, 2, 2)
        grad = torch.full((1, 1, 1, 1, 1), 0.6, dtype=torch.float64)
        cases.append(({"e": 0.6, "window": list(window)}, pool_backward(grad, spikes, 2).flatten()))
    try_cases(answer, cases, hint="only spikes have a time; they share e equally, and an empty window gets nothing")
    return "what arrives at the mean arrives at the spikes"
