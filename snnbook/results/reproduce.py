"""The runs behind the tables: which there are, which are missing, how long they will take; and running them.

A run's folder is <runs>/<experiment>-e<epochs>-seed<seed>; its record goes into results/ when it ends. So a finished
run is never done again, a stopped one goes on, and another schedule is another run.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import experiments, records, results, signals, training
from ..errors import UserError, one_line, unknown, whole
from ..records import files, run_folder
from ..settings import Experiment
from . import paper
from .tables import RELEASED

TARGETS: dict[str, tuple[str, ...]] = {
    "table3": tuple(row.experiment for row in paper.TABLES["3"]),
    "table4": tuple(row.experiment for row in paper.TABLES["4"]),
    "table5": (paper.TABLE_5,),
    "figures": tuple(dict.fromkeys(name for names in paper.FIGURES.values() for name in names)),
    "variants": tuple(f"fashion_mnist_{name}" for name in experiments.VARIANTS),
    "quick": ("quick",),
}
"""Experiments behind each thing that can be reproduced. Table 3's last row is Table 4's middle one: run once."""

UNPUBLISHED = "but on images that are not the published ones: no table counts it"
"""What is said of a run on the reader's own images."""

POLL = 0.2
"""Seconds between two looks at the processes."""


@dataclass(frozen=True)
class Run:
    """One run of a plan.

    Args:
        experiment: its settings
        folder: where it trains
        record: where its record stands, or will stand
    """

    experiment: Experiment
    folder: Path
    record: Path

    @property
    def name(self) -> str:
        """Such as fashion_mnist-e100-seed0."""
        return results.run_name(self.experiment)

    @property
    def epochs_done(self) -> int:
        """Whole epochs in its folder or its record."""
        if self.record.exists():
            return self.experiment.epochs
        if not (self.folder / records.SETTINGS).exists():
            return 0
        with contextlib.suppress(UserError):  # of a damaged folder `do` says what is wrong, when its turn comes
            return len(records.read(self.folder).epochs)
        return 0

    @property
    def state(self) -> str:
        """In a few words."""
        done = self.epochs_done
        if self.record.exists():
            return "done" if results.read(self.record).published else f"done, {UNPUBLISHED}"
        return f"{done} of {self.experiment.epochs} epochs done" if done else "missing"


def plan(
    target: str, seeds: int, epochs: int | None, root: Path, runs: Path, released: bool = False, only: str | None = None
) -> list[Run]:
    """The runs behind a target.

    Args:
        target: of TARGETS
        seeds: how many; they are 0, 1, 2, ...
        epochs: of each run; None takes the experiment's own
        root: folder of the results
        runs: folder of the runs
        released: take the variants with the released settings
        only: the name of one run, to leave out all others
    Raises:
        UserError: for a wrong target, number or name
    """
    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    whole("seeds", seeds, 1, 1000)
    changes = {} if epochs is None else {"epochs": epochs}
    names = [name + RELEASED if released else name for name in TARGETS[target]]
    if released and target == "quick":
        raise UserError("quick has no released settings; leave out --released")
    found = [experiments.get(name, seed=seed, **changes) for seed in range(seeds) for name in names]
    planned = [Run(each, runs / results.run_name(each), results.path_of(each, root)) for each in found]
    if only is None:
        return planned
    chosen = [run for run in planned if run.name == only]
    if not chosen:
        raise _not_planned(only, names, seeds, planned)
    return chosen


def refuse_others(planned: Sequence[Run]) -> None:
    """See that the records on file under the names of these runs are theirs.

    Raises:
        UserError: if one is another run's, is unfinished, has other settings than its name stands for (its run would be
            taken for done, and no table would count it), or cannot be read
    """
    for run in planned:
        if run.record.exists() and not results.read(run.record).as_named:
            raise UserError(f"{run.record} holds a run of other settings than its name stands for; move it away")


def _not_planned(only: str, names: Sequence[str], seeds: int, planned: Sequence[Run]) -> UserError:
    """The error for the name of a run that is not among the planned ones: which option brings it in, if one does."""
    match = re.fullmatch(r"(.+)-e([1-9]\d{0,8})-seed(0|[1-9]\d{0,2})", only)
    if match is not None and match[1] not in names and match[1].removesuffix(RELEASED) in names:
        return UserError(f"{only} is not among these runs; it is with --released")
    if match is None or match[1] not in names:
        return unknown("run", only, [run.name for run in planned])
    options = [f"--seeds {int(match[3]) + 1}"] * (int(match[3]) >= seeds)
    options += [f"--epochs {match[2]}"] * (f"{match[1]}-e{match[2]}-seed0" not in {run.name for run in planned})
    return UserError(f"{only} is not among these runs; it is with {' '.join(options)}")


