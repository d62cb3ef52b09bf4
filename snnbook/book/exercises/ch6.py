"""Checkers of chapter 6: six losses on one spike train."""

import math

import torch

from ..fingerprints import fingerprint, gradient
from . import Wrong, close, compare, exercise, number, pair
from .page import ask, values


def _numbers(answer, names: str) -> tuple[float, float]:
    """Return the answer as two numbers."""
    first, second = pair(answer, f"give two numbers, {names}")
    return number(first), number(second)


def _sample(*rows: str) -> torch.Tensor:
    """Return spikes, (T, C), from one string per neuron."""
    return torch.tensor([[float(spike) for spike in row] for row in rows], dtype=torch.float64).T


@exercise(
    "6.1",
    "A fingerprint by hand",
    solution=(0, 2),
    mistakes={
        "without the half step": (-1 / 6, 11 / 6),
        "a push of 1/C": (0.5, 1.5),
        "targets from step 1 on": (1 / 3, 7 / 3),
        "a pull where the others get a push": (2, 2),
        "size and sum swapped": (2, 0),
    },
    page=ask("sum", "size"),
)
def by_hand(answer):
    total, size = _numbers(answer, "(sum, size)")
    found = fingerprint(gradient("timing", _sample("000101", "101000", "000000", "000000"), label=0))
    if not close(total, found.sum):
        raise Wrong(
            f"with {total:g} the label's lateness would be {total + 1:g} in all",
            hint="the targets are at steps 2 and 3; late means (t - target + 1/2)/T; each other spike gets -1/sqrt(C)",
        )
    if not close(size, found.size):
        raise Wrong(f"a size of {size:g} is not the sum of four |e|", hint="add up the pushes without their signs")
    return "zero by chance, not by a law: move any spike and see"


def right_late(times, T):
    """Compute e of the timing loss at a label's spikes."""
    return [max(0, (t - (k + 1) + 0.5) / T) for k, t in enumerate(times, start=1)]


@exercise(
    "6.2",
    "Late, spike by spike",
    solution=right_late,
    mistakes={
        "early spikes pushed later": lambda times, T: [(t - k - 0.5) / T for k, t in enumerate(times, 1)],
        "targets from step 1 on": lambda times, T: [max(0, (t - k + 0.5) / T) for k, t in enumerate(times, 1)],
        "without the half step": lambda times, T: [max(0, (t - k - 1) / T) for k, t in enumerate(times, 1)],
        "in steps": lambda times, T: [max(0, t - k - 0.5) for k, t in enumerate(times, 1)],
    },
    page=values(([4, 6], 6), ([1, 3], 6)),
)
def late(answer):
    cases = [([4, 6], 6), ([1, 2, 3, 4, 5], 5), ([2], 5), ([3, 4, 9], 12), ([], 5), ([1, 12], 12)]
    hint = "the k-th target is at step k + 1; a spike that comes earlier than its target gets 0"
    compare(answer, right_late, cases, hint=hint)
    return "a spike has a rank, and its target follows from that"


def right_pull(C, k):
    """Compute TET's e at a label's spike where k others of C neurons fire."""
    return 1 - math.e / ((k + 1) * math.e + C - 1 - k)


@exercise(
    "6.3",
    "The pull that stays",
    solution=right_pull,
    mistakes={
        "the fraction, not the pull": lambda C, k: math.e / ((k + 1) * math.e + C - 1 - k),
        "the label left out of those that fire": lambda C, k: 1 - math.e / (k * math.e + C - 1 - k),
        "a silent neuron weighs nothing": lambda C, k: 1 - 1 / (k + 1),
        "C silent neurons": lambda C, k: 1 - math.e / ((k + 1) * math.e + C - k),
    },
    page=values((10, 0), (4, 2)),
)
def pull(answer):
    cases = [(10, 0), (10, 3), (4, 3), (2, 0)]
    hint = "exp(1) for a neuron that fires, exp(0) for one that does not; the label fires too"
    compare(answer, right_pull, cases, hint=hint)
    return "it is smallest when the label fires alone, and never 0"


def right_vote(C, k, label_fires):
    """Compute the sum of TET's e at one step."""
    firing = k + 1 if label_fires else k
    silent_part = (C - firing) / (C - firing + firing * math.e)
    return silent_part if label_fires else silent_part - 1


@exercise(
    "6.4",
    "The vote of a step",
    solution=right_vote,
    mistakes={
        "all of it, silent neurons too": lambda C, k, label_fires: 0,
        "the label always fires": lambda C, k, label_fires: (C - k - 1) / (C - k - 1 + (k + 1) * math.e),
        "the fraction of those that fire": lambda C, k, label_fires: -right_vote(C, k, label_fires),
        "only the label's own": lambda C, k, label_fires: right_pull(C, k) if label_fires else 0,
    },
    page=values((10, 4, True), (10, 4, False)),
)
def vote(answer):
    cases = [(10, 0, True), (10, 4, True), (10, 9, True), (10, 4, False), (10, 0, False), (3, 1, True)]
    compare(answer, right_vote, cases, hint="all C brackets add up to 0; which of them have no spike?")
    return "never negative while the label fires"


@exercise(
    "6.5",
    "One scale",
    solution=(250, 10),
    mistakes={
        "only the batch": (50, 50),
        "the same for both": (250, 250),
        "divided, not multiplied": (1 / 250, 1 / 10),
        "T twice": (50, 10),
    },
    page=ask("for TET", "for TTFS"),
)
def one_scale(answer):
    factors = dict(zip(("tet", "ttfs"), _numbers(answer, "(tet, ttfs)"), strict=True))
    spikes = _sample("01010", "00101", "11000")
    first = [math.exp(score) for score in (0.8, 0.6, 1.0)]
    bracket = {"tet": 1 - math.e / (2 * math.e + 1), "ttfs": 1 - first[0] / sum(first)}
    for name, factor in factors.items():
        # The sample is one of 50, and both losses take the mean over samples.
        e = gradient(name, spikes, label=0) / 50
        found = factor * e[1, 0].item()
        if not close(found, bracket[name]):
            raise Wrong(
                f"a label spike whose bracket is {bracket[name]:.4g} gets {found:.4g} from {name}",
                hint="read the factor before the bracket in its equation, and divide by it",
            )
    return "and with these two the ranking of sizes is another one"
