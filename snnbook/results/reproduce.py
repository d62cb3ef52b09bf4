"""Plan and train the runs behind the tables: which there are, which are missing, and training them.

The folder of a run is <runs>/<experiment>-e<epochs>-seed<seed>. Its record goes into results/ when it ends. So a
finished run is never repeated, a stopped run is resumed, and another schedule is another run.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
"""Experiments behind each target. The last row of Table 3 is the middle row of Table 4, and is run once."""

UNPUBLISHED = "but on images that are not the published ones: no table counts it"
"""Said of a run on the reader's own images."""

POLL = 0.2
"""Seconds between two checks of the processes."""


@dataclass(frozen=True)
class Run:
    """One run of a plan.

    Args:
        experiment: settings
        folder: where it trains
        record: path of its record, whether or not it exists
    """

    experiment: Experiment
    folder: Path
    record: Path

    @property
    def name(self) -> str:
        """Name, such as fashion_mnist-e100-seed0."""
        return results.run_name(self.experiment)

    @property
    def log(self) -> Path:
        """File of the lines that a process of `train_in_processes` prints."""
        return self.folder.with_suffix(".log")

    @property
    def begun(self) -> bool:
        """Whether its folder holds a run."""
        return (self.folder / records.SETTINGS).exists()

    @property
    def epochs_done(self) -> int:
        """Number of whole epochs in its folder or its record."""
        if self.record.exists():
            return self.experiment.epochs
        if not self.begun:
            return 0
        try:
            return len(records.read(self.folder).epochs)
        except UserError:
            # `train` reports what is wrong with a damaged folder when its turn comes.
            return 0

    @property
    def state(self) -> str:
        """Its progress, in a few words."""
        if self.record.exists():
            if results.read(self.record).published:
                return "done"
            return f"done, {UNPUBLISHED}"
        done = self.epochs_done
        if done:
            return f"{done} of {self.experiment.epochs} epochs done"
        return "missing"


def plan(
    target: str, seeds: int, epochs: int | None, root: Path, runs: Path, released: bool = False, only: str | None = None
) -> list[Run]:
    """List the runs behind a target.

    Args:
        target: of TARGETS
        seeds: number of seeds; they are 0, 1, 2, ...
        epochs: of each run; None takes the experiment's own
        root: folder of the results
        runs: folder of the runs
        released: take the variants with the released settings
        only: name of one run, to leave out all others
    Raises:
        UserError: for a wrong target, number or name
    """
    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    whole("seeds", seeds, 1, 1000)
    names = TARGETS[target]
    if released:
        if target == "quick":
            raise UserError("quick has no released settings; leave out --released")
        names = [name + RELEASED for name in names]
    changes = {} if epochs is None else {"epochs": epochs}
    planned = []
    for seed in range(seeds):
        for name in names:
            experiment = experiments.get(name, seed=seed, **changes)
            folder = runs / results.run_name(experiment)
            planned.append(Run(experiment, folder, results.path_of(experiment, root)))
    if only is None:
        return planned
    chosen = [run for run in planned if run.name == only]
    if not chosen:
        raise _not_planned(only, names, seeds, planned)
    return chosen


def check_records(planned: Sequence[Run]) -> None:
    """Check that the records on file under the names of these runs are records of these runs.

    A run whose record has other settings would be taken for done, although no table counts it.

    Raises:
        UserError: if a record is another run's, is unfinished, has other settings than the experiment of its name, or
            cannot be read
    """
    for run in planned:
        if run.record.exists() and not results.read(run.record).as_named:
            raise UserError(f"{run.record} holds a run of other settings than its name stands for; move it away")


def _not_planned(only: str, names: Sequence[str], seeds: int, planned: Sequence[Run]) -> UserError:
    """Return the error for a run that is not planned, with the options that would add it, if there are any."""
    match = re.fullmatch(r"(.+)-e([1-9]\d{0,8})-seed(0|[1-9]\d{0,2})", only)
    if match is None:
        return unknown("run", only, [run.name for run in planned])
    name, epochs, seed = match.groups()
    options = []
    if name in names:
        if int(seed) >= seeds:
            options.append(f"--seeds {int(seed) + 1}")
        if f"{name}-e{epochs}-seed0" not in [run.name for run in planned]:
            options.append(f"--epochs {epochs}")
    elif name.removesuffix(RELEASED) in names:
        options.append("--released")
    else:
        return unknown("run", only, [run.name for run in planned])
    return UserError(f"{only} is not among these runs; it is with {' '.join(options)}")


def command(run: Run, target: str, options: Sequence[str]) -> list[str]:
    """Return a command that does this run alone, for any scheduler: the arguments after the program.

    Args:
        run: to do
        target: that the run belongs to
        options: to add, such as ["--device", "cuda"]
    """
    seeds = run.experiment.seed + 1
    epochs = run.experiment.epochs
    return ["reproduce", target, "--only", run.name, "--seeds", str(seeds), "--epochs", str(epochs), *options]


