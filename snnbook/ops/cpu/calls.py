"""What the CPU engine's hosts share: calling a compiled pass, and arranging memory for it."""

import functools
import os
import threading
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ...errors import UserError
from ...neuron import SLOPE_BOUND_TIMING, SLOPE_BOUND_WEIGHT, NeuronParameters
from .. import engines

THREAD_SAFE = ("omp", "tbb")
"""Numba's threading layers that several threads may call at once; the third, workqueue, ends the process."""

FORK_SAFE = ("workqueue", "tbb")
"""Layers that work in a process forked from one where they had started; GNU's OpenMP ends the process."""


@functools.cache
def constants(neuron: NeuronParameters, dtype: torch.dtype) -> np.ndarray:
    """The constants of the kernels, in the currents' own precision. They are shared: nobody may write to them."""
    values = [neuron.decay_m, neuron.decay_s, neuron.decay_g, neuron.gain, neuron.leaky]
    values += [neuron.kernel == "exact", SLOPE_BOUND_WEIGHT, SLOPE_BOUND_TIMING]
    return torch.tensor(values, dtype=dtype).numpy()


_told = threading.local()
"""How many threads Numba was told to use; it keeps a number for every thread that calls it. Telling it takes a lock
that forked processes share: one that is killed in the middle would leave the others waiting for ever."""


_turn = threading.Lock()
"""Held while a driver runs, unless the threading layer is one of THREAD_SAFE."""


def layer() -> str:
    """Numba's threading layer, "" before its threads have started."""
    try:
        return numba.threading_layer()
    except ValueError:
        return ""


_shared = False
"""Whether threads may call drivers at once."""


def _after_fork() -> None:
    """See to it that a forked child calls no driver whose threads have stayed behind."""
    global _turn
    _turn = threading.Lock()  # a thread that held it has stayed behind, too
    if layer() not in ("", *FORK_SAFE):
        engines.failures["cpu"] = (
            f"this process was forked from one in which Numba's threads ({layer()}) had started; start it by spawn, "
            'as by multiprocessing.get_context("spawn") or DataLoader(..., multiprocessing_context="spawn")'
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def call(driver: Any, *arguments: Any) -> None:
    """Call a driver on as many threads as torch uses, tensors as arrays.

    Raises:
        UserError: in a forked process, for a graph that was made before the fork
    """
    global _shared
    if reason := engines.failures.get("cpu"):
        raise UserError(f"engine 'cpu' cannot go on: {reason}")
    threads = torch.get_num_threads()
    if getattr(_told, "threads", None) != threads:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        _told.threads = threads
    arrays = [as_array(x) if isinstance(x, Tensor) else x for x in arguments]
    if _shared:
        driver(*arrays)
    else:
        with _turn:
            driver(*arrays)
        _shared = layer() in THREAD_SAFE
    if torch.get_num_threads() != threads:  # Numba's first start of its threads sets torch's number too
        torch.set_num_threads(threads)


def shares(parts: int) -> int:
    """Among how many threads so many parts of a pass are shared, at least 1."""
    return max(min(torch.get_num_threads(), parts), 1)


def as_array(x: Tensor) -> np.ndarray:
    """The same memory as an array."""
    return x.detach().numpy() if x.requires_grad else x.numpy()


@functools.cache
def number(value: float, dtype: torch.dtype) -> np.floating:
    """A number of the kernels' own precision."""
    return torch.tensor(value, dtype=dtype).numpy()[()]


def runs_of(x: Tensor) -> Tensor:
    """(T, N, C, ...) -> contiguous (T, R, L); no copy where memory has channels last already."""
    rows = x.movedim(2, -1).contiguous()
    return rows.flatten(-2).flatten(1, -2) if rows.dim() > 3 else rows


def currents_and_thresholds(current: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Currents (S, R, L), S = 1 where one step is expanded over time, and the thresholds of a run, (L,)."""
    runs = runs_of(current[:1] if current.stride(0) == 0 else current)
    return runs, threshold.expand(runs.shape[2] // len(threshold), -1).flatten().contiguous()


def as_maps(runs: Tensor, shape: torch.Size) -> Tensor:
    """(T, R, L) -> (T, N, C, ...) of the given shape, a view."""
    return runs.view(len(runs), shape[1], *shape[3:], shape[2]).movedim(-1, 2)
