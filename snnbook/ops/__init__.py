"""Spiking neurons forward and backward, by the engine that fits the device or by the one asked for.

`forward` and `backward` are the neurons alone. `get` gives an engine, which also runs whole layers (engine.py).
Tests hold all engines to the same results.
"""

import torch
from torch import Tensor

from .. import inputs
from ..errors import UserError, instance
from ..neuron import NeuronParameters
from .engine import Engine, Force, Layer, Pass, Plan
from .engines import CHOICES, ENGINES, engine_name, engine_of, uncompiled, untracked
from .saved import Saved

__all__ = [
    "CHOICES",
    "ENGINES",
    "Engine",
    "Force",
    "Layer",
    "Pass",
    "Plan",
    "Saved",
    "backward",
    "engine_name",
    "forward",
    "get",
    "uncompiled",
]


def get(engine: str, device: torch.device = torch.device("cpu"), dtype: torch.dtype = torch.float32) -> Engine:  # noqa: B008
    """Return the engine that runs on a device.

    Its methods take checked arguments, and are to be called without autograd's record (`torch.no_grad`).

    Args:
        engine: "auto", "reference", "cpu" or "triton"
        device, dtype: of the tensors that it will compute with
    Raises:
        UserError: if the name is unknown, or the engine asked for cannot run on this device, dtype or installation
    """
    return engine_of(engine_name(engine, device, dtype))


@untracked
def forward(current: Tensor, threshold: Tensor, neuron: NeuronParameters, engine: str = "auto") -> tuple[Tensor, Saved]:
    """Let the neurons of one layer integrate and fire.

    Eq. (eq-neuron) of the book; App. 1 of Zhu et al. 2023.

    Args:
        current: input current c, (T, N, C, ...), any strides
        threshold: theta, (C,)
        neuron: time constants, steps
        engine: "auto", "reference", "cpu" or "triton"
    Returns:
        spikes (T, N, C, ...) of 0 and 1, and what `backward` needs
    Raises:
        UserError: for wrong shapes, or an engine that cannot run here
    """
    is_sound = inputs.ready(current, threshold)
    if not is_sound:
        current = inputs.tensor("current", current)
    if current.dim() < 3:
        raise UserError(f"current must have shape (T, N, C, ...), not {tuple(current.shape)}")
    if len(current) == 0:
        raise UserError("current has no time step: T must be 1 or more")
    if not current.is_floating_point():
        raise UserError(f"current must hold floating-point numbers, not {current.dtype}; call .float()")
    chosen = get(engine, current.device, current.dtype)
    if not is_sound:
        current = inputs.weights("current", current)
        threshold = inputs.floats("threshold", threshold, like=current)
    if threshold.shape != current.shape[2:3]:
        raise UserError(
            f"threshold must have one entry per channel, shape ({current.shape[2]},), not {tuple(threshold.shape)}"
        )
    instance("neuron", neuron, NeuronParameters)
    return chosen.forward(current, threshold, neuron)


@untracked
def backward(grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """Carry gradients on spike times back to the input currents.

    Eq. (eq-grad-timing), (eq-grad-weight) of the book; App. 1-2 of Zhu et al. 2023.

    Args:
        grad_times: e = dL/dt at every output spike, (T, N, C, ...), 1/step; elsewhere it is not read
        saved: what `forward` returned
    Returns:
        grad_timing G_t and grad_weight G_w, both (T, N, C, ...)
    Raises:
        UserError: if the shapes differ
    """
    instance("saved", saved, Saved, "what forward returned")
    grad_times = inputs.floats("grad_times", grad_times, like=saved.spikes)
    if grad_times.shape != saved.spikes.shape:
        raise UserError(
            f"grad_times: the gradient has shape {tuple(grad_times.shape)}, the output {tuple(saved.spikes.shape)}"
        )
    return engine_of(saved.engine).backward(grad_times, saved)
