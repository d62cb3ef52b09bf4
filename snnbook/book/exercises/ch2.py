"""Checkers of chapter 2: learning by moving spikes."""

import itertools

import torch

from ...neuron import NeuronParameters, eps, kappa
from ...ops.reference import pool_backward
from . import Wrong, close, exercise, number, try_cases

RISE, SLOPE, RESPONSE = 0.05, 0.25, 0.4
"""Exercise 2.1: change of the weight, slope of the potential per step, response at the spike."""

LOUD = -2.0
"""Exercise 2.3: the old input must get less than this share of the gradient."""

OLDEST = 1000
"""Exercise 2.3: ages that are looked at."""


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
)
def how_far(answer):
    move, expected = number(answer), -RESPONSE * RISE / SLOPE
    if close(move, -expected):
        raise Wrong(
            f"a move of {move:g} steps is a later spike", hint="a raised potential reaches the threshold sooner"
        )
    if not close(move, expected):
        raise Wrong(
            f"in {abs(move):.6g} steps the potential rises by {SLOPE * abs(move):.6g}, "
            "which is not what the weight adds to it",
            hint="how much higher is the potential at t*, and how long does it need for that at its slope?",
        )
    return "0.02 higher, 0.25 per step: 0.08 steps earlier"


def hand_down(e, weights, kappas):
    """Solution of 2.2."""
    parts = [w * k for w, k in zip(weights, kappas, strict=True)]
    slope = sum(parts)
    return [e * part / slope if slope > 0 else 0 for part in parts]


def _uncut(e, weights, kappas):
    parts = [w * k for w, k in zip(weights, kappas, strict=True)]
    return [e * part / sum(parts) for part in parts]


@exercise(
    "2.2",
    "Hand it down",
    solution=hand_down,
    mistakes={
        "the slope's sign not looked at": _uncut,
        "not divided by the slope": lambda e, weights, kappas: [
            e * w * k for w, k in zip(weights, kappas, strict=True)
        ],
        "shared equally": lambda e, weights, kappas: [e / len(weights)] * len(weights),
        "the weights left out": lambda e, weights, kappas: [e * k / sum(kappas) for k in kappas],
        "the sign of the weights' gradient": lambda e, weights, kappas: [-x for x in hand_down(e, weights, kappas)],
    },
)
def hand_it_down(answer):
    places = [
        (1.0, [1.0], [0.3]),
        (0.5, [1.0, 2.0], [0.6, 0.36]),
        (-2.0, [1.0, -0.5, 0.5], [0.3, 0.15, -0.05]),
        (1.0, [1.0, -2.0], [0.3, 0.25]),
        (1.0, [1.0, -1.0], [0.25, 0.25]),
    ]
    try_cases(
        answer,
        [
            ({"e": e, "weights": weights, "kappas": kappas}, hand_down(e, weights, kappas))
            for e, weights, kappas in places
        ],
        hint="each gets the share of e that it has in the slope, and the slope is the sum of weight times kappa",
    )
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
)
def amplifier(answer):
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise Wrong(f"{answer!r} is not a pair", hint="give age and weight, such as (2, 1)")
    age, weight = map(number, answer)
    if not (0 <= age <= OLDEST and age == int(age)):
        raise Wrong(
            f"{age:g} is not a whole age from 0 to {OLDEST}", hint="the age counts whole steps before the spike"
        )
    if not 0 < weight < float("inf"):
        raise Wrong(f"the weight {weight:g} is not a positive number", hint="the old input is to lift the potential")
    neuron = NeuronParameters(kernel="exact")
    old, new = weight * kappa(int(age), neuron), kappa(0, neuron)
    if old + new <= 0:
        raise Wrong(f"the slope is {old + new:.4g}: no spike gets through", hint="a smaller weight keeps it positive")
    share = old / (old + new)
    if not share < LOUD:
        raise Wrong(
            f"it gets {share:+.4g} of the gradient, not less than {LOUD:g}",
            hint="beyond the peak kappa is negative; a larger weight makes its part larger and the slope smaller",
        )
    peak, at_spike = (max(eps(k, neuron) for k in range(int(age))), eps(int(age), neuron)) if age else (0, 0)
    if weight * peak >= weight * at_spike + eps(0, neuron):
        raise Wrong(
            f"a threshold that is reached with {weight * at_spike + eps(0, neuron):.4g} would have been before, "
            f"when the old input alone lifted the potential to {weight * peak:.4g}",
            hint="a younger old input has not sunk so far when the new one comes",
        )
    return f"it gets {share:+.2f} of the gradient, and the new input {1 - share:+.2f}"


def pool_back(e, window):
    """Solution of 2.4."""
    spikes = sum(window)
    return [e * x / spikes if spikes else 0 for x in window]


@exercise(
    "2.4",
    "Pool it back",
    solution=pool_back,
    mistakes={
        "plain average pooling": lambda e, window: [e / len(window)] * len(window),
        "plain, spikes only": lambda e, window: [e * x / len(window) for x in window],
        "shared by all positions": lambda e, window: [e / max(sum(window), 1)] * len(window),
        "an empty window not looked at": lambda e, window: [e * x / sum(window) for x in window],
    },
)
def pool_it_back(answer):
    cases = []
    for window in itertools.product([0, 1], repeat=4):
        spikes = torch.tensor(window, dtype=torch.float64).reshape(1, 1, 1, 2, 2)
        grad = torch.full((1, 1, 1, 1, 1), 0.6, dtype=torch.float64)
        cases.append(({"e": 0.6, "window": list(window)}, pool_backward(grad, spikes, 2).flatten()))
    try_cases(answer, cases, hint="only spikes have a time; they share e equally, and an empty window gets nothing")
    return "what arrives at the mean arrives at the spikes"
