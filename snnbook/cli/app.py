"""The command line's commands and their options. Thin: what they do is done elsewhere."""

import contextlib
import dataclasses
import errno
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from cyclopts import App, CycloptsError, Parameter

from .. import __version__, errors, signals
from ..errors import UserError
from . import BAD, reproduce, streams
from .reproduce import Real, Whole

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""A full disk, a full share of it."""

LONGEST = 2000
"""Characters of an error line that are shown."""

NARROWEST, WIDEST = 40, 1000
"""Columns that help is written for. The library that writes it never ends for one column or none, and fails for very
many."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
"""What torch says where memory is full, on a GPU and on a CPU."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Changes:
    """Settings that take the place of the experiment's own."""

    loss: str | None = None
    "enhanced_counting, counting, kernel, tet, timing or ttfs"
    epochs: Whole | None = None
    "passes over the training images"
    seed: Whole | None = None
    "of weights, order, augmentation and dropout"
    batch_size: Whole | None = None
    "images a step"
    learning_rate: Real | None = None
    "at the start; falls to 0 along a cosine"
    weight_decay: Real | None = None
    "of the weights (and of gamma and beta, where the experiment has no other for these)"
    norm_weight_decay: Real | None = None
    "of gamma and beta"
    gradient_clip: Real | None = None
    "largest norm of the whole gradient; a larger one is scaled down to it"
    optimiser: str | None = None
    "adamw or sgd"
    target_label: Real | None = None
    "spikes wanted of the label neuron (counting losses)"
    target_others: Real | None = None
    "spikes wanted of the other neurons (counting losses)"
    t_unfired: Real | None = None
    "time that a silent neuron counts with, in units of T (ttfs)"
    sharpness: Real | None = None
    "factor on the spikes before the softmax (tet)"
    kernel_tau_s: Real | None = None
    "time constant of the loss's filter, steps (kernel)"
    label_scaling: bool | None = None
    "scale the label neurons' gradients up where others fire more (counting losses)"
    supervision: bool | None = None
    "make the label's neuron fire in training"
    readout: str | None = None
    "count: spikes, early ones a little more; first: the first spikes above all"
    network: str | None = None
    "layers, such as 32C5-P2-64C5-P2-1024; the output layer is added"
    padding: Whole | None = None
    "zeros on every side of each convolution's input"
    steps: Whole | None = None
    "time steps T"
    tau_m: Real | None = None
    "membrane time constant, steps"
    tau_s: Real | None = None
    "synaptic time constant, steps"
    tau_g: Real | None = None
    "time constant of the backward kernel, steps"
    rate: Real | None = None
    "spikes per neuron that thresholds are initialised for"
    dropout: Real | None = None
    "share of channels and features dropped"
    engine: str | None = None
    "what computes the neurons: auto, reference, cpu or triton"
    precision: str | None = None
    "of products: float32; tf32 (on a GPU, forward too); bf16_backward (gradients alone; spikes stay)"


app = App(
    name="snnbook",
    help="Train spiking neural networks on the times of their spikes; the trainer of the book that runs.",
    version=__version__,
)
data = App(name="data", help="The data sets on this machine.")
app.command(data)
app.command(reproduce.table)
app.command(reproduce.reproduce)


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
    from .. import experiments, signals, training
    from ..records import run_folder
    from ..training import tensorboard
    from . import terminal

    given = {key: value for key, value in dataclasses.asdict(changes or Changes()).items() if value is not None}
    progress = terminal.TerminalProgress()
    told = progress if log is None else tensorboard.Several([progress, tensorboard.TensorBoard()])
    command = sys.argv[1:]
    try:
        if resume is not None:
            extra = [f"--{key.replace('_', '-')}" for key in given] + ["--out"] * (out is not None)
            if name is not None or extra:
                raise UserError(
                    f"--resume goes on with a run's own settings; leave out {' '.join([*filter(None, [name]), *extra])}"
                )
            record = training.resume(resume, device, told, command, save_every)
        else:
            if name is None:
                raise UserError("name an experiment, such as: snnbook train quick. See: snnbook experiments")
            record = training.fit(experiments.asked(name, **given), out, device, told, command, save_every)
    except KeyboardInterrupt as stop:
        if progress.folder is None or isinstance(stop, signals.Stopped):
            raise
        again = run_folder.resume_hint(progress.folder)
        raise KeyboardInterrupt(f"stopped; all finished epochs are kept. {again}") from stop
    if progress.folder is not None:  # else another process of the job talks
        print(terminal.summary(record, progress.folder))


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
    if distributed.team().leads:
        print(terminal.evaluation(figures, run, checkpoint))


