"""Define the commands and their options. Each calls the package and prints what it returns.

Only what the options need is imported here. A command imports the rest itself, because torch takes seconds:
`snnbook --help` takes 0.5 s, and would take 3 s with all imports in this place.
"""

import contextlib
import dataclasses
import errno
import os
import shutil
import signal
import sys
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from cyclopts import App, CycloptsError

from .. import __version__, errors, signals
from ..errors import UserError
from . import BAD, streams
from .options import RESULTS, Changes, Real, Reproduction

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of a full quota."""

LONGEST = 2000
"""Characters of an error line that are printed."""

NARROWEST, WIDEST = 40, 1000
"""Columns that help is written for. The library that writes it never ends for one column or none, and fails for very
many."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
"""Torch's words for full memory, on a GPU and on a CPU."""

app = App(
    name="snnbook",
    help="Train spiking neural networks on the times of their spikes; the trainer of the book that runs.",
    version=__version__,
)
data = App(name="data", help="The data sets on this machine.")
app.command(data)


@app.command
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
        folder = errors.visible(results)
        print(f"no record lies in the folders of {folder}: nothing but the paper's numbers", file=sys.stderr)
    addresses = {result.name: urllib.parse.quote(f"{results}/{result.file}") for result in found}
    print(render.render(tables.build(name, found), format, addresses.__getitem__))


@app.command(name="reproduce")
def reproduce_target(target: str, /, *, options: Reproduction | None = None) -> None:
    """Run what is missing of a table or figure, then print it. Finished runs are kept, stopped ones go on.

    Args:
        target: table3, table4, table5, figures, variants or quick
    """
    from . import reproduce

    reproduce.reproduce(target, options or Reproduction())


@app.command
def train(
    name: str | None = None,
    /,
    *,
    out: str | None = None,
    resume: str | None = None,
    device: str = "auto",
    log: Literal["tensorboard"] | None = None,
    save_every: Real = 300.0,
    changes: Changes | None = None,
) -> None:
    """Train an experiment, or go on with a stopped run. With torchrun -m snnbook train, on several devices.

    Args:
        name: the experiment, such as quick or fashion_mnist; `snnbook experiments` lists them
        out: folder of the run, new or empty; without it, one is made in runs/
        resume: folder of a stopped run to go on with; its settings are used as they are
        device: auto, cpu or cuda
        log: tensorboard, to write every epoch's figures for it into the run's folder
        save_every: seconds between two checkpoints within an epoch
    """
    from .. import experiments, training
    from ..records import run_folder
    from ..training import tensorboard
    from . import terminal

    settings = _given(changes)
    terminal_progress = terminal.TerminalProgress()
    progress = terminal_progress
    if log is not None:
        progress = tensorboard.Several([terminal_progress, tensorboard.TensorBoard()])
    command = sys.argv[1:]
    try:
        if resume is not None:
            _refuse_settings_of_resumed(name, settings, out)
            record = training.resume(resume, device, progress, command, save_every)
        elif name is not None:
            record = training.fit(experiments.asked(name, **settings), out, device, progress, command, save_every)
        else:
            raise UserError("name an experiment, such as: snnbook train quick. See: snnbook experiments")
    except KeyboardInterrupt as stop:
        folder = terminal_progress.folder
        if folder is None or isinstance(stop, signals.Stopped):
            raise
        raise KeyboardInterrupt(f"stopped; all finished epochs are kept. {run_folder.resume_hint(folder)}") from stop
    # Of several processes that train together, one reports progress, and that one alone knows the folder.
    if terminal_progress.folder is not None:
        print(terminal.summary(record, terminal_progress.folder))


def _given(changes: Changes | None) -> dict[str, Any]:
    """Return the settings that the command line changes."""
    if changes is None:
        return {}
    return {name: value for name, value in dataclasses.asdict(changes).items() if value is not None}


def _refuse_settings_of_resumed(name: str | None, settings: Mapping[str, Any], out: str | None) -> None:
    """Raise UserError if a command that resumes a run would also choose its experiment, settings or folder."""
    extra = []
    if name is not None:
        extra.append(name)
    extra += [f"--{setting.replace('_', '-')}" for setting in settings]
    if out is not None:
        extra.append("--out")
    if extra:
        raise UserError(f"--resume goes on with a run's own settings; leave out {' '.join(extra)}")


@app.command
def evaluate(run: str, /, *, checkpoint: Literal["best", "last"] = "best", device: str = "auto") -> None:
    """Test a trained network.

    Args:
        run: the run's folder
        checkpoint: best or last
        device: auto, cpu or cuda
    """
    from .. import training
    from ..training import distributed
    from . import terminal

    figures = training.evaluate(run, checkpoint, device)
    if distributed.process_group().is_main:
        print(terminal.evaluation(figures, run, checkpoint))


