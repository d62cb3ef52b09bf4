"""The engine for GPUs, in Triton: tensors in, tensors out, around the kernels of neurons.py, weights.py and maps.py.

From equal currents spikes are equal to the reference's to the bit; weights and gradients agree up to the order of
sums and the last bits of divisions. Without a GPU the kernels run in Triton's interpreter (TRITON_INTERPRET=1), which
is for tests.
"""

import math
from typing import Any

import torch
import triton
from torch import Tensor

from ...neuron import SLOPE_BOUND_TIMING, SLOPE_BOUND_WEIGHT, NeuronParameters
from .. import reference
from ..affine import Affine, may_be_fast
from ..dense import DenseEngine, are_contiguous, distinct
from ..engine import Force, Layer, Pass, Plan
from ..reference import VARIANCE_FLOOR
from ..saved import Saved
from . import maps, weights
from . import neurons as kernels

BLOCK, BLOCK_BACK = 512, 256
"""Neurons of a program, forward and backward. Backward each neuron takes more registers."""

ROW = 4096
"""Weights of a row that a program processes at once."""

LONGEST, SHORT = 12, 8
"""Most steps that the kernels process in one chunk, and the length of chunks for more steps: whole bytes of bits."""

INTERPRETED = 8
"""Block-size multiplier under the interpreter, where cost grows with the number of programs."""

WRITTEN_OUT = 72
"""Most steps times neurons of a window that the fused kernel unrolls. With more, pooling is torch's."""

OPTIONS = {"enable_fp_fusion": False}
"""Of the compiler: a fused multiply-add would move spikes away from those of the reference."""


def _flat(x: Tensor) -> Tensor:
    """(T, N, C, ...) -> contiguous (T, size)."""
    return x.contiguous().flatten(1)


def _currents(current: Tensor) -> tuple[Tensor, int]:
    """Currents (S, size), S = 1 where one step is expanded over time, and how far apart steps are: 0 or size."""
    repeats = current.stride(0) == 0
    flat = _flat(current[:1] if repeats else current)
    return flat, 0 if repeats else flat.shape[1]


def _decays(neuron: NeuronParameters) -> tuple[float, ...]:
    return neuron.decay_m, neuron.decay_s, neuron.decay_g, neuron.gain


def _sides(shape: torch.Size) -> tuple[int, int]:
    """Height and width of (T, N, C, ...)."""
    return tuple(shape[3:]) if len(shape) == 5 else (1, math.prod(shape[3:]))


