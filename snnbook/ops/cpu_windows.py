"""Pooling windows along a row of a map, written in LLVM's own terms like the sums of cpu_rows.py.

A row has its columns one after another, each with all of its channels. So what belongs to one window lies `channels`
entries apart, in runs that are too short for the loops a compiler makes.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu_rows import LANES, Vectors, own_function


def _function(module: Any, element: Any, size: int, shared: bool) -> ir.Function:
    """(sums, windows, channels, window, pooled) or, `shared`, (..., pooled, wide); arrays are pointers."""
    word, pointer = ir.IntType(64), element.as_pointer()
    name, arguments = f"snnbook_{'share' if shared else 'pool'}_{8 * size}", [pointer, word, word, word, pointer]
    function, empty = own_function(module, name, [*arguments, pointer] if shared else arguments)
    if not empty:
        return function
    sums, windows, channels, window, pooled, *wide = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vectors = Vectors(builder, element, size)
    total = cgutils.alloca_once(builder, vectors.type)
    every_window = cgutils.for_range(builder, windows)
    every_vector = cgutils.for_range_slice(builder, word(0), channels, word(LANES), inc=True)
    with every_window as across, every_vector as (channel, _):
        length = builder.sub(channels, channel)
        at = builder.mul(across.index, channels)
        place = builder.gep(pooled, [builder.add(at, channel)])
        first = builder.add(builder.mul(at, window), channel)

        def column(start: Any, number: Any, first: Any = first) -> Any:
            return builder.gep(start, [builder.add(first, builder.mul(number, channels))])

        builder.store(vectors.zeros, total)
        with cgutils.for_range(builder, window) as along:
            one = vectors.load(column(sums, along.index), length)
            builder.store(builder.fadd(builder.load(total), one), total)
        spikes = builder.load(total)
        if shared:
            quotient = builder.fdiv(vectors.load(place, length), spikes)
            share = builder.select(builder.fcmp_ordered(">", spikes, vectors.zeros), quotient, vectors.zeros)
            with cgutils.for_range(builder, window) as along:
                vectors.store(share, column(wide[0], along.index), length)
        else:
            vectors.store(spikes, place, length)
    builder.ret_void()
    return function


def _emit_call(context: Any, builder: Any, signature: Any, values: Any, shared: bool) -> Any:
    """Call the function above for arrays (pooled, sums, windows, channels, window) and, `shared`, wide."""

    def pointer(number: int) -> Any:
        return context.make_array(signature.args[number])(context, builder, values[number]).data

    element = context.get_value_type(signature.args[0].dtype)
    function = _function(builder.module, element, context.get_abi_sizeof(element), shared)
    arguments = [pointer(1), *values[2:5], pointer(0)]
    builder.call(function, [*arguments, pointer(5)] if shared else arguments)
    return context.get_dummy_value()


@intrinsic
def pool(typing: Any, pooled: Any, sums: Any, windows: Any, channels: Any, window: Any) -> Any:
    """pooled[x C + c] = sums over the columns of window x, for `windows` windows of `window` columns.

    `pooled` and `sums` (spikes added up over a window's rows) are flat arrays of one type; no bound is checked.
    """
    word = types.intp
    return types.void(pooled, sums, word, word, word), lambda *given: _emit_call(*given, shared=False)


@intrinsic
def share(typing: Any, grad: Any, sums: Any, windows: Any, channels: Any, window: Any, wide: Any) -> Any:
    """A window's gradient, shared among its spikes, at each of its columns, 0 where it has none. Eq. (eq-pool).

    Arguments as in `pool`; `grad` is what `pooled` is there, `wide` is like `sums`.
    """
    word = types.intp
    return types.void(grad, sums, word, word, word, wide), lambda *given: _emit_call(*given, shared=True)
