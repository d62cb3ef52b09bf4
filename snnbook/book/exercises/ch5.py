"""Checkers of chapter 5: first spikes and the zero sum."""

import itertools
import math

import torch

from ...losses import TimeToFirstSpike
from . import Wrong, exercise, number, try_cases

STEPS = 5
"""T of the exercises that name times."""

WANTED_SUM = 0.25
"""The sum that exercise 5.2 asks for."""

ROUNDED = 1e-3
"""How far a number may be off: three digits are an answer."""


def _gradients(first: list[int], t_unfired: float, steps: int = STEPS) -> list[float]:
    """Gradients of one sample without their factor T/N, from first spikes 1..T (0: silent); neuron 0 is the label."""
    spikes = torch.zeros(steps, 1, len(first), dtype=torch.float64)
    for neuron, step in enumerate(first):
        if step:
            spikes[step - 1, 0, neuron] = 1
    spikes.requires_grad_()
    TimeToFirstSpike(t_unfired)(spikes, torch.tensor([0])).backward()
    return (spikes.grad.sum(0)[0] / steps).tolist()


def right_sign(fires, label):
    """Solution of 5.1."""
    if all(fires) or not any(fires):
        return 0
    return 1 if fires[label] else -1


@exercise(
    "5.1",
    "The sign of the sum",
    solution=right_sign,
    mistakes={
        "the label taken as firing": lambda fires, label: 0 if all(fires) else 1,
        "nobody fires, taken as negative": lambda fires, label: 0 if all(fires) else (1 if fires[label] else -1),
        "the label's own gradient": lambda fires, label: 1 if fires[label] else 0,
    },
)
def sign(answer):
    cases = [
        ({"fires": list(fires), "label": label}, right_sign(fires, label))
        for fires in itertools.product([0, 1], repeat=3)
        for label in range(3)
    ]
    try_cases(answer, cases, hint="which of the numbers [i = label] - q_i, that add up to 0, do not arrive?")
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
)
def sum_to_order(answer):
    t_unfired = number(answer)
    if not (math.isfinite(t_unfired) and t_unfired > 0):
        raise Wrong(
            f"t_unfired = {t_unfired:g} is no time after the start", hint="give a number above 0, in units of T"
        )
    total = sum(_gradients([1, 4, 0, 0, 0], t_unfired))
    if not abs(total - WANTED_SUM) <= ROUNDED:
        raise Wrong(
            f"with t_unfired = {t_unfired:.6g} T the gradients sum to {total:.6g}, not {WANTED_SUM}",
            hint="the sum is the share of the three silent neurons; solve it for their weight first",
        )
    return "the package's gradients sum to 0.25 there"


def right_flat(classes, silent, label_fires):
    """Solution of 5.3."""
    return silent / classes - (0 if label_fires else 1)


@exercise(
    "5.3",
    "A softmax that does not look at times",
    solution=right_flat,
    mistakes={
        "the silent hold nothing": lambda classes, silent, label_fires: 0 if label_fires else -1,
        "the label taken as firing": lambda classes, silent, label_fires: silent / classes,
        "share of those that fire": lambda classes, silent, label_fires: 1 - silent / classes,
    },
)
def flat(answer):
    cases = [
        ({"classes": classes, "silent": silent, "label_fires": fires}, right_flat(classes, silent, fires))
        for classes, silent, fires in [(10, 6, True), (10, 0, True), (10, 6, False), (10, 10, False), (4, 3, True)]
    ]
    try_cases(answer, cases, hint="where beta is 0, every exp(-beta t) is 1: what are the shares?")
    return "with shares of 1/C the times no longer count"


@exercise(
    "5.4",
    "The best case",
    solution=1 - 1 / (1 + 9 * math.exp(-0.8)),
    mistakes={
        "times 1 and 5 apart by 5 steps": 1 - 1 / (1 + 9 * math.exp(-1)),
        "the share, not the gradient": 1 / (1 + 9 * math.exp(-0.8)),
        "with the factor T": 5 * (1 - 1 / (1 + 9 * math.exp(-0.8))),
    },
)
def best_case(answer):
    pull = number(answer)
    expected = _gradients([1] + [STEPS] * 9, t_unfired=4.0)[0]
    if not abs(pull - expected) <= ROUNDED:
        raise Wrong(
            f"{pull:.6g} is {'too large' if pull > expected else 'too small'}",
            hint="scores are 1 - (t - 1)/T; the gradient is 1 - q of the label, and nine others share the rest",
        )
    return "even in the best case most of the pull is left"
