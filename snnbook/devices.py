"""What depends on where tensors lie: looking at values, sending them over, how exactly products are computed."""

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
"""Of products: full; a GPU's TF32 units (inputs rounded to 10 bits of mantissa), forward too, so that spikes change;
or bfloat16 (7 bits) in the backward pass alone, which leaves every spike as it is and moves gradients by some 1e-3."""

KEPT_BYTES = 2**29
"""Freed memory that `keep_memory` lets this process keep."""

MAPPED_BYTES = 2**25
"""Blocks from this size on still go back at once: the largest limit that glibc's malloc sets itself."""

_MALLOC = {"MALLOC_TRIM_THRESHOLD_": (-1, KEPT_BYTES), "MALLOC_MMAP_THRESHOLD_": (-3, MAPPED_BYTES)}
"""glibc's limits by their environment variables: the number that `mallopt` knows them by, and what they are set to."""


Given, Result = ParamSpec("Given"), TypeVar("Result")

AUTOCAST = ("cpu", "cuda")
"""Kinds of devices whose automatic mixed precision is looked at."""


def _autocast_here() -> bool:
    """Whether torch's automatic mixed precision is on for one of these."""
    return torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")


autocasts: Callable[[], bool] = getattr(torch._C, "_is_any_autocast_enabled", _autocast_here)
"""Whether torch's automatic mixed precision is on. torch's own way, where it has it, takes half as long."""


def without_autocast(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Have a function compute in the types of its inputs, whatever `torch.autocast` says around it.

    Products rounded to 16 bits move spikes, and gradients of 16 bits do not fit to weights of 32. Where autocast is
    off, this takes a look and no more.
    """

    @functools.wraps(function)
    def called(*arguments: Given.args, **options: Given.kwargs) -> Result:
        if not autocasts():
            return function(*arguments, **options)
        with no_autocast():
            return function(*arguments, **options)

    return called


@contextmanager
def no_autocast() -> Iterator[None]:
    """Within, automatic mixed precision is off, and then as it was."""
    with ExitStack() as held:
        for kind in AUTOCAST:
            if torch.is_autocast_enabled(kind):
                held.enter_context(torch.autocast(kind, enabled=False))
        yield


def is_on_cpu(tensor: Tensor) -> bool:
    """Whether its values may be looked at: on a CPU, where looking does not halt a device."""
    return tensor.device.type == "cpu"


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. To a GPU it goes through pinned memory, so that nobody waits for the GPU."""
    if device.type == "cuda" and is_on_cpu(tensor):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def current(device: torch.device) -> AbstractContextManager[None]:
    """Within, the device is the current one, which recording, streams and messages take; nothing changes for a CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class SideStream:
    """A side CUDA stream, on which work overlaps with the current stream until `join`. On a CPU it does nothing.

    A short kernel leaves most of a GPU idle, so that a second stream costs no time. There is one side stream for each
    GPU. Memory is safe only from the streams that it has waited for, so use it with one current stream at a time.

    Args:
        device: of the stream. The side stream starts after the work that the current stream was given so far
    """

    def __init__(self, device: torch.device) -> None:
        self._used: list[Tensor] = []
        self._stream = _second(device) if device.type == "cuda" else None
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def work(self) -> AbstractContextManager[None]:
        """Send work to the side stream. The current stream may use no result before `join`."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

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
def _second(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def rounding(precision: str, device: torch.device) -> Iterator[None]:
    """Float32 products of a GPU, convolutions included, in full or in TF32; torch's settings are put back at the end.

    torch's own default is in between: matrix products in full, convolutions in TF32. Convolutions add up in the same
    order each time, so that a run that goes on ends as one that never stopped.

    Args:
        precision: one of PRECISIONS; only "tf32" allows TF32
        device: nothing is changed for a CPU
    """
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    cudnn.allow_tf32, cudnn.deterministic = precision == "tf32", True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.deterministic = before[1:]


def keep_memory() -> bool:
    """Have freed memory of a CPU kept for the next step, not given back to the system and taken from it page by page.

    glibc gives back what lies free at the end of its heap once that is twice its largest block. Where the weights of
    one layer are most of the memory, a step can do so every time: it depends on where they came to lie, and holds for
    the life of the process. Limits that the environment sets stay as they are; other C libraries are left alone.

    Returns:
        whether limits were set
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or "GLIBC_TUNABLES" in os.environ or any(name in os.environ for name in _MALLOC):
        return False
    return all([mallopt(*limit) for limit in _MALLOC.values()])
