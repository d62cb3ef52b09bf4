"""Sums of products over the rows of an image, written in LLVM's own terms: up to SUMS vectors stay in registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import tuning
from .jit import compiled
from .llvm import Vectors, going_round, own_function


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
def _add_products(
    typing: Any, total: Any, at: Any, apart: Any, vectors: Any, first: Any, step: Any, row: Any, factors: Any,
    start: Any, along: Any, line: Any, across: Any, rows: Any, count: Any, number: Any, lanes: Any,
) -> Any:  # fmt: skip
    """The sums of `plain.add_products`, with the fields of its arguments one by one."""
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


@compiled()
def add_products(total, vectors, factors, extent):
    """As `plain.add_products`."""
    _add_products(
        total.array, total.start, total.by_sum,
        vectors.array, vectors.start, vectors.by_entry, vectors.by_row,
        factors.array, factors.start, factors.by_entry, factors.by_row, factors.by_sum,
        extent.rows, extent.entries, extent.sums, extent.lanes,
    )  # fmt: skip
