"""The engine for processors: tensors in, tensors out, around compiled passes over memory.

From equal currents its spikes are equal to the reference's to the bit. Currents, weights and gradients agree up to the
order of sums. The neurons are in neurons.py, products spike by spike in sparse.py, a first layer's products in
images.py, passes over weights in maps.py.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ...neuron import NeuronParameters
from ..affine import Affine, may_be_fast
from ..dense import DenseEngine, are_contiguous, distinct
from ..engine import Layer, Pass, Plan
from ..reference import VARIANCE_FLOOR
from ..saved import Saved
from . import images, maps, neurons, sparse
from .calls import as_maps, call, constants, currents_and_thresholds, number, runs_of, shares


class CpuEngine(DenseEngine):
    """The protocol of engine.py, compiled by Numba. Everything else is inherited: dense products of plain torch."""

    name = "cpu"

    def start(self) -> None:
        """Run the smallest pass, which every layer needs."""
        # Arrays, not tensors: torch may be in any mode.
        ones = np.ones((4, 1), np.float32)
        call(maps.fold, ones[:1], ones[1], ones[2], ones[3], np.float32(1))

    # ---- neurons ----

    def forward(self, current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
        """One pass over time for each run of neurons."""
        runs, theta = currents_and_thresholds(current, threshold)
        spikes, du, dg = (runs.new_empty((len(current), *runs.shape[1:])) for _ in range(3))
        call(neurons.forward, runs, theta, constants(neuron, runs.dtype), spikes, du, dg)
        spikes, du, dg = (as_maps(x, current.shape) for x in (spikes, du, dg))
        return spikes, Saved(spikes, du, dg, neuron, self.name)

    def backward(self, grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
        """One pass back over time for each run of neurons."""
        runs = [runs_of(x) for x in (grad_times, saved.spikes, saved.du, saved.dg)]
        timing = torch.empty_like(runs[0])
        weight = torch.empty_like(runs[0])
        call(neurons.backward, *runs, constants(saved.neuron, grad_times.dtype), timing, weight)
        return as_maps(timing, grad_times.shape), as_maps(weight, grad_times.shape)

    def pooled_forward(
        self, current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
    ) -> tuple[Tensor, Pass]:
        """Neurons and pooling in one pass. It keeps the currents (S, R, L), and the spikes as bits (bytes, R, L)."""
        runs, theta = currents_and_thresholds(current, threshold)
        shape = current.shape
        height = math.prod(shape[3:-1])
        pooled_shape = shape
        if window > 1:
            pooled_shape = torch.Size((*shape[:3], shape[3] // window, shape[4] // window))
        # Rows that fill no window are never written, and their bits are read as "no spike".
        empty = runs.new_empty if height % window == 0 else runs.new_zeros
        bits = empty((math.ceil(len(current) / 8), *runs.shape[1:]), dtype=torch.uint8)
        rows = shape[1] * math.prod(pooled_shape[3:-1])
        pooled = runs.new_empty((shape[0], rows, math.prod(pooled_shape[3:][-1:]) * shape[2]))
        k = constants(neuron, runs.dtype)
        call(neurons.forward_pooled, runs, theta, k, height, shape[2], window, shares(rows), bits, pooled)
        return as_maps(pooled, pooled_shape), Pass((runs, bits), Plan(neuron, window, shape, is_plain=False))

    def pooled_backward(self, grad_out: Tensor, pass_: Pass, sum_weight: bool = False) -> tuple[Tensor | None, Tensor]:
        """Pooling and neurons in one pass, which replays the slopes."""
        if pass_.plan.is_plain:
            return super().pooled_backward(grad_out, pass_, sum_weight)
        runs, bits = pass_.tensors
        neuron, window, shape, _ = pass_.plan
        if sum_weight and len(runs) > 1:  # currents that differ
            return None, self.pooled_backward(grad_out, pass_)[1].sum(0, keepdim=True)
        # What fills no window is never written, and has no gradient.
        fills_windows = all(side % window == 0 for side in shape[3:])
        empty = runs.new_empty if fills_windows else runs.new_zeros
        weight = empty((1 if sum_weight else shape[0], *runs.shape[1:]))
        timing = empty((0 if sum_weight else shape[0], *runs.shape[1:]))
        grad = runs_of(grad_out.to(runs.dtype))
        settings = (constants(neuron, runs.dtype), math.prod(shape[3:-1]), shape[2], window, shares(grad.shape[1]))
        call(neurons.backward_pooled, runs, grad, *settings, bits, sum_weight, timing, weight)
        if sum_weight:
            return None, as_maps(weight, torch.Size((1, *shape[1:])))
        return as_maps(timing, shape), as_maps(weight, shape)

    # ---- a whole layer ----

    def currents(self, x: Tensor, weight: Tensor, affine: Affine) -> Tensor:
        """Spike by spike where inputs are few, a product of its own for a first layer, else dense."""
        if may_be_fast(affine, x, weight):
            steps = distinct(x)
            current = None
            if len(steps) == len(x):
                current = sparse.currents(x, weight, affine.padding)
            if current is None:
                current = images.currents(steps, weight, affine.padding)
            if current is not None:
                return current.expand(len(x), *current.shape[1:])
        return super().currents(x, weight, affine)

    def layer_backward(
        self, grad_out: Tensor, pass_: Pass, x: Tensor, weight: Tensor, layer: Layer, need_x: bool, need_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Spike by spike where outputs are few, a product of its own for a first layer, else dense."""
        is_rounded = layer.affine.backward_dtype is not None
        is_dense = pass_.plan.is_plain or is_rounded or not may_be_fast(layer.affine, x, weight)
        if need_weight and not is_dense:
            repeats = len(distinct(x)) < len(x)
            grads = None
            if repeats and not need_x:
                grads = images.backward(grad_out, pass_, distinct(x), weight, layer.affine.padding)
            elif not repeats:
                grads = sparse.backward(grad_out, pass_, x, weight, layer.affine.padding, need_x)
            if grads is not None:
                return grads
        return super().layer_backward(grad_out, pass_, x, weight, layer, need_x, need_weight)

    # ---- weights ----

    def standardise(self, weight: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One pass for each row."""
        weight = weight.contiguous()
        results = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(gamma)
        floor = number(VARIANCE_FLOOR, weight.dtype)
        call(maps.standardise, weight, gamma.contiguous(), beta.contiguous(), floor, *results)
        return results

    def standardise_backward(
        self, grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Two passes for each row."""
        by_weight = torch.empty_like(grad, memory_format=torch.contiguous_format)
        results = by_weight, torch.empty_like(gamma), torch.empty_like(gamma)
        given = (grad.contiguous(), weight.contiguous(), gamma.contiguous(), mean, std)
        call(maps.standardise_backward, *given, *results)
        return results

    def fold(self, weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float) -> None:
        """One pass for each row, in place."""
        if not are_contiguous(weight, threshold, gamma, beta):
            super().fold(weight, threshold, gamma, beta, bound)
            return
        rows = weight.detach().view(len(weight), -1)
        call(maps.fold, rows, threshold, gamma, beta, number(bound, weight.dtype))

    def prepare(
        self, weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fold and standardise a row while it is in the cache."""
        if not are_contiguous(weight, threshold, gamma, beta):
            return super().prepare(weight, threshold, gamma, beta, bound)
        rows = weight.detach().view(len(weight), -1)
        results = torch.empty_like(rows), torch.empty_like(gamma), torch.empty_like(gamma)
        settings = number(bound, weight.dtype), number(VARIANCE_FLOOR, weight.dtype)
        call(maps.make_ready, rows, threshold, gamma, beta, *settings, *results)
        return results


ENGINE = CpuEngine()
