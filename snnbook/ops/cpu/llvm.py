"""What the inner loops of llvm_*.py are written with: loads and stores of vectors, loops, functions of a module."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from .memory import LANES


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
