"""Helpers that depend on a tensor's device: copies, side streams, precision of products, memory that is kept."""

import ctypes
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

PRECISIONS = ("float32", "tf32", "bf16_backward")
"""Precisions of products. "tf32" uses a GPU's TF32 units (10 bits of mantissa), forward too, so that spikes change.
"bf16_backward" uses bfloat16 (7 bits) in the backward pass alone: spikes stay, gradients move by about 1e-3."""

KEPT_BYTES = 2**29
"""Freed memory that this process may keep after `keep_memory`."""

MAPPED_BYTES = 2**25
"""Blocks of this size or more are still returned at once. It is the largest limit that glibc's malloc sets itself."""

_MALLOC = {"MALLOC_TRIM_THRESHOLD_": (-1, KEPT_BYTES), "MALLOC_MMAP_THRESHOLD_": (-3, MAPPED_BYTES)}
"""glibc's limits by their environment variables: the parameter's number for `mallopt`, and its new value."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

AUTOCAST_DEVICES = ("cpu", "cuda")
"""Types of devices whose automatic mixed precision is switched off."""


def _is_autocast_on() -> bool:
    """Whether torch's automatic mixed precision is on for any of AUTOCAST_DEVICES."""
    return any(torch.is_autocast_enabled(kind) for kind in AUTOCAST_DEVICES)


autocasts: Callable[[], bool] = getattr(torch._C, "_is_any_autocast_enabled", _is_autocast_on)
"""Whether torch's automatic mixed precision is on. torch's private function, where there is one, is twice as fast."""


def without_autocast(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function compute in the types of its inputs, even inside `torch.autocast`.

    Products rounded to 16 bits move spikes, and gradients of 16 bits do not fit weights of 32. Where autocast is off,
    this costs one check.
    """

    @functools.wraps(function)
    def called(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        if not autocasts():
            return function(*arguments, **options)
        with no_autocast():
            return function(*arguments, **options)

    return called


@contextmanager
def no_autocast() -> Iterator[None]:
    """Switch automatic mixed precision off, and restore it at the end."""
    with ExitStack() as stack:
        for kind in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def is_on_cpu(tensor: Tensor) -> bool:
    """Whether the tensor is on a CPU, where reading its values does not wait for a device."""
    return tensor.device.type == "cpu"


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device. The way to a GPU is through pinned memory, so that the CPU does not wait."""
    if device.type == "cuda" and is_on_cpu(tensor):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def current(device: torch.device) -> AbstractContextManager[None]:
    """Make a GPU the current one, which recordings, streams and messages use. For a CPU nothing changes."""
    if device.type == "cuda":
        return torch.cuda.device(device)
    return nullcontext()


class SideStream:
    """A side CUDA stream, on which work overlaps with the current stream until `join`. On a CPU it does nothing.

    A short kernel leaves most of a GPU idle, so that a second stream costs no time. There is one side stream for each
    GPU. Memory is safe only from the streams that it has waited for, so use it with one current stream at a time.

    Args:
        device: of the stream. The side stream starts after the work that the current stream was given so far
    """

    def __init__(self, device: torch.device) -> None:
        self._used: list[Tensor] = []
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = _side_stream(device)
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def work(self) -> AbstractContextManager[None]:
        """Send work to the side stream. The current stream may use no result before `join`."""
        if self._stream is None:
            return nullcontext()
        return torch.cuda.stream(self._stream)

    def join(self, *results: Tensor) -> None:
        """Make the current stream wait for the work that the side stream was given so far.

        Args:
            results: tensors that the current stream will use. They are kept as long as this object lives, since the
                side stream would otherwise reuse their memory while the current stream still reads it
        """
        if self._stream is not None:
            self._used += results
            torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the side stream of a GPU."""
    return torch.cuda.Stream(device)


@contextmanager
def rounding(precision: str, device: torch.device) -> Iterator[None]:
    """Set how a GPU rounds float32 products, convolutions included, and restore torch's settings at the end.

    torch's own default is in between: matrix products in full precision, convolutions in TF32. Convolutions add up in
    the same order each time, so that a resumed run ends like one that never stopped.

    Args:
        precision: one of PRECISIONS; only "tf32" allows TF32
        device: nothing is changed for a CPU
    """
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    matmul_before = torch.get_float32_matmul_precision()
    tf32_before = cudnn.allow_tf32
    deterministic_before = cudnn.deterministic
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    cudnn.allow_tf32 = precision == "tf32"
    cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul_before)
        cudnn.allow_tf32 = tf32_before
        cudnn.deterministic = deterministic_before


def keep_memory() -> bool:
    """Make the C library keep freed memory for the next training step. This holds for the life of the process.

    glibc returns what is free at the end of its heap once that is twice its largest block. Where the weights of one
    layer are most of the memory, every step can do so, and fetches the pages again one by one. Whether it does depends
    on the addresses that the blocks happen to have. Limits that the environment sets stay as they are, and other C
    libraries are left alone.

    Returns:
        whether limits were set
    """
    mallopt = None
    if os.name == "posix":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "GLIBC_TUNABLES" in os.environ or any(name in os.environ for name in _MALLOC):
        return False
    set_limits = [mallopt(number, value) for number, value in _MALLOC.values()]
    return all(set_limits)
