"""Checkers of chapter 4: counting against enhanced counting."""

import math

import torch

from ...losses import Counting
from . import Wrong, exercise, number, try_cases

LABEL_COUNTS = (1, 0)
"""Spikes of the label neuron in the two samples of exercise 4.4."""

OTHER_COUNTS = ((4, 4, 4, 0, 0, 0, 0, 0, 0), (0,) * 9)
"""Spikes of the nine other neurons in these samples."""

FACTOR_TOLERANCE = 1e-3
"""How far an answer to 4.4 may be off: leaving out the small number that avoids a division by 0 is right too."""


def right_peak(target):
    """Solution of 4.1."""
    half = target // 2
    return half * (target - half)


@exercise(
    "4.1",
    "The strongest push",
    solution=right_peak,
    mistakes={
        "half a spike": lambda target: target**2 / 4,
        "one spike": lambda target: target - 1,
        "the place, not the height": lambda target: target // 2,
    },
)
def peak(answer):
    cases = [({"target": target}, right_peak(target)) for target in (1, 2, 4, 5, 9, 10)]
    try_cases(answer, cases, hint="the parabola peaks at target/2; which whole numbers of spikes are nearest?")
    return "an odd target has two best counts, one on either side of target/2"


def right_law(m, target):
    """Solution of 4.2."""
    return ((m < target) - (m > target)) / m


@exercise(
    "4.2",
    "A law of your choice",
    solution=right_law,
    mistakes={
        "per spike, not in total": lambda m, target: (m < target) - (m > target),
        "enhanced counting": lambda m, target: (target - m) / m,
        "the wrong way round": lambda m, target: ((m > target) - (m < target)) / m,
        "a push at the target": lambda m, target: (1 if m <= target else -1) / m,
    },
)
def law(answer):
    cases = [({"m": m, "target": target}, right_law(m, target)) for target in (5, 3) for m in (1, 2, 3, 5, 8)]
    try_cases(answer, cases, hint="m spikes get this number each: what must it be for the total to be 1, 0 or -1?")
    return "divided by m, any law of the total can be had"


def right_clipped(m, target, is_label):
    """Solution of 4.3."""
    if m == 0:
        return 0
    return max(target - m, 0) if is_label else min(target - m, 0)


@exercise(
    "4.3",
    "What clipping leaves",
    solution=right_clipped,
    mistakes={
        "no clipping": lambda m, target, is_label: target - m if m else 0,
        "a silent neuron pushed": lambda m, target, is_label: max(target - m, 0) if is_label else min(target - m, 0),
        "sides swapped": lambda m, target, is_label: (
            0 if m == 0 else min(target - m, 0) if is_label else max(target - m, 0)
        ),
        "the parabola": lambda m, target, is_label: m * (max(target - m, 0) if is_label else min(target - m, 0)),
    },
)
def clipped(answer):
    cases = [
        ({"m": m, "target": target, "is_label": is_label}, right_clipped(m, target, is_label))
        for is_label, target in ((True, 5), (False, 1), (True, 2), (False, 4))
        for m in (1, 3, 5, 8, 0)
    ]
    try_cases(answer, cases, hint="a label neuron is never asked for fewer spikes, another never for more")
    return "the label can only be pulled, the others can only be pushed back"


def _factor() -> float:
    """What the package makes of these counts, by way of the gradient on the label's only spike."""
    rows = [(label, *others) for label, others in zip(LABEL_COUNTS, OTHER_COUNTS, strict=True)]
    steps = torch.arange(5)[:, None, None]
    spikes = (steps < torch.tensor(rows)).double().requires_grad_()
    Counting(5, 1)(spikes, torch.tensor([0, 0])).backward()
    return spikes.grad[0, 0, 0].item() / ((5 - LABEL_COUNTS[0]) / len(spikes))


@exercise(
    "4.4",
    "The factor of a batch",
    solution=2.7,
    mistakes={
        "the silent left out": 1.2,
        "the ratio itself": 27.0,
        "the first sample alone": 1.8,
        "no scaling": 1,
    },
)
def factor(answer):
    value = number(answer)
    expected = _factor()
    if not math.isclose(value, expected, abs_tol=FACTOR_TOLERANCE):
        raise Wrong(
            f"{value:.6g} is too {'large' if value > expected else 'small'}",
            hint="the counts are clipped before they are added up: with how many spikes does a silent neuron enter?",
        )
    return "15 of the 27 spikes in the ratio were never fired"
