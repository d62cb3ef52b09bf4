"""What is watched while a network trains (App. Fig. 1-3): sums kept on the device, looked at once in a while."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import inputs, readout
from ..errors import UserError, choice, instance, shown
from ..networks import Network
from ..records.figures import TRAIN_SUMS
from ..shards import Shard
from .distributed import ALONE, Team


class Totals:
    """Sums over the batches of an epoch, on the device.

    Args:
        device: where they are kept
        by: the readout, for the accuracy
    Attributes:
        sums: in the order of TRAIN_SUMS, float64
        batches: how many were taken in; whoever calls `add` counts them
    """

    def __init__(self, device: torch.device, by: str = "count") -> None:
        self._readout = by
        self.sums = torch.zeros(len(TRAIN_SUMS), dtype=torch.float64, device=device)
        self.batches = 0

    def begin(self) -> None:
        """Start anew, in the same place on the device."""
        self.sums.zero_()
        self.batches = 0

    @torch.no_grad()
    def watch(self, loss: Tensor, gradient_norm: Tensor, shard: Shard | None = None) -> Tensor:
        """Take in what tells whether a batch went well.

        Args:
            loss: its value, a scalar
            gradient_norm: of all parameters, before clipping
            shard: the samples that this process computes of a joint batch; None for all of them
        Returns:
            1.0 from the first batch on whose loss or gradient was not finite, else 0.0; a float32 scalar, not looked
            at. This is what `found_inf` of torch's fused optimisers takes: nothing is updated any more
        """
        watched = self.sums[:: len(TRAIN_SUMS) - 1]  # the first and the last
        if shard is None or shard.counts:
            watched += torch.stack([loss, gradient_norm])
        return (watched.sum() * 0).isnan().float()  # of 0 times infinity, too; isfinite takes four operations

    @torch.no_grad()
    def add(self, spikes: Tensor, raw: Tensor, labels: Tensor, shard: Shard | None = None) -> None:
        """Take in the other figures of that batch.

        Args:
            spikes: output with the supervisory spike, (T, N, C), after `backward`; its gradient is e
            raw: output without, (T, N, C)
            labels: (N,)
            shard: as in `watch`
        """
        if shard is not None and not shard.counts:
            return
        e, exact = spikes.grad, self.sums.dtype
        right = readout.predict(raw, self._readout) == labels
        # few, wide operations on equal types: on a GPU each costs the time of its start
        entries = torch.stack([e, e.abs(), (e > 0).to(e), spikes]).flatten(1).sum(1, dtype=exact)
        samples = torch.full_like(entries[:1], len(labels))
        self.sums[1:-1] += torch.cat([right.sum(dtype=exact).view(1), samples, entries])

    def joint(self, team: Team = ALONE) -> Tensor:
        """The sums so far of all processes, (len(TRAIN_SUMS),), on the CPU; the gradient's norm is the same on each."""
        sums = self.sums.cpu().clone()
        if not team.leads:
            sums[TRAIN_SUMS.index("gradient_norm")] = 0
        return team.sum(sums)

    def restore(self, sums: Tensor, batches: int, team: Team = ALONE) -> None:
        """Go on from such sums over so many batches."""
        self.batches = batches
        if sums.shape != self.sums.shape:
            raise ValueError(f"{len(TRAIN_SUMS)} sums are needed, not a tensor of shape {tuple(sums.shape)}")
        if team.leads:
            self.sums.copy_(sums)

    def read(self, team: Team = ALONE, net: Network | None = None) -> dict[str, float]:
        """The sums so far, by the names in TRAIN_SUMS, but the loss as a mean over batches. Waits for the device.

        Args:
            team: the processes that work on the joint batches
            net: whose layers the error is to name
        Raises:
            UserError: if loss or gradient is no longer finite
        """
        sums = dict(zip(TRAIN_SUMS, self.joint(team).tolist(), strict=True))
        sums["loss"] /= self.batches
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(sums[name]):
                raise broke_down(name.replace("_", " "), sums[name], net)
        return sums


def broke_down(what: str, value: float, net: Network | None = None) -> UserError:
    """The error for a loss or gradient that is not finite.

    Args:
        what: its name
        value: what it is
        net: whose layers are named, where they hold a gradient that is not finite, the one next to the loss first
    """
    layers = [] if net is None else reversed(net.spiking)
    titles = [layer.title for layer in layers if any(not _finite(p.grad) for p in layer.parameters())]
    where = f", from {titles[0]} down" if titles else ""
    return UserError(
        f"training broke down: {what} is {value}{where}; try a lower learning rate or a smaller gradient_clip"
    )


def _finite(values: Tensor | None) -> bool:
    return values is None or bool(values.isfinite().all())


@dataclass(frozen=True)
class Evaluation:
    """How a network does on test images.

    Args:
        accuracy: share
        halves: the same of the images at even and at odd places of their batch, so that an epoch can be chosen on one
            half and judged on the other
        exit_time: mean early-exit step, as a share of T
        firing_rates: spikes per neuron: a list of layers, each a list of T steps
        by_class: the accuracy on the images of each class; NaN where there is none
        tied: share of the images where several classes have the highest score, equal to the last digit, and the lowest
            of them is read; without an output spike all have it
        among: share of the images whose label has the highest score, alone or not
    """

    accuracy: float
    halves: tuple[float, float]
    exit_time: float
    firing_rates: list[list[float]]
    by_class: list[float]
    tied: float
    among: float


