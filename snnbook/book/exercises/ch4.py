"""Checkers of chapter 4: counting against enhanced counting."""

import torch

from ...losses import Counting
from . import compare, exercise, expect
from .page import ask, values

LABEL_COUNTS = (1, 0)
"""Spikes of the label neuron in the two samples of exercise 4.4."""

OTHER_COUNTS = ((4, 4, 4, 0, 0, 0, 0, 0, 0), (0,) * 9)
"""Spikes of the nine other neurons in these samples."""

FACTOR_TOLERANCE = 1e-3
"""How far off an answer to 4.4 may be: it may leave out the small number that avoids a division by 0."""


def right_peak(target):
    """Compute the largest total of exercise 4.1."""
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
    page=values((5,), (9,)),
)
def peak(answer):
    cases = [(target,) for target in (1, 2, 4, 5, 9, 10)]
    compare(answer, right_peak, cases, hint="the parabola peaks at target/2; which whole numbers are nearest?")
    return "an odd target has two best counts, one on either side of target/2"


def right_law(m, target):
    """Compute e at each of m spikes, so that the total is the sign of target - m."""
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
    page=values((3, 5), (5, 5)),
)
def law(answer):
    cases = [(m, target) for target in (5, 3) for m in (1, 2, 3, 5, 8)]
    hint = "m spikes get this number each: what must it be for the total to be 1, 0 or -1?"
    compare(answer, right_law, cases, hint=hint)
    return "divided by m, every law of the total is possible"


def right_clipped(m, target, is_label):
    """Compute e where the counts are clipped at their targets."""
    return _clipped_difference(m, target, is_label) if m else 0


def _clipped_difference(m, target, is_label):
    """Return target - m, which a label clips at 0 from below, and another neuron from above."""
    return max(target - m, 0) if is_label else min(target - m, 0)


def _sides_swapped(m, target, is_label):
    """Make a mistake in 4.3: clip the wrong side."""
    return right_clipped(m, target, not is_label)


@exercise(
    "4.3",
    "What clipping leaves",
    solution=right_clipped,
    mistakes={
        "no clipping": lambda m, target, is_label: target - m if m else 0,
        "a silent neuron pushed": _clipped_difference,
        "sides swapped": _sides_swapped,
        "the parabola": lambda m, target, is_label: m * _clipped_difference(m, target, is_label),
    },
    page=values((8, 5, True), (3, 1, False), (0, 5, True)),
)
def clipped(answer):
    targets = ((True, 5), (False, 1), (True, 2), (False, 4))
    cases = [(m, target, is_label) for is_label, target in targets for m in (1, 3, 5, 8, 0)]
    hint = "a label neuron is never asked for fewer spikes, another never for more"
    compare(answer, right_clipped, cases, hint=hint)
    return "the label's spikes are only pulled earlier, the others' only pushed later"


def _factor() -> float:
    """Compute the package's factor for these counts, from the gradient on the label's only spike."""
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
        "silent neurons left out": 1.2,
        "the ratio itself": 27.0,
        "the first sample alone": 1.8,
        "no scaling": 1,
    },
    page=ask("factor"),
)
def factor(answer):
    hint = "the counts are clipped before they are added up: as how many spikes does a silent neuron count?"
    expect(answer, _factor(), hint=hint, absolute=FACTOR_TOLERANCE)
    return "15 of the 27 spikes in the ratio were never fired"
