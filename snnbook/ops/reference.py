"""The equations in plain torch, one line each: what the book lists, and what every faster engine is compared with.

Runs on any device and dtype. Time is the first axis; a layer's threshold has one entry per channel.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..neuron import SLOPE_BOUND_TIMING, SLOPE_BOUND_WEIGHT, NeuronParameters
from .saved import Saved

VARIANCE_FLOOR = 1e-5
"""Added to a channel's weight variance before its root is taken (released settings)."""


def forward(current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
    """Let the neurons of one layer integrate and fire.

    Eq. (eq-neuron) of the book; App. 1 of Zhu et al. 2023.

    Args:
        current: input current c, (T, N, C, ...)
        threshold: theta, (C,)
        neuron: time constants, steps
    Returns:
        spikes (T, N, C, ...) of 0 and 1, and what backward needs
    """
    theta = threshold.reshape(-1, *[1] * (current.dim() - 3))
    m = s = g = u_prev = torch.zeros_like(current[0])
    spikes = []
    slopes = []
    traces = []
    for c in current:
        m = (m + c) * neuron.decay_m
        s = (s + c) * neuron.decay_s
        g = (g + c) * neuron.decay_g
        u = (m - s) * neuron.gain if neuron.leaky else u_prev + g
        du = u - u_prev if neuron.leaky else g
        fired = u >= theta
        spikes.append(fired.to(current.dtype))
        slopes.append(du)
        traces.append(g if neuron.kernel == "exponential" else du)
        m, s, g, u_prev = (x.masked_fill(fired, 0) for x in (m, s, g, u))
    spikes = torch.stack(spikes)
    du = torch.stack(slopes)
    dg = torch.stack(traces) if neuron.kernel == "exponential" and neuron.leaky else du
    return spikes, Saved(spikes, du, dg, neuron, "reference")


def time_slope(slope: Tensor, bound: float) -> Tensor:
    """How far a spike moves when its potential is raised: -1/slope, cut to [-bound, 0]. Eq. (eq-time-slope).

    A slope of 0 or below gives 0: there the crossing time is no function of the potential.

    Args:
        slope: du or dg, any shape
        bound: largest magnitude kept
    """
    return torch.where(slope > 0, -1 / slope, 0.0).clamp(min=-bound)


def decayed(start: Tensor, spikes: Tensor, decay: float) -> Tensor:
    """A trace that every output spike starts anew, k steps before it: start decay^(k+1). (T, N, C, ...)."""
    trace = torch.zeros_like(start[0])
    traces = torch.empty_like(start)
    for t in reversed(range(len(start))):
        trace = torch.where(spikes[t] > 0, start[t], trace) * decay
        traces[t] = trace
    return traces


def response(start: Tensor, spikes: Tensor, neuron: NeuronParameters) -> Tensor:
    """start eps(k), the potential's response to an input k steps before the spike. Eq. (eq-response)."""
    slow = decayed(start, spikes, neuron.decay_m)
    fast = decayed(start, spikes, neuron.decay_s)
    return (slow - fast) * neuron.gain


def credit(start: Tensor, spikes: Tensor, neuron: NeuronParameters) -> Tensor:
    """start kappa(k), the response's slope in the input's time. Eq. (eq-kappa)."""
    if neuron.kernel == "exponential":
        return decayed(start, spikes, neuron.decay_g)
    now = response(start, spikes, neuron)
    later = torch.cat([now[1:], torch.zeros_like(now[:1])])
    return now - later.masked_fill(spikes > 0, 0)


def backward(grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """Carry gradients on spike times back to the input currents: the neuron, run backwards in time.

    Eq. (eq-grad-timing), (eq-grad-weight) of the book; App. 1-2 of Zhu et al. 2023.

    Args:
        grad_times: e = dL/dt at every output spike, (T, N, C, ...), 1/step; elsewhere it is not read
        saved: what `forward` returned
    Returns:
        grad_timing G_t and grad_weight G_w, both (T, N, C, ...)
    """
    by_timing = -grad_times * time_slope(saved.dg, SLOPE_BOUND_TIMING)
    by_weight = grad_times * time_slope(saved.du, SLOPE_BOUND_WEIGHT)
    grad_timing = credit(by_timing, saved.spikes, saved.neuron)
    grad_weight = response(by_weight, saved.spikes, saved.neuron)
    return grad_timing, grad_weight


def pool_forward(spikes: Tensor, window: int) -> Tensor:
    """Average pooling over windows of `window` x `window`. Eq. (eq-pool).

    Args:
        spikes: (T, N, C, H, W); rows and columns that fill no window are left out
        window: side of the window, >= 1
    Returns:
        means, (T, N, C, H // window, W // window)
    """
    return F.avg_pool2d(spikes.flatten(0, 1), window).unflatten(0, spikes.shape[:2])


def pool_backward(grad_pooled: Tensor, spikes: Tensor, window: int) -> Tensor:
    """Divide a window's gradient equally among its spikes, so that the sum is conserved. Eq. (eq-pool).

    Args:
        grad_pooled: dL/dt at the pooled outputs, (T, N, C, H // window, W // window), 1/step
        spikes: what was pooled, (T, N, C, H, W)
        window: side of the window
    Returns:
        dL/dt at the spikes, (T, N, C, H, W), 0 elsewhere
    """
    mean = pool_forward(spikes, window)
    each = torch.where(mean > 0, grad_pooled / (window**2 * mean), 0.0)
    each = each.repeat_interleave(window, -2).repeat_interleave(window, -1)
    rows, columns = (full - part for full, part in zip(spikes.shape[-2:], each.shape[-2:], strict=True))
    return F.pad(each, (0, columns, 0, rows)) * spikes


def fold(weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float) -> None:
    """theta <- theta/gamma, beta <- beta/gamma, gamma <- 1, and |W| <= bound. Eq. (eq-fold); App. 1.

    Args:
        weight: raw W, (C_out, ...)
        threshold, gamma, beta: (C_out,)
        bound: largest magnitude of a raw weight
    """
    threshold.div_(gamma)
    beta.div_(gamma)
    gamma.fill_(1)
    weight.clamp_(-bound, bound)


def standardise(weight: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W_hat = gamma (W - mean) / sqrt(var + 1e-5) + beta per output channel. Eq. (eq-standardise); App. 1.

    Args:
        weight: raw W, (C_out, fan-in)
        gamma, beta: (C_out,)
    Returns:
        W_hat (C_out, fan-in), and the raw weights' mean and standard deviation, (C_out,)
    """
    mean = weight.mean(1)
    centred = weight - mean[:, None]
    variance = torch.linalg.vecdot(centred, centred) / (weight.shape[1] - 1)
    std = (variance + VARIANCE_FLOOR).sqrt()
    return gamma[:, None] * centred / std[:, None] + beta[:, None], mean, std


def standardise_backward(
    grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `standardise` in closed form, which takes a third of the passes over memory that autograd would.

    With c = w - mean and n weights a channel: dL/dgamma = sum(G c) / std, dL/dbeta = sum(G), and
    dL/dw = gamma / std (G - mean(G) - c sum(G c) / ((n - 1) std^2)).

    Args:
        grad: G = dL/dW_hat, (C_out, fan-in)
        weight, gamma, mean, std: as `standardise` took and returned them
    Returns:
        dL/dW (C_out, fan-in), dL/dgamma and dL/dbeta (C_out,)
    """
    centred = weight - mean[:, None]
    scale = gamma / std
    grad_beta = grad.sum(1)
    product = torch.linalg.vecdot(grad, centred)
    evenly = scale * grad_beta / grad.shape[1]
    along = scale * product / ((grad.shape[1] - 1) * std**2)
    return scale[:, None] * grad - evenly[:, None] - along[:, None] * centred, product / std, grad_beta
