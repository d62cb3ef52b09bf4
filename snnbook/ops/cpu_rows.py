"""What the CPU engine's event-driven passes spend their time on, written in LLVM's own terms, and memory that suits it.

`add_rows` adds up a few rows of memory, each times its factor:

    total[at + i] += sum over j of factors[j] source[offsets[j] + shift + i]        for i < length

Compiled from plain loops, a row's sum would travel to the cache and back for every j. Here it stays in vector
registers while j runs. Sums are fused multiply-adds. `turn` transposes a matrix, LANES x LANES entries at a time;
`raised` and `trailing_zeros` find the spikes among many neurons.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LANES = 16
"""Entries of a vector; LLVM cuts it to what the processor has."""

WORD = 64
"""Flags that are looked at together, as the bits of one integer."""

LINE = 64
"""Bytes of a cache line. A vector that lies across two of them costs twice as much to load."""


@njit(error_model="numpy", cache=True)
def aligned(length, like):
    """Uninitialised memory that begins on a cache line, (length,), of the type of array `like`."""
    raw = np.empty(length + LINE // like.itemsize, like.dtype)
    skipped = (LINE - raw.ctypes.data % LINE) % LINE // like.itemsize
    return raw[skipped : skipped + length]


def _emit_sum(context: Any, builder: Any, signature: Any, values: Any, count: int, lanes: Any = None) -> Any:
    """`add_rows` for `count` vectors of neighbours; with `lanes` (a value) for the first lanes of one vector."""
    at, shift, first, last = (values[i] for i in (1, 3, 6, 7))
    total, source, offsets, factors = (
        context.make_array(signature.args[i])(context, builder, values[i]).data for i in (0, 2, 4, 5)
    )
    element = context.get_value_type(signature.args[0].dtype)
    vector, index, size = ir.VectorType(element, LANES), ir.IntType(32), context.get_abi_sizeof(element)

    def spread(scalar: Any) -> Any:
        kind = ir.VectorType(scalar.type, LANES)
        one = builder.insert_element(kind(ir.Undefined), scalar, index(0))
        return builder.shuffle_vector(one, kind(ir.Undefined), ir.VectorType(index, LANES)([index(0)] * LANES))

    def place(array: Any, start: Any, number: int) -> Any:
        return builder.bitcast(
            builder.gep(array, [builder.add(start, start.type(number * LANES))]), vector.as_pointer()
        )

    def masked(name: str, result: Any, *arguments: Any) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        float_ = f"v{LANES}f{8 * size}"
        function = builder.module.globals.get(f"llvm.masked.{name}.{float_}.p0")
        function = function or ir.Function(builder.module, kind, f"llvm.masked.{name}.{float_}.p0")
        return builder.call(function, arguments)

    if lanes is not None:
        numbers = ir.VectorType(lanes.type, LANES)(list(range(LANES)))
        mask, align = builder.icmp_signed("<", numbers, spread(lanes)), index(size)

    def load(pointer: Any) -> Any:
        if lanes is None:
            return builder.load(pointer, align=size)
        return masked("load", vector, pointer, align, mask, vector([0.0] * LANES))

    def store(value: Any, pointer: Any) -> None:
        if lanes is None:
            builder.store(value, pointer, align=size)
        else:
            masked("store", ir.VoidType(), value, pointer, align, mask)

    places = [place(total, at, number) for number in range(count)]
    begun = [load(pointer) for pointer in places]
    entry, loop, body, end = builder.block, *(builder.append_basic_block(name) for name in ("loop", "body", "end"))
    builder.branch(loop)

    builder.position_at_end(loop)
    j = builder.phi(first.type)
    j.add_incoming(first, entry)
    sums = [builder.phi(vector) for _ in begun]
    for sum_, start in zip(sums, begun, strict=True):
        sum_.add_incoming(start, entry)
    builder.cbranch(builder.icmp_signed("<", j, last), body, end)

    builder.position_at_end(body)
    row = builder.add(builder.load(builder.gep(offsets, [j])), shift)
    factor = spread(builder.load(builder.gep(factors, [j])))
    for number, sum_ in enumerate(sums):
        product = builder.fmul(factor, load(place(source, row, number)), flags=("contract",))
        sum_.add_incoming(builder.fadd(sum_, product, flags=("contract",)), body)
    j.add_incoming(builder.add(j, j.type(1)), body)
    builder.branch(loop)

    builder.position_at_end(end)
    for pointer, sum_ in zip(places, sums, strict=True):
        store(sum_, pointer)
    return context.get_dummy_value()


@intrinsic(prefer_literal=True)
def _add_vectors(typing: Any, total: Any, at: Any, source: Any, shift: Any, offsets: Any, factors: Any, first: Any,
                 last: Any, count: Any) -> Any:  # fmt: skip
    """`add_rows` for `count` (a constant) vectors of neighbours."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    word = types.intp
    signature = types.void(total, word, source, word, offsets, factors, word, word, count)
    return signature, lambda *given: _emit_sum(*given, count.literal_value)


