"""Estimate how long runs will take, from the records of the same hardware or from a few seconds of training."""

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
"""Steps that a measurement takes at least, besides the first."""

TEST_COST = 1 / 3
"""Time of testing an image relative to training on one: one pass of three. Used for the estimate only."""


@dataclass(frozen=True)
class Estimate:
    """How long some runs will take.

    Args:
        seconds: of all runs, one after the other
        source: where the number comes from, in words
    """

    seconds: float
    source: str


def estimate(todo: Sequence[tuple[Experiment, int]], device: torch.device, on_file: Sequence[Result]) -> Estimate:
    """Estimate the time of runs.

    Args:
        todo: settings, and the number of epochs left to train
        device: to train on
        on_file: records that may show the time of an epoch
    """
    seconds_per_epoch: dict[tuple, float] = {}
    sources = []
    total = 0.0
    for experiment, epochs in todo:
        work = _work(experiment)
        if work not in seconds_per_epoch:
            seconds = from_records(experiment, device, on_file)
            source = "records of this hardware"
            if seconds is None:
                seconds = measure(experiment, device)
                source = f"a measurement of about {WATCHED:g} s"
            seconds_per_epoch[work] = seconds
            sources.append(source)
        total += seconds_per_epoch[work] * epochs
    return Estimate(total, " and ".join(dict.fromkeys(sources)))


def _work(experiment: Experiment) -> tuple:
    """Return the settings that the time of an epoch depends on."""
    return experiment.dataset, experiment.network, experiment.steps, experiment.batch_size, experiment.engine


def _machine(session: Session) -> tuple:
    """Return the hardware and engine that the time of an epoch depends on."""
    return session.device, session.engine, session.processor, session.threads


def from_records(experiment: Experiment, device: torch.device, on_file: Sequence[Result]) -> float | None:
    """Return the seconds of an epoch in the latest record of such a run on this hardware; None without a record."""
    here = provenance.session(device, ops.engine_name(experiment.engine, device), 0, None)
    alike = [result for result in on_file if _work(result.experiment) == _work(experiment)]
    for result in sorted(alike, key=lambda result: result.session.started, reverse=True):
        seconds = _epochs_on(_machine(here), result)
        if seconds:
            return statistics.median(seconds)
    return None


def _epochs_on(machine: tuple, result: Result) -> list[float]:
    """Return the seconds of each epoch that a run ended on this hardware."""
    ends = [session.from_epoch for session in result.sessions[1:]]
    ends.append(len(result.record.epochs))
    found = []
    for session, end in zip(result.sessions, ends, strict=True):
        if _machine(session) == machine:
            found += [figures.seconds for figures in result.record.epochs[session.from_epoch : end]]
    return found


class _Enough(Exception):
    """Ends a measurement."""


def measure(experiment: Experiment, device: torch.device, seconds: float = WATCHED) -> float:
    """Measure the seconds of an epoch by a few seconds of training that leave nothing behind.

    Args:
        experiment: to train
        device: to train on
        seconds: how long to train after the first step
    """
    seconds_per_image: list[float] = []
    first_step_ended = last_step_ended = time.monotonic()

    def time_step(images: int, loss: float, accuracy: float) -> None:
        nonlocal first_step_ended, last_step_ended
        now = time.monotonic()
        if images:
            seconds_per_image.append((now - last_step_ended) / images)
        if len(seconds_per_image) == 1:
            first_step_ended = now
        if len(seconds_per_image) > LEAST and now - first_step_ended > seconds:
            raise _Enough
        last_step_ended = now

    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), devices.current(device):
        if device.type == "cpu":
            devices.keep_memory()  # as `training.fit` does
        trainer = Trainer(experiment, device)
        trainer.initialise()
        last_step_ended = time.monotonic()
        with contextlib.suppress(_Enough):
            trainer.epoch(1, time_step)
    # Kernels are compiled in the first step, and in later ones when firing changes. The median ignores those steps.
    typical = statistics.median(seconds_per_image[1:] or seconds_per_image)
    test_images = len(datasets.load(experiment.dataset, "test"))
    return (trainer.images + TEST_COST * test_images) * typical
