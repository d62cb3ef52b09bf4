"""What the CPU engine's event-driven passes spend their time on, written in LLVM's own terms, and memory that suits it.

`add_rows` adds up a few rows of memory, each times its factor:

    total[at + i] += sum over j of factors[j] source[offsets[j] + shift + i]        for i < length

Compiled from plain loops, a row's sum would travel to the cache and back for every j. Here it stays in vector
registers while j runs. Sums are fused multiply-adds. `turn` transposes a matrix, LANES x LANES entries at a time;
`raised` and `trailing_zeros` find the spikes among many neurons. `Vectors`, `own_function` and `going_round` are what
such functions are written with, here, in llvm_windows.py and in images.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import tuning
from .jit import compiled

LANES = 16
"""Entries of a vector; LLVM cuts it to what the processor has."""

WORD = 64
"""Flags that are looked at together, as the bits of one integer."""

LINE = 64
"""Bytes of a cache line. A vector that lies across two of them costs twice as much to load."""


@compiled()
def aligned(length, like):
    """Uninitialised memory that begins on a cache line, (length,), of the type of array `like`."""
    raw = np.empty(length + LINE // like.itemsize, like.dtype)
    skipped = (LINE - raw.ctypes.data % LINE) % LINE // like.itemsize
    return raw[skipped : skipped + length]


class Vectors:
    """Loads and stores of LANES neighbours at a time, for one that writes a function in LLVM's terms.

    Args:
        builder: where they are put
        element, size: type of an entry and its bytes
    """

    def __init__(self, builder: Any, element: Any, size: int) -> None:
        self.builder = builder
        self.size = size
        self.type = ir.VectorType(element, LANES)
        self.zeros = self.type([0.0] * LANES)

    def spread(self, scalar: Any) -> Any:
        """The same number in every lane."""
        kind = ir.VectorType(scalar.type, LANES)
        index = ir.IntType(32)
        one = self.builder.insert_element(kind(ir.Undefined), scalar, index(0))
        lanes = ir.VectorType(index, LANES)([index(0)] * LANES)
        return self.builder.shuffle_vector(one, kind(ir.Undefined), lanes)

    def load(self, start: Any, length: Any = None) -> Any:
        """The entries from a pointer on; with `length` (a value) only so many, and zeros."""
        if length is None:
            return self.builder.load(self._place(start), align=self.size)
        return self._masked(
            "load", self.type, self._place(start), ir.IntType(32)(self.size), self._mask(length), self.zeros
        )

    def store(self, value: Any, start: Any, length: Any = None) -> None:
        """Write entries from a pointer on; with `length` only so many."""
        if length is None:
            self.builder.store(value, self._place(start), align=self.size)
            return
        whole = self.builder.icmp_signed(">=", length, length.type(LANES))
        with self.builder.if_else(whole) as (all_, some):  # without AVX-512 a masked store takes long
            with all_:
                self.store(value, start)
            with some:
                where = self._place(start), ir.IntType(32)(self.size), self._mask(length)
                self._masked("store", ir.VoidType(), value, *where)

    def _place(self, start: Any) -> Any:
        return self.builder.bitcast(start, self.type.as_pointer())

    def _mask(self, length: Any) -> Any:
        numbers = ir.VectorType(length.type, LANES)(list(range(LANES)))
        return self.builder.icmp_signed("<", numbers, self.spread(length))

    def _masked(self, name: str, result: Any, *arguments: Any) -> Any:
        full = f"llvm.masked.{name}.v{LANES}f{8 * self.size}.p0"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.builder.module.globals.get(full) or ir.Function(self.builder.module, kind, full)
        return self.builder.call(function, arguments)


def going_round(phis: Sequence[Any], start: Sequence[Any], before: Any, value: Sequence[Any], body: Any) -> None:
    """A loop's variables: what they are on coming from block `before`, and after each turn, from block `body`."""
    for phi, one, other in zip(phis, start, value, strict=True):
        phi.add_incoming(one, before)
        phi.add_incoming(other, body)


def own_function(module: Any, name: str, arguments: Sequence[Any]) -> tuple[ir.Function, bool]:
    """A function of this module by name, without a result, and whether it still has no body.

    It takes pointers and numbers; arrays of Numba's would be passed field by field, seven for each. Other modules have
    functions of their own by that name: a common one would be that of whichever was loaded first, be it an old one.
    """
    function = module.globals.get(name)
    if function is not None:
        return function, False
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function, True


