"""The commands `snnbook table` and `snnbook reproduce`."""

import re
import shlex
import sys
import urllib.parse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import UserError, as_path, one_line, visible, whole

RESULTS, RUNS = "results", "runs/reproduce"


def _whole(_: type, tokens: Sequence[Any]) -> int:
    """Whole numbers as people write them, and no others: cyclopts alone rounds 1.5 to 2."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)


Whole = Annotated[int, Parameter(converter=_whole)]


def _real(_: type, tokens: Sequence[Any]) -> float:
    """Numbers as people write them: cyclopts alone takes None and null for "not given", and 1_0 for 10."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", text, re.IGNORECASE):
        raise ValueError(f"not a number: {text!r}")
    return float(text)


Real = Annotated[float, Parameter(converter=_real)]


def table(
    name: Literal["3", "4", "5", "figures", "runs"],
    /,
    *,
    format: Literal["text", "markdown", "html", "csv"] = "text",
    results: str = RESULTS,
) -> None:
    """Print a table from the records on file: the paper's numbers beside ours.

    Args:
        name: 3, 4 or 5; figures for Figures 1 to 3 in numbers; runs for a list of all records
        format: text, markdown, html or csv
        results: folder of the records
    """
    from .. import results as on_file
    from ..results import render, tables

    if not Path(results).is_dir():
        raise UserError(f"there is no folder {results} here; name the one with the records by --results")
    found = on_file.load(results)
    if not found:
        place = visible(results)
        print(f"no record lies in the folders of {place}: nothing but the paper's numbers", file=sys.stderr)
    files = {result.name: urllib.parse.quote(f"{results}/{result.file}") for result in found}
    print(render.render(tables.build(name, found), format, files.__getitem__))


