"""Split the mean time of early exit into what errors cost and what right answers wait; Eq. (eq-exit-bound)."""

from typing import NamedTuple


class ExitSplit(NamedTuple):
    """The parts of a mean exit time.

    Args:
        errors: steps of the mean that come from wrong samples, which count T
        share: errors, as a share of the mean
        right: mean exit step of a right sample
    """

    errors: float
    share: float
    right: float


def split(accuracy: float, mean: float, steps: int) -> ExitSplit:
    """Split a mean exit time, as if every wrong sample, and no other, counted T.

    A sample can be right by the readout and still count T. Such samples are taken for right answers that wait, so
    `share` is a lower bound, and `right` an upper one.

    Args:
        accuracy: fraction of samples that are right, above 0
        mean: exit step of all samples, counted from 0; above 0
        steps: T
    """
    errors = (1 - accuracy) * steps
    return ExitSplit(errors, errors / mean, (mean - errors) / accuracy)
