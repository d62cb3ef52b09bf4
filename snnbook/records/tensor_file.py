"""Read what torch.save writes, without torch: no code in the file is run, and nothing is larger than it says.

Such a file is a zip archive. One entry is a pickle, which names the type and shape of each tensor and the entry with
its values. The pickle is read into plain values and a `Described` for each tensor. The caller checks these first, and
then reads the values of the tensors, which are compared with the archive's checksums.
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
"""Most bytes of the pickle, which contains names and shapes; a layer takes some 1,500."""

LONG_NUMBERS = 100
"""Most integers above 32 bits; very many could be chosen so that their hashes collide and a dict takes hours."""

DEEPEST = 12
"""Most levels of containers within containers."""

CONSTANTS = ("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
CONTAINERS = ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
FILLING = ("MARK", "APPEND", "APPENDS", "SETITEM", "SETITEMS")
MEMORY = ("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET")
CALLS = ("GLOBAL", "REDUCE", "BUILD", "BINPERSID")
OPCODES = frozenset(("PROTO", "STOP", *CONSTANTS, *CONTAINERS, *FILLING, *MEMORY, *CALLS))
"""The opcodes of torch's pickles. None can take more memory than the pickle has bytes, except for the index at which a
value is memoised, which `_unpickle` checks."""

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
    """The file is not what torch.save writes of plain values and dense tensors."""


class Described(NamedTuple):
    """A tensor whose values are not read yet.

    Args:
        dtype: of its elements
        shape: its size
        stride: in elements, of each axis
        offset: of the first element, in elements
        key: of the archive's entry with the values
        stored: number of elements in that entry
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
        values: what was saved, with a `Described` instead of each tensor
    Raises:
        OddFile: if the file contains anything but plain values and dense tensors
        Exception: of any other kind, if the file is damaged
    """

    def __init__(self, file: BinaryIO) -> None:
        self._archive = zipfile.ZipFile(file)
        size = file.seek(0, io.SEEK_END)
        entries = self._archive.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        for entry in entries:
            # torch packs nothing, and a packed entry may unpack to any size.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise OddFile("it is packed")
        # Without this check, many entries could name one block of the file.
        offsets = {entry.header_offset for entry in entries}
        total = sum(entry.file_size for entry in entries)
        if len(self._entries) < len(entries) or len(offsets) < len(entries) or total > size:
            raise OddFile("its entries overlap")
        pickles = [name for name in self._entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise OddFile("it holds no data.pkl")
        self._folder = pickles[0].removesuffix("data.pkl")
        order = b"little"
        if self._folder + "byteorder" in self._entries:
            order = self._read("byteorder", 16)
        if order.decode() != sys.byteorder:
            raise OddFile("it comes from a machine with the bytes of a number in another order")
        self.values = _unpickle(self._read("data.pkl", LARGEST_PICKLE))

    def _read(self, name: str, most: int) -> bytes:
        """Read an entry of at most `most` bytes; zipfile compares it with its checksum."""
        entry = self._entries[self._folder + name]
        if entry.file_size > most:
            raise OddFile(f"its {name} is too large")
        return self._archive.read(entry)

    def tensor(self, described: Described) -> torch.Tensor:
        """Read a tensor to the CPU, into separate memory."""
        dtype, shape, stride, offset, key, stored = described
        block = bytearray(self._read(f"data/{key}", stored * dtype.itemsize))
        if len(block) != stored * dtype.itemsize:
            raise OddFile("a block of values has another size than it should")
        if not math.prod(shape):
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(block, dtype=dtype).as_strided(shape, stride, offset).clone()


def _unpickle(content: bytes) -> Any:
    """Check all opcodes of a pickle, and decode its values."""
    count = 0
    long = 0
    for opcode, argument, _ in pickletools.genops(content):
        count += 1
        if opcode.name not in OPCODES:
            raise OddFile("it holds more than plain values and tensors")
        if opcode.name == "LONG1":
            long += 1
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > count:
            raise OddFile("its data.pkl remembers values in places that there are not")
        if long > LONG_NUMBERS:
            raise OddFile("its data.pkl holds too many large numbers")
    values = _Unpickler(io.BytesIO(content)).load()
    _check_nesting(values, count)
    return values


class _Unpickler(pickle.Unpickler):
    """Unpickler of plain values and `Described`; whatever else a pickle names is refused, and never called."""

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
    """Stand-in for OrderedDict that a pickle calls. It takes no values: copies of a full one could take any memory."""

    # So that a pickle cannot set an attribute.
    __slots__ = ()

    def __call__(self) -> OrderedDict:
        return OrderedDict()


class _Describe:
    """Stand-in for torch's function that rebuilds a tensor."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Described:
        dtype, key, stored = storage
        if type(shape) is not tuple or type(stride) is not tuple or len(shape) != len(stride) or len(shape) > DEEPEST:
            raise OddFile("it names a shape that cannot be")
        for number in (offset, stored, *shape, *stride):
            if type(number) is not int or not 0 <= number < 2**48:
                raise OddFile("it names a shape that cannot be")
        return Described(dtype, shape, stride, offset, key, stored)


def _check_nesting(values: Any, opcodes: int) -> None:
    """Check that a walk through the values ends soon, and that they are plain values and `Described`.

    A container that contains itself, or occurs many times, turns a small file into an endless tree. In other files each
    value takes at least one opcode.
    """
    waiting = [(values, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > 2 * opcodes or depth > DEEPEST:
            raise OddFile("its values are nested too deep")
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for pair in value.items() for each in pair]
        elif isinstance(value, list) or type(value) is tuple:
            waiting += [(each, depth + 1) for each in value]
        elif not isinstance(value, (str, int, float, Described)) and value is not None:
            raise OddFile("it holds more than plain values and tensors")
