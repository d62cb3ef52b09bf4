"""Checkers of chapter 8: training for real."""

import math

from . import Wrong, compare, exercise, one_of
from .page import Field, ask, values

STATE = ("step", "thresholds", "moments", "order")
"""The choices of exercise 8.2."""


def right_rate(start, epoch, epochs):
    """Compute the cosine schedule's rate of one epoch."""
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
    page=values((0.1, 1, 4), (0.1, 4, 4)),
)
def rate(answer):
    schedules = ((5e-4, 100), (2e-3, 6))
    cases = [(start, epoch, epochs) for start, epochs in schedules for epoch in (1, 2, epochs // 2 + 1, epochs)]
    compare(answer, right_rate, cases, hint="the first epoch has the whole rate, the middle one half of it")
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
    page=ask(Field("it may leave out", choices=STATE)),
)
def left_out(answer):
    word = one_of(answer, STATE)
    if word != "order":
        raise Wrong(
            f"without the {word} in the checkpoint, the run goes on with other numbers than it had",
            hint="one of the four is computed anew in each epoch, from the seed and the epoch's number",
        )
    return "a random order that follows from seed and epoch needs no memory"


def right_reading(accuracies):
    """Return the best accuracy, its epoch, and the last accuracy."""
    best = max(accuracies)
    return [best, accuracies.index(best) + 1, accuracies[-1]]


def _last_of_several(accuracies):
    """Make a mistake in 8.3: take the last of several equal epochs."""
    best = max(accuracies)
    return [best, len(accuracies) - accuracies[::-1].index(best), accuracies[-1]]


@exercise(
    "8.3",
    "Best and last",
    solution=right_reading,
    mistakes={
        "counted from 0": lambda accuracies: [max(accuracies), accuracies.index(max(accuracies)), accuracies[-1]],
        "the last of several": _last_of_several,
        "the last left out": lambda accuracies: [max(accuracies), accuracies.index(max(accuracies)) + 1],
    },
    page=values(([0.6, 0.9, 0.9, 0.8],), ([0.5, 0.7, 0.6],)),
)
def reading(answer):
    cases = [([0.5, 0.8, 0.7],), ([0.6, 0.9, 0.9, 0.8],), ([0.4],), ([0.1, 0.2, 0.3],)]
    compare(answer, right_reading, cases, hint="epochs count from 1, and the first of several equal ones is the best")
    return "the best is chosen by looking at the test images; the last is not"


def right_carrying(train):
    """Count the steps at which an input gets a gradient."""
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
    page=values(([0, 1, 0, 1, 0],), ([0, 0, 1, 1, 0],)),
)
def carrying(answer):
    trains = ([0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1])
    hint = "an input acts on the first output spike at or after it; where there is none, on nothing"
    compare(answer, right_carrying, [(train,) for train in trains], hint=hint)
    return "after its last spike a neuron has nothing to learn from"


def right_bytes(steps):
    """Compute the bytes per neuron that the plain and the economical backward pass store."""
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
    page=values((5,), (12,)),
)
def kept(answer):
    hint = "a float32 has 4 bytes; bits come in whole bytes; this layer's current repeats"
    compare(answer, right_bytes, [(5,), (8,), (12,), (30,)], hint=hint)
    return "slopes are cheap to compute again, and expensive to store"
