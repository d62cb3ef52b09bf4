"""Do the work of `snnbook reproduce`: plan, estimate and train the runs behind a table or figure, then print it."""

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from .. import datasets, signals, training
from .. import results as on_file
from ..errors import UserError, as_path, one_line, visible, whole
from ..records import files, run_folder
from ..results import estimates, render, tables
from ..results import reproduce as work
from ..results.reproduce import Run
from ..training import distributed
from . import streams, terminal
from .options import Reproduction

AGAIN = "--results again --runs runs/again"
"""Options for whoever wants to repeat finished runs."""


def reproduce(target: str, options: Reproduction) -> None:
    """Train the missing runs of a target, then print its table.

    Args:
        target: of `results.reproduce.TARGETS`
        options: of the command line
    Raises:
        UserError: if an option is wrong, a folder cannot be used, or runs failed
        Stopped: on SIGTERM and Ctrl-C
    """
    whole("jobs", options.jobs, 1, 1000)
    distributed.refuse_several("snnbook reproduce", "leave torchrun out, and take --jobs for several runs at a time")
    training.device_number(options.device)
    root = as_path("--results", options.results)
    runs = as_path("--runs", options.runs)
    planned = work.plan(target, options.seeds, options.epochs, root, runs, options.released, options.only)
    work.check_records(planned)
    missing = [run for run in planned if not run.record.exists()]
    if not missing and (options.list_commands or options.only is not None):
        _print_done(planned)
    if options.list_commands:
        _print_commands(missing, target, options)
        return
    # The device is not looked for before: commands may be listed on a machine that lacks it.
    device = training.choose_device(options.device)
    if missing:
        files.make_folder(runs)
        on_file.check_usable(root)
    jobs = min(options.jobs, max(len(missing), 1))
    threads = work.threads_each(jobs)
    with _stoppable():
        if options.only is None:
            for run in planned:
                print(f"{run.name:<45} {run.state}")
            if missing:
                # A measurement should have as many threads as each run will have.
                torch.set_num_threads(threads)
                _print_estimate(planned, missing, device, jobs, root)
                _warn_of_other_images(missing)
        if jobs > 1:
            failed = _train_in_processes(missing, target, options, device, jobs, threads)
        else:
            failed = _train_here(missing, root, options.device)
        # A process that was stopped after it wrote a record and before it wrote the index left an old index.
        on_file.refresh_index(root)
    if options.only is None:
        with streams.lossy_output():
            _print_table(target, root)
    if failed:
        raise UserError(f"{len(failed)} of {len(planned)} runs failed, see above: {', '.join(failed)}")


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Keep training when nobody reads the output; when a signal stops it, say how to go on."""
    try:
        with signals.raise_on_sigterm(), streams.lossy_output():
            yield
    except KeyboardInterrupt as stop:
        again = f"snnbook {shlex.join(sys.argv[1:])}"
        raise signals.Stopped.from_interrupt(stop, f"stopped; what is done is kept. Go on with: {again}") from stop


def _print_commands(missing: Sequence[Run], target: str, options: Reproduction) -> None:
    """Print a command for each missing run."""
    for run in missing:
        words = work.command(run, target, options.for_each_run())
        print("snnbook", visible(shlex.join(words)))


def _print_done(planned: Sequence[Run]) -> None:
    """Say that there is nothing to do, and how to do it again."""
    for run in planned:
        if not on_file.read(run.record).published:
            print(f"{visible(str(run.record))} is done, {work.UNPUBLISHED}; move it away to run anew", file=sys.stderr)
    where = "all have their records"
    if len(planned) == 1:
        where = f"{visible(str(planned[0].record))} has it"
    print(f"{len(planned)} of {len(planned)} runs done: {where}. To run anew: {AGAIN}", file=sys.stderr)


def _print_estimate(
    planned: Sequence[Run], missing: Sequence[Run], device: torch.device, jobs: int, root: Path
) -> None:
    """Print how long the missing runs will take."""
    left = [(run.experiment, run.experiment.epochs - run.epochs_done) for run in missing]
    estimate = estimates.estimate(left, device, on_file.load(root))
    about = terminal.duration(estimate.seconds / jobs)
    print(
        f"{len(missing)} of {len(planned)} runs to do: about {about} on this machine, {jobs} at a time, "
        f"by {estimate.source}",
        flush=True,
    )


def _warn_of_other_images(missing: Sequence[Run]) -> None:
    """Print a line for each data set whose images on this machine are not the published ones."""
    differs = {}
    for status in datasets.check({run.experiment.dataset for run in missing}):
        if status.state == "differs":
            differs[status.name] = status.source
    for name, folder in differs.items():
        folder = visible(str(folder))
        print(f"warning: {name} in {folder} is not as published: no run for the paper's tables", flush=True)


def _train_here(missing: Sequence[Run], root: Path, device: str) -> list[str]:
    """Train runs one after the other in this process, and return the names of those that failed."""
    failed = []
    for run in missing:
        try:
            work.train(run, root, device, terminal.TerminalProgress(), sys.argv[1:])
        except run_folder.InUse as busy:
            print(f"{busy.owner} is at work on {run.name}; left to it", flush=True)
        except UserError as error:
            # The other runs do not depend on this one.
            print(f"{run.name} failed: {one_line(str(error))}", flush=True)
            failed.append(run.name)
    return failed


def _train_in_processes(
    missing: Sequence[Run], target: str, options: Reproduction, device: torch.device, jobs: int, threads: int
) -> list[str]:
    """Train runs in several processes, and return the names of those that failed."""
    words = options.for_each_run()
    gpus = []
    if device.type == "cuda" and training.device_number(options.device) is None:
        words = options.for_each_device()
        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    command_of = partial(work.command, target=target, options=words)
    report = partial(print, flush=True)
    return work.train_in_processes(missing, jobs, threads, command_of, report, gpus)


def _print_table(target: str, root: Path) -> None:
    """Print the table of a target; the list of its runs if it has no table."""
    found = on_file.load(root)
    name = target.removeprefix("table")
    if name in tables.NAMES:
        table = tables.build(name, found)
    else:
        names = work.TARGETS[target]
        chosen = [result for result in found if result.experiment.name.removesuffix(tables.RELEASED) in names]
        table = tables.runs_table(chosen)
    print(f"\n{render.text(table)}")
