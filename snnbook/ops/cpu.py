"""The engine for processors: the reference's equations in one pass over memory, compiled by Numba.

Three small functions do the work of one place (a position in the map, all of its channels, all time steps), with the
state in the processor's first cache: `_fire` integrates, `_replay` recomputes slopes from known spikes, `_carry_back`
runs the neuron backwards. The drivers below them go over all places in parallel. Nothing T times as large as the map
is kept between forward and backward but the currents and one bit per neuron and step: the slopes are replayed.

Arithmetic is done in the reference's order, without contraction, so spikes are equal to the bit.
Inside this file arrays have channels last: currents (S, P, C), S the steps that differ (1 where the input repeats).
"""

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from ..neuron import SLOPE_BOUND_TIMING, SLOPE_BOUND_WEIGHT, NeuronParameters
from .saved import Saved

_place = njit(error_model="numpy", cache=True)
_drive = njit(error_model="numpy", cache=True, parallel=True)


@_place
def _fire(current, p, theta, k, spikes, scratch):
    """Integrate and fire at place p. Eq. (eq-neuron). Writes spikes (T, C); scratch is (4, C)."""
    decay_m, decay_s, decay_g, gain, leaky = k[0], k[1], k[2], k[3], k[4] > 0
    zero = k.dtype.type(0)
    repeats = len(current) == 1
    m, s, g = scratch[0], scratch[1], scratch[2]
    scratch[:] = zero
    for t in range(len(spikes)):
        c, o = current[0 if repeats else t, p], spikes[t]
        if leaky:
            for i in range(len(theta)):
                m_i = (m[i] + c[i]) * decay_m
                s_i = (s[i] + c[i]) * decay_s
                fired = (m_i - s_i) * gain >= theta[i]
                o[i] = fired
                m[i] = zero if fired else m_i
                s[i] = zero if fired else s_i
        else:  # m holds the potential
            for i in range(len(theta)):
                g_i = (g[i] + c[i]) * decay_g
                u_i = m[i] + g_i
                fired = u_i >= theta[i]
                o[i] = fired
                g[i] = zero if fired else g_i
                m[i] = zero if fired else u_i


@_place
def _replay(current, p, spikes, k, du, dg, q, scratch):
    """Slopes du and dg at place p from the spikes (T, C), written at place q of arrays (T, ., C)."""
    decay_m, decay_s, decay_g, gain, leaky, exact = k[0], k[1], k[2], k[3], k[4] > 0, k[5] > 0
    zero = k.dtype.type(0)
    repeats = len(current) == 1
    m, s, g, u_prev = scratch[0], scratch[1], scratch[2], scratch[3]
    scratch[:] = zero
    for t in range(len(spikes)):
        c, o, du_t, dg_t = current[0 if repeats else t, p], spikes[t], du[t, q], dg[t, q]
        for i in range(len(m)):
            m_i = (m[i] + c[i]) * decay_m
            s_i = (s[i] + c[i]) * decay_s
            g_i = (g[i] + c[i]) * decay_g
            u_i = (m_i - s_i) * gain
            slope = u_i - u_prev[i] if leaky else g_i
            du_t[i] = slope
            dg_t[i] = slope if exact else g_i
            silent = o[i] == 0
            m[i] = m_i if silent else zero
            s[i] = s_i if silent else zero
            g[i] = g_i if silent else zero
            u_prev[i] = u_i if silent else zero


@_place
def _carry_back(grad, spikes, du, dg, q, k, grad_timing, grad_weight, r, traces):
    """The neuron run backwards at place q: G_t and G_w at place r of arrays (T, ., C). Eq. (eq-grad-timing)."""
    decay_m, decay_s, decay_g, gain, exact = k[0], k[1], k[2], k[3], k[5] > 0
    bound_weight, bound_timing = k[6], k[7]
    zero, one = k.dtype.type(0), k.dtype.type(1)
    weight_m, weight_s, timing_m, timing_s, earlier = traces[0], traces[1], traces[2], traces[3], traces[4]
    traces[:] = zero
    for t in range(len(grad) - 1, -1, -1):
        e, o, du_t, dg_t = grad[t, q], spikes[t, q], du[t, q], dg[t, q]
        out_t, out_w = grad_timing[t, r], grad_weight[t, r]
        for i in range(len(e)):
            fired = o[i] > 0
            by_weight = e[i] * (-min(one / du_t[i], bound_weight) if du_t[i] > zero else zero)
            w_m = (by_weight if fired else weight_m[i]) * decay_m
            w_s = (by_weight if fired else weight_s[i]) * decay_s
            weight_m[i] = w_m
            weight_s[i] = w_s
            out_w[i] = (w_m - w_s) * gain
        if exact:
            for i in range(len(e)):
                fired = o[i] > 0
                by_timing = e[i] * (min(one / dg_t[i], bound_timing) if dg_t[i] > zero else zero)
                t_m = (by_timing if fired else timing_m[i]) * decay_m
                t_s = (by_timing if fired else timing_s[i]) * decay_s
                timing_m[i] = t_m
                timing_s[i] = t_s
                response = (t_m - t_s) * gain
                out_t[i] = response - (zero if fired else earlier[i])
                earlier[i] = response
        else:
            for i in range(len(e)):
                by_timing = e[i] * (min(one / dg_t[i], bound_timing) if dg_t[i] > zero else zero)
                t_g = (by_timing if o[i] > 0 else timing_m[i]) * decay_g
                timing_m[i] = t_g
                out_t[i] = t_g


