"""Checkers of chapter 8: training for real."""

import math

from . import Wrong, exercise, one_of, try_cases

STATE = ("step", "thresholds", "moments", "order")
"""What exercise 8.2 chooses from."""


def right_rate(start, epoch, epochs):
    """Solution of 8.1."""
    return start * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


@exercise(
    "8.1",
    "The rate of an epoch",
    solution=right_rate,
    mistakes={
        "counted from 0": lambda start, epoch, epochs: start * (1 + math.cos(math.pi * epoch / epochs)) / 2,
        "not halved": lambda start, epoch, epochs: start * (1 + math.cos(math.pi * (epoch - 1) / epochs)),
        "a straight line": lambda start, epoch, epochs: start * (1 - (epoch - 1) / epochs),
    },
)
def rate(answer):
    cases = [
        ({"start": start, "epoch": epoch, "epochs": epochs}, right_rate(start, epoch, epochs))
        for start, epochs in ((5e-4, 100), (2e-3, 6))
        for epoch in (1, 2, epochs // 2 + 1, epochs)
    ]
    try_cases(answer, cases, hint="the first epoch has the whole rate, the middle one half of it")
    return "the last epoch's rate is small, but not 0"


@exercise(
    "8.2",
    "What may be left out",
    solution="order",
    mistakes={
        "what authors forget": "thresholds",
        "what seems to be the optimiser's own": "moments",
        "what seems to follow from the weights": "step",
    },
)
def left_out(answer):
    word = one_of(answer, STATE)
    if word != "order":
        raise Wrong(
            f"without the {word} in the checkpoint, the run goes on with other numbers than it had",
            hint="one of the four is not remembered but drawn anew, from the seed and the epoch's number",
        )
    return "a random order that follows from seed and epoch needs no memory"


def right_reading(accuracies):
    """Solution of 8.3."""
    best = max(accuracies)
    return [best, accuracies.index(best) + 1, accuracies[-1]]


@exercise(
    "8.3",
    "Best and last",
    solution=right_reading,
    mistakes={
        "counted from 0": lambda accuracies: [max(accuracies), accuracies.index(max(accuracies)), accuracies[-1]],
        "the last of several": lambda accuracies: [
            max(accuracies),
            len(accuracies) - accuracies[::-1].index(max(accuracies)),
            accuracies[-1],
        ],
        "the last left out": lambda accuracies: [max(accuracies), accuracies.index(max(accuracies)) + 1],
    },
)
def reading(answer):
    cases = [
        ({"accuracies": values}, right_reading(values))
        for values in ([0.5, 0.8, 0.7], [0.6, 0.9, 0.9, 0.8], [0.4], [0.1, 0.2, 0.3])
    ]
    try_cases(answer, cases, hint="epochs count from 1, and the first of several equal ones is the best")
    return "the best is chosen by looking at the test images; the last is not"


def right_carrying(train):
    """Solution of 8.4."""
    return max((t + 1 for t, spike in enumerate(train) if spike), default=0)


@exercise(
    "8.4",
    "Steps that carry a gradient",
    solution=right_carrying,
    mistakes={
        "the spikes": lambda train: sum(train),
        "up to the first spike": lambda train: train.index(1) + 1 if 1 in train else 0,
        "every step": lambda train: len(train),
        "counted from 0": lambda train: max((t for t, spike in enumerate(train) if spike), default=0),
    },
)
def carrying(answer):
    cases = [
        ({"train": train}, right_carrying(train))
        for train in ([0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1])
    ]
    try_cases(
        answer, cases, hint="an input acts on the first output spike at or after it; where there is none, on nothing"
    )
    return "after its last spike a neuron has nothing to learn from"


def right_bytes(steps):
    """Solution of 8.5."""
    return [3 * 4 * steps, 4 + math.ceil(steps / 8)]


@exercise(
    "8.5",
    "What is kept for the way back",
    solution=right_bytes,
    mistakes={
        "a byte per spike": lambda steps: [12 * steps, 4 + steps],
        "currents of every step": lambda steps: [12 * steps, 4 * steps + math.ceil(steps / 8)],
        "part of a byte": lambda steps: [12 * steps, 4 + steps / 8],
        "spikes and one slope": lambda steps: [8 * steps, 4 + math.ceil(steps / 8)],
    },
)
def kept(answer):
    cases = [({"steps": steps}, right_bytes(steps)) for steps in (5, 8, 12, 30)]
    try_cases(answer, cases, hint="a float32 has 4 bytes; bits come in whole bytes; this layer's current repeats")
    return "slopes are cheap to compute again, and dear to remember"