def _sum_function(module: Any, element: Any, size: int, most: int, masks: bool) -> ir.Function:
    """What `add_rows` calls: (total, source, offsets, factors, first, last, length), the first four as pointers.

    It goes through the sum's entries up to `most` vectors at a time, each number of them with a loop of its own: so
    many chains of additions run at once, and every one waits for its last.

    Args:
        module: gets the function, where it does not have it yet
        element, size: type of an entry and its bytes
        most: vectors that fit into the processor's registers
        masks: whether it can load a part of a vector at once; if not, what fills no vector is added by itself
    """
    word = ir.IntType(64)
    pointer = element.as_pointer()
    arguments = [pointer, pointer, word.as_pointer(), pointer, word, word, word]
    function, empty = own_function(module, f"snnbook_add_rows_{8 * size}", arguments)
    if not empty:
        return function
    all_total, all_source, offsets, factors, first, last, all_length = function.args
    entry, piece, following, done = (function.append_basic_block(n) for n in ("entry", "piece", "following", "done"))
    builder = ir.IRBuilder(entry)
    builder.cbranch(builder.icmp_signed("<", first, last), piece, done)

    builder.position_at_end(piece)
    total = builder.phi(pointer)
    source = builder.phi(pointer)
    length = builder.phi(word)
    vectors = builder.sdiv(builder.add(length, word(LANES - 1 if masks else 0)), word(LANES))
    half = builder.sdiv(builder.add(vectors, word(1)), word(2))
    long = builder.select(builder.icmp_signed("<=", vectors, word(2 * most)), half, word(most))
    count = builder.select(builder.icmp_signed("<=", vectors, word(most)), vectors, long)
    choice = builder.switch(count, done)
    for number in range(1 if masks else 0, most + 1):  # without masks whole vectors first, and 0 is what is left
        block = function.append_basic_block(f"vectors_{number}")
        choice.add_case(word(number), block)
        builder.position_at_end(block)
        lanes = builder.sub(length, word(LANES * (number - 1))) if masks else None if number else length
        given = total, source, offsets, factors, first, last
        _emit_sum(Vectors(builder, element, size), *given, max(number, 1), lanes)
        builder.branch(following)

    builder.position_at_end(following)
    used = builder.mul(builder.select(builder.icmp_signed(">", count, word(0)), count, word(1)), word(LANES))
    left = builder.sub(length, used)
    begin = (all_total, all_source, all_length)
    ahead = (builder.gep(total, [used]), builder.gep(source, [used]), left)
    going_round((total, source, length), begin, entry, ahead, following)
    builder.cbranch(builder.icmp_signed(">", left, word(0)), piece, done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


def _emit_sum(
    vectors: Vectors, total: Any, source: Any, offsets: Any, factors: Any, first: Any, last: Any, count: int, lanes: Any
) -> None:
    """The sum for `count` vectors of neighbours, of the last no more than `lanes` entries, if told; first < last."""
    builder, word = vectors.builder, first.type
    lengths = [*[None] * (count - 1), lanes]

    def places(start: Any) -> list[Any]:
        return [builder.gep(start, [word(number * LANES)]) for number in range(count)]

    begun = [vectors.load(*at) for at in zip(places(total), lengths, strict=True)]
    before, body, end = builder.block, *(builder.append_basic_block(name) for name in ("body", "end"))
    builder.branch(body)

    builder.position_at_end(body)
    j = builder.phi(word)
    sums = [builder.phi(vectors.type) for _ in begun]
    row = builder.gep(source, [builder.load(builder.gep(offsets, [j]))])
    factor = vectors.spread(builder.load(builder.gep(factors, [j])))
    rows = [vectors.load(*at) for at in zip(places(row), lengths, strict=True)]
    products = [builder.fmul(factor, one, flags=("contract",)) for one in rows]
    added = [builder.fadd(one, other, flags=("contract",)) for one, other in zip(sums, products, strict=True)]
    following = builder.add(j, word(1))
    going_round((j, *sums), (first, *begun), before, (following, *added), body)
    builder.cbranch(builder.icmp_signed("<", following, last), body, end)

    builder.position_at_end(end)
    for value, at in zip(added, zip(places(total), lengths, strict=True), strict=True):
        vectors.store(value, *at)


@intrinsic
def add_rows(typing: Any, total: Any, at: Any, source: Any, shift: Any, offsets: Any, factors: Any, first: Any,
             last: Any, length: Any) -> Any:  # fmt: skip
    """The sum above, with j from `first` to before `last`; no bound is checked, and nothing beside it is touched.

    `total`, `source` and `factors` are flat arrays of one type, `offsets` is flat and int64.
    """
    word = types.intp

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        total, source, offsets, factors = (
            context.make_array(signature.args[i])(context, builder, values[i]).data for i in (0, 2, 4, 5)
        )
        element = context.get_value_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(element)
        features = context.codegen().magic_tuple()[2]
        registers = tuning.WIDE_REGISTERS if "+avx512f" in features else tuning.REGISTERS
        function = _sum_function(builder.module, element, size, registers // (LANES * size), "+avx" in features)
        starts = builder.gep(total, [values[1]]), builder.gep(source, [values[3]])
        builder.call(function, [*starts, offsets, factors, *values[6:]])
        return context.get_dummy_value()

    return types.void(total, word, source, word, offsets, factors, word, word, word), emit


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
        vector = ir.VectorType(element, LANES)
        size = context.get_abi_sizeof(element)
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


@compiled()
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
