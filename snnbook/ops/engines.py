"""Which engine runs: the one asked for, or the fastest that can; and that autograd does not follow it."""

import functools
import os
import subprocess
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import ParamSpec, TypeVar

import torch

from .. import inputs
from ..devices import autocasts, no_autocast
from ..errors import UserError, choice, instance

ENGINES = ("reference", "cpu", "triton")
CHOICES = ("auto", *ENGINES)
"""What an engine is asked for by."""


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
    if engine == "reference":
        return engine
    if engine == "auto":
        fused = "cpu" if device.type == "cpu" else "triton"
        return "reference" if _OBSTACLES[fused](device, dtype) else fused
    if obstacle := _OBSTACLES[engine](device, dtype):
        raise UserError(f"engine {engine!r} cannot run here: {obstacle}; take engine 'reference' or 'auto'")
    return engine


def _cpu_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    """Why the fused CPU engine cannot run, or "" if it can."""
    if device.type != "cpu":
        return f"the tensors are on {device}"
    if dtype not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, not {dtype}"
    if find_spec("numba") is None:
        return "Numba is not installed (pip install numba)"
    return ""


def _triton_obstacle(device: torch.device, dtype: torch.dtype) -> str:
    """Why the Triton engine cannot run, or "" if it can."""
    if find_spec("triton") is None:
        return "Triton is not installed (pip install triton)"
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not (interpreted and device.type == "cpu"):
        return f"the tensors are on {device}, and it needs a GPU"
    if device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than Triton supports (compute capability 8.0)"
    if dtype != torch.float32:
        return f"it computes in float32, not {dtype}"
    return _launcher_obstacle() if device.type == "cuda" else ""


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


_OBSTACLES = {"cpu": _cpu_obstacle, "triton": _triton_obstacle}


@functools.cache
def module_of(name: str) -> ModuleType:
    """An engine's module by the engine's name."""
    return import_module(f".{name}", __package__)


Given, Result = ParamSpec("Given"), TypeVar("Result")


def untracked(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """As `torch.no_grad()`, but free where nothing is tracked as it is: a small step calls these some thirty times.

    torch's automatic mixed precision is without effect within.
    """

    @functools.wraps(function)
    def called(*arguments: Given.args, **options: Given.kwargs) -> Result:
        if autocasts():
            with torch.no_grad(), no_autocast():
                return function(*arguments, **options)
        if not torch.is_grad_enabled():
            return function(*arguments, **options)
        with torch.no_grad():
            return function(*arguments, **options)

    return called