@app.command
def record(run: str, /, *, results: str = "results") -> None:
    """Write a finished run's settings, provenance and figures as one small file, to be kept with the sources.

    Args:
        run: the run's folder
        results: folder of the records; a run with the settings of its experiment's name, on the published images
            (where the package knows their hashes), goes to where tables look
    """
    from .. import results as on_file

    path, listed = on_file.keep(run, results)
    print(errors.visible(str(path)))
    if not listed:
        why = "settings are not those that its experiment's name stands for, or its images not the published ones"
        print(f"no table has it: its {why}", file=sys.stderr)


@app.command
def plot(*runs: str, out: str = "curves.png") -> None:
    """Draw accuracy, gradients and thresholds of one or several runs.

    Args:
        runs: run folders or record files
        out: picture to write, .png or .svg
    """
    from ..results import plots

    if not runs:
        raise UserError("name a run's folder, or several: snnbook plot RUN [RUN...]")
    print(errors.visible(str(plots.plot(runs, out))))


@app.command
def experiments() -> None:
    """List the experiments: name, table of the paper, steps T, loss, parameters, images and their size, network."""
    import torch

    from .. import experiments
    from . import terminal

    found = [experiments.get(name) for name in experiments.names()]
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in experiment.build_network().parameters()) for experiment in found]
    print(terminal.catalogue(found, sizes))


@data.command
def check() -> None:
    """Look for the data sets' files and hold them against their published checksums. Uses no network."""
    from .. import datasets

    found = datasets.check()
    for status in found:
        print(datasets.describe(status))
    if damaged := [f"{status.name} {status.split}" for status in found if status.state == "damaged"]:
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
    _sensible_width()
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot show
    if any("\0" in argument for argument in arguments):  # from Python alone: shells cannot pass it on
        return _complain("an argument holds a null byte; leave it out")
    try:
        command, bound, *_ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        if command.__module__.startswith(f"{__package__}."):
            # takes long, and is better not interrupted by an exception
            import_module("..training", __package__)
        output = streams.lossy_output() if command is train else contextlib.nullcontext()
        with signals.acting(), output, _plain_warnings():
            command(*bound.args, **bound.kwargs)
            sys.stdout.flush()
            _leave()
    except (CycloptsError, UserError) as error:
        return _complain(str(error))
    except (BrokenPipeError, SystemExit):
        # whoever read our output has gone, as in `snnbook experiments | head -1`; help ends by SystemExit then
        streams.drop(sys.stdout)
        return BAD
    except OSError as error:
        if error.filename is not None:
            return _complain(f"{error.filename}: {error.strerror}")
        if error.errno not in NO_ROOM:
            raise
        streams.drop(sys.stdout)
        return _complain(f"cannot write the output: {error.strerror}. What was saved is kept")
    except (MemoryError, RuntimeError) as error:  # torch raises both, and marks neither but by its words
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        return _complain("memory is full; try a smaller --batch-size or --network")
    except KeyboardInterrupt as stop:
        _complain(str(stop) or "stopped")
        return codes[getattr(stop, "number", signal.SIGINT)]
    return 0


def _sensible_width() -> None:
    """Let help be written for NARROWEST to WIDEST columns, whatever the terminal or COLUMNS says."""
    told = os.environ.get("COLUMNS", "")
    columns = shutil.get_terminal_size().columns
    sensible = min(max(columns, NARROWEST), WIDEST)
    if columns != sensible or (told.isdigit() and told != str(columns)):
        os.environ["COLUMNS"] = str(sensible)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Within, a warning is one line, without the place in our sources that it came from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *place, **line: f"warning: {errors.one_line(str(message))}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _leave() -> None:
    """Part from the other processes of the job, if there are any."""
    if "snnbook.training.distributed" in sys.modules:
        from ..training import distributed

        distributed.leave()


def _complain(message: str) -> int:
    """One line on standard error, whatever the message holds; of several processes the first to have one says it."""
    if "RANK" in os.environ:
        from ..training import distributed

        if not distributed.first_to_speak():
            return BAD
    line = errors.one_line(message)
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    print(f"snnbook: {line}", file=sys.stderr)
    return BAD