def lock_run(run: Run) -> AbstractContextManager[Any]:
    """Lock a run from the check for its record until the record is written; errors as `run_folder.locked`."""
    files.make_folder(run.folder.parent)
    return run_folder.locked(run.folder.parent, f".{run.name}{run_folder.LOCK}")


def train(run: Run, root: Path, device: str, progress: training.Progress, words: Sequence[str]) -> None:
    """Train or resume a run, and save its record into the results; do nothing if the record exists.

    Args:
        run: to train
        root: folder of the results
        device: see `training.choose_device`
        progress: receives progress reports
        words: command line, for the record
    Raises:
        InUse: if another process is training the run
        UserError: as `training.fit` and `training.resume`
    """
    with lock_run(run):
        if run.record.exists():
            return
        if run.begun:
            if records.read_settings(run.folder) != run.experiment:
                raise UserError(f"{run.folder} holds a run of other settings; move it away")
            record = training.resume(run.folder, device, progress, words)
        else:
            record = training.fit(run.experiment, run.folder, device, progress, words)
        try:
            results.save(record, root)
        except run_folder.InUse as busy:
            raise UserError(f"{run.folder} is done, but {busy}; the same command files its record") from busy


def threads_each(jobs: int) -> int:
    """Return the number of threads of each of several processes that share the threads of this one."""
    return max(torch.get_num_threads() // jobs, 1)


@dataclass(frozen=True, eq=False)
class _Job:
    """A process that trains a run.

    Args:
        run: that is trained
        process: that trains it
        device_options: that the process got, such as ["--device", "cuda:1"]
    """

    run: Run
    process: subprocess.Popen
    device_options: list[str]

    @property
    def outcome(self) -> str:
        """How the process ended, in one line."""
        if self.process.returncode:
            return f"failed {self.run.name}: exit {self.process.returncode}. {_last_line(self.run.log)}"
        if self.run.record.exists():
            return f"finished {self.run.name}"
        return f"left off {self.run.name}; its log says why"


def train_in_processes(
    missing: Sequence[Run],
    jobs: int,
    threads: int,
    command_of: Callable[[Run], list[str]],
    report: Callable[[str], None],
    devices: Sequence[str] = (),
) -> list[str]:
    """Train runs in processes of their own.

    On a signal the processes finish their step and save; a second Ctrl-C kills them.

    Args:
        missing: runs to train
        jobs: number of processes at a time
        threads: of each process
        command_of: run -> arguments of its process
        report: called with a line when a process starts or ends
        devices: used by the jobs in turn, such as ["cuda:0", "cuda:1"]; empty leaves the device to `command_of`
    Returns:
        names of the runs that failed
    Raises:
        Stopped: on SIGTERM and Ctrl-C, once all processes have ended
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    waiting = list(missing)
    failed = []
    working: list[_Job] = []
    free = _device_options(jobs, devices)
    # Signals are deferred: one raised between the start of a process and its entry in `working` would leave it behind.
    with signals.defer_signals(patient=True) as request:
        try:
            while (waiting or working) and not request.number:
                while waiting and len(working) < jobs:
                    run = waiting.pop(0)
                    options = free.pop(0)
                    process = _start(run, [*command_of(run), *options], environment)
                    working.append(_Job(run, process, options))
                    report(f"started {run.name}; its lines go to {run.log}")
                for job in [job for job in working if job.process.poll() is not None]:
                    working.remove(job)
                    free.append(job.device_options)
                    report(job.outcome)
                    if job.process.returncode:
                        failed.append(job.run.name)
                time.sleep(POLL)
        finally:
            _end([job.process for job in working], request)
        if request.number:
            raise signals.Stopped("stopped", request.number)
    return failed


def _device_options(jobs: int, devices: Sequence[str]) -> list[list[str]]:
    """Return the device options of each job that runs at a time; none where no devices are given."""
    if not devices:
        return [[] for _ in range(jobs)]
    return [["--device", devices[job % len(devices)]] for job in range(jobs)]


def _start(run: Run, words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen:
    """Start a process that trains a run and writes its lines to the run's log."""
    files.make_folder(run.folder.parent)
    with files.open_to_append(run.log) as log:
        command = [sys.executable, "-m", "snnbook", *words]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _last_line(log: Path) -> str:
    """Return the last line that a process wrote to its log."""
    for line in reversed(log.read_text(errors="replace").split("\n")):
        if line.strip():
            return one_line(line)
    return "It said nothing"


def _end(processes: Sequence[subprocess.Popen], request: signals.Request) -> None:
    """Let processes finish their step, save and end; kill them on a second Ctrl-C."""
    for process in processes:
        process.terminate()
    while any(process.poll() is None for process in processes):
        if request.urgent:
            for process in processes:
                process.kill()
        time.sleep(POLL)
