"""The six losses: each maps output spikes to a number, and its backward to a gradient on every spike's time.

The gradient e = dL/dt is written at the spike's place in a tensor of the spikes' shape, 0 elsewhere. It is not the
derivative of the printed value in the spikes; `torch.autograd.gradcheck` fails on these losses, and must.
Where a loss is defined on rates, d(int s)/dt = -1 (eq-approximation) turns a rate gradient r into e = -r: more spikes
wanted gives e > 0, and descent moves the spikes earlier. App. 3-5 and Table 2 of Zhu et al. 2023.

Layers of this package take e. Surrogate-gradient networks (snnTorch, SpikingJelly, Norse) take r, at every step and
neuron: `get(name, gradient="rate")`.
"""

import copy
import inspect
import math
import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor

from . import gradient_kinds, inputs
from .devices import is_on_cpu
from .errors import UserError, choice, real, switch, unknown
from .shards import Shard, samples_of

GRADIENTS = ("time", "rate")
"""What `backward` leaves in `spikes.grad`: e = dL/dt at the spikes, or r = dL/d(amount) at every step and neuron."""

SHORT_TRAIN = 20
"""Steps from which on the target trains of `kernel` and `timing` fire every second step only; released, as the next."""
LABEL_SCALE_UNIT = 10.0
"""Ratio of other to label spikes above which label scaling begins."""
COUNT_FLOOR = 1e-5
"""Added to both counts of that ratio, so that a silent batch divides by no zero."""


