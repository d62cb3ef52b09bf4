"""The learning rate of every epoch."""

import math

from .settings import Experiment


def learning_rate(experiment: Experiment, epoch: int) -> float:
    """The rate of an epoch, counted from 1: a cosine from the start value towards 0 at the end."""
    return experiment.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / experiment.epochs)) / 2
