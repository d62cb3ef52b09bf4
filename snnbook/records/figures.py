"""The figures of an epoch, and checks that they agree with each other and with the settings of the run.

An impossible figure is refused wherever it comes from. Figures are rounded to DIGITS significant digits, so two figures
agree if they differ by less than the rounding explains.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from .. import schema
from ..errors import UserError, exactly, real, whole
from ..schema import checked
from ..settings import Experiment
from . import files

DIGITS = 7
"""Significant digits of a figure: those of the float32 in which it was computed."""

CLOSE = 2e-6
"""Largest relative difference of figures that agree: twice what rounding both to DIGITS explains."""

CLOSE_SHARES = 2e-7
"""Largest difference of figures in 0..1, and of their means, that agree."""

ABOVE = 1e-4
"""Firing rates may exceed 1 by this much, because sums over millions of float32 round."""

LARGEST = 1e300
"""Figures are smaller than this, so that their sums are finite."""

TIMES = ("seconds", "images_per_second")
"""Figures that differ from one run to the next on the same machine; all others repeat."""

TRAIN_SUMS = ("loss", "correct", "samples", "grad_sum", "grad_abs_sum", "positive", "spikes", "gradient_norm")
"""What is added up over an epoch's batches; `positive` and `spikes` count output spikes with e > 0, and all."""

SPREAD = ("mean", "std", "min", "max")
"""The recorded statistics of a layer's thresholds."""


def _number(name: str, value: Any, least: float = -LARGEST, above: float = -math.inf) -> float:
    """Check a number, and round it to DIGITS."""
    return float(f"{real(name, value, least, above, LARGEST):.{DIGITS}g}")


def _fraction(name: str, value: Any, most: float = 1) -> float:
    """Check and round a number in 0..1."""
    rounded = _number(name, value)
    if not 0 <= rounded <= most:
        raise UserError(f"{name} must lie in 0..1, not {value!r}")
    return rounded


def _list(name: str, value: Any, each: Callable[[str, Any], Any]) -> list[Any]:
    """Check that a value is a list that is not empty, and each of its entries."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{name} must be a list with one entry or more, not {value!r}")
    return [each(name, entry) for entry in value]


def _rates(name: str, values: Any) -> list[float]:
    """Check and round the firing rates of a layer."""
    return _list(name, values, partial(_fraction, most=1 + ABOVE))


def _halves(name: str, values: Any) -> list[float]:
    """Check and round the accuracies of the two halves of the test images."""
    rounded = _list(name, values, _number)
    if len(rounded) != 2 or not all(0 <= value <= 1 for value in rounded):
        raise UserError(f"{name} must be two numbers in 0..1, not {values!r}")
    return rounded


def _threshold(name: str, value: Any) -> float:
    """Check and round a threshold."""
    return _number(name, value, least=-math.inf, above=0)


def _spread(_: str, values: Any) -> dict[str, float]:
    """Check and round the statistics of a layer's thresholds."""
    values = exactly("threshold figure", values, SPREAD)
    spread = {name: _number(f"threshold {name}", values[name], least=0) for name in SPREAD}
    slack = CLOSE * spread["max"]
    if not spread["min"] - slack <= spread["mean"] <= spread["max"] + slack:
        raise UserError(f"thresholds contradict each other: their mean is not from min to max in {spread}")
    if spread["std"] > (spread["max"] - spread["min"]) / 2 + slack:
        raise UserError(
            f"thresholds contradict each other: std is above half of what max and min differ by in {spread}"
        )
    return spread


