"""Kill runs by SIGKILL at random moments, and see that they end as a run that was left alone: to the bit.

`make kills` kills 200 times with the reference engine and 200 times with the one that `auto` picks (some minutes on one
core); `python -m tests.kills 50 7` 50 times each, with random seed 7. Then commands are sent signals while they start,
at one moment for every 8 kills. Half of the kills come at a random time; the
others strike as soon as a file is seen that is being written, so that the writing of checkpoints is hit for certain.
Many processes save within epochs, and so are killed there too.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import torch._dynamo  # the optimiser does, and would in every process anew

from snnbook import ops, records, training
from snnbook.records import checkpoints, files, run_folder
from snnbook.settings import Experiment
from snnbook.signals import SIGNALS

from .cli import test_start
from .small_runs import same_run, small, write_data

ENGINES = ("reference", "auto")

ALONE = {
    "CUDA_VISIBLE_DEVICES": "",
    "NUMBA_NUM_THREADS": "1",
    "NUMBA_THREADING_LAYER": "workqueue",
    "OMP_NUM_THREADS": "1",
}
"""Environment of a process that forks after it has computed: no threads, or such as end at a fork."""

SETTINGS = {"epochs": 2, "batch_size": 7, "dropout": 0.2}
"""18 steps and 2 tests: half a second."""

KILLS_A_MOMENT = 8
"""Kills for every moment at which a command that starts is sent signals."""

SAVES = (0, 0.03, 300)
"""Seconds between two saves within an epoch: after every step, now and then, never."""


def start(folder: Path, experiment: Experiment, save_every: float) -> int:
    """A process that trains into the folder, or goes on where the last one was killed; returns its number."""
    if process := os.fork():
        return process
    code = 1
    try:
        begun = (folder / records.SETTINGS).exists()
        if begun:
            training.resume(folder, "cpu", save_every=save_every)
        else:
            training.fit(experiment, folder, "cpu", save_every=save_every)
        code = 0
    except BaseException as error:  # the parent reports it
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def ended(process: int) -> int | None:
    """A process's exit status, None while it runs."""
    done, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def kill(process: int, folder: Path, rng: random.Random, longest: float) -> int | None:
    """Kill a process, within the longest time if at a random one; returns its status if it had ended before."""
    sightings = rng.randrange(1, 12) if rng.random() < 0.5 else 0
    end, seen = time.monotonic() + rng.uniform(0, longest), False
    while (status := ended(process)) is None:
        if sightings:
            there = bool(parts(folder, checkpoints.LAST))
            sightings -= there and not seen
            seen = there
            if not sightings:
                break
        elif time.monotonic() > end:
            break
        time.sleep(1e-4)  # seconds; a checkpoint takes some milliseconds to write
    if status is None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return status


def parts(folder: Path, name: str = "") -> list[str]:
    """The files, or the one of this name, whose content is being written."""
    found = [files.part_of(path.name) for path in folder.glob(".*.part")]
    return [each for each in found if each is not None and each.startswith(name)]


def where(folder: Path) -> list[str]:
    """What a kill has struck."""
    if not (folder / records.SETTINGS).exists():
        return ["before the run began"]
    found = [f"inside the writing of {name}" for name in parts(folder)]
    epochs = folder / records.EPOCHS
    if epochs.exists() and not epochs.read_bytes().endswith(b"\n"):
        found.append("inside a line of figures")
    if not (folder / checkpoints.LAST).exists():
        return [*found, "before the first checkpoint"]
    step = checkpoints.read(folder / checkpoints.LAST).step
    return [*found, "within an epoch" if step else "between epochs"]


def kills(count: int, seed: int, engine: str, root: Path) -> Counter[str]:
    """Kill `count` times; returns how often what was struck.

    Raises:
        AssertionError: if a run did not go on, or ended otherwise than the one that was left alone
    """
    rng, found, experiment = random.Random(seed), Counter(), small(**SETTINGS, engine=engine)
    os.environ["SNNBOOK_DATA"] = str(write_data(root / "data"))
    straight, runs = root / "straight", 0
    training.fit(experiment, straight, "cpu")  # here, so that the others need not load the engine anew
    begun = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(start(root / "timed", experiment, SAVES[-1]), 0)[1]) == 0
    longest = time.monotonic() - begun
    while found["kills"] < count:
        runs += 1
        folder = root / f"run-{runs}"
        while (status := kill(start(folder, experiment, rng.choice(SAVES)), folder, rng, longest)) is None:
            found.update(["kills", *where(folder)])
        assert status == 0, f"run {runs} ended with status {status}"
        same_run(straight, folder)
        assert not (folder / run_folder.LOCK).exists()
        assert not parts(folder)
        found["runs, all equal to the one left alone"] += 1
    return found


def signals_at_start(count: int, root: Path) -> None:
    """Send each signal to each command at so many moments of its first 2.5 seconds, a tenth of a second apart at most.

    Raises:
        AssertionError: if one ends otherwise than it should
    """
    environment = test_start.environment_of(write_data(root / "data"))
    for command in test_start.MOMENTS:
        for number in SIGNALS:
            folder = root / f"{command}-{number}"
            folder.mkdir()
            for place in range(count):
                test_start.stop_at(0.005 + 2.5 * place / count, command, number, folder, environment)


def main() -> int:
    """Kill as often as the first argument says, with the second as random seed."""
    count, seed = (int(text) for text in (sys.argv[1:] + ["200", "0"][len(sys.argv) - 1 :]))
    os.environ |= ALONE
    torch.set_num_threads(1)
    for engine in ENGINES:
        with tempfile.TemporaryDirectory() as root:
            found = kills(count, seed, engine, Path(root))
        assert count < 100 or found["inside the writing of last.pt"], "no kill has struck where it hurts"
        print(f"engine {engine}: {ops.engine_name(engine, torch.device('cpu'))}")
        for what, number in sorted(found.items()):
            print(f"{number:6}  {what}", flush=True)
    moments = count // KILLS_A_MOMENT
    with tempfile.TemporaryDirectory() as root:
        signals_at_start(moments, Path(root))
    print(f"signals at the start: at {moments} moments, each command and signal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