@torch.no_grad()
def evaluate(
    net: Network,
    batches: Iterable[tuple[Tensor, Tensor]],
    encode: Callable[[Tensor], Tensor],
    by: str = "count",
    team: Team = ALONE,
) -> Evaluation:
    """Test a network without supervision. Eq. (eq-readout), (eq-early-exit).

    Args:
        net: left in evaluation mode
        batches: images and labels
        encode: images -> what the network takes
        by: the readout
        team: the processes that test batches of their own
    Raises:
        UserError: if net is no network, batches hold no image, or a batch is not what the network takes
    """
    by = choice("readout by", by, readout.READOUTS)
    if not callable(encode):
        raise UserError(f"encode must be a function of images, not {shown(encode)}")
    if isinstance(batches, (str, bytes, Tensor)) or not hasattr(batches, "__iter__"):
        raise UserError(f"batches must give pairs of images and labels, not {shown(batches)}")
    instance("team", team, Team)
    instance("net", net, Network).eval()
    device = net.spiking[0].threshold.device
    rates = [torch.zeros(net.steps, dtype=torch.float64, device=device) for _ in net.spiking]
    classes, whole = len(net.spiking[-1].threshold), {"dtype": torch.int64, "device": device}
    correct, samples = torch.zeros(2, **whole), torch.zeros(2, dtype=torch.int64)
    found, of_class, numbers = torch.zeros(3, **whole), torch.zeros(2, classes, **whole), torch.arange(classes, **whole)

    def count(index: int) -> Callable[[Any, Any, Tensor], None]:
        def hook(layer: Any, inputs: Any, output: Tensor) -> None:
            # pooling keeps the mean, but for rows that fill no window
            rates[index] = rates[index] + output.flatten(1).mean(1).double() * output.shape[1]

        return hook

    handles = [layer.register_forward_hook(count(index)) for index, layer in enumerate(net.spiking)]
    try:
        for batch in batches:
            images, labels = _pair(batch)
            spikes = net(encode(images))
            labels = inputs.labels("labels of batches", labels, spikes.shape[1], spikes.device)
            if len(spikes) != net.steps:
                raise UserError(f"batches have {len(spikes)} steps, where the network has {net.steps}")
            scores = readout.score(spikes, by)
            right, winners = scores.argmax(1) == labels, scores == scores.amax(1, keepdim=True)
            correct = correct + torch.stack([right[half::2].sum() for half in (0, 1)])
            exits = readout.exit_step(spikes, labels, by).sum()
            member = labels[:, None] == numbers
            found = found + torch.stack([exits, (winners.sum(1) > 1).sum(), (winners & member).sum()])
            of_class = of_class + torch.stack([member.sum(0), (member & right[:, None]).sum(0)])
            samples += torch.tensor([len(labels) - len(labels) // 2, len(labels) // 2])
    finally:
        for handle in handles:
            handle.remove()
    counts = team.sum(torch.cat([correct.cpu(), samples, found.cpu(), of_class.flatten().cpu()])).tolist()
    correct, samples, found, of_class = counts[:2], counts[2:4], counts[4:7], counts[7:]
    halves = tuple(c / max(n, 1) for c, n in zip(correct, samples, strict=True))
    total = sum(samples)
    if total == 0:
        raise UserError("batches hold no image to test")
    exit_time, tied, among = found[0] / (total * net.steps), found[1] / total, found[2] / total
    means = (team.sum(torch.stack(rates).cpu()) / total).tolist()
    by_class = [c / n if n else math.nan for n, c in zip(of_class[:classes], of_class[classes:], strict=True)]
    return Evaluation(sum(correct) / total, halves, exit_time, means, by_class, tied, among)


def _pair(batch: Any) -> tuple[Any, Any]:
    """Images and labels of a batch."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise UserError(f"batches must give pairs of images and labels, not {shown(batch)}")
    return batch[0], batch[1]


def silent(firing_rates: list[list[float]]) -> list[int]:
    """The layers in which no neuron fired on any test image, counted from 1.

    Args:
        firing_rates: of an epoch, a list of layers, each a list of T steps
    Raises:
        UserError: if it is no list of lists
    """
    firing_rates = inputs.listed("firing_rates", firing_rates, "a list of layers, each a list of steps")
    firing_rates = [inputs.listed("firing_rates of a layer", rates, "a list of steps") for rates in firing_rates]
    return [number for number, rates in enumerate(firing_rates, start=1) if not any(rates)]


def thresholds(net: Network) -> tuple[list[dict[str, float]], list[float]]:
    """Mean, standard deviation (of the channels, n in the denominator), least and largest threshold of every layer.

    Returns:
        one table per layer, and all thresholds of the output layer
    Raises:
        UserError: if one is not a number above 0, which a gamma of 0 or below leaves behind
    """
    found = []
    for layer in instance("net", net, Network).spiking:
        theta = layer.threshold.double().cpu()
        if not bool((theta > 0).all() & theta.isfinite().all()):
            raise UserError(
                f"training broke down: {layer.title} has a threshold of {theta.min():.3g}; try a lower learning rate"
            )
        std, mean = torch.std_mean(theta, correction=0)
        values = (mean, std, theta.min(), theta.max())
        found.append(dict(zip(("mean", "std", "min", "max"), (value.item() for value in values), strict=True)))
    return found, theta.tolist()
