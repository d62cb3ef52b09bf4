"""Figures of training and of tests (App. Fig. 1-3): sums that stay on the device and are read from time to time."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import inputs
from .. import readout as readouts
from ..errors import UserError, choice, instance, shown
from ..networks import Network
from ..records.figures import SPREAD, TRAIN_SUMS
from ..shards import Shard
from .distributed import ALONE, ProcessGroup

HEALTH_SUMS = ("loss", "gradient_norm")
"""Those of TRAIN_SUMS that are not finite from the first broken batch on."""

OUTPUT_SUMS = ("correct", "samples", "grad_sum", "grad_abs_sum", "positive", "spikes")
"""Those of TRAIN_SUMS that are computed from the output spikes. They are neighbours in TRAIN_SUMS, in this order."""


class Totals:
    """Sums over the batches of an epoch, on the device.

    Args:
        device: where the sums are
        readout: for the accuracy
        group: the processes that work on the joint batches
    Attributes:
        sums: in the order of TRAIN_SUMS, float64
        batches: number of batches in the sums; the caller of `add_outputs` counts them
    """

    def __init__(self, device: torch.device, readout: str = "count", group: ProcessGroup = ALONE) -> None:
        self._readout = readout
        self._group = group
        self.sums = torch.zeros(len(TRAIN_SUMS), dtype=torch.float64, device=device)
        self.batches = 0
        # Views, so that each group of sums takes a single addition. The first one holds two entries of `sums`.
        first, second = (TRAIN_SUMS.index(name) for name in HEALTH_SUMS)
        self._health = self.sums[first : second + 1 : second - first]
        start = TRAIN_SUMS.index(OUTPUT_SUMS[0])
        self._outputs = self.sums[start : start + len(OUTPUT_SUMS)]

    def reset(self) -> None:
        """Set all sums to 0, in place."""
        self.sums.zero_()
        self.batches = 0

    @torch.no_grad()
    def add_health(self, loss: Tensor, gradient_norm: Tensor, shard: Shard) -> Tensor:
        """Add a batch's loss and gradient norm, and flag whether any so far was not finite.

        Args:
            loss: a scalar
            gradient_norm: of all parameters, before clipping
            shard: the samples that this process computes of the joint batch
        Returns:
            1.0 from the first batch on whose loss or gradient was not finite, else 0.0: a float32 scalar that stays on
            the device. torch's fused optimisers take it as `found_inf` and then update nothing
        """
        if shard.contributes:
            self._health += torch.stack([loss, gradient_norm])
        # 0 times infinity is NaN, too. torch's isfinite would take four operations.
        return (self._health.sum() * 0).isnan().float()

    @torch.no_grad()
    def add_outputs(self, spikes: Tensor, raw: Tensor, labels: Tensor, shard: Shard) -> None:
        """Add the figures of a batch's output spikes.

        Args:
            spikes: output with the supervisory spike, (T, N, C), after `backward`; its gradient is e
            raw: output without, (T, N, C)
            labels: (N,)
            shard: as in `add_health`
        """
        if not shard.contributes:
            return
        e = spikes.grad
        exact = self.sums.dtype
        correct = (readouts.predict(raw, self._readout) == labels).sum(dtype=exact)
        # On a GPU each operation costs the time of its start, so there are few and wide ones on equal types.
        from_spikes = torch.stack([e, e.abs(), (e > 0).to(e), spikes]).flatten(1).sum(1, dtype=exact)
        samples = torch.full_like(from_spikes[:1], len(labels))
        self._outputs += torch.cat([correct.view(1), samples, from_spikes])

    def joint(self) -> Tensor:
        """Add up the sums of all ranks, (len(TRAIN_SUMS),), on the CPU."""
        sums = self.sums.cpu().clone()
        if not self._group.is_main:
            # The norm is that of the joint batch on every rank already.
            sums[TRAIN_SUMS.index("gradient_norm")] = 0
        return self._group.sum(sums)

    def restore(self, sums: Tensor, batches: int) -> None:
        """Set the sums to those of so many batches."""
        self.batches = batches
        if sums.shape != self.sums.shape:
            raise ValueError(f"{len(TRAIN_SUMS)} sums are needed, not a tensor of shape {tuple(sums.shape)}")
        if self._group.is_main:
            self.sums.copy_(sums)

    def read(self, net: Network | None = None) -> dict[str, float]:
        """Return the sums by the names in TRAIN_SUMS, with the loss as a mean over batches. Waits for the device.

        Args:
            net: whose layers the error names
        Raises:
            UserError: if loss or gradient is no longer finite
        """
        sums = dict(zip(TRAIN_SUMS, self.joint().tolist(), strict=True))
        sums["loss"] /= self.batches
        for name in HEALTH_SUMS:
            if not math.isfinite(sums[name]):
                raise not_finite(name.replace("_", " "), sums[name], net)
        return sums


def not_finite(what: str, value: float, net: Network | None = None) -> UserError:
    """Make the error for a loss or gradient that is not finite.

    Args:
        what: its name
        value: what it is
        net: the error names its layer nearest to the loss that has a gradient that is not finite
    """
    where = ""
    if net is not None:
        layers = reversed(net.spiking)
        titles = [layer.title for layer in layers if any(not _is_finite(p.grad) for p in layer.parameters())]
        if titles:
            where = f", from {titles[0]} down"
    return UserError(
        f"training broke down: {what} is {value}{where}; try a lower learning rate or a smaller gradient_clip"
    )


def _is_finite(values: Tensor | None) -> bool:
    """Whether a gradient is finite or missing."""
    return values is None or bool(values.isfinite().all())


@dataclass(frozen=True)
class Evaluation:
    """Figures of a network on test images.

    Args:
        accuracy: share of the images that are classified correctly
        halves: accuracy on the images at even and at odd positions of their batch, so that an epoch can be chosen on
            one half and judged on the other
        exit_time: mean early-exit step, as a share of T
        firing_rates: spikes per neuron: a list of layers, each a list of T steps
        by_class: accuracy on the images of each class; NaN where there is none
        tied: share of the images where several classes have the highest score, equal to the last digit. The lowest of
            these classes is read. An image without an output spike counts as tied
        among: share of the images whose label has the highest score, alone or not
    """

    accuracy: float
    halves: tuple[float, float]
    exit_time: float
    firing_rates: list[list[float]]
    by_class: list[float]
    tied: float
    among: float


class _Tally(NamedTuple):
    """Counts over test images, each an int64 tensor.

    Args:
        images, correct: at even and at odd positions of their batch, (2,)
        exit_steps: sum of early-exit steps
        tied, among: images, as in `Evaluation`
        class_images, class_correct: (C,)
    """

    images: Tensor
    correct: Tensor
    exit_steps: Tensor
    tied: Tensor
    among: Tensor
    class_images: Tensor
    class_correct: Tensor

    @classmethod
    def zeros(cls, classes: int, device: torch.device) -> "_Tally":
        """Return the tally of no image."""
        sizes = ((2,), (2,), (), (), (), (classes,), (classes,))
        return cls(*(torch.zeros(size, dtype=torch.int64, device=device) for size in sizes))

    @classmethod
    def of_batch(cls, spikes: Tensor, labels: Tensor, readout: str) -> "_Tally":
        """Count the images of a batch. Eq. (eq-readout), (eq-early-exit)."""
        scores = readouts.score(spikes, readout)
        correct = scores.argmax(1) == labels
        winners = scores == scores.amax(1, keepdim=True)
        is_class = labels[:, None] == torch.arange(spikes.shape[2], device=labels.device)
        return cls(
            images=_by_position(torch.ones_like(correct)),
            correct=_by_position(correct),
            exit_steps=readouts.exit_step(spikes, labels, readout).sum(),
            tied=(winners.sum(1) > 1).sum(),
            among=(winners & is_class).sum(),
            class_images=is_class.sum(0),
            class_correct=(is_class & correct[:, None]).sum(0),
        )

    def plus(self, other: "_Tally") -> "_Tally":
        """Add another tally."""
        return _Tally(*(one + another for one, another in zip(self, other, strict=True)))

    def joint(self, group: ProcessGroup) -> "_Tally":
        """Add up the tallies of all ranks, on the CPU."""
        return _Tally(*(group.sum(count.cpu()) for count in self))


def _by_position(flags: Tensor) -> Tensor:
    """Count the flags at even and at odd positions, (2,)."""
    return torch.stack([flags[0::2].sum(), flags[1::2].sum()])


@torch.no_grad()
def evaluate(
    net: Network,
    batches: Iterable[tuple[Tensor, Tensor]],
    encode: Callable[[Tensor], Tensor],
    readout: str = "count",
    group: ProcessGroup = ALONE,
) -> Evaluation:
    """Test a network without supervision. Eq. (eq-readout), (eq-early-exit).

    Args:
        net: left in evaluation mode
        batches: images and labels
        encode: images -> the network's input
        readout: how output spikes become a class, "count" or "first"
        group: the processes that test batches of their own
    Returns:
        the figures over the batches of all processes
    Raises:
        UserError: if net is no network, batches hold no image, or a batch does not fit the network
    """
    readout = choice("readout", readout, readouts.READOUTS)
    if not callable(encode):
        raise UserError(f"encode must be a function of images, not {shown(encode)}")
    if isinstance(batches, (str, bytes, Tensor)) or not hasattr(batches, "__iter__"):
        raise UserError(f"batches must give pairs of images and labels, not {shown(batches)}")
    instance("group", group, ProcessGroup)
    instance("net", net, Network).eval()
    threshold = net.spiking[-1].threshold
    tally = _Tally.zeros(len(threshold), threshold.device)
    with _summed_rates(net) as rates:
        for batch in batches:
            images, labels = _pair(batch)
            spikes = net(encode(images))
            labels = inputs.labels("labels of batches", labels, spikes.shape[1], spikes.device)
            if len(spikes) != net.steps:
                raise UserError(f"batches have {len(spikes)} steps, where the network has {net.steps}")
            tally = tally.plus(_Tally.of_batch(spikes, labels, readout))
    tally = tally.joint(group)
    firing_rates = group.sum(torch.stack(list(rates.values())).cpu())
    return _evaluation(tally, firing_rates, net.steps)


@contextmanager
def _summed_rates(net: Network) -> Iterator[dict[nn.Module, Tensor]]:
    """Add up, over the images that pass through each spiking layer, its spikes per neuron at each step, (T,)."""
    device = net.spiking[0].threshold.device
    rates = {layer: torch.zeros(net.steps, dtype=torch.float64, device=device) for layer in net.spiking}

    def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        # Pooling keeps the mean, except for rows that fill no window.
        rates[layer] = rates[layer] + output.flatten(1).mean(1).double() * output.shape[1]

    handles = [layer.register_forward_hook(hook) for layer in net.spiking]
    try:
        yield rates
    finally:
        for handle in handles:
            handle.remove()


def _evaluation(tally: _Tally, firing_rates: Tensor, steps: int) -> Evaluation:
    """Turn counts, and sums of rates over images, into shares and means."""
    counts = {name: count.tolist() for name, count in tally._asdict().items()}
    images = sum(counts["images"])
    if images == 0:
        raise UserError("batches hold no image to test")
    halves = [correct / max(number, 1) for correct, number in zip(counts["correct"], counts["images"], strict=True)]
    by_class = []
    for correct, number in zip(counts["class_correct"], counts["class_images"], strict=True):
        by_class.append(correct / number if number else math.nan)
    return Evaluation(
        accuracy=sum(counts["correct"]) / images,
        halves=tuple(halves),
        exit_time=counts["exit_steps"] / (images * steps),
        firing_rates=(firing_rates / images).tolist(),
        by_class=by_class,
        tied=counts["tied"] / images,
        among=counts["among"] / images,
    )


def _pair(batch: Any) -> tuple[Any, Any]:
    """Return the images and labels of a batch."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise UserError(f"batches must give pairs of images and labels, not {shown(batch)}")
    return batch[0], batch[1]