@_drive
def _forward(current, theta, k, spikes, du, dg):
    """Spikes and slopes of every place, (T, P, C)."""
    steps, places, channels = spikes.shape
    for p in prange(places):
        scratch = np.empty((4, channels), k.dtype)
        fired = np.empty((steps, channels), np.uint8)
        _fire(current, p, theta, k, fired, scratch)
        _replay(current, p, fired, k, du, dg, p, scratch)
        for t in range(steps):
            spikes[t, p] = fired[t]


@_drive
def _backward(grad, spikes, du, dg, k, grad_timing, grad_weight):
    """G_t and G_w of every place, (T, P, C)."""
    for p in prange(grad.shape[1]):
        traces = np.empty((5, grad.shape[2]), k.dtype)
        _carry_back(grad, spikes, du, dg, p, k, grad_timing, grad_weight, p, traces)


@_drive
def _forward_pooled(current, theta, k, height, width, window, bits, pooled):
    """Spike bits of every place, (bytes, P, C), and their means over windows, (T, N rows, columns, C)."""
    steps, rows, columns, channels = pooled.shape
    size = k.dtype.type(window * window)
    map_rows = height // window
    for row in prange(rows):
        top = row // map_rows * height + row % map_rows * window
        scratch = np.empty((4, channels), k.dtype)
        fired = np.empty((steps, channels), np.uint8)
        for column in range(columns):
            for t in range(steps):
                pooled[t, row, column] = 0
            for offset in range(window * window):
                p = (top + offset // window) * width + column * window + offset % window
                _fire(current, p, theta, k, fired, scratch)
                for t in range(steps):
                    byte, mean, o = bits[t // 8, p], pooled[t, row, column], fired[t]
                    for i in range(channels):
                        byte[i] |= o[i] << (t % 8)
                        mean[i] += o[i]
            for t in range(steps):
                mean = pooled[t, row, column]
                for i in range(channels):
                    mean[i] /= size


@_drive
def _backward_pooled(current, grad, pooled, k, height, width, window, bits, sum_weight, grad_timing, grad_weight):
    """Share each window's gradient among its spikes, replay their slopes, carry back. Places outside stay 0."""
    steps, rows, columns, channels = grad.shape
    size = k.dtype.type(window * window)
    zero = k.dtype.type(0)
    map_rows = height // window
    for row in prange(rows):
        top = row // map_rows * height + row % map_rows * window
        scratch = np.empty((4, channels), k.dtype)
        traces = np.empty((5, channels), k.dtype)
        share = np.empty((steps, 1, channels), k.dtype)
        fired = np.empty((steps, 1, channels), np.uint8)
        du = np.empty((steps, 1, channels), k.dtype)
        dg = np.empty((steps, 1, channels), k.dtype)
        local = np.empty((steps, 1, channels), k.dtype)
        for column in range(columns):
            for t in range(steps):
                to, e, mean = share[t, 0], grad[t, row, column], pooled[t, row, column]
                for i in range(channels):
                    to[i] = e[i] / (size * mean[i]) if mean[i] > zero else zero
            for offset in range(window * window):
                p = (top + offset // window) * width + column * window + offset % window
                for t in range(steps):
                    byte, o = bits[t // 8, p], fired[t, 0]
                    for i in range(channels):
                        o[i] = (byte[i] >> (t % 8)) & 1
                _replay(current, p, fired[:, 0], k, du, dg, 0, scratch)
                if sum_weight:
                    _carry_back(share, fired, du, dg, 0, k, dg, local, 0, traces)  # G_t is not wanted: over dg
                    total = grad_weight[0, p]
                    for t in range(steps):
                        for i in range(channels):
                            total[i] += local[t, 0, i]
                else:
                    _carry_back(share, fired, du, dg, 0, k, grad_timing, grad_weight, p, traces)


@dataclass(frozen=True, eq=False)
class SavedPooled:
    """What `forward_pooled` leaves: currents (S, P, C), spike bits (bytes, P, C), means (T, N rows, columns, C)."""

    current: Tensor
    bits: Tensor
    pooled: Tensor
    neuron: NeuronParameters
    window: int
    current_shape: torch.Size
    output_shape: torch.Size
    engine: str = "cpu"


def _constants(neuron: NeuronParameters, dtype: torch.dtype) -> np.ndarray:
    """The constants of the kernels above, in the currents' own precision."""
    values = [neuron.decay_m, neuron.decay_s, neuron.decay_g, neuron.gain, neuron.leaky]
    values += [neuron.kernel == "exact", SLOPE_BOUND_WEIGHT, SLOPE_BOUND_TIMING]
    return torch.tensor(values, dtype=dtype).numpy()


def _run(kernel: Any, *arguments: Any) -> None:
    """Call a driver on as many threads as torch uses, tensors as arrays."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    kernel(*(x.detach().numpy() if isinstance(x, Tensor) else x for x in arguments))


def _places(x: Tensor) -> Tensor:
    """(T, N, C, ...) -> contiguous (T, P, C); no copy where memory has channels last already."""
    return x.movedim(2, -1).contiguous().flatten(1, -2)


def _currents(current: Tensor) -> Tensor:
    """(S, P, C), with S = 1 where one step is expanded over time."""
    return _places(current[:1] if current.stride(0) == 0 else current)


def _like(places: Tensor, shape: torch.Size) -> Tensor:
    """(T, P, C) -> (T, N, C, ...) of the given shape, a view."""
    return places.view(len(places), shape[1], *shape[3:], shape[2]).movedim(-1, 2)


def forward(current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
    """Arguments and results as in `snnbook.ops.forward`."""
    rows = _currents(current)
    spikes, du, dg = (rows.new_empty((len(current), *rows.shape[1:])) for _ in range(3))
    _run(_forward, rows, threshold.contiguous(), _constants(neuron, rows.dtype), spikes, du, dg)
    spikes, du, dg = (_like(x, current.shape) for x in (spikes, du, dg))
    return spikes, Saved(spikes, du, dg, neuron, "cpu")


def backward(grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
    """Arguments and results as in `snnbook.ops.backward`."""
    inputs = [_places(x) for x in (grad_times, saved.spikes, saved.du, saved.dg)]
    timing, weight = torch.empty_like(inputs[0]), torch.empty_like(inputs[0])
    _run(_backward, *inputs, _constants(saved.neuron, grad_times.dtype), timing, weight)
    return _like(timing, grad_times.shape), _like(weight, grad_times.shape)


def _extent(shape: torch.Size) -> tuple[int, int]:
    """(H, W) of a shape (T, N, C, H, W); any other trailing axes count as a map of one column."""
    return (shape[3], shape[4]) if len(shape) == 5 else (math.prod(shape[3:]), 1)


def forward_pooled(
    current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
) -> tuple[Tensor, SavedPooled]:
    """Arguments and results as in `snnbook.ops.forward_pooled`."""
    rows, shape = _currents(current), current.shape
    height, width = _extent(shape)
    bits = rows.new_zeros((math.ceil(len(current) / 8), *rows.shape[1:]), dtype=torch.uint8)
    pooled = rows.new_empty((shape[0], shape[1] * (height // window), width // window, shape[2]))
    k = _constants(neuron, rows.dtype)
    _run(_forward_pooled, rows, threshold.contiguous(), k, height, width, window, bits, pooled)
    output = torch.Size((*shape[:3], height // window, width // window) if len(shape) == 5 else shape)
    return _like(pooled, output), SavedPooled(rows, bits, pooled, neuron, window, shape, output)


def backward_pooled(grad_pooled: Tensor, saved: SavedPooled, sum_weight: bool) -> tuple[Tensor | None, Tensor]:
    """Arguments and results as in `snnbook.ops.backward_pooled`."""
    steps, shape = len(grad_pooled), saved.current_shape
    height, width = _extent(shape)
    whole = height % saved.window == 0 and width % saved.window == 0
    empty = saved.current.new_empty if whole and not sum_weight else saved.current.new_zeros
    weight = empty((1 if sum_weight else steps, *saved.current.shape[1:]))
    timing = saved.current.new_empty((1, 1, 1)) if sum_weight else empty(weight.shape)
    grad = _places(grad_pooled).view(saved.pooled.shape)
    k = _constants(saved.neuron, grad.dtype)
    arguments = (saved.current, grad, saved.pooled, k, height, width, saved.window, saved.bits, sum_weight)
    _run(_backward_pooled, *arguments, timing, weight)
    if sum_weight:
        return None, _like(weight, torch.Size((1, *shape[1:])))
    return _like(timing, shape), _like(weight, shape)
