"""Checkers of chapter 10: deciding early."""

import itertools

import torch

from ... import readout
from ...results import paper
from . import compare, exercise, expect
from .page import ask, values

STEPS = 10
"""T of Table 5."""


def right_exit(trains, label, times):
    """Return the step at which the rule of exercise 10.1 decides rightly, else the number of steps."""
    steps = len(trains[0])
    alone = [0] * len(trains)
    for t in range(steps):
        firing = [i for i, train in enumerate(trains) if train[t]]
        if len(firing) == 1:
            alone[firing[0]] += 1
            if alone[firing[0]] == times:
                return t if firing[0] == label else steps
    return steps


def _ties_count(trains, label, times):
    """Make a mistake in 10.1: count all spikes, lone or not."""
    for t in range(len(trains[0])):
        reached = [i for i, train in enumerate(trains) if train[t] and sum(train[: t + 1]) == times]
        if reached:
            return t if reached == [label] else len(trains[0])
    return len(trains[0])


def _anybody(trains, label, times):
    """Make a mistake in 10.1: count steps with a lone spike, whichever neuron fires."""
    lone = 0
    for t in range(len(trains[0])):
        firing = [i for i, train in enumerate(trains) if train[t]]
        lone += len(firing) == 1
        if len(firing) == 1 and lone == times:
            return t if firing == [label] else len(trains[0])
    return len(trains[0])


def _waits_for_the_label(trains, label, times):
    """Make a mistake in 10.1: count the label's lone spikes alone."""
    steps = len(trains[0])
    lone = 0
    for t in range(steps):
        lone += trains[label][t] and sum(train[t] for train in trains) == 1
        if lone == times:
            return t
    return steps


@exercise(
    "10.1",
    "A more patient rule",
    solution=right_exit,
    mistakes={
        "ties count": _ties_count,
        "whichever neuron fires alone": _anybody,
        "the rule of the text": lambda trains, label, times: right_exit(trains, label, 1),
        "steps counted from 1": lambda trains, label, times: min(right_exit(trains, label, times) + 1, len(trains[0])),
        "waits until the label has its spikes": _waits_for_the_label,
    },
    page=values(([[0, 1, 0, 1], [1, 0, 1, 0]], 0, 2), ([[1, 1, 0, 1], [0, 1, 1, 0]], 0, 2)),
)
def patient(answer):
    rasters = itertools.product([0, 1], repeat=8)
    cases = [([list(bits[:4]), list(bits[4:])], 0, times) for bits in rasters for times in (1, 2)]
    hint = "count for each neuron the steps at which it alone fires; the first to reach the count decides"
    compare(answer, right_exit, cases, hint=hint)
    return "patience makes answers surer, and later"


@exercise(
    "10.2",
    "What a right sample takes",
    solution=(0.3 - (1 - 0.99) * STEPS) / 0.99,
    mistakes={
        "as a fraction of T": (0.3 - (1 - 0.99) * STEPS) / 0.99 / STEPS,
        "wrong ones forgotten": 0.3,
        "wrong ones counted at step 0": 0.3 / 0.99,
        "spread over all samples": 0.3 - (1 - 0.99) * STEPS,
    },
    page=ask("mean exit step of the right samples"),
)
def of_right(answer):
    spikes = torch.zeros(STEPS, 100, 2)
    # All samples are decided for neuron 0, 80 at step 0 and 20 at step 1. The first has another label.
    spikes[0, :80, 0] = 1
    spikes[1, 80:, 0] = 1
    labels = torch.tensor([1] + [0] * 99)
    exits = readout.exit_step(spikes, labels).double()
    hint = "what does the one wrong sample add to the sum over a hundred, and how many samples add the rest?"
    expect(answer, exits[1:].mean().item(), hint=hint, relative=2e-3)
    return "wrong samples make the mean, right ones hardly wait"


@exercise(
    "10.3",
    "Waiting, at most",
    solution=0.128 - 0.0091 * STEPS,
    mistakes={
        "wrong ones forgotten": 0.128,
        "time taken as a fraction of T": 1.28 - 0.091,
        "wrong ones counted once": 0.128 - 0.0091,
    },
    page=ask("at most this fraction of the samples"),
)
def waiting(answer):
    wrong = 1 - paper.TABLE_5_ACCURACY[-1] / 100
    hint = "subtract what the wrong samples add to the mean, T steps each; a sample that waits adds at least one step"
    expect(answer, paper.TABLE_5_TIME[-1] - wrong * STEPS, hint=hint, relative=1e-3)
    return "at most 4 of 100 samples wait for even one step"


def right_pair(accuracies, times):
    """Return both running bests, then accuracy and time of the most accurate epoch."""
    best = max(accuracies)
    return [best, min(times), best, times[accuracies.index(best)]]


def _fastest(accuracies, times):
    """Make a mistake in 10.4: take the fastest epoch."""
    least = min(times)
    return [max(accuracies), least, accuracies[times.index(least)], least]


@exercise(
    "10.4",
    "A pair of one network",
    solution=right_pair,
    mistakes={
        "two running bests twice": lambda accuracies, times: [max(accuracies), min(times)] * 2,
        "of the fastest epoch": _fastest,
        "the last epoch": lambda accuracies, times: [max(accuracies), min(times), accuracies[-1], times[-1]],
    },
    page=values(([0.9, 0.95, 0.93], [0.3, 0.25, 0.2]), ([0.5, 0.7, 0.6, 0.65], [0.5, 0.4, 0.1, 0.3])),
)
def pair(answer):
    cases = [
        ([0.9, 0.95, 0.93], [0.3, 0.25, 0.2]),
        ([0.9, 0.8, 0.85], [0.2, 0.3, 0.4]),
        ([0.5, 0.7, 0.6, 0.65], [0.5, 0.4, 0.1, 0.3]),
    ]
    hint = "the last two numbers belong to one epoch: that of the best accuracy"
    compare(answer, right_pair, cases, hint=hint)
    return "running bests may pair the accuracy of one network with the speed of another"