def silent(firing_rates: list[list[float]]) -> list[int]:
    """List the layers in which no neuron fired on any test image, counted from 1.

    Args:
        firing_rates: of an epoch, a list of layers, each a list of T steps
    Raises:
        UserError: if it is no list of lists
    """
    layers = inputs.listed("firing_rates", firing_rates, "a list of layers, each a list of steps")
    layers = [inputs.listed("firing_rates of a layer", rates, "a list of steps") for rates in layers]
    return [number for number, rates in enumerate(layers, start=1) if not any(rates)]


def thresholds(net: Network) -> tuple[list[dict[str, float]], list[float]]:
    """Return the mean, standard deviation, minimum and maximum of every layer's thresholds.

    The standard deviation is that of the layer's channels, with their number in the denominator.

    Returns:
        one table per layer, and all thresholds of the output layer
    Raises:
        UserError: if a threshold is not a number above 0, which happens when a gamma falls to 0 or below
    """
    spreads = []
    for layer in instance("net", net, Network).spiking:
        theta = layer.threshold.double().cpu()
        if not bool((theta > 0).all() & theta.isfinite().all()):
            raise UserError(
                f"training broke down: {layer.title} has a threshold of {theta.min():.3g}; try a lower learning rate"
            )
        std, mean = torch.std_mean(theta, correction=0)
        values = (mean.item(), std.item(), theta.min().item(), theta.max().item())
        spreads.append(dict(zip(SPREAD, values, strict=True)))
    return spreads, theta.tolist()
