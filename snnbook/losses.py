"""The six losses: each maps output spikes to a number, and its backward to a gradient on every spike's time.

The gradient e = dL/dt stands at the spike's place in a tensor of the spikes' shape, 0 elsewhere. It is not the
derivative of the printed value in the spikes; `torch.autograd.gradcheck` fails on these losses, and must.
Where a loss is defined on rates, d(int s)/dt = -1 (eq-approximation) turns a rate gradient r into e = -r: more spikes
wanted gives e > 0, and descent moves the spikes earlier. App. 3-5 and Table 2 of Zhu et al. 2023.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from .devices import on_host
from .errors import UserError, real, switch, unknown

SHORT_TRAIN = 20
"""Steps from which on the target trains of `kernel` and `timing` fire every second step only; released, as the next."""
LABEL_SCALE_UNIT = 10.0
"""Ratio of other to label spikes above which label scaling begins."""
COUNT_FLOOR = 1e-5
"""Added to both counts of that ratio, so that a silent batch divides by no zero."""


class _TimeGradient(torch.autograd.Function):
    """Carry a loss's value forward, and its gradient on spike times backward."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, value: Tensor, grad_times: Tensor) -> Tensor:
        ctx.save_for_backward(grad_times)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_value: Tensor) -> tuple[Tensor, None, None]:
        return grad_value * ctx.saved_tensors[0], None, None