class _GivenGradient(torch.autograd.Function):
    """Carry a loss's value forward, and its gradient on the spikes, of either kind, backward."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, value: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(grad)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_value: Tensor) -> tuple[Tensor, None, None]:
        return grad_value * ctx.saved_tensors[0], None, None


class Loss:
    """What the six have in common: checks, the one-hot labels, and the way into autograd.

    Attributes:
        gradient: one of GRADIENTS; "time" unless `get` or `with_gradient` was asked for "rate"
    """

    name: ClassVar[str]
    least_steps: ClassVar[int] = 1  # T below which the label is never pulled ahead
    gradient: str = "time"

    def value_and_times(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        """The loss and e = dL/dt.

        A loss of your own needs no `shard` unless several processes train with it.

        Args:
            spikes: (T, N, C), 0 or 1
            label: one-hot, (N, C), bool
            shard: the samples that this process computes of a joint batch; None for all of them. Values and gradients
                then add up, over the shards, to those of the joint batch
        Returns:
            the value, a scalar, and e, (T, N, C), 1/step; e is read at the spikes only
        """
        raise NotImplementedError

    def value_and_rates(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        """The loss and r = dL/d(amount), for a loss that is defined on the amounts of the spikes.

        Args:
            spikes, label, shard: as for `value_and_times`
        Returns:
            the value, a scalar, and r, (T, N, C), 1/spike, read at every step and neuron
        Raises:
            UserError: if the loss is defined on spike times alone, as `timing` and `ttfs` are
        """
        raise self._no_rates()

    @classmethod
    def has_rates(cls) -> bool:
        """Whether the loss is defined on the amounts of the spikes, so that `gradient="rate"` can be asked for."""
        return cls.value_and_rates is not Loss.value_and_rates

    def _no_rates(self) -> UserError:
        """The error for a gradient on amounts that the loss does not have."""
        others = ", ".join(name for name, loss in LOSSES.items() if loss.has_rates())
        return UserError(
            f"loss {self.name!r} is defined on spike times and has no gradient on spike amounts; take gradient='time' "
            f"on layers of snnbook, or gradient='rate' with one of: {others}"
        )

    def with_gradient(self, gradient: str) -> "Loss":
        """The same loss with the other kind of gradient.

        Args:
            gradient: one of GRADIENTS
        Raises:
            UserError: for another name, or "rate" of a loss that has no gradient on amounts
        """
        gradient = choice("gradient", gradient, GRADIENTS)
        if gradient == "rate" and not self.has_rates():
            raise self._no_rates()
        other = copy.copy(self)
        other.gradient = gradient
        return other

    def cannot_learn(self, steps: int) -> str:
        """Why no label neuron is ever pulled ahead of the others in so many steps; "" where it is."""
        least = self.least_steps
        return "" if steps >= least else f"T = {steps} leaves too few target spikes; take T = {least} or more"

    def __call__(self, spikes: Tensor, labels: Tensor, shard: Shard | None = None) -> Tensor:
        """The loss of a batch.

        With gradient "time" the spikes must come from layers of this package. A surrogate-gradient network takes
        `spikes.grad` for the gradient on amounts, whose sign is the opposite, and needs gradient "rate".

        Args:
            spikes: output spikes, (T, N, C), 0 or 1
            labels: class of every sample, (N,), integers in 0..C-1
            shard: the samples that this process computes of a joint batch; None for all of them
        Returns:
            a scalar; its `backward()` leaves e = dL/dt in `spikes.grad`, 0 where there is no spike; with gradient
            "rate" r = dL/d(amount) at every step and neuron
        Raises:
            UserError: for wrong shapes, types, labels out of range, or spikes that are not finite; and where a loss of
                one's own returns no value and no gradient of these shapes, or NaN at a spike
        Warns:
            UserWarning: for spikes that a network made: once, if it is another network than this gradient is for, or
                no output neuron fires; and where no label can be learnt with these settings (`cannot_learn`)
        """
        spikes, labels = inputs.spikes_and_labels(spikes, labels)
        # a network made the spikes, so somebody trains it; spikes without a graph are somebody's sums
        in_training = spikes.grad_fn is not None and torch.is_grad_enabled()
        if in_training and (reason := self.cannot_learn(len(spikes))):
            warnings.warn(f"the {self.name} loss teaches nothing here: {reason}", stacklevel=2)
        by_time = self.gradient == "time"
        if by_time:
            gradient_kinds.expect_times(spikes, self, self.name if self.has_rates() else None)
            if in_training and is_on_cpu(spikes) and not torch.compiler.is_compiling():
                gradient_kinds.expect_spikes(spikes, self)
        with torch.no_grad():
            label = labels[:, None] == torch.arange(spikes.shape[2], device=labels.device)
            value, grad = inputs.value_and_gradient(self, spikes.detach(), label, shard)
            if by_time:
                grad = torch.where(spikes > 0, grad, 0.0)
        inputs.finite(f"the gradient that {type(self).__name__} gives", grad, " at a spike" if by_time else "")
        return _GivenGradient.apply(spikes, value, grad)


def from_times(spikes: Tensor, grad_times: Tensor) -> Tensor:
    """A loss of your own in one line: a 0 whose `backward()` leaves the e that you give in `spikes.grad`.

    Args:
        spikes: output spikes of layers of this package, any shape
        grad_times: e = dL/dt at the spikes, the same shape, 1/step; elsewhere it is not read
    Returns:
        a scalar, 0
    Raises:
        UserError: if the shapes differ
    """
    spikes = inputs.floats("spikes", spikes, hint="to carry a gradient call .float()")
    grad_times = inputs.floats("grad_times", grad_times, like=spikes)
    if grad_times.shape != spikes.shape:
        raise UserError(f"grad_times must have the spikes' shape {tuple(spikes.shape)}, not {tuple(grad_times.shape)}")
    gradient_kinds.expect_times(spikes, from_times)
    with torch.no_grad():
        grad = torch.where(spikes > 0, grad_times.to(spikes), 0.0)
    return _GivenGradient.apply(spikes, spikes.new_zeros(()), grad)


class _CountLoss(Loss):
    """Counts against targets: what counting and enhanced counting share. Eq. (eq-counting).

    Args:
        target_label: spikes wanted of the label neuron, >= 0
        target_others: spikes wanted of every other neuron, >= 0
        clip: no gradient for a label neuron above its target, nor for another neuron below it
        label_scaling: multiply the label neurons' gradients by max(rho / 10, 1), rho the batch's ratio of clipped
            spike counts, others to label (eq-label-scaling); released settings, App. 1 in words
    """

    def __init__(
        self, target_label: float = 5, target_others: float = 1, clip: bool = True, label_scaling: bool = True
    ) -> None:
        self.target_label = real("target_label", target_label, least=0)
        self.target_others = real("target_others", target_others, least=0)
        self.clip = switch("clip", clip)
        self.label_scaling = switch("label_scaling", label_scaling)

    def per_spike(self, missing: Tensor, count: Tensor) -> Tensor:
        """Gradient per spike times T, from target - count and count, both (N, C)."""
        raise NotImplementedError

    def cannot_learn(self, steps: int) -> str:
        """The others' target must leave something to lower, and the label's something to raise above it."""
        if self.target_others >= steps:
            return f"target_others {self.target_others:g} is no fewer than T = {steps} spikes, all that there can be"
        if self.target_label <= self.target_others:
            return f"target_label {self.target_label:g} is not above target_others {self.target_others:g}"
        return ""

    def value_and_times(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        return self._value_and_pull(spikes, label, shard, least=0)

    def value_and_rates(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        """As in `Loss`; a silent neuron counts as one spike wherever a count divides. Eq. (eq-rate-floor)."""
        value, pull = self._value_and_pull(spikes, label, shard, least=1)
        return value, -pull

    def _value_and_pull(self, spikes: Tensor, label: Tensor, shard: Shard | None, least: int) -> tuple[Tensor, Tensor]:
        """The value, and how much each spike is wanted, (T, N, C); `least` is the smallest count that divides."""
        steps = len(spikes)
        count = spikes.sum(0)
        target = torch.where(label, self.target_label, self.target_others).to(count)
        if self.clip:
            count = torch.where(label, count.minimum(target), count.maximum(target))
        missing = target - count
        value = missing.square().sum() / (2 * steps)
        divisor = count.clamp(min=least) if least else count
        pull = self.per_spike(missing, divisor) / steps
        if self.label_scaling:
            scale = self.label_scale(torch.where(label, divisor, count), label, shard)
            pull = torch.where(label, pull * scale, pull)
        return value, pull.expand_as(spikes)

    def label_scale(self, count: Tensor, label: Tensor, shard: Shard | None = None) -> Tensor:
        """The factor max(rho / 10, 1) of clipped counts and one-hot labels, both (N, C). Eq. (eq-label-scaling)."""
        sums = (torch.stack([label, ~label]) * count).flatten(1).sum(1)
        if shard is not None:
            sums = shard.sum(sums)
        on_label, on_others = sums + COUNT_FLOOR
        return (on_others / on_label / LABEL_SCALE_UNIT).clamp(min=1.0)


class Counting(_CountLoss):
    """Squared distance of spike counts from their targets; total per neuron m (target - m) / T, a parabola in m.

    Eq. (eq-counting), (eq-counting-gradient), (eq-counting-total); App. 3, Eq. 2-6, with lambda = 1/(2T).
    """

    name = "counting"

    def per_spike(self, missing: Tensor, count: Tensor) -> Tensor:
        """target - m."""
        return missing


class EnhancedCounting(_CountLoss):
    """The same value, but a total per neuron of (target - m) / T, a straight line in m.

    Eq. (eq-enhanced-gradient), (eq-enhanced-total); App. 4, Eq. 7-11, with lambda = 1/(2T).
    """

    name = "enhanced_counting"

    def per_spike(self, missing: Tensor, count: Tensor) -> Tensor:
        """(target - m) / m; a silent neuron has no spike to move."""
        return (missing / count).masked_fill_(count == 0, 0.0)


def label_train(steps: int, like: Tensor | None = None) -> Tensor:
    """The spike train wanted of the label neuron by `kernel` and `timing` (released settings). Eq. (eq-target-train).

    Args:
        steps: T
        like: whose type and device to take
    Returns:
        (T,), 0 or 1: below 20 steps all but the first; from 20 on every second step, ending with the last
    Raises:
        UserError: if steps is no whole number above 0, or like no tensor
    """
    steps = inputs.steps(steps)
    train = torch.zeros(steps)
    if like is not None:
        train = inputs.tensor("like", like).new_zeros(steps)
    if steps < SHORT_TRAIN:
        train[1:] = 1
    else:
        train[1 + steps % 2 :: 2] = 1
    return train


class Kernel(Loss):
    """Squared distance of the output trains from target trains, both filtered by an exponential.

    Eq. (eq-kernel-loss); Table 2, "spike train (kernel)".

    Args:
        tau_s: time constant of the filter, steps, > 1
    """

    name = "kernel"
    least_steps = 3  # with one target spike or none, e is never above 0 at a spike of the label

    def __init__(self, tau_s: float = 3.0) -> None:
        self.tau_s = real("tau_s", tau_s, above=1)

    def value_and_times(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        wanted = label_train(len(spikes), spikes)[:, None, None] * label
        error = self._filter(spikes - wanted)
        # The filter's transpose runs backwards in time: that is the gradient in s[t]; its negative is e.
        return error.square().sum() / 2, -self._filter(error.flip(0)).flip(0)

    def value_and_rates(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        value, grad_times = self.value_and_times(spikes, label, shard)
        return value, -grad_times

    def _filter(self, trains: Tensor) -> Tensor:
        filtered = torch.empty_like(trains)
        trace = torch.zeros_like(trains[0])
        for t, train in enumerate(trains):
            trace = trace * (1 - 1 / self.tau_s) + train
            filtered[t] = trace / self.tau_s
        return filtered


class TemporalEfficientTraining(Loss):
    """Cross-entropy of the output spikes at every single step, averaged over steps and samples.

    Eq. (eq-tet); Table 2, "temporal efficient training".

    Args:
        sharpness: factor on the spikes before the softmax, > 0; 1 in the paper, ln(C - 1) in (eq-balanced-tet)
    """

    name = "tet"

    def __init__(self, sharpness: float = 1.0) -> None:
        self.sharpness = real("sharpness", sharpness, above=0)

    def value_and_times(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        log_share = (self.sharpness * spikes).log_softmax(2)
        terms = len(spikes) * samples_of(spikes, shard)
        pull = self.sharpness * (label.to(spikes) - log_share.exp())
        return -torch.where(label, log_share, 0.0).sum() / terms, pull / terms

    def value_and_rates(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        value, grad_times = self.value_and_times(spikes, label, shard)
        return value, -grad_times


class Timing(Loss):
    """Distance of every output spike from a target spike in time.

    The k-th spike of the label neuron is compared with the k-th target spike, and only lateness counts; every spike
    of another neuron is to come T / sqrt(C) later. Eq. (eq-timing); Table 2, "spike train (timing)", App. 5.1.
    """

    name = "timing"
    least_steps = 2  # with one step there is no target spike, and the label is to be silent, like the others
    half_step = 0.5
    """Added to t_k - t_k^target: a spike that comes exactly at its target counts as half a step late (released)."""

    def value_and_times(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        steps, _, classes = spikes.shape
        target = self._times(label_train(steps, spikes)[:, None, None])
        late = ((self._times(spikes) - target + self.half_step) / steps).clamp(min=0)
        rank = (spikes.cumsum(0).long() - 1).clamp(min=0)
        push = torch.full_like(spikes, -1 / math.sqrt(classes))
        value = (late.square() * label).sum() + (push.square() * spikes * ~label).sum()
        return value / 2, torch.where(label, late.gather(0, rank), push)

    @staticmethod
    def _times(trains: Tensor) -> Tensor:
        """Times of the 1st, 2nd, ... spike, counted from 1; T + 1 for the missing ones. Same shape as `trains`."""
        t = torch.arange(1, len(trains) + 1, device=trains.device, dtype=trains.dtype)[:, None, None]
        return torch.where(trains > 0, t, float(len(trains) + 1)).sort(0).values


class TimeToFirstSpike(Loss):
    """Cross-entropy over the times of the first spikes: who fires first, wins.

    Eq. (eq-ttfs), (eq-ttfs-gradient); Table 2, "time to first spike (CE)", App. 5.2, Eq. 12-15, with beta = 1/T.

    Args:
        t_unfired: time after the first step at which a silent neuron counts as firing, in units of T, > 0
    """

    name = "ttfs"

    def __init__(self, t_unfired: float = 4.0) -> None:
        self.t_unfired = real("t_unfired", t_unfired, above=0)

    def value_and_times(self, spikes: Tensor, label: Tensor, shard: Shard | None = None) -> tuple[Tensor, Tensor]:
        steps = len(spikes)
        first = (spikes.cumsum(0) == 1) & (spikes > 0)
        index = torch.arange(steps, device=spikes.device, dtype=spikes.dtype)[:, None, None]
        score = torch.where(spikes.sum(0) > 0, 1 - (first * index).sum(0) / steps, 1 - self.t_unfired)
        log_share = score.log_softmax(1)
        scale = steps / samples_of(spikes, shard)
        return -scale * torch.where(label, log_share, 0.0).sum(), scale * (label.to(spikes) - log_share.exp()) * first


_ALL = EnhancedCounting, Counting, Kernel, TemporalEfficientTraining, Timing, TimeToFirstSpike
LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in _ALL}


def get(name: str, gradient: str = "time", **settings: Any) -> Loss:
    """A loss by name.

    Args:
        name: "counting", "enhanced_counting", "kernel", "tet", "timing" or "ttfs"
        gradient: what `backward` leaves in `spikes.grad`. "time": e = dL/dt at the spikes, for layers of this package.
            "rate": r = dL/d(amount) at every step and neuron, silent ones included, for surrogate-gradient networks;
            `timing` and `ttfs`, which are defined on times alone, have none
        settings: `target_label`, `target_others`, `clip`, `label_scaling` (the two counting losses); `tau_s` (kernel);
            `sharpness` (tet); `t_unfired` in units of T (ttfs)
    Raises:
        UserError: for an unknown loss or setting, a value out of range, or a gradient that the loss does not have
    """
    name = choice("loss", name, LOSSES)
    known = list(inspect.signature(LOSSES[name]).parameters)
    if strange := [setting for setting in settings if setting not in known]:
        raise unknown(f"setting of loss {name!r}", strange[0], known)
    return LOSSES[name](**settings).with_gradient(gradient)
