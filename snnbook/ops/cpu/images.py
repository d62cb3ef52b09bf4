"""The CPU engine's way through a first layer, whose maps have few channels: dense, with what it reads in registers.

A library's convolution is made for many channels. Here every entry of an image is a factor, and what it meets, the
weights of up to LANES outputs or the gradients of one place, is a vector:

    total[p apart + i] += sum over r, j of vectors[r row + j step + i] factors[r line + j along + p across]

for p < number and i < lanes. With places as p and the kernel's entries as r and j that is a row of currents; with the
kernel's entries as p and the places of a row as j, what that row adds to the gradient of the weights.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic
from torch import Tensor
from torch.nn import functional as F

from ..engine import Pass
from . import tuning
from .calls import call, constants, runs_of, shares
from .jit import compiled
from .llvm_rows import LANES, Vectors, aligned, going_round, own_function
from .neurons import _sum_back, _unpack_window, _widen

_driver = compiled(parallel=True, fastmath={"contract"})


def _products_function(module: Any, element: Any, size: int, most: int) -> ir.Function:
    """What `add_products` calls, with its arguments from `total` on, arrays as pointers to where they begin.

    It takes up to `most` sums at a time, each number of them by loops of its own.
    """
    word = ir.IntType(64)
    pointer = element.as_pointer()
    arguments = [pointer, word, pointer, word, word, pointer, *[word] * 7]
    function, empty = own_function(module, f"snnbook_add_products_{8 * size}", arguments)
    if not empty:
        return function
    all_total, apart, vectors, step, row, all_factors, along, line, across, rows, count, all_number, lanes = (
        function.args
    )
    entry, piece, following, done = (function.append_basic_block(n) for n in ("entry", "piece", "following", "done"))
    builder = ir.IRBuilder(entry)
    builder.branch(piece)

    builder.position_at_end(piece)
    total = builder.phi(pointer)
    factors = builder.phi(pointer)
    number = builder.phi(word)
    sums = builder.select(builder.icmp_signed("<", number, word(most)), number, word(most))
    choice = builder.switch(sums, done)
    for chosen in range(1, most + 1):
        block = function.append_basic_block(f"sums_{chosen}")
        choice.add_case(word(chosen), block)
        builder.position_at_end(block)
        given = total, apart, vectors, step, row, factors, along, line, across, rows, count
        _emit_products(Vectors(builder, element, size), *given, chosen, lanes)
        builder.branch(following)

    builder.position_at_end(following)
    left = builder.sub(number, sums)
    next_total = builder.gep(total, [builder.mul(sums, apart)])
    next_factors = builder.gep(factors, [builder.mul(sums, across)])
    begin = (all_total, all_factors, all_number)
    ahead = (next_total, next_factors, left)
    going_round((total, factors, number), begin, entry, ahead, following)
    builder.cbranch(builder.icmp_signed(">", left, word(0)), piece, done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


def _emit_products(
    vectors: Vectors, total: Any, apart: Any, source: Any, step: Any, row: Any, factors: Any, along: Any, line: Any,
    across: Any, rows: Any, count: Any, chosen: int, lanes: Any,
) -> None:  # fmt: skip
    """The sums of `chosen` neighbours, rows and count at least 1."""
    builder, word = vectors.builder, step.type
    places = [builder.gep(total, [builder.mul(apart, word(p))]) for p in range(chosen)]
    begun = [vectors.load(place, lanes) for place in places]
    before, outer, inner, next_row, end = (
        builder.block,
        *(builder.append_basic_block(name) for name in ("outer", "inner", "next_row", "end")),
    )
    builder.branch(outer)

    builder.position_at_end(outer)
    r = builder.phi(word)
    source_row = builder.phi(source.type)
    factor_row = builder.phi(factors.type)
    of_row = [builder.phi(vectors.type) for _ in begun]
    builder.branch(inner)

    builder.position_at_end(inner)
    j = builder.phi(word)
    vector_at = builder.phi(source.type)
    factor_at = builder.phi(factors.type)
    sums = [builder.phi(vectors.type) for _ in begun]
    vector = vectors.load(vector_at, lanes)
    added = []
    for p, one in enumerate(sums):
        factor = vectors.spread(builder.load(builder.gep(factor_at, [builder.mul(across, word(p))])))
        added.append(builder.fadd(one, builder.fmul(vector, factor, flags=("contract",)), flags=("contract",)))
    following = builder.add(j, word(1))
    begin = word(0), source_row, factor_row, *of_row
    ahead = following, builder.gep(vector_at, [step]), builder.gep(factor_at, [along]), *added
    going_round((j, vector_at, factor_at, *sums), begin, outer, ahead, inner)
    builder.cbranch(builder.icmp_signed("<", following, count), inner, next_row)

    builder.position_at_end(next_row)
    later = builder.add(r, word(1))
    begin = word(0), source, factors, *begun
    ahead = later, builder.gep(source_row, [row]), builder.gep(factor_row, [line]), *added
    going_round((r, source_row, factor_row, *of_row), begin, before, ahead, next_row)
    builder.cbranch(builder.icmp_signed("<", later, rows), outer, end)

    builder.position_at_end(end)
    for value, place in zip(added, places, strict=True):
        vectors.store(value, place, lanes)


@intrinsic
def add_products(
    typing: Any, total: Any, at: Any, apart: Any, vectors: Any, first: Any, step: Any, row: Any, factors: Any,
    start: Any, along: Any, line: Any, across: Any, rows: Any, count: Any, number: Any, lanes: Any,
) -> Any:  # fmt: skip
    """The sums above, from total[at], vectors[first] and factors[start] on; r runs up to `rows`, j to `count`.

    Arrays are flat and of one type; all numbers of things are 1 or more, `lanes` LANES at most. No bound is checked,
    and nothing beside the sums is touched.
    """
    word = types.intp

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        def begin(array: int, place: int) -> Any:
            data = context.make_array(signature.args[array])(context, builder, values[array]).data
            return builder.gep(data, [values[place]])

        element = context.get_value_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(element)
        most = tuning.WIDE_SUMS if "+avx512f" in context.codegen().magic_tuple()[2] else tuning.SUMS
        function = _products_function(builder.module, element, size, most)
        arguments = begin(0, 1), values[2], begin(3, 4), values[5], values[6], begin(7, 8), *values[9:]
        builder.call(function, arguments)
        return context.get_dummy_value()

    return types.void(total, word, word, vectors, word, word, word, factors, *[word] * 8), emit


@_driver
def _currents(image, weight, side, inputs, channels, current):
    """Currents (B, H', W' C_out) of padded images (B, H, W C_in).

    Args:
        weight: (blocks, K K C_in, LANES), for a block of output channels each
        side, inputs, channels: K, C_in, C_out
    """
    images, height, length = current.shape
    blocks, taps, _ = weight.shape
    line = image.shape[2]
    span = taps // side
    width = length // channels
    factors = image.reshape(-1)
    weights = weight.reshape(-1)
    total = current.reshape(-1)
    for r in prange(images * height):
        at = r * length
        total[at : at + length] = 0
        start = (r // height * image.shape[1] + r % height) * line
        for block in range(blocks):
            first = block * LANES
            add_products(
                total, at + first, channels, weights, block * taps * LANES, LANES, span * LANES,
                factors, start, 1, line, inputs, side, span, width, min(LANES, channels - first),
            )  # fmt: skip


@_driver
def _weight_gradient(current, grad, k, height, channels, window, bits, image, side, inputs, partial):
    """grad_W of a layer whose input, a padded image (N, H, W C_in), repeats at every step. Eq. (eq-grad-weight).

    Arguments up to `bits` as in `neurons.backward_pooled`, but for `shares`: here a share of the rows adds to each
    of partial (shares, blocks, K K C_in, LANES), where channels that there are not get 0.
    """
    steps, rows, _ = grad.shape
    length = current.shape[2]
    map_rows = height // window
    shares, blocks, taps, _ = partial.shape
    line = image.shape[2]
    span = taps // side
    width = length // channels
    factors = image.reshape(-1)
    for share in prange(shares):
        total = partial[share].reshape(-1)
        total[:] = 0
        x = np.empty((3, length), k.dtype)
        gradient = aligned(length, current)
        wide = np.empty((steps, length), k.dtype)
        sums = np.empty((steps, length), k.dtype)
        fired = np.empty((window, steps, length), np.uint8)
        for row in range(rows * share // shares, rows * (share + 1) // shares):
            n = row // map_rows
            top = row % map_rows * window
            _unpack_window(bits, n * height + top, fired, sums)
            _widen(grad, row, sums, window, channels, wide)
            for offset in range(window):
                y = top + offset
                _sum_back(wide, fired[offset], current[0, n * height + y], k, gradient, x[0], x[1], x[2])
                for i in range(side):
                    start = (n * image.shape[1] + y + i) * line
                    for block in range(blocks):
                        first = block * LANES
                        add_products(
                            total, (block * taps + i * span) * LANES, LANES, gradient, first, channels, 0,
                            factors, start, inputs, 0, 1, 1, width, span, min(LANES, channels - first),
                        )  # fmt: skip


def currents(x: Tensor, weight: Tensor, padding: int) -> Tensor | None:
    """Input currents of a first layer, or None where torch's product is faster.

    Args:
        x: the steps that differ, (S, N, C_in, H, W)
        weight: W_hat, (C_out, C_in, K, K)
        padding: zeros on every side of the map, positions
    Returns:
        (S, N, C_out, H', W')
    """
    if not _of_images(x, weight, padding):
        return None
    outputs, inputs, side, _ = weight.shape
    map_ = [size + 2 * padding - side + 1 for size in x.shape[3:]]
    if min(map_) < 1:
        return None
    taps = weight.new_zeros((side * side * inputs, math.ceil(outputs / LANES) * LANES))
    taps[:, :outputs] = weight.permute(2, 3, 1, 0).flatten(0, 2)
    taps = taps.unflatten(1, (-1, LANES)).movedim(1, 0).contiguous()
    current = x.new_empty((x.shape[0] * x.shape[1], map_[0], map_[1] * outputs))
    call(_currents, _framed(x, padding), taps, side, inputs, outputs, current)
    return current.view(*x.shape[:2], *map_, outputs).movedim(-1, 2)


def backward(grad_out: Tensor, pass_: Pass, x: Tensor, weight: Tensor, padding: int) -> tuple[None, Tensor] | None:
    """Gradient of the weight of a first layer whose image repeats at every step; None where this way does not apply.

    Args:
        grad_out, pass_: as in `Engine.layer_backward`
        x: the image, (1, N, C_in, H, W)
        weight, padding: as in `currents`
    """
    runs, bits = pass_.tensors
    neuron, window, shape, _ = pass_.plan
    if not _of_images(x, weight, padding) or len(runs) > 1:
        return None
    outputs, inputs, side, _ = weight.shape
    grad = runs_of(grad_out.to(x.dtype))
    partial = x.new_empty((shares(grad.shape[1]), math.ceil(outputs / LANES), side * side * inputs, LANES))
    settings = (constants(neuron, x.dtype), shape[3], outputs, window, bits, _framed(x, padding), side, inputs)
    call(_weight_gradient, runs, grad, *settings, partial)
    taps = partial.sum(0).movedim(0, 1).flatten(1)[:, :outputs]
    return None, taps.view(side, side, inputs, outputs).permute(3, 2, 0, 1)


def _of_images(x: Tensor, weight: Tensor, padding: int) -> bool:
    """Whether this is a first layer that the products here are made for."""
    return (
        weight.dim() == 4
        and weight.shape[1] < tuning.NARROW
        and len(weight) <= tuning.FEW_OUTPUTS
        and padding < weight.shape[2] == weight.shape[3]
        and x.dtype == weight.dtype
    )


def _framed(x: Tensor, padding: int) -> Tensor:
    """Maps (T, N, C, H, W) with their zeros around them, (T N, H + 2 padding, (W + 2 padding) C)."""
    maps = x.flatten(0, 1).movedim(1, -1)
    if padding:
        maps = F.pad(maps, (0, 0, padding, padding, padding, padding))
    return maps.contiguous().flatten(2)
