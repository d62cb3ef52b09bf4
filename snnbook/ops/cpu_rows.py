"""The one sum on which the event-driven passes spend their time: a few rows of memory, each times its factor.

    total[at + i] += sum over j of factors[j] source[offsets[j] + shift + i]        for i < length

Compiled from plain loops, a row's sum would travel to the cache and back for every j. Here it stays in vector
registers while j runs, so `_add_block` is written in LLVM's own terms. Sums are fused multiply-adds.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


@intrinsic(prefer_literal=True)
def _add_block(typing: Any, total: Any, at: Any, source: Any, shift: Any, offsets: Any, factors: Any, first: Any,
               last: Any, vectors: Any, lanes: Any) -> Any:  # fmt: skip
    """`add_rows` for `vectors` x `lanes` neighbours (constants); LLVM cuts the vectors to what the processor has."""
    if not (isinstance(vectors, types.IntegerLiteral) and isinstance(lanes, types.IntegerLiteral)):
        return None
    word = types.intp
    signature = types.void(total, word, source, word, offsets, factors, word, word, vectors, lanes)
    count, width = vectors.literal_value, lanes.literal_value

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        at, shift, first, last = (values[i] for i in (1, 3, 6, 7))
        total, source, offsets, factors = (
            context.make_array(signature.args[i])(context, builder, values[i]).data for i in (0, 2, 4, 5)
        )
        element = context.get_value_type(signature.args[0].dtype)
        vector, index = ir.VectorType(element, width), ir.IntType(32)
        size = context.get_abi_sizeof(element)

        def place(array: Any, start: Any, number: int) -> Any:
            return builder.bitcast(
                builder.gep(array, [builder.add(start, start.type(number * width))]), vector.as_pointer()
            )

        places = [place(total, at, number) for number in range(count)]
        begun = [builder.load(pointer, align=size) for pointer in places]
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
        one = builder.insert_element(vector(ir.Undefined), builder.load(builder.gep(factors, [j])), index(0))
        factor = builder.shuffle_vector(one, vector(ir.Undefined), ir.VectorType(index, width)([index(0)] * width))
        for number, sum_ in enumerate(sums):
            x = builder.load(place(source, row, number), align=size)
            product = builder.fmul(factor, x, flags=("contract",))
            sum_.add_incoming(builder.fadd(sum_, product, flags=("contract",)), body)
        j.add_incoming(builder.add(j, j.type(1)), body)
        builder.branch(loop)

        builder.position_at_end(end)
        for pointer, sum_ in zip(places, sums, strict=True):
            builder.store(sum_, pointer, align=size)
        return context.get_dummy_value()

    return signature, emit


@njit(error_model="numpy", cache=True, fastmath={"contract"})
def add_rows(total, at, source, shift, offsets, factors, first, last, length):
    """The sum above, with j from `first` to before `last`; no bound is checked.

    `total`, `source` and `factors` are flat arrays of one type, `offsets` is flat and int64.
    """
    end = at + length
    while end - at >= 128:
        _add_block(total, at, source, shift, offsets, factors, first, last, 8, 16)
        at, shift = at + 128, shift + 128
    while end - at >= 64:
        _add_block(total, at, source, shift, offsets, factors, first, last, 4, 16)
        at, shift = at + 64, shift + 64
    while end - at >= 32:
        _add_block(total, at, source, shift, offsets, factors, first, last, 2, 16)
        at, shift = at + 32, shift + 32
    while end - at >= 8:
        _add_block(total, at, source, shift, offsets, factors, first, last, 1, 8)
        at, shift = at + 8, shift + 8
    while at < end:
        _add_block(total, at, source, shift, offsets, factors, first, last, 1, 1)
        at, shift = at + 1, shift + 1
