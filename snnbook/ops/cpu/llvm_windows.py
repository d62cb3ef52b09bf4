"""Pooling windows along a row of a map, written in LLVM's own terms like the sums of llvm_rows.py.

A row has its columns one after another, each with all of its channels. So what belongs to one window lies `channels`
entries apart, in runs that are too short for the loops a compiler makes.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .llvm_rows import LANES, Vectors, own_function


def _function(module: Any, element: Any, size: int, shared: bool) -> ir.Function:
    """(pooled, sums, windows, channels, window) or, `shared`, (..., wide), as below; arrays are pointers."""
    word = ir.IntType(64)
    pointer = element.as_pointer()
    name = f"snnbook_{'share' if shared else 'pool'}_{8 * size}"
    arguments = [pointer, pointer, word, word, word]
    function, empty = own_function(module, name, [*arguments, pointer] if shared else arguments)
    if not empty:
        return function
    pooled, sums, windows, channels, window, *wide = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vectors = Vectors(builder, element, size)
    total = cgutils.alloca_once(builder, vectors.type)

    def emit(at: Any, channel: Any, length: Any) -> None:
        """One vector of a window, from `channel` on, or the `length` channels that are left."""
        place = builder.gep(pooled, [builder.add(at, channel)])
        first = builder.add(builder.mul(at, window), channel)

        def column(start: Any, number: Any) -> Any:
            return builder.gep(start, [builder.add(first, builder.mul(number, channels))])

        builder.store(vectors.zeros, total)
        with cgutils.for_range(builder, window) as along:
            one = vectors.load(column(sums, along.index), length)
            builder.store(builder.fadd(builder.load(total), one), total)
        spikes = builder.load(total)
        if shared:
            quotient = builder.fdiv(vectors.load(place, length), spikes)
            each = builder.select(builder.fcmp_ordered(">", spikes, vectors.zeros), quotient, vectors.zeros)
            with cgutils.for_range(builder, window) as along:
                vectors.store(each, column(wide[0], along.index), length)
        else:
            vectors.store(spikes, place, length)

    left = builder.srem(channels, word(LANES))
    whole = builder.sub(channels, left)
    with cgutils.for_range(builder, windows) as across:
        at = builder.mul(across.index, channels)
        with cgutils.for_range_slice(builder, word(0), whole, word(LANES), inc=True) as (channel, _):
            emit(at, channel, None)
        with builder.if_then(builder.icmp_signed(">", left, word(0))):
            emit(at, whole, left)
    builder.ret_void()
    return function


def _emit_call(context: Any, builder: Any, signature: Any, values: Any, shared: bool) -> Any:
    """Call the function above for arrays."""

    def pointer(number: int) -> Any:
        return context.make_array(signature.args[number])(context, builder, values[number]).data

    element = context.get_value_type(signature.args[0].dtype)
    function = _function(builder.module, element, context.get_abi_sizeof(element), shared)
    arguments = [pointer(0), pointer(1), *values[2:5]]
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
