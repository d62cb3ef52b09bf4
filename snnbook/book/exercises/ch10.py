"""Checkers of chapter 10: deciding early."""

import itertools
import math

import torch

from ... import readout
from ...results import paper
from . import Wrong, exercise, number, try_cases

STEPS = 10
"""T of Table 5."""


def right_exit(trains, label, times):
    """Solution of 10.1."""
    steps, alone = len(trains[0]), [0] * len(trains)
    for t in range(steps):
        firing = [i for i, train in enumerate(trains) if train[t]]
        if len(firing) == 1:
            alone[firing[0]] += 1
            if alone[firing[0]] == times:
                return t if firing[0] == label else steps
    return steps


def _ties_count(trains, label, times):
    """A mistake: counts all spikes, lone or not."""
    for t in range(len(trains[0])):
        reached = [i for i, train in enumerate(trains) if train[t] and sum(train[: t + 1]) == times]
        if reached:
            return t if reached == [label] else len(trains[0])
    return len(trains[0])


def _anybody(trains, label, times):
    """A mistake: counts steps with a lone spike, whoever fires."""
    lone = 0
    for t in range(len(trains[0])):
        firing = [i for i, train in enumerate(trains) if train[t]]
        lone += len(firing) == 1
        if len(firing) == 1 and lone == times:
            return t if firing == [label] else len(trains[0])
    return len(trains[0])


@exercise(
    "10.1",
    "A more patient rule",
    solution=right_exit,
    mistakes={
        "ties count": _ties_count,
        "whoever fires alone": _anybody,
        "the rule of the text": lambda trains, label, times: right_exit(trains, label, 1),
        "steps counted from 1": lambda trains, label, times: min(right_exit(trains, label, times) + 1, len(trains[0])),
        "waits until the label has its spikes": lambda trains, label, times: next(
            (
                t
                for t in range(len(trains[0]))
                if sum(trains[label][s] and sum(x[s] for x in trains) == 1 for s in range(t + 1)) == times
            ),
            len(trains[0]),
        ),
    },
)
def patient(answer):
    cases = []
    for bits, times in itertools.product(itertools.product([0, 1], repeat=8), (1, 2)):
        trains = [list(bits[:4]), list(bits[4:])]
        cases.append(({"trains": trains, "label": 0, "times": times}, right_exit(trains, 0, times)))
    hint = "keep a count for each neuron, of the steps at which it alone fires; only where one is reached ask who it is"
    try_cases(answer, cases, hint=hint)
    return "patience makes answers surer, and later"


@exercise(
    "10.2",
    "What a right sample takes",
    solution=(0.3 - (1 - 0.99) * STEPS) / 0.99,
    mistakes={
        "as a share of T": (0.3 - (1 - 0.99) * STEPS) / 0.99 / STEPS,
        "wrong ones forgotten": 0.3,
        "wrong ones counted at step 0": 0.3 / 0.99,
        "spread over all samples": 0.3 - (1 - 0.99) * STEPS,
    },
)
def of_right(answer):
    spikes = torch.zeros(STEPS, 100, 2)
    spikes[0, :80, 0] = spikes[1, 80:, 0] = 1  # 80 samples are decided at step 0, 20 at step 1, all for neuron 0
    labels = torch.tensor([1] + [0] * 99)  # and the first is wrong
    exits = readout.exit_step(spikes, labels).double()
    value, expected = number(answer), exits[1:].mean().item()
    if not math.isclose(value, expected, rel_tol=2e-3):
        raise Wrong(
            f"{value:.6g} is too {'large' if value > expected else 'small'}",
            hint="what does the one wrong sample add to the sum over a hundred, and who shares the rest?",
        )
    return "wrong samples make the mean, right ones hardly wait"


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