@app.command(name="record")
def record_run(run: str, /, *, results: str = RESULTS) -> None:
    """Write a finished run's settings, provenance and figures as one small file, to be kept with the sources.

    Args:
        run: the run's folder
        results: folder of the records; a run with the settings of its experiment's name, on the published images
            (where the package knows their hashes), goes to where tables look
    """
    from .. import results as on_file

    added = on_file.add_run(run, results)
    print(errors.visible(str(added.path)))
    if not added.counts:
        why = "settings are not those that its experiment's name stands for, or its images not the published ones"
        print(f"no table has it: its {why}", file=sys.stderr)


@app.command(name="plot")
def plot_runs(*runs: str, out: str = "curves.png") -> None:
    """Draw accuracy, gradients and thresholds of one or several runs.

    Args:
        runs: run folders or record files
        out: picture to write, .png or .svg
    """
    from ..results import plots

    if not runs:
        raise UserError("name a run's folder, or several: snnbook plot RUN [RUN...]")
    print(errors.visible(str(plots.plot(runs, out))))


@app.command(name="experiments")
def list_experiments() -> None:
    """List the experiments: name, table of the paper, steps T, loss, parameters, images and their size, network."""
    import torch

    from .. import experiments
    from . import terminal

    found = [experiments.get(name) for name in experiments.names()]
    sizes = []
    # Networks on the meta device have shapes and no memory.
    with torch.device("meta"):
        for experiment in found:
            sizes.append(sum(parameter.numel() for parameter in experiment.build_network().parameters()))
    print(terminal.catalogue(found, sizes))


@data.command
def check() -> None:
    """Look for the data sets' files and compare them with their published checksums. Uses no network."""
    from .. import datasets

    found = datasets.check()
    for status in found:
        print(datasets.describe(status))
    damaged = [f"{status.name} {status.split}" for status in found if status.state == "damaged"]
    if damaged:
        raise UserError(f"damaged: {', '.join(damaged)}; see above")


@app.command
def version() -> None:
    """Print the versions of snnbook, Python, torch, NumPy and Numba."""
    from ..records import provenance

    print(", ".join(f"{name} {number or '(not installed)'}" for name, number in provenance.versions().items()))


def run(arguments: Sequence[str], codes: Mapping[int, int]) -> int:
    """Run a command line.

    Args:
        arguments: without the program
        codes: the exit code for each signal that stops it
    Returns:
        the exit code: 0, BAD with one line on standard error, or one of `codes`
    """
    _limit_width()
    # The name of a file may contain characters that the terminal cannot show.
    sys.stdout.reconfigure(errors="backslashreplace")
    # Shells cannot pass a null byte on; a caller in Python can.
    if any("\0" in argument for argument in arguments):
        return _complain("an argument holds a null byte; leave it out")
    try:
        command, bound, *_ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        if command.__module__.startswith(f"{__package__}."):
            # Imported before signals raise: in the middle of these long imports an exception would do harm.
            import_module("..training", __package__)
        output = streams.lossy_output() if command is train else contextlib.nullcontext()
        with signals.raise_on_signals(), output, _plain_warnings():
            command(*bound.args, **bound.kwargs)
            sys.stdout.flush()
            _leave()
    except (CycloptsError, UserError) as error:
        return _complain(str(error))
    except (BrokenPipeError, SystemExit):
        # The reader of our output has gone, as in `snnbook experiments | head -1`. Help then ends by SystemExit.
        streams.drop(sys.stdout)
        return BAD
    except OSError as error:
        if error.filename is not None:
            return _complain(f"{error.filename}: {error.strerror}")
        if error.errno not in NO_ROOM:
            raise
        streams.drop(sys.stdout)
        return _complain(f"cannot write the output: {error.strerror}. What was saved is kept")
    except (MemoryError, RuntimeError) as error:
        # Torch raises either, and a RuntimeError shows only by its words that memory is full.
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        return _complain("memory is full; try a smaller --batch-size or --network")
    except KeyboardInterrupt as stop:
        _complain(str(stop) or "stopped")
        return codes[getattr(stop, "number", signal.SIGINT)]
    return 0


def _limit_width() -> None:
    """Limit the width of help to NARROWEST to WIDEST columns, whatever the terminal or COLUMNS says."""
    variable = os.environ.get("COLUMNS", "")
    columns = shutil.get_terminal_size().columns
    limited = min(max(columns, NARROWEST), WIDEST)
    if columns != limited or (variable.isdigit() and variable != str(columns)):
        os.environ["COLUMNS"] = str(limited)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print each warning as one line, without the line of our sources that it came from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {errors.one_line(str(message))}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _leave() -> None:
    """Leave the group of processes that train together, if there is one."""
    if "snnbook.training.distributed" in sys.modules:
        from ..training import distributed

        distributed.leave()


def _complain(message: str) -> int:
    """Print one line on standard error; of several processes that train together only the first prints."""
    if "RANK" in os.environ:
        from ..training import distributed

        if not distributed.is_first_to_report():
            return BAD
    line = errors.one_line(message)
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    print(f"snnbook: {line}", file=sys.stderr)
    return BAD