@dataclass(frozen=True, kw_only=True)
class EpochFigures:
    """The monitored figures of one epoch (App. Fig. 1-3), to DIGITS significant digits.

    Args:
        epoch: counted from 1
        loss: mean over the epoch's batches
        train_accuracy: fraction, from the spikes without the supervisory one, while the weights change
        test_accuracy: fraction, at the end of the epoch
        test_accuracy_halves: the same for the test images with even, and with odd indices
        exit_time: mean early-exit step on the test set, as a fraction of T
        grad_sum: sum of e over the output spikes of the epoch's batches, 1/step
        grad_abs_sum: sum of |e|, as grad_sum
        positive_ratio: grad_sum / grad_abs_sum; None if all e are 0
        positive_share: fraction of output spikes with e > 0; None without a spike
        firing_rates: spikes per neuron on the test set: a list of layers, each a list of T steps
        thresholds: mean, std, min and max over each layer's channels
        output_thresholds: of the output layer, one per class
        learning_rate: of this epoch
        seconds: of the whole epoch, including the test
        images_per_second: in training

    Raises:
        UserError: if a figure is of the wrong type, not finite, out of its range, or contradicts another one
    """

    epoch: int = checked(whole, least=1)
    loss: float = checked(_number)
    train_accuracy: float = checked(_fraction)
    test_accuracy: float = checked(_fraction)
    test_accuracy_halves: list[float] = checked(_halves)
    exit_time: float = checked(_fraction)
    grad_sum: float = checked(_number)
    grad_abs_sum: float = checked(_number, least=0)
    positive_ratio: float | None = checked(_number, optional=True)
    positive_share: float | None = checked(_fraction, optional=True)
    firing_rates: list[list[float]] = checked(_list, each=_rates)
    thresholds: list[dict[str, float]] = checked(_list, each=_spread)
    output_thresholds: list[float] = checked(_list, each=_threshold)
    learning_rate: float = checked(_number, least=0)
    seconds: float = checked(_number, least=0)
    images_per_second: float = checked(_number, least=0)

    def __post_init__(self) -> None:
        schema.check_fields(self)
        _check_accuracies(self)
        _check_sums(self)
        _check_layers(self)


NAMES = schema.names(EpochFigures)


def _close(a: float, b: float, slack: float = 0.0) -> bool:
    """Check whether two figures agree."""
    return math.isclose(a, b, rel_tol=CLOSE, abs_tol=slack)


