"""Sums of a few rows of memory, written in LLVM's own terms.

Compiled from plain loops, a row's sum would travel to the cache and back for every j. Here it stays in vector
registers while j runs. Sums are fused multiply-adds.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import tuning
from .llvm import Vectors, going_round, own_function
from .memory import LANES


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
    """As `plain.add_rows`."""
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