def reproduce(
    target: str,
    /,
    *,
    seeds: Whole = 1,
    epochs: Whole | None = None,
    device: str = "auto",
    jobs: Whole = 1,
    list_commands: Annotated[bool, Parameter(name="--list", negative="")] = False,
    only: str | None = None,
    released: Annotated[bool, Parameter(negative="")] = False,
    results: str = RESULTS,
    runs: str = RUNS,
) -> None:
    """Run what is missing of a table or figure, then print it. Finished runs are kept, stopped ones go on.

    Args:
        target: table3, table4, table5, figures, variants or quick
        seeds: runs of each row, with seeds 0, 1, 2, ...; from three on there are verdicts
        epochs: another schedule than the paper's; such runs are kept apart
        device: auto, cpu, cuda, or cuda:1 for the second GPU
        jobs: runs at a time, each in a process of its own; threads are divided among them, GPUs dealt out in turn
        list_commands: print a command for each missing run, for any scheduler, and do nothing
        only: the name of one run, such as fashion_mnist_tet-e100-seed0
        released: take the settings of the authors' release
        results: folder of the records
        runs: folder of the runs in progress
    """
    import torch

    from .. import results as on_file
    from .. import signals, training
    from ..records import files
    from ..results import estimates
    from ..results import reproduce as work
    from ..training import distributed
    from . import streams, terminal

    whole("jobs", jobs, 1, 1000)
    distributed.refuse_several("snnbook reproduce", "leave torchrun out, and take --jobs for several runs at a time")
    training.device_number(device)
    root = as_path("--results", results)
    in_progress = as_path("--runs", runs)
    planned = work.plan(target, seeds, epochs, root, in_progress, released, only)
    work.refuse_others(planned)
    missing = [run for run in planned if not run.record.exists()]
    given = {"--results": (results, RESULTS), "--runs": (runs, RUNS)}
    options = [word for name, (value, default) in given.items() if value != default for word in (name, value)]
    options += ["--released"] * released
    on_device = ["--device", device] * (device != "auto")
    if list_commands:
        for run in missing:
            print("snnbook", visible(shlex.join(work.command(run, target, on_device + options))))
    if not missing and (list_commands or only is not None):
        again = "--results again --runs runs/again"
        done = f"{visible(str(planned[0].record))} has it" if len(planned) == 1 else "all have their records"
        for run in planned:
            if not on_file.read(run.record).published:
                there = visible(str(run.record))
                print(f"{there} is done, {work.UNPUBLISHED}; move it away to run anew", file=sys.stderr)
        print(f"{len(planned)} of {len(planned)} runs done: {done}. To run anew: {again}", file=sys.stderr)
    if list_commands:
        return
    jobs = min(jobs, max(len(missing), 1))
    threads = work.threads_each(jobs)
    where = training.choose_device(device)  # only now: commands may be listed where there is no such device
    if missing:
        files.make_folder(in_progress)
        on_file.look(root)
    shared_out = jobs > 1 and where.type == "cuda" and training.device_number(device) is None
    places = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if shared_out else []
    try:
        with signals.raise_on_sigterm(), streams.lossy_output():
            if only is None:
                for run in planned:
                    print(f"{run.name:<45} {run.state}")
                if missing:
                    torch.set_num_threads(threads)
                    left = [(run.experiment, run.experiment.epochs - run.epochs_done) for run in missing]
                    took = estimates.estimate(left, where, on_file.load(root))
                    about = terminal.duration(took.seconds / jobs)
                    print(f"{len(missing)} of {len(planned)} runs to do: about {about}", end=" ")
                    print(f"on this machine, {jobs} at a time, by {took.source}", flush=True)
                for line in _other_images({run.experiment.dataset for run in missing}):
                    print(line, flush=True)
            start = partial(work.command, target=target, options=options if places else on_device + options)
            failed = _run(missing, jobs, threads, root, device, start, places)
            on_file.refresh_index(root)  # a process that was stopped between its record and the index leaves it behind
    except KeyboardInterrupt as stop:
        again = f"snnbook {shlex.join(sys.argv[1:])}"
        raise signals.Stopped.from_interrupt(stop, f"stopped; what is done is kept. Go on with: {again}") from stop
    if only is None:
        with streams.lossy_output():
            _print_tables(target, on_file.load(root))
    if failed:
        raise UserError(f"{len(failed)} of {len(planned)} runs failed, see above: {', '.join(failed)}")


def _run(
    missing: Sequence[Any], jobs: int, threads: int, root: Path, device: str, start: Any, places: Sequence[str]
) -> list[str]:
    """Do the runs, here one after the other or in processes; names of those that failed."""
    from ..records import run_folder
    from ..results import reproduce as work
    from . import terminal

    if jobs > 1:
        return work.do_all(missing, jobs, threads, start, lambda line: print(line, flush=True), places)
    failed = []
    for run in missing:
        try:
            work.do(run, root, device, terminal.TerminalProgress(), sys.argv[1:])
        except run_folder.InUse as busy:
            print(f"{busy.owner} is at work on {run.name}; left to it", flush=True)
        except UserError as error:  # the other rows do not depend on this one
            print(f"{run.name} failed: {one_line(str(error))}", flush=True)
            failed.append(run.name)
    return failed


def _other_images(names: set[str]) -> list[str]:
    """A line for each data set whose images here are not the published ones."""
    from .. import datasets

    differs = {status.name: status.source for status in datasets.check(names) if status.state == "differs"}
    return [
        f"warning: {name} in {visible(str(folder))} is not as published: no run for the paper's tables"
        for name, folder in differs.items()
    ]


def _print_tables(target: str, found: Sequence[Any]) -> None:
    from ..results import render, reproduce, runs, tables

    name = target.removeprefix("table")
    if name in tables.NAMES:
        table = tables.build(name, found)
    else:
        names = reproduce.TARGETS[target]
        table = runs.runs_table([r for r in found if r.experiment.name.removesuffix(tables.RELEASED) in names])
    print(f"\n{render.text(table)}")
