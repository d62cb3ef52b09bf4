"""What torch.save writes, read without torch: nothing in the file is run, and nothing is larger than it says.

Such a file is a zip archive. One entry is a pickle, in which tensors are named by type, shape and the entry with their
values. Here the pickle is read into plain values and a `Described` for each tensor; only once somebody has looked at
these and found that they are what he expects are the values of a tensor read, each checked against the archive's
checksums.
"""

import io
import math
import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict
from typing import Any, BinaryIO, NamedTuple

import torch

LARGEST_PICKLE = 2**20
"""Bytes of the pickle, which holds names and shapes; a layer takes some 1,500."""

LONG_NUMBERS = 100
"""Whole numbers above 32 bits; very many could be chosen so that a dict takes hours to hold them."""

DEEPEST = 12
"""Containers within containers."""

CONSTANTS = ("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
CONTAINERS = ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
FILLING = ("MARK", "APPEND", "APPENDS", "SETITEM", "SETITEMS")
MEMORY = ("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET")
CALLS = ("GLOBAL", "REDUCE", "BUILD", "BINPERSID")
OPCODES = frozenset(("PROTO", "STOP", *CONSTANTS, *CONTAINERS, *FILLING, *MEMORY, *CALLS))
"""What torch's pickles consist of. Nothing among it can take more memory than the pickle has bytes, but a place to
remember a value at, which is looked at."""

STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}


class OddFile(Exception):
    """The file is none that torch.save writes of plain values and dense tensors."""


class Described(NamedTuple):
    """A tensor whose values are not read yet.

    Args:
        dtype: of its entries
        shape: its size
        stride: entries from one place to the next, by axis
        offset: entries before the first
        key: of the archive's entry with the values
        stored: how many that one has
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    key: str
    stored: int


class TensorFile:
    """A file that torch.save wrote.

    Args:
        file: open, of bounded size
    Attributes:
        values: what was saved, with a `Described` in the place of each tensor
    Raises:
        OddFile: if the file holds anything else than plain values and dense tensors
        Exception: of any other kind, if the file is damaged
    """

    def __init__(self, file: BinaryIO) -> None:
        self._archive = zipfile.ZipFile(file)
        size = file.seek(0, io.SEEK_END)
        entries = self._archive.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise OddFile("it is packed")  # torch packs nothing; what is packed may unpack to any size
        # one block of the file may be named by many entries
        places = {entry.header_offset for entry in entries}
        if min(len(self._entries), len(places)) < len(entries) or sum(entry.file_size for entry in entries) > size:
            raise OddFile("its entries overlap")
        pickles = [name for name in self._entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise OddFile("it holds no data.pkl")
        self._folder = pickles[0].removesuffix("data.pkl")
        order = self._read("byteorder", 16) if self._folder + "byteorder" in self._entries else b"little"
        if order.decode() != sys.byteorder:
            raise OddFile("it comes from a machine with the bytes of a number in another order")
        self.values = _unpickle(self._read("data.pkl", LARGEST_PICKLE))

    def _read(self, name: str, most: int) -> bytes:
        """An entry of at most so many bytes, checked against its checksum."""
        entry = self._entries[self._folder + name]
        if entry.file_size > most:
            raise OddFile(f"its {name} is too large")
        return self._archive.read(entry)

    def tensor(self, described: Described) -> torch.Tensor:
        """Read a tensor, onto the CPU, into memory of its own."""
        dtype, shape, stride, offset, key, stored = described
        block = bytearray(self._read(f"data/{key}", stored * dtype.itemsize))
        if len(block) != stored * dtype.itemsize:
            raise OddFile("a block of values has another size than it should")
        if not math.prod(shape):
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(block, dtype=dtype).as_strided(shape, stride, offset).clone()


def _unpickle(content: bytes) -> Any:
    """The values of a pickle, after a look at all that it would do."""
    count = long = 0
    for opcode, argument, _ in pickletools.genops(content):
        count += 1
        long += opcode.name == "LONG1"
        if opcode.name not in OPCODES:
            raise OddFile("it holds more than plain values and tensors")
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > count:
            raise OddFile("its data.pkl remembers values in places that there are not")
        if long > LONG_NUMBERS:
            raise OddFile("its data.pkl holds too many large numbers")
    values = _Unpickler(io.BytesIO(content)).load()
    _bounded(values, count)
    return values


class _Unpickler(pickle.Unpickler):
    """Makes plain values, and `Described` for tensors; whatever else a pickle names is refused, and never called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _NewDict()
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Describe()
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise OddFile(f"it holds {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[torch.dtype, str, int]:
        kind, dtype, key, _, stored = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise OddFile("it names no storage")
        return dtype, key, stored


class _NewDict:
    """What a pickle calls for an OrderedDict. Always an empty one: copies of a full one could take any memory."""

    __slots__ = ()  # so that a pickle cannot set an attribute

    def __call__(self) -> OrderedDict:
        return OrderedDict()


class _Describe:
    """What a pickle calls in the place of torch's function that rebuilds a tensor."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Described:
        dtype, key, stored = storage
        if type(shape) is not tuple or type(stride) is not tuple or len(shape) != len(stride) or len(shape) > DEEPEST:
            raise OddFile("it names a shape that cannot be")
        for number in (offset, stored, *shape, *stride):
            if type(number) is not int or not 0 <= number < 2**48:
                raise OddFile("it names a shape that cannot be")
        return Described(dtype, shape, stride, offset, key, stored)


def _bounded(values: Any, most: int) -> None:
    """See that walking through the values, or showing them, ends soon.

    A container that is there twice, or within itself, makes a small file a tree without end. Each value that is there
    once takes an opcode or more.
    """
    waiting, seen = [(values, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > 2 * most or depth > DEEPEST:
            raise OddFile("its values are nested too deep")
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for pair in value.items() for each in pair]
        elif isinstance(value, list) or type(value) is tuple:
            waiting += [(each, depth + 1) for each in value]
        elif not isinstance(value, (str, int, float, Described)) and value is not None:
            raise OddFile("it holds more than plain values and tensors")
