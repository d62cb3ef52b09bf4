"""Checkers of chapter 5: first spikes and the zero sum."""

import itertools
import math

import torch

from ...losses import TimeToFirstSpike
from . import Wrong, compare, exercise, expect, number
from .page import ask, values

STEPS = 5
"""T of the exercises that name times."""

WANTED_SUM = 0.25
"""The sum that exercise 5.2 asks for."""

ROUNDED = 1e-3
"""How far off a number may be: three digits are enough."""


def _gradients(first: list[int], t_unfired: float, steps: int = STEPS) -> list[float]:
    """Compute one sample's gradients without their factor T/N.

    First spikes are steps 1..T, 0 for a silent neuron. Neuron 0 is the label.
    """
    spikes = torch.zeros(steps, 1, len(first), dtype=torch.float64)
    for neuron, step in enumerate(first):
        if step:
            spikes[step - 1, 0, neuron] = 1
    spikes.requires_grad_()
    TimeToFirstSpike(t_unfired)(spikes, torch.tensor([0])).backward()
    return (spikes.grad.sum(0)[0] / steps).tolist()


def right_sign(fires, label):
    """Return the sign of the gradients' sum, from which neurons fire."""
    if all(fires) or not any(fires):
        return 0
    return 1 if fires[label] else -1


def _silence_negative(fires, label):
    """Make a mistake in 5.1: take the sum as negative where no neuron fires."""
    return right_sign(fires, label) if any(fires) else -1


@exercise(
    "5.1",
    "The sign of the sum",
    solution=right_sign,
    mistakes={
        "the label taken as firing": lambda fires, label: 0 if all(fires) else 1,
        "no neuron fires, taken as negative": _silence_negative,
        "the label's own gradient": lambda fires, label: 1 if fires[label] else 0,
    },
    page=values(([1, 1, 0], 0), ([0, 1, 1], 0), ([0, 0, 0], 0)),
)
def sign(answer):
    cases = [(list(fires), label) for fires in itertools.product([0, 1], repeat=3) for label in range(3)]
    compare(answer, right_sign, cases, hint="which of the numbers [i = label] - q_i, that add up to 0, do not arrive?")
    return "zero when all fire or none does; negative when the label is silent and another fires"


@exercise(
    "5.2",
    "A sum to order",
    solution=1 - math.log((math.e + math.exp(0.4)) / 9),
    mistakes={
        "in steps, not in units of T": STEPS * (1 - math.log((math.e + math.exp(0.4)) / 9)),
        "one silent neuron, not three": 1 - math.log((math.e + math.exp(0.4)) / 3),
        "the other neuron left out": 1 - math.log(math.e / 9),
    },
    page=ask("t_unfired, in units of T"),
)
def sum_to_order(answer):
    t_unfired = number(answer)
    if not (math.isfinite(t_unfired) and t_unfired > 0):
        raise Wrong(f"t_unfired = {t_unfired:g} is no time after the start", hint="give units of T, above 0")
    total = sum(_gradients([1, 4, 0, 0, 0], t_unfired))
    if not abs(total - WANTED_SUM) <= ROUNDED:
        raise Wrong(
            f"with t_unfired = {t_unfired:.6g} T the gradients sum to {total:.6g}, not {WANTED_SUM}",
            hint="the sum is q of the three silent neurons together; solve it for their weight first",
        )
    return "the package's gradients sum to 0.25 there"


def right_flat(classes, silent, label_fires):
    """Compute the gradients' sum where the softmax ignores the times."""
    silent_q = silent / classes
    return silent_q if label_fires else silent_q - 1


@exercise(
    "5.3",
    "A softmax that does not look at times",
    solution=right_flat,
    mistakes={
        "silent neurons left out": lambda classes, silent, label_fires: 0 if label_fires else -1,
        "the label taken as firing": lambda classes, silent, label_fires: silent / classes,
        "those that fire": lambda classes, silent, label_fires: 1 - silent / classes,
    },
    page=values((10, 6, True), (10, 6, False)),
)
def flat(answer):
    cases = [(10, 6, True), (10, 0, True), (10, 6, False), (10, 10, False), (4, 3, True)]
    compare(answer, right_flat, cases, hint="where beta is 0, every exp(-beta t) is 1: what is each q?")
    return "with q = 1/C for all the times no longer count"


@exercise(
    "5.4",
    "The best case",
    solution=1 - 1 / (1 + 9 * math.exp(-0.8)),
    mistakes={
        "times 1 and 5 apart by 5 steps": 1 - 1 / (1 + 9 * math.exp(-1)),
        "q, not the gradient": 1 / (1 + 9 * math.exp(-0.8)),
        "with the factor T": 5 * (1 - 1 / (1 + 9 * math.exp(-0.8))),
    },
    page=ask("gradient on the label's spike"),
)
def best_case(answer):
    expected = _gradients([1] + [STEPS] * 9, t_unfired=4.0)[0]
    hint = "scores are 1 - (t - 1)/T; the gradient is 1 - q of the label, and the q of the nine others are the rest"
    expect(answer, expected, hint=hint, absolute=ROUNDED)
    return "even in the best case most of the pull is left"