def command(run: Run, target: str, options: Sequence[str]) -> list[str]:
    """A command that does this run alone, for any scheduler; arguments after the program.

    Args:
        run: to do
        target: that it belongs to
        options: to hand on, such as ["--device", "cuda"]
    """
    seeds, epochs = str(run.experiment.seed + 1), str(run.experiment.epochs)
    return ["reproduce", target, "--only", run.name, "--seeds", seeds, "--epochs", epochs, *options]


def claim(run: Run) -> AbstractContextManager[None]:
    """Hold a run while working on it, from the look for its record to the writing of it; errors as `folders.locked`."""
    files.make_folder(run.folder.parent)
    return run_folder.locked(run.folder.parent, f".{run.name}{run_folder.LOCK}")


def do(run: Run, root: Path, device: str, progress: training.Progress, words: Sequence[str]) -> None:
    """Train a run, or go on with it, and put its record into the results; nothing where it is done.

    Args:
        run: to do
        root: folder of the results
        device: see `training.choose_device`
        progress: is told how it goes
        words: the command line, for the record
    Raises:
        InUse: if another process is at work on it
        UserError: as `training.fit` and `training.resume`
    """
    with claim(run):
        if run.record.exists():
            return
        if (run.folder / records.SETTINGS).exists():
            if records.read_settings(run.folder) != run.experiment:
                raise UserError(f"{run.folder} holds a run of other settings; move it away")
            record = training.resume(run.folder, device, progress, words)
        else:
            record = training.fit(run.experiment, run.folder, device, progress, words)
        try:
            results.save(record, root)
        except run_folder.InUse as busy:
            raise UserError(f"{run.folder} is done, but {busy}; the same command files its record") from busy


def _last_line(run: Run) -> str:
    """What a process of `do_all` said last."""
    lines = run.folder.with_suffix(".log").read_text(errors="replace").split("\n")
    return next((one_line(line) for line in reversed(lines) if line.strip()), "It said nothing")


def threads_each(jobs: int) -> int:
    """Threads of each of so many processes, if all together take as many as this one may."""
    return max(torch.get_num_threads() // jobs, 1)


def do_all(
    missing: Sequence[Run],
    jobs: int,
    threads: int,
    start: Callable[[Run], list[str]],
    say: Callable[[str], None],
    devices: Sequence[str] = (),
) -> list[str]:
    """Do runs in processes of their own. A signal has them finish their step and save; Ctrl-C once more kills them.

    Args:
        missing: runs to do
        jobs: how many at a time
        threads: of each
        start: the command for a run, after the program
        say: is told what happens
        devices: that the jobs take turns on, such as ["cuda:0", "cuda:1"]; empty: as `start` has it
    Returns:
        names of the runs that failed
    Raises:
        Stopped: on SIGTERM and Ctrl-C, once all processes have ended
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    waiting, failed = list(missing), []
    working: dict[subprocess.Popen, tuple[Run, list[str]]] = {}
    places = [["--device", devices[job % len(devices)]] if devices else [] for job in range(jobs)]
    # signals are noted, not raised: between the start of a process and its entry here, it would be left behind
    with signals.defer_signals(patient=True) as request:
        try:
            while (waiting or working) and not request.number:
                while waiting and len(working) < jobs:
                    run = waiting.pop(0)
                    place = places.pop(0)
                    process = _begin(run, [*start(run), *place], environment)
                    working[process] = run, place
                    say(f"started {run.name}; its lines go to {run.folder.with_suffix('.log')}")
                for process in [each for each in working if each.poll() is not None]:
                    run, place = working.pop(process)
                    places.append(place)
                    if process.returncode:
                        failed.append(run.name)
                        say(f"failed {run.name}: exit {process.returncode}. {_last_line(run)}")
                    else:
                        say(f"finished {run.name}" if run.record.exists() else f"left off {run.name}; its log says why")
                time.sleep(POLL)
        finally:
            _end(working, request)
        if request.number:
            raise signals.Stopped("stopped", request.number)
    return failed


def _begin(run: Run, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen:
    """Start a process that does a run and writes its lines beside the run's folder."""
    files.make_folder(run.folder.parent)
    with files.open_to_append(run.folder.with_suffix(".log")) as log:
        command = [sys.executable, "-m", "snnbook", *words]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _end(working: Iterable[subprocess.Popen], request: signals.Request) -> None:
    """Have processes finish their step, save and end; kill them where Ctrl-C comes once more, which costs no more."""
    for process in working:
        process.terminate()
    while any(process.poll() is None for process in working):
        if request.urgent:
            for process in working:
                process.kill()
        time.sleep(POLL)
