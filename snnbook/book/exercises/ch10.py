"""Checkers of chapter 10: deciding early."""

import itertools
import math

import torch

from ... import paper, readout
from . import Wrong, close, exercise, number, try_cases

STEPS = 10
"""T of Table 5."""


def right_exit(trains, label):
    """Solution of 10.1."""
    steps = len(trains[0])
    for t in range(steps):
        firing = [i for i, train in enumerate(trains) if train[t]]
        if len(firing) == 1:
            return t if firing[0] == label else steps
    return steps


def _first_spike(trains, label):
    """A mistake: whoever fires first decides, ties or not."""
    for t in range(len(trains[0])):
        firing = [i for i, train in enumerate(trains) if train[t]]
        if firing:
            return t if label in firing else len(trains[0])
    return len(trains[0])


def _waits_for_label(trains, label):
    """A mistake: goes on until the label fires alone."""
    for t in range(len(trains[0])):
        if [i for i, train in enumerate(trains) if train[t]] == [label]:
            return t
    return len(trains[0])


@exercise(
    "10.1",
    "The rule",
    solution=right_exit,
    mistakes={
        "a tie decides": _first_spike,
        "waits until the label is alone": _waits_for_label,
        "steps counted from 1": lambda trains, label: min(right_exit(trains, label) + 1, len(trains[0])),
        "a wrong answer counts its step": lambda trains, label: next(
            (t for t in range(len(trains[0])) if sum(train[t] for train in trains) == 1), len(trains[0])
        ),
    },
)
def rule(answer):
    cases = []
    for bits in itertools.product([0, 1], repeat=6):
        trains = [list(bits[:3]), list(bits[3:])]
        cases.append(({"trains": trains, "label": 0}, right_exit(trains, 0)))
    try_cases(
        answer, cases, hint="look for the first step at which one neuron fires and no other; only then ask who it is"
    )
    return "ties wait, and a wrong answer costs the full time"


@exercise(
    "10.2",
    "As fast as can be",
    solution=(1 - 0.99) * STEPS,
    mistakes={
        "as a share of T": 0.01,
        "wrong ones counted at step 0": 0.0,
        "all of them waiting": 9.9,
    },
)
def fastest(answer):
    spikes = torch.zeros(STEPS, 100, 2)
    spikes[0, :, 0] = 1  # every sample is decided at step 0, for neuron 0
    labels = torch.tensor([1] + [0] * 99)  # and one of a hundred is wrong
    value, expected = number(answer), readout.exit_step(spikes, labels).double().mean().item()
    if not close(value, expected):
        raise Wrong(
            f"{value:.6g} is too {'large' if value > expected else 'small'}",
            hint="ninety-nine of a hundred count 0 steps; what does the other one count?",
        )
    return "no network with 1 % errors can be faster, by this measure"


@exercise(
    "10.3",
    "Waiting, at most",
    solution=0.128 - 0.0091 * STEPS,
    mistakes={
        "wrong ones forgotten": 0.128,
        "time taken as a share of T": 1.28 - 0.091,
        "wrong ones counted once": 0.128 - 0.0091,
    },
)
def waiting(answer):
    value, expected = number(answer), paper.TABLE_5_TIME[-1] - (1 - paper.TABLE_5_ACCURACY[-1] / 100) * STEPS
    if not math.isclose(value, expected, rel_tol=1e-3):
        raise Wrong(
            f"{value:.6g} is too {'large' if value > expected else 'small'}",
            hint="take off what the wrong ones add to the mean, T steps each; whoever waits adds at least one step",
        )
    return "at most 4 of 100 samples wait for even one step"


def right_pair(accuracies, times):
    """Solution of 10.4."""
    best = max(range(len(accuracies)), key=accuracies.__getitem__)
    return [max(accuracies), min(times), accuracies[best], times[best]]


@exercise(
    "10.4",
    "A pair of one network",
    solution=right_pair,
    mistakes={
        "two running bests twice": lambda accuracies, times: [max(accuracies), min(times)] * 2,
        "of the fastest epoch": lambda accuracies, times: [
            *(max(accuracies), min(times), accuracies[times.index(min(times))], min(times))
        ],
        "the last epoch": lambda accuracies, times: [max(accuracies), min(times), accuracies[-1], times[-1]],
    },
)
def pair(answer):
    cases = [
        ({"accuracies": accuracies, "times": times}, right_pair(accuracies, times))
        for accuracies, times in (
            ([0.9, 0.95, 0.93], [0.3, 0.25, 0.2]),
            ([0.9, 0.8, 0.85], [0.2, 0.3, 0.4]),
            ([0.5, 0.7, 0.6, 0.65], [0.5, 0.4, 0.1, 0.3]),
        )
    ]
    try_cases(answer, cases, hint="the last two numbers belong to one epoch: that of the best accuracy")
    return "running bests may pair the accuracy of one network with the speed of another"
