"""The figures of an epoch, and what they must agree with: each other, and the settings of the run.

A figure that cannot be is refused wherever it comes from. Figures are kept to DIGITS significant digits, so two of
them agree where they differ by less than that leaves open.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from ..errors import UserError, exactly, real, whole
from ..settings import Experiment
from . import files

DIGITS = 7
"""Significant digits of a figure that are kept: those of the float32 that it was computed in."""

CLOSE = 2e-6
"""Relative difference of figures that agree: twice what the rounding of both to DIGITS leaves open."""

CLOSE_SHARES = 2e-7
"""Difference of shares, and of their means, that agree."""

ABOVE = 1e-4
"""Firing rates may be so much above 1."""

LARGEST = 1e300
"""Figures are smaller than this, so that their sums are finite."""

TIMES = ("seconds", "images_per_second")
"""Figures that differ from one run to the next on the same machine; all others repeat."""

TRAIN_SUMS = ("loss", "correct", "samples", "grad_sum", "grad_abs_sum", "positive", "spikes", "gradient_norm")
"""What is added up over an epoch's batches; `positive` and `spikes` count output spikes with e > 0, and all."""

SPREAD = ("mean", "std", "min", "max")
"""What is kept of a layer's thresholds."""

SHARES = ("train_accuracy", "test_accuracy", "exit_time", "positive_share")
"""Figures that lie in 0..1."""

AMOUNTS = ("grad_abs_sum", "learning_rate", *TIMES)
"""Figures that are 0 or more."""


