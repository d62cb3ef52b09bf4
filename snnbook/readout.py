"""From output spikes to a class, and to the step at which it was clear."""

from functools import cache

import torch
from torch import Tensor

from . import inputs
from .devices import without_autocast
from .errors import UserError, choice

READOUTS = ("count", "first")
"""How output spikes become a class: by their number, early ones a little more; or by the first ones above all."""

EARLY_BONUS = 0.1
"""How much more the first step's spike counts than one after the last step's would (released settings)."""


@without_autocast
def score(spikes: Tensor, readout: str = "count") -> Tensor:
    """Scores of the classes. Eq. (eq-readout), (eq-readout-first).

    With "count", a spike count that prefers early spikes on ties: sum_t o[t] (1.1 - (t - 1)/(10 T)). With "first",
    sum_t o[t] 2^(1 - t): a first spike weighs more than all later ones of another neuron (released for T = 10).

    Args:
        spikes: output spikes, (T, N, C)
        readout: one of READOUTS
    Returns:
        (N, C)
    Raises:
        UserError: for another readout, or spikes of another shape or (looked at on a CPU alone) not finite
    """
    readout = choice("readout", readout, READOUTS)
    spikes = _taken(spikes)
    return torch.einsum("tnc,t->nc", spikes, _weights(readout, len(spikes), spikes.dtype, spikes.device))


def _taken(spikes: Tensor) -> Tensor:
    """Spikes (T, N, C) as numbers to count with: truth values and integers count as well."""
    found = inputs.tensor("spikes", spikes)
    if found.dtype not in inputs.COMPUTED:
        found = found.to(torch.get_default_dtype())
    if found.dim() != 3 or 0 in (found.shape[0], found.shape[2]):
        raise UserError(f"spikes must have shape (T, N, C) with steps and classes, not {tuple(found.shape)}")
    return inputs.finite("the tensor spikes", found, "")


@cache  # a few numbers, made once, so that a GPU need not start four operations for them at every step
@torch.inference_mode(False)
def _weights(readout: str, steps: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What a spike at each step counts, (T,). Eq. (eq-readout), (eq-readout-first)."""
    t = torch.arange(steps, device=device, dtype=dtype)
    return 2.0**-t if readout == "first" else 1 + EARLY_BONUS - EARLY_BONUS * t / steps


def predict(spikes: Tensor, readout: str = "count") -> Tensor:
    """The class with the highest score, (N,), from output spikes (T, N, C). Arguments and errors as in `score`."""
    return score(spikes, readout).argmax(1)


def exit_step(spikes: Tensor, labels: Tensor, readout: str = "count") -> Tensor:
    """The step, counted from 0, at which each sample could have been decided. Eq. (eq-early-exit); App. 5.3.

    That is the first step at which exactly one output neuron fires. T where there is none, where that neuron is not
    the label, or where the full readout would choose another one (the last as in the authors' release).

    Args:
        spikes: output spikes, (T, N, C)
        labels: (N,)
        readout: one of READOUTS
    Returns:
        steps, (N,), int64, 0..T
    Raises:
        UserError: as `score`, and for labels that are not one integer per sample
    """
    spikes = _taken(spikes)
    labels = inputs.labels("labels", labels, spikes.shape[1], spikes.device)
    alone = spikes.sum(2) == 1
    step = alone.int().argmax(0)
    samples = torch.arange(len(labels), device=spikes.device)
    who = spikes[step, samples].argmax(1)
    right = alone.any(0) & (who == labels) & (who == predict(spikes, readout))
    return torch.where(right, step, len(spikes))
