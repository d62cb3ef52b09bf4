"""Measure the peak memory of a task beyond parameters, optimiser and data, in a process of its own.

The process runs two warm-up rounds and frees all it can. It returns free memory to the system (`malloc_trim`), resets
its peak (a 5 written to /proc/self/clear_refs), and runs the task again. The result is the highest resident memory
since then (VmHWM) minus the resident memory before (VmRSS), so gradients, activations and a library's buffers all
count. MALLOC_MMAP_THRESHOLD_ is 64 KiB in that process: a freed tensor then returns its pages, and no leftover can
hide a later need. Only Linux reports these figures.
"""

import ctypes
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from snnbook.errors import UserError

HOW = "VmHWM less VmRSS before, after 2 warm-ups, malloc_trim and a reset of the peak; a process of its own each"
WARM_UPS = 2
ROUNDS = 3

THRESHOLD = 64 * 1024
"""Malloc maps a block of at least this many bytes by itself, and unmaps it when it is freed."""

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_BENCHMARKS = Path(__file__).parents[1]


def obstacle() -> str:
    """Return why peaks cannot be measured here; "" if they can."""
    try:
        _RESET.write_text("5")
        _resident()
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, KeyError, AttributeError, TypeError) as error:
        return f"this system does not report or reset a process's peak memory ({error}); Linux with glibc does"
    return ""


def _resident() -> dict[str, int]:
    """Read VmHWM and VmRSS of this process, KiB."""
    found = dict(re.findall(r"(VmHWM|VmRSS):\s+(\d+) kB", _STATUS.read_text()))
    return {name: int(found[name]) for name in ("VmHWM", "VmRSS")}


def beyond(task: Callable[[], object], rest: Callable[[], object]) -> float:
    """Measure the highest memory of this process during a task beyond its memory at rest, MiB.

    Args:
        task: to measure, several times
        rest: frees everything but parameters, optimiser and data
    """
    for _ in range(WARM_UPS):
        task()
    rest()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident()["VmRSS"]
    _RESET.write_text("5")
    for _ in range(ROUNDS):
        task()
    return (_resident()["VmHWM"] - before) / 1024


def peaks(who: str, what: Sequence[str] = ("train", "infer"), **settings: Any) -> dict[str, float]:
    """Measure the peaks of a contender's tasks in a fresh process, MiB.

    Args:
        who: an engine, or the package of a peer
        what: "train", "infer"
        settings: for `contenders.Step`
    Raises:
        UserError: if that process fails, with its last line
    """
    path = os.pathsep.join(filter(None, (str(_BENCHMARKS), os.environ.get("PYTHONPATH"))))
    settings |= {"threads": torch.get_num_threads()}
    done = subprocess.run(
        [sys.executable, "-m", "kit.peak", who, json.dumps(what), json.dumps(settings)],
        env=os.environ | {"PYTHONPATH": path, "MALLOC_MMAP_THRESHOLD_": str(THRESHOLD)},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(f"the memory of {who} could not be measured: {last[0]}")
    return json.loads(done.stdout.splitlines()[-1])


def _main(who: str, what: Sequence[str], settings: dict[str, Any]) -> None:
    """Measure in this process and print MiB by task."""
    from . import contenders, peers

    torch.set_num_threads(settings.pop("threads"))
    kinds = {kind.package: kind for kind in peers.PEERS}
    if who in kinds:
        contender = kinds[who](*contenders.images_of("fashion_mnist", settings["batch_size"]), peers.LEARNING_RATE)
    else:
        contender = contenders.Step(who, **settings)
    found = {task: beyond(getattr(contender, task), contender.rest) for task in what}
    print(json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]))