@dataclass(frozen=True, kw_only=True)
class EpochFigures:
    """What is monitored each epoch (App. Fig. 1-3), to DIGITS significant digits.

    Args:
        epoch: counted from 1
        loss: mean over the epoch's batches
        train_accuracy: share, from the spikes without the supervisory one, while the weights move
        test_accuracy: share, at the end of the epoch
        test_accuracy_halves: the same of the test images with even, and with odd places in their order
        exit_time: mean early-exit step on the test set, as a share of T
        grad_sum, grad_abs_sum: sum of e and of |e| over the output spikes of the epoch's batches, 1/step
        positive_ratio: grad_sum / grad_abs_sum; None where all e are 0
        positive_share: share of output spikes with e > 0; None without a spike
        firing_rates: spikes per neuron on the test set: a list of layers, each a list of T steps
        thresholds: mean, std, min and max over each layer's channels
        output_thresholds: of the output layer, one per class
        learning_rate: of this epoch
        seconds: of the whole epoch, test included
        images_per_second: in training

    Raises:
        UserError: if a figure is of the wrong type, not finite, out of its range, or contradicts another one
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    test_accuracy_halves: list[float]
    exit_time: float
    grad_sum: float
    grad_abs_sum: float
    positive_ratio: float | None
    positive_share: float | None
    firing_rates: list[list[float]]
    thresholds: list[dict[str, float]]
    output_thresholds: list[float]
    learning_rate: float
    seconds: float
    images_per_second: float

    def __post_init__(self) -> None:
        whole("epoch", self.epoch, 1)
        for name in NAMES[1:]:
            value = getattr(self, name)
            if name == "firing_rates":
                kept: Any = [_rates(name, rates) for rates in _list(name, value)]
            elif name == "thresholds":
                kept = [_spread(spread) for spread in _list(name, value)]
            elif name == "output_thresholds":
                kept = [_number(name, threshold, least=-math.inf, above=0) for threshold in _list(name, value)]
            elif name == "test_accuracy_halves":
                kept = _halves(name, value)
            elif value is None and name in ("positive_ratio", "positive_share"):
                kept = None
            elif name in SHARES:
                kept = _share(name, value)
            else:
                kept = _number(name, value, least=0 if name in AMOUNTS else -LARGEST)
            object.__setattr__(self, name, kept)
        _check_accuracies(self)
        _check_sums(self)
        _check_layers(self)


_FIELDS = dataclasses.fields(EpochFigures)
NAMES = tuple(field.name for field in _FIELDS)
DEFAULTS = {field.name: field.default for field in _FIELDS if field.default is not dataclasses.MISSING}
"""Figures that came after the first records of version 2, with their values in older ones. Such a figure gets a default
in `EpochFigures`, and that is all."""


def from_dict(values: Any) -> EpochFigures:
    """The figures of a line of JSON. What was added after the line was written gets its default.

    Raises:
        UserError: if a figure is missing, unknown or wrong
    """
    return EpochFigures(**exactly("figure", values, NAMES, DEFAULTS))


def _number(name: str, value: Any, least: float = -LARGEST, above: float = -math.inf) -> float:
    return float(f"{real(name, value, least, above, LARGEST):.{DIGITS}g}")


def _share(name: str, value: Any) -> float:
    kept = _number(name, value)
    if not 0 <= kept <= 1:
        raise UserError(f"{name} must lie in 0..1, not {value!r}")
    return kept


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{name} must be a list with one entry or more, not {value!r}")
    return value


def _rates(name: str, values: Any) -> list[float]:
    """Means of spikes, which a sum over millions of float32 may leave a little above 1."""
    kept = [_number(name, value) for value in _list(name, values)]
    if not all(0 <= value <= 1 + ABOVE for value in kept):
        raise UserError(f"{name} must lie in 0..1, not {values!r}")
    return kept


def _halves(name: str, values: Any) -> list[float]:
    kept = [_number(name, value) for value in _list(name, values)]
    if len(kept) != 2 or not all(0 <= value <= 1 for value in kept):
        raise UserError(f"{name} must be two numbers in 0..1, not {values!r}")
    return kept


def _spread(values: Any) -> dict[str, float]:
    values = exactly("threshold figure", values, SPREAD)
    kept = {name: _number(f"threshold {name}", values[name], least=0) for name in SPREAD}
    slack = CLOSE * kept["max"]
    if not kept["min"] - slack <= kept["mean"] <= kept["max"] + slack:
        raise UserError(f"thresholds contradict each other: their mean is not from min to max in {kept}")
    if kept["std"] > (kept["max"] - kept["min"]) / 2 + slack:
        raise UserError(f"thresholds contradict each other: std is above half of what max and min differ by in {kept}")
    return kept


def _close(a: float, b: float, slack: float = 0.0) -> bool:
    return math.isclose(a, b, rel_tol=CLOSE, abs_tol=slack)


def _check_accuracies(figures: EpochFigures) -> None:
    """The halves are those of n images, of which the first half has one more where n is odd; n is not recorded.

    The accuracy is the mean of the halves, moved towards the first one by their difference / 2n where n is odd.
    """
    even, odd = figures.test_accuracy_halves
    off, difference = figures.test_accuracy - (even + odd) / 2, even - odd
    if abs(off) <= CLOSE_SHARES:
        return
    images = difference / (2 * off)
    left_open = 2 * abs(images) * CLOSE_SHARES / abs(off)
    least, most = math.ceil(max(images - left_open, 1)), math.floor(images + left_open)
    numbers = range(least + 1 - least % 2, most + 1, 2)
    few = len(numbers) < 1000  # else some number of images fits
    if few and not any(_is_count(even, n // 2 + 1) and _is_count(odd, n // 2) for n in numbers):
        raise UserError(
            f"test_accuracy {figures.test_accuracy} contradicts test_accuracy_halves {figures.test_accuracy_halves}, "
            "of which it is the mean"
        )


def _is_count(share: float, images: int) -> bool:
    """Whether this is a share of so many images."""
    count = share * images
    return abs(count - round(count)) <= CLOSE_SHARES * images if images else not share


def _check_sums(figures: EpochFigures) -> None:
    total, absolute = figures.grad_sum, figures.grad_abs_sum
    ratio, share = figures.positive_ratio, figures.positive_share
    if abs(total) > absolute * (1 + CLOSE):
        raise UserError(f"grad_sum {total} contradicts grad_abs_sum {absolute}, which cannot be smaller")
    known = ratio is not None
    if known != (absolute > 0) or (known and not _close(ratio, total / absolute, slack=2 * CLOSE)):
        raise UserError(f"positive_ratio {ratio} contradicts grad_sum {total} / grad_abs_sum {absolute}")
    if (absolute and share is None) or (share and not absolute):
        raise UserError(f"positive_share {share} contradicts grad_abs_sum {absolute}")


def _check_layers(figures: EpochFigures) -> None:
    layers, spreads, output = figures.firing_rates, figures.thresholds, figures.output_thresholds
    if len(layers) != len(spreads):
        raise UserError(f"firing_rates are of {len(layers)} layers, thresholds of {len(spreads)}")
    if len(set(map(len, layers))) > 1:
        steps = ", ".join(str(len(rates)) for rates in layers)
        raise UserError(f"firing_rates are of {steps} steps, and all layers must have the same number")
    last, mean = spreads[-1], math.fsum(output) / len(output)
    for name, value in (("min", min(output)), ("max", max(output)), ("mean", mean)):
        if not _close(last[name], value):
            raise UserError(f"output_thresholds have {name} {value:.7g}, but thresholds of that layer {last[name]}")


@lru_cache(maxsize=256)
def _layers(experiment: Experiment) -> int:
    """How many layers hold neurons."""
    with torch.device("meta"):  # shapes only
        return len(experiment.build_network().spiking)


@dataclass(frozen=True)
class Wanted:
    """What the settings of a run say of its figures.

    Args:
        experiment: the settings
        layers: how many hold neurons
        images: of the training and the test set, where the data are the published ones, else None
    """

    experiment: Experiment
    layers: int
    images: tuple[int | None, int | None] = (None, None)

    @classmethod
    def of(cls, experiment: Experiment, images: tuple[int | None, int | None] = (None, None)) -> "Wanted":
        """What these settings say."""
        return cls(experiment, _layers(experiment), images)

    @property
    def line(self) -> int:
        """Bytes that a line with the figures of an epoch may have."""
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
        """Where it is known how many images there are, accuracies are shares of so many."""
        for name, images in zip(("train_accuracy", "test_accuracy"), self.images, strict=True):
            if images is not None:
                share = getattr(figures, name)
                if not _is_count(share, images):
                    raise UserError(f"{name} {share} is no share of {images:,} images")
        images = self.images[1]
        if images is not None:
            even, odd = figures.test_accuracy_halves
            mean = (even * (images - images // 2) + odd * (images // 2)) / images
            if abs(figures.test_accuracy - mean) > CLOSE_SHARES:
                raise UserError(f"test_accuracy {figures.test_accuracy} contradicts its halves, of mean {mean:.7g}")


def check_sessions(begun: Sequence[int], epochs: int) -> None:
    """See that every session of a run began where an earlier one had come to.

    Args:
        begun: epochs that were done before each session
        epochs: that are done now
    Raises:
        UserError: if one cannot have begun there
    """
    for number, (epoch, before) in enumerate(zip(begun, (0, *begun), strict=False), start=1):
        if number == 1 and epoch != 0:
            raise UserError(f"from_epoch of the first session must be 0, not {epoch}")
        if not before <= epoch <= epochs:
            raise UserError(f"from_epoch {epoch} of session {number} cannot be: it must lie in {before}..{epochs}")