class Loss:
    """What the six have in common: checks, the one-hot labels, and the way into autograd."""

    name: ClassVar[str]
    averages: ClassVar[bool] = False  # over the samples, where the others add up
    joint: Callable[[Tensor], Tensor] = staticmethod(lambda sums: sums)  # sums over the batch from those of our share

    def value_and_times(self, spikes: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and e = dL/dt.

        Args:
            spikes: (T, N, C), 0 or 1
            label: one-hot, (N, C), bool
        Returns:
            the value, a scalar, and e, (T, N, C), 1/step; e is read at the spikes only
        """
        raise NotImplementedError

    def __call__(self, spikes: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            spikes: output spikes, (T, N, C), 0 or 1
            labels: class of every sample, (N,), integers in 0..C-1
        Returns:
            a scalar; its `backward()` leaves e = dL/dt in `spikes.grad`, 0 where there is no spike
        Raises:
            UserError: for wrong shapes, types, labels out of range, or spikes that are not finite
        """
        _check(spikes, labels)
        with torch.no_grad():
            label = labels[:, None] == torch.arange(spikes.shape[2], device=labels.device)
            value, grad_times = self.value_and_times(spikes.detach(), label)
        return _TimeGradient.apply(spikes, value, torch.where(spikes > 0, grad_times, 0.0))


def _check(spikes: Tensor, labels: Tensor) -> None:
    """Shapes and types everywhere; values on the CPU only, where looking costs no device synchronisation."""
    if spikes.dim() != 3 or 0 in spikes.shape:
        raise UserError(f"spikes must have shape (T, N, C) with no empty axis, not {tuple(spikes.shape)}")
    if not spikes.is_floating_point():
        raise UserError(f"spikes must be floating point to carry a gradient, not {spikes.dtype}; call .float()")
    if labels.shape != spikes.shape[1:2]:
        raise UserError(f"labels must have shape ({spikes.shape[1]},), one per sample, not {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise UserError(f"labels must be integers, not {labels.dtype}")
    if on_host(spikes):
        if labels.min() < 0 or labels.max() >= spikes.shape[2]:
            raise UserError(f"labels must lie in 0..{spikes.shape[2] - 1}, found {labels.min()}..{labels.max()}")
        if not bool(((spikes == 0) | (spikes == 1)).all()):
            raise UserError("spikes must be 0 or 1 everywhere; found another value (NaN counts as one)")


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

    def value_and_times(self, spikes: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        steps, count = len(spikes), spikes.sum(0)
        target = torch.where(label, self.target_label, self.target_others).to(count)
        if self.clip:
            count = torch.where(label, count.minimum(target), count.maximum(target))
        missing = target - count
        value = missing.square().sum() / (2 * steps)
        grad_times = self.per_spike(missing, count) / steps
        if self.label_scaling:
            grad_times = torch.where(label, grad_times * self.label_scale(count, label), grad_times)
        return value, grad_times.expand_as(spikes)

    def label_scale(self, count: Tensor, label: Tensor) -> Tensor:
        """The factor max(rho / 10, 1) of clipped counts and one-hot labels, both (N, C). Eq. (eq-label-scaling)."""
        on_label, on_others = self.joint((torch.stack([label, ~label]) * count).flatten(1).sum(1)) + COUNT_FLOOR
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
    """
    train = torch.zeros(steps) if like is None else like.new_zeros(steps)
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

    def __init__(self, tau_s: float = 3.0) -> None:
        self.tau_s = real("tau_s", tau_s, above=1)

    def value_and_times(self, spikes: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        wanted = label_train(len(spikes), spikes)[:, None, None] * label
        error = self._filter(spikes - wanted)
        # The filter's transpose runs backwards in time: that is the gradient in s[t]; its negative is e.
        return error.square().sum() / 2, -self._filter(error.flip(0)).flip(0)

    def _filter(self, trains: Tensor) -> Tensor:
        filtered, trace = torch.empty_like(trains), torch.zeros_like(trains[0])
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
    averages = True

    def __init__(self, sharpness: float = 1.0) -> None:
        self.sharpness = real("sharpness", sharpness, above=0)

    def value_and_times(self, spikes: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        log_share = (self.sharpness * spikes).log_softmax(2)
        samples = spikes.shape[0] * spikes.shape[1]
        pull = self.sharpness * (label.to(spikes) - log_share.exp())
        return -torch.where(label, log_share, 0.0).sum() / samples, pull / samples


class Timing(Loss):
    """Distance of every output spike from a target spike in time.

    The k-th spike of the label neuron is compared with the k-th target spike, and only lateness counts; every spike
    of another neuron is to come T / sqrt(C) later. Eq. (eq-timing); Table 2, "spike train (timing)", App. 5.1.
    """

    name = "timing"
    half_step = 0.5
    """Added to t_k - t_k^target: a spike that comes exactly at its target counts as half a step late (released)."""

    def value_and_times(self, spikes: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
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
    averages = True

    def __init__(self, t_unfired: float = 4.0) -> None:
        self.t_unfired = real("t_unfired", t_unfired, above=0)

    def value_and_times(self, spikes: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        steps, samples, _ = spikes.shape
        first = (spikes.cumsum(0) == 1) & (spikes > 0)
        index = torch.arange(steps, device=spikes.device, dtype=spikes.dtype)[:, None, None]
        score = torch.where(spikes.sum(0) > 0, 1 - (first * index).sum(0) / steps, 1 - self.t_unfired)
        log_share = score.log_softmax(1)
        scale = steps / samples
        return -scale * torch.where(label, log_share, 0.0).sum(), scale * (label.to(spikes) - log_share.exp()) * first


_ALL = EnhancedCounting, Counting, Kernel, TemporalEfficientTraining, Timing, TimeToFirstSpike
LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in _ALL}


def get(name: str, **settings: Any) -> Loss:
    """A loss by name.

    Args:
        name: "counting", "enhanced_counting", "kernel", "tet", "timing" or "ttfs"
        settings: `target_label`, `target_others`, `clip`, `label_scaling` (the two counting losses); `tau_s` (kernel);
            `sharpness` (tet); `t_unfired` in units of T (ttfs)
    Raises:
        UserError: for an unknown loss or setting, or a value out of range
    """
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    known = list(inspect.signature(LOSSES[name]).parameters)
    if strange := [setting for setting in settings if setting not in known]:
        raise unknown(f"setting of loss {name!r}", strange[0], known)
    return LOSSES[name](**settings)