def _check_accuracies(figures: EpochFigures) -> None:
    """Check that the accuracy is the mean of its halves for some number n of test images, which is not recorded.

    If n is odd, the first half has one image more. The accuracy is then nearer to the first half than the mean of the
    two, by their difference / 2n.
    """
    even, odd = figures.test_accuracy_halves
    off = figures.test_accuracy - (even + odd) / 2
    if abs(off) <= CLOSE_SHARES:
        return
    images = (even - odd) / (2 * off)
    uncertainty = 2 * abs(images) * CLOSE_SHARES / abs(off)
    least = math.ceil(max(images - uncertainty, 1))
    most = math.floor(images + uncertainty)
    # The odd numbers from least to most. Among many, one fits in any case.
    numbers = range(least + 1 - least % 2, most + 1, 2)
    few = len(numbers) < 1000
    if few and not any(_is_count(even, n // 2 + 1) and _is_count(odd, n // 2) for n in numbers):
        raise UserError(
            f"test_accuracy {figures.test_accuracy} contradicts test_accuracy_halves {figures.test_accuracy_halves}, "
            "of which it is the mean"
        )


def _is_count(fraction: float, images: int) -> bool:
    """Check whether a fraction of this many images is a whole number of images."""
    if images == 0:
        return fraction == 0
    count = fraction * images
    return abs(count - round(count)) <= CLOSE_SHARES * images


def _check_sums(figures: EpochFigures) -> None:
    """Check that the sums of gradients agree with the figures that follow from them."""
    total = figures.grad_sum
    absolute = figures.grad_abs_sum
    ratio = figures.positive_ratio
    share = figures.positive_share
    if abs(total) > absolute * (1 + CLOSE):
        raise UserError(f"grad_sum {total} contradicts grad_abs_sum {absolute}, which cannot be smaller")
    known = ratio is not None
    if known != (absolute > 0) or (known and not _close(ratio, total / absolute, slack=2 * CLOSE)):
        raise UserError(f"positive_ratio {ratio} contradicts grad_sum {total} / grad_abs_sum {absolute}")
    if (absolute and share is None) or (share and not absolute):
        raise UserError(f"positive_share {share} contradicts grad_abs_sum {absolute}")


def _check_layers(figures: EpochFigures) -> None:
    """Check that rates and thresholds are of the same layers, and the output layer's thresholds agree."""
    layers = figures.firing_rates
    spreads = figures.thresholds
    output = figures.output_thresholds
    if len(layers) != len(spreads):
        raise UserError(f"firing_rates are of {len(layers)} layers, thresholds of {len(spreads)}")
    if len(set(map(len, layers))) > 1:
        steps = ", ".join(str(len(rates)) for rates in layers)
        raise UserError(f"firing_rates are of {steps} steps, and all layers must have the same number")
    last = spreads[-1]
    mean = math.fsum(output) / len(output)
    for name, value in (("min", min(output)), ("max", max(output)), ("mean", mean)):
        if not _close(last[name], value):
            raise UserError(f"output_thresholds have {name} {value:.7g}, but thresholds of that layer {last[name]}")


@lru_cache(maxsize=256)
def _layers(experiment: Experiment) -> int:
    """Count the layers of neurons."""
    # Shapes are enough.
    with torch.device("meta"):
        return len(experiment.build_network().spiking)


@dataclass(frozen=True)
class Wanted:
    """The figures that the settings of a run allow.

    Args:
        experiment: the settings
        layers: number of layers of neurons
        images: of the training and the test set, if the data are the published ones, else None
    """

    experiment: Experiment
    layers: int
    images: tuple[int | None, int | None] = (None, None)

    @classmethod
    def of(cls, experiment: Experiment, images: tuple[int | None, int | None] = (None, None)) -> "Wanted":
        """Derive the wanted figures from settings."""
        return cls(experiment, _layers(experiment), images)

    @property
    def line(self) -> int:
        """Most bytes of a line with the figures of an epoch."""
        numbers = self.layers * (self.experiment.steps + 100) + 10 * self.experiment.classes
        return files.MEGABYTE + 64 * numbers

    def check(self, figures: EpochFigures) -> None:
        """Compare the figures of an epoch with the settings.

        Raises:
            UserError: if they contradict them
        """
        experiment = self.experiment
        if figures.epoch > experiment.epochs:
            raise UserError(f"epoch {figures.epoch} cannot be: the settings have {experiment.epochs} epoch(s)")
        counts = (
            ("firing_rates", "layers", len(figures.firing_rates), self.layers),
            ("firing_rates", "steps", len(figures.firing_rates[0]), experiment.steps),
            ("output_thresholds", "classes", len(figures.output_thresholds), experiment.classes),
        )
        for name, of, found, wanted in counts:
            if found != wanted:
                raise UserError(f"{name} are of {found} {of}, but the settings describe {wanted}")
        rate = experiment.learning_rate_of(figures.epoch)
        if not _close(figures.learning_rate, rate, slack=1e-12 * experiment.learning_rate):
            raise UserError(
                f"learning_rate {figures.learning_rate} is not the one of epoch {figures.epoch}, {rate:.7g}"
            )
        self._check_images(figures)

    def _check_images(self, figures: EpochFigures) -> None:
        """Check that accuracies are possible for the number of images, where it is known."""
        for name, images in zip(("train_accuracy", "test_accuracy"), self.images, strict=True):
            accuracy = getattr(figures, name)
            if images is not None and not _is_count(accuracy, images):
                raise UserError(f"{name} {accuracy} is no share of {images:,} images")
        images = self.images[1]
        if images is not None:
            even, odd = figures.test_accuracy_halves
            mean = (even * (images - images // 2) + odd * (images // 2)) / images
            if abs(figures.test_accuracy - mean) > CLOSE_SHARES:
                raise UserError(f"test_accuracy {figures.test_accuracy} contradicts its halves, of mean {mean:.7g}")


def check_sessions(begun: Sequence[int], epochs: int) -> None:
    """Check that every session of a run started at an epoch that an earlier one had reached.

    Args:
        begun: number of epochs that were done before each session
        epochs: number of epochs that are done now
    Raises:
        UserError: if one cannot have started there
    """
    for number, (epoch, before) in enumerate(zip(begun, (0, *begun), strict=False), start=1):
        if number == 1 and epoch != 0:
            raise UserError(f"from_epoch of the first session must be 0, not {epoch}")
        if not before <= epoch <= epochs:
            raise UserError(f"from_epoch {epoch} of session {number} cannot be: it must lie in {before}..{epochs}")
