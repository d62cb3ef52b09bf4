"""How long runs will take: by the records of the same hardware, else by a few seconds of training."""

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .. import datasets, devices, ops
from ..records import provenance
from ..records.provenance import Session
from ..settings import Experiment
from ..training.trainer import Trainer
from . import Result

WATCHED = 4.0
"""Seconds of training that a measurement takes, after the first step."""

LEAST = 3
"""Steps that it takes at least, the first left out."""

TEST_SHARE = 1 / 3
"""Cost of testing an image, as a share of training one: one pass of three. Only for the estimate."""


@dataclass(frozen=True)
class Estimate:
    """How long some runs will take.

    Args:
        seconds: one run after the other
        source: where the number comes from, in words
    """

    seconds: float
    source: str


def estimate(todo: Sequence[tuple[Experiment, int]], device: torch.device, on_file: Sequence[Result]) -> Estimate:
    """Time for runs.

    Args:
        todo: settings, and how many epochs are left of them
        device: that trains
        on_file: records to go by
    """
    known: dict[tuple, tuple[float, str]] = {}
    total = 0.0
    for experiment, epochs in todo:
        work = _work(experiment)
        if work not in known:
            recorded = measured(experiment, device, on_file)
            if recorded is None:
                known[work] = measure(experiment, device), f"a measurement of about {WATCHED:g} s"
            else:
                known[work] = recorded, "records of this hardware"
        total += known[work][0] * epochs
    return Estimate(total, " and ".join(dict.fromkeys(source for _, source in known.values())))


def _work(experiment: Experiment) -> tuple:
    """What the time of an epoch depends on."""
    return experiment.dataset, experiment.network, experiment.steps, experiment.batch_size, experiment.engine


def _machine(session: Session) -> tuple:
    return session.device, session.engine, session.processor, session.threads


def measured(experiment: Experiment, device: torch.device, on_file: Sequence[Result]) -> float | None:
    """Seconds an epoch of such a run on this hardware, by the latest record that is alike; None where there is none."""
    here = provenance.session(device, ops.engine_name(experiment.engine, device), 0, None)
    alike = [result for result in on_file if _work(result.experiment) == _work(experiment)]
    for result in sorted(alike, key=lambda result: result.session.started, reverse=True):
        if seconds := _epochs_on(_machine(here), result):
            return statistics.median(seconds)
    return None


def _epochs_on(machine: tuple, result: Result) -> list[float]:
    """Seconds of the epochs of a run that ended on this hardware."""
    sessions = result.record.provenance.sessions
    ends = [*(session.from_epoch for session in sessions[1:]), len(result.record.epochs)]
    found = []
    for session, end in zip(sessions, ends, strict=True):
        if _machine(session) == machine:
            found += [figures.seconds for figures in result.record.epochs[session.from_epoch : end]]
    return found


class _Enough(Exception):
    """Ends a measurement."""


def measure(experiment: Experiment, device: torch.device, seconds: float = WATCHED) -> float:
    """Seconds an epoch, from a few seconds of training that leave nothing behind.

    Args:
        experiment: to train
        device: that trains
        seconds: how long, after the first step
    """
    steps: list[tuple[float, int]] = []
    begun = since = time.monotonic()

    def report(images: int, loss: float, accuracy: float) -> None:
        nonlocal begun, since
        now = time.monotonic()
        if images:
            steps.append((now - since, images))
        if len(steps) == 1:
            begun = now
        if len(steps) > LEAST and now - begun > seconds:
            raise _Enough
        since = now

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), devices.current(device):
        if device.type == "cpu":
            devices.keep_memory()  # as `training.fit` does
        trainer = Trainer(experiment, device)
        trainer.initialise()
        since = time.monotonic()
        with contextlib.suppress(_Enough):
            trainer.epoch(1, report)
    # kernels are compiled in the first step, and in later ones where a layer fires otherwise; a median is above that
    per_image = statistics.median(spent / images for spent, images in steps[1:] or steps)
    tests = TEST_SHARE * len(datasets.load(experiment.dataset, "test"))
    return (trainer.images + tests) * per_image
