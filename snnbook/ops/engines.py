"""Which engine runs: the one asked for, or the fastest that can; and that neither autograd nor a compiler follows it.

A compiled engine may be unable to start: a broken installation, variables of the environment, a process that was
forked. Then "auto" takes the reference in its place, and one line of warning says why.
"""

import functools
import os
import subprocess
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

import torch

from .. import inputs
from ..devices import autocasts, no_autocast
from ..errors import UserError, choice, instance
from .engine import Engine
from .saved import ENGINES

CHOICES = ("auto", *ENGINES)
"""What an engine is asked for by."""

LONGEST = 200
"""Characters of another package's error that are shown."""

failures: dict[str, str] = {}
"""Why each compiled engine that was started cannot run in this process, or "" where it runs."""


def engine_name(engine: str, device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """The engine that will run: the one asked for, or for "auto" the fastest that can.

    Args:
        engine: "auto", "reference", "cpu" (Numba) or "triton" (GPUs)
        device, dtype: of the currents
    Raises:
        UserError: if the name is unknown, or the engine asked for cannot run on this device, dtype or installation
    """
    if type(engine) is not str or engine not in CHOICES:
        engine = choice("engine", engine, CHOICES)
    if type(device) is not torch.device or type(dtype) is not torch.dtype:
        device = inputs.device("device", device)
        instance("dtype", dtype, torch.dtype, "a type of torch")
    _serve_forks()
    if engine == "reference":
        return engine
    if engine == "auto":
        fused = "cpu" if device.type == "cpu" else "triton"
        if _MISFITS[fused](device, dtype):
            return "reference"
        if reason := _failure(fused, device):
            _warn_of_reference(fused, reason)
            return "reference"
        return fused
    if obstacle := _MISFITS[engine](device, dtype) or _failure(engine, device):
        raise UserError(f"engine {engine!r} cannot run here: {obstacle}; take engine 'reference' or 'auto'")
    return engine


def warn(message: str) -> None:
    """Warn in one line. (By `warnings.warn` a second one would show the source.)"""
    warnings.warn_explicit(message, RuntimeWarning, "snnbook", 1)


@functools.cache
def _warn_of_reference(engine: str, reason: str) -> None:
    """Warn once that the reference replaces an engine."""
    warn(f"the fast engine {engine!r} cannot run here: {reason}; the reference engine runs in its place, slowly")


def _cpu_misfit(device: torch.device, dtype: torch.dtype) -> str:
    """Why the fused CPU engine is not for such tensors or not installed, or "" if it is."""
    if device.type != "cpu":
        return f"the tensors are on {device}"
    if dtype not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, not {dtype}"
    if find_spec("numba") is None:
        return "Numba is not installed (pip install numba)"
    return ""


def _triton_misfit(device: torch.device, dtype: torch.dtype) -> str:
    """Why the Triton engine is not for such tensors or not installed, or "" if it is."""
    if find_spec("triton") is None:
        return "Triton is not installed (pip install triton)"
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not (interpreted and device.type == "cpu"):
        return f"the tensors are on {device}, and it needs a GPU"
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        return f"there is no device {device} on this machine"
    if device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than Triton supports (compute capability 8.0)"
    if dtype != torch.float32:
        return f"it computes in float32, not {dtype}"
    return ""


_MISFITS = {"cpu": _cpu_misfit, "triton": _triton_misfit}


def _failure(engine: str, device: torch.device) -> str:
    """Why a compiled engine cannot start in this process, or "" where it can: tried at its first use."""
    reason = failures.get(engine)
    if reason is None:
        reason = failures[engine] = _start(engine)
    if not reason and device.type == "cuda":
        reason = _launcher_obstacle()
    return reason


def _start(engine: str) -> str:
    """Import an engine and let it compute something; why it cannot, or ""."""
    try:
        engine_of(engine).start()
    except Exception as error:  # whatever is wrong with an installation; what it is goes into the warning or the error
        words = " ".join(str(error).split())
        return f"it does not start ({type(error).__name__}: {words[:LONGEST]})"
    return ""


@functools.cache
def _serve_forks() -> None:
    """Have forked children compute on one thread: OpenMP's others do not live on in them, and would be waited for."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


@functools.cache
def _launcher_obstacle() -> str:
    """Triton builds what starts its kernels at the first use, with a C compiler that slim images lack."""
    from triton.runtime import driver

    try:
        getattr(driver.active, "utils", None)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        reason = str(error).strip().split("\n")[0]
        return f"Triton cannot build its launcher, which takes a C compiler and Python's headers ({reason})"
    return ""


_MODULES = {"reference": ".dense", "cpu": ".cpu", "triton": ".triton"}
"""Where the engines are. Each module has its engine as ENGINE."""


@functools.cache
def engine_of(name: str) -> Engine:
    """Import an engine by its name."""
    return import_module(_MODULES[name], __package__).ENGINE


Given = ParamSpec("Given")
Result = TypeVar("Result")


def uncompiled(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """As `torch.compiler.disable`, but without its import of two seconds where nothing is compiled."""

    @functools.wraps(function)
    def called(*arguments: Given.args, **options: Given.kwargs) -> Result:
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(function)(*arguments, **options)
        return function(*arguments, **options)

    return called


def untracked(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """As `torch.no_grad()`, but free where nothing is tracked as it is: a small step calls these some thirty times.

    torch's automatic mixed precision is without effect within.
    """

    @functools.wraps(function)
    def called(*arguments: Given.args, **options: Given.kwargs) -> Result:
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(called)(*arguments, **options)
        if autocasts():
            with torch.no_grad(), no_autocast():
                return function(*arguments, **options)
        if not torch.is_grad_enabled():
            return function(*arguments, **options)
        with torch.no_grad():
            return function(*arguments, **options)

    return called