def _launch(kernel: Any, outputs: int, *arguments: Any, block: int = BLOCK, each: int = 1, **constants: Any) -> None:
    """Start a program for every block of outputs, of so many neurons each, on the device that holds the tensors."""
    block = block if arguments[0].is_cuda else INTERPRETED * block
    wide = max(32, block // triton.next_power_of_2(each))
    with torch.cuda.device_of(arguments[0]):
        kernel[(triton.cdiv(outputs, wide),)](*arguments, **constants, WIDE=wide, **OPTIONS)


def chunk(steps: int, back: bool = False) -> int:
    """How many steps the kernels take at once."""
    if back:  # of nearly equal length: all chunks but the last are gone through twice
        return triton.cdiv(steps, triton.cdiv(steps, SHORT))
    return steps if steps <= LONGEST else SHORT


class TritonEngine(DenseEngine):
    """The protocol of engine.py in Triton. Everything else is inherited: dense products of plain torch."""

    name = "triton"

    # ---- neurons ----

    def forward(self, current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
        """One program for each block of neurons, with all steps in it."""
        flat, stride = _currents(current)
        size = current[0].numel()
        spikes, du, dg = (flat.new_empty((len(current), size)) for _ in range(3))
        settings = (size, stride, math.prod(current.shape[3:]), len(threshold), len(current), *_decays(neuron))
        kind = {"LEAKY": neuron.leaky, "EXACT": neuron.kernel == "exact", "CHUNK": chunk(len(current))}
        _launch(kernels.forward, size, flat, threshold.contiguous(), spikes, du, dg, *settings, **kind)
        spikes, du, dg = (x.view(current.shape) for x in (spikes, du, dg))
        return spikes, Saved(spikes, du, dg, neuron, self.name)

    def backward(self, grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
        """One program for each block of neurons, back through all steps."""
        given = [_flat(x) for x in (grad_times, saved.spikes, saved.du, saved.dg)]
        timing = torch.empty_like(given[0])
        weight = torch.empty_like(given[0])
        steps, size = given[0].shape
        settings = (size, steps, *_decays(saved.neuron), SLOPE_BOUND_WEIGHT, SLOPE_BOUND_TIMING)
        kind = {"EXACT": saved.neuron.kernel == "exact", "CHUNK": chunk(steps)}
        _launch(kernels.backward, size, *given, timing, weight, *settings, **kind)
        return timing.view(grad_times.shape), weight.view(grad_times.shape)

    def pooled_forward(
        self, current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
    ) -> tuple[Tensor, Pass]:
        """Neurons and pooling in one kernel. It keeps currents (S, size), bits (bytes, size), means (T, count)."""
        flat, stride = _currents(current)
        shape = current.shape
        size = current[0].numel()
        plan = Plan(neuron, window, shape, is_plain=False)
        if window > 1 and window**2 * chunk(len(current)) > WRITTEN_OUT:
            spikes, unpooled = self.pooled_forward(current, threshold, neuron, 1)
            pooled = reference.pool_forward(spikes, window)
            return pooled, Pass((flat, unpooled.tensors[1], _flat(pooled)), plan)
        pooled_shape = shape
        if window > 1:
            pooled_shape = torch.Size((*shape[:3], shape[3] // window, shape[4] // window))
        bits = flat.new_empty((math.ceil(len(current) / 8), size), dtype=torch.uint8)
        pooled = flat.new_empty((len(current), math.prod(pooled_shape[1:])))
        settings = (size, stride, pooled.shape[1], *_sides(shape), shape[2], len(current), *_decays(neuron))
        kind = {"LEAKY": neuron.leaky, "WINDOW": window, "CHUNK": chunk(len(current))}
        arguments = (flat, threshold.contiguous(), bits, pooled, *settings)
        _launch(kernels.forward_pooled, pooled.shape[1], *arguments, each=window**2, **kind)
        return pooled.view(pooled_shape), Pass((flat, bits, pooled), plan)

    def pooled_backward(self, grad_out: Tensor, pass_: Pass, sum_weight: bool = False) -> tuple[Tensor | None, Tensor]:
        """Pooling and neurons in one kernel, which replays the slopes."""
        if pass_.plan.is_plain:
            return super().pooled_backward(grad_out, pass_, sum_weight)
        if not sum_weight:
            return _pooled_backward(grad_out, pass_, grad_out.new_zeros(2, dtype=torch.int32))
        given, settings, kind = _backward_arguments(grad_out, pass_)
        shape = pass_.plan.current_shape
        size = given[-1].shape[1]
        weight = given[0].new_empty((1, size))
        _launch(kernels.backward_summed, size, *given, weight, *settings, **kind)
        return None, weight.view(1, *shape[1:])

    # ---- a whole layer ----

    def currents(self, x: Tensor, weight: Tensor, affine: Affine) -> Tensor:
        """Products of halves where they fit, else dense."""
        if not _uses_halves(x, weight, affine):
            return super().currents(x, weight, affine)
        return _currents_of_halves(maps.of_layer(x, weight, affine.padding), x, weight, affine.padding)

    def layer_forward(
        self, x: Tensor, weight: Tensor, threshold: Tensor, layer: Layer, force: Force | None = None
    ) -> tuple[Tensor, Tensor, Pass]:
        """As inherited, but where products of halves are used, the halves are kept for the backward pass."""
        if force is not None or not _uses_halves(x, weight, layer.affine):
            return super().layer_forward(x, weight, threshold, layer, force)
        halves = maps.of_layer(x, weight, layer.affine.padding)
        current = _currents_of_halves(halves, x, weight, layer.affine.padding)
        out, pass_ = self.pooled_forward(current, threshold, layer.neuron, layer.window)
        kept = [tensor for each in halves for tensor in (each.values, each.largest, each.more)]
        return out, out, Pass((*pass_.tensors, *kept), pass_.plan)

    def layer_backward(
        self, grad_out: Tensor, pass_: Pass, x: Tensor, weight: Tensor, layer: Layer, need_x: bool, need_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Products of halves where they fit, else dense."""
        is_dense = pass_.plan.is_plain or layer.affine.backward_dtype is not None or not need_weight
        kept = pass_.tensors[3:]
        pass_ = Pass(pass_.tensors[:3], pass_.plan)
        if is_dense or not _uses_halves(x, weight, layer.affine):
            return super().layer_backward(grad_out, pass_, x, weight, layer, need_x, need_weight)
        if kept:
            inputs, weights_ = maps.put_together(kept)
        else:
            inputs, weights_ = maps.of_layer(x, weight, layer.affine.padding)
        largest = grad_out.new_zeros(2, dtype=torch.int32)
        timing, steady = (grad.flatten(0, 1) for grad in _pooled_backward(grad_out, pass_, largest))
        grad_x = None
        if need_x:
            around = weight.shape[-1] - 1 - layer.affine.padding if weight.dim() == 4 else 0
            halves = maps.split(timing, True, around, largest[0])
            grad_x = maps.grad_input(halves, weights_, x.flatten(0, 1)).view(x.shape)
        halves = maps.split(steady, True, 0, largest[1])
        return grad_x, maps.grad_weight(halves, inputs, weight.shape, maps.sides(steady.shape))

    # ---- weights ----

    def standardise(self, weight: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One program for each row."""
        weight = weight.contiguous()
        results = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(gamma)
        given = (weight, gamma.contiguous(), beta.contiguous())
        _launch_rows(weights.standardise, weight, *given, *results, VARIANCE_FLOOR)
        return results

    def standardise_backward(
        self, grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One program for each row."""
        given = [each.contiguous() for each in (grad, weight, gamma, mean, std)]
        # rows, as the kernel writes them
        results = [torch.empty_like(each) for each in (given[1], given[2], given[2])]
        _launch_rows(weights.standardise_backward, given[1], *given, *results)
        return tuple(results)

    def fold(self, weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float) -> None:
        """One program for each row, in place."""
        if not are_contiguous(weight, threshold, gamma, beta):
            super().fold(weight, threshold, gamma, beta, bound)
            return
        rows = weight.data
        _launch_rows(weights.fold, rows, rows, threshold.data, gamma.data, beta.data, bound)


def _backward_arguments(grad_out: Tensor, pass_: Pass) -> tuple[tuple, tuple, dict[str, Any]]:
    """Tensors, numbers and compile-time constants that both backward kernels take."""
    current, bits, pooled = pass_.tensors
    neuron, window, shape, _ = pass_.plan
    steps, count = pooled.shape
    size = bits.shape[1]
    stride = 0 if len(current) < steps else size
    settings = (size, stride, count, *_sides(shape), steps, *_decays(neuron), SLOPE_BOUND_WEIGHT)
    kind = {"LEAKY": neuron.leaky, "WINDOW": window, "CHUNK": chunk(steps, back=True)}
    return (current, _flat(grad_out), pooled, bits), settings, kind


def _pooled_backward(grad_out: Tensor, pass_: Pass, largest: Tensor) -> tuple[Tensor, Tensor]:
    """G_t and G_w. `largest`, two int32 of 0, gets the bits of their largest magnitudes."""
    given, settings, kind = _backward_arguments(grad_out, pass_)
    neuron, _, shape, _ = pass_.plan
    size = given[-1].shape[1]
    timing = given[0].new_empty((shape[0], size))
    weight = given[0].new_empty((shape[0], size))
    kind["EXACT"] = neuron.kernel == "exact"
    arguments = (*given, timing, weight, largest, *settings, SLOPE_BOUND_TIMING)
    _launch(kernels.backward_pooled, size, *arguments, block=BLOCK_BACK, **kind)
    return timing.view(shape), weight.view(shape)


def _uses_halves(x: Tensor, weight: Tensor, affine: Affine) -> bool:
    """Whether the layer's products are made from halves (maps.py)."""
    repeats = len(distinct(x)) < len(x)
    return may_be_fast(affine, x, weight) and not repeats and maps.fits(x, weight, affine.padding)


def _currents_of_halves(halves: Any, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Input currents (T, N, C_out, ...) from the halves of inputs and weights."""
    sides = [side + 2 * padding - weight.shape[2] + 1 for side in x.shape[3:]]
    shape = torch.Size((len(x) * x.shape[1], len(weight), *sides))
    return maps.current(*halves, shape).unflatten(0, x.shape[:2])


def _launch_rows(kernel: Any, weight: Tensor, *arguments: Any) -> None:
    """Start a program for every row of weights; `arguments` end before the row's length."""
    fan = weight[0].numel()
    wide = min(ROW, triton.next_power_of_2(fan))
    with torch.cuda.device_of(weight):
        kernel[(len(weight),)](*arguments, fan, WIDE=wide, num_warps=8 if wide == ROW else 4, **OPTIONS)


ENGINE = TritonEngine()