@intrinsic
def _add_lanes(typing: Any, total: Any, at: Any, source: Any, shift: Any, offsets: Any, factors: Any, first: Any,
               last: Any, lanes: Any) -> Any:  # fmt: skip
    """`add_rows` for fewer neighbours than a vector has; nothing beside them is touched."""
    word = types.intp
    signature = types.void(total, word, source, word, offsets, factors, word, word, word)
    return signature, lambda *given: _emit_sum(*given, 1, given[-1][-1])


@njit(error_model="numpy", cache=True, fastmath={"contract"})
def add_rows(total, at, source, shift, offsets, factors, first, last, length):
    """The sum above, with j from `first` to before `last`; no bound is checked.

    `total`, `source` and `factors` are flat arrays of one type, `offsets` is flat and int64.
    """
    end = at + length
    while end - at >= 8 * LANES:
        _add_vectors(total, at, source, shift, offsets, factors, first, last, 8)
        at, shift = at + 8 * LANES, shift + 8 * LANES
    while end - at >= 4 * LANES:
        _add_vectors(total, at, source, shift, offsets, factors, first, last, 4)
        at, shift = at + 4 * LANES, shift + 4 * LANES
    while end - at >= 2 * LANES:
        _add_vectors(total, at, source, shift, offsets, factors, first, last, 2)
        at, shift = at + 2 * LANES, shift + 2 * LANES
    while end - at >= LANES:
        _add_vectors(total, at, source, shift, offsets, factors, first, last, 1)
        at, shift = at + LANES, shift + LANES
    if at < end:
        _add_lanes(total, at, source, shift, offsets, factors, first, last, end - at)


@intrinsic
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Zero bits below the lowest bit that is set; word is uint64 and not 0."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.IntType(1)(1))

    return types.int64(types.uint64), emit


@intrinsic
def raised(typing: Any, flags: Any, at: Any) -> Any:
    """The WORD bytes from flags[at] on as bits of a uint64: bit i is set where byte i is not 0.

    `flags` is flat, contiguous and of bytes; all WORD of them must lie in it: no bound is checked.
    """
    if (flags.dtype, flags.ndim, flags.layout) != (types.uint8, 1, "C"):
        return None

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        bytes_ = ir.VectorType(ir.IntType(8), WORD)
        loaded = builder.load(builder.bitcast(builder.gep(data, [values[1]]), bytes_.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", loaded, bytes_([0] * WORD)), ir.IntType(WORD))

    return types.uint64(flags, types.intp), emit


@intrinsic
def _turn_square(typing: Any, source: Any, start: Any, stride: Any, total: Any, at: Any, width: Any) -> Any:
    """total[at + i width + o] = source[start + o stride + i] for i, o < LANES, in registers."""
    word = types.intp

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, to = (context.make_array(signature.args[i])(context, builder, values[i]).data for i in (0, 3))
        element = context.get_value_type(signature.args[0].dtype)
        vector, size = ir.VectorType(element, LANES), context.get_abi_sizeof(element)
        lanes = ir.VectorType(ir.IntType(32), LANES)

        def place(pointer: Any, first: Any, step: Any, number: int) -> Any:
            at = builder.add(first, builder.mul(step, step.type(number)))
            return builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())

        rows = [builder.load(place(array, values[1], values[2], number), align=size) for number in range(LANES)]
        tile = 1
        while tile < LANES:  # in every arrangement of 2 x 2 tiles, the two off its diagonal change places
            low = lanes([i if not i & tile else LANES + i - tile for i in range(LANES)])
            high = lanes([i + tile if not i & tile else LANES + i for i in range(LANES)])
            for number in range(LANES):
                if not number & tile:
                    pair = rows[number], rows[number + tile]
                    rows[number], rows[number + tile] = (builder.shuffle_vector(*pair, mask) for mask in (low, high))
            tile *= 2
        for number, row in enumerate(rows):
            builder.store(row, place(to, values[4], values[5], number), align=size)
        return context.get_dummy_value()

    return types.void(source, word, word, total, word, word), emit


@njit(error_model="numpy", cache=True)
def turn(source, start, stride, rows, columns, total, width):
    """total[i width + o] = source[start + o stride + i] for i < columns, o < rows: a part of a matrix, transposed."""
    for o in range(0, rows, LANES):
        for i in range(0, columns, LANES):
            if o + LANES <= rows and i + LANES <= columns:
                _turn_square(source, start + o * stride + i, stride, total, i * width + o, width)
            else:
                for column in range(i, min(columns, i + LANES)):
                    for row in range(o, min(rows, o + LANES)):
                        total[column * width + row] = source[start + row * stride + column]
