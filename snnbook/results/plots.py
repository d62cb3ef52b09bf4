"""Draw the curves of runs (App. Fig. 1-3): accuracy, sums and signs of gradients, thresholds of the output layer."""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import inputs, records
from ..errors import UserError, as_path, visible
from ..records import EpochFigures, RunRecord, files
from . import style

FORMATS = ("png", "svg")

CURVES: dict[str, str] = {
    "test_accuracy": "accuracy on test images, %",
    "grad_abs_sum": "sum of |e|",
    "grad_sum": "sum of e",
    "positive_ratio": "(sum of e) / (sum of |e|)",
}
"""Figures drawn against the epoch, and labels of their axes; e is the gradient on the times of the output spikes."""

TRAINING = "train_accuracy"
"""Figure drawn fainter, on the axes of the test accuracy."""

MARKS = 12
"""Markers on each curve, roughly."""

INCHES = (12.0, 6.6)
DOTS_PER_INCH = 120


def plot(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draw the curves of one or several runs.

    Args:
        runs: run folders or record files
        out: file to write, .png or .svg; an existing file is replaced
    Returns:
        the file
    Raises:
        UserError: if a run cannot be read or has no epoch yet, the file has another ending or cannot be written, or
            matplotlib is missing
    """
    path = as_path("out", out)
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise UserError(f"a picture must be named .png or .svg, not {str(out)!r}")
    if isinstance(runs, (str, bytes, os.PathLike)):
        runs = [runs]
    runs = [as_path("each of runs", run) for run in inputs.listed("runs", runs, "a list of paths")]
    if not runs:
        raise UserError("runs are empty: name a run's folder or a record")
    found = [records.read(run) for run in runs]
    for run, record in zip(runs, found, strict=True):
        if not record.epochs:
            raise UserError(f"{run} has no epoch done yet, and so no curve")
    names = [f"{number}  {_name(run)}" for number, run in enumerate(runs, start=1)]
    content = _draw(found, names, form)
    files.make_folder(path.parent)
    files.write_atomic(path, content)
    return path


def _name(run: str | Path) -> str:
    """Return a run's name for matplotlib: dollar signs, which would begin a formula, are escaped."""
    return visible(Path(run).resolve().name.removesuffix(".jsonl")).replace("$", r"\$")


def _draw(found: list[RunRecord], names: list[str], form: str) -> bytes:
    """Draw the picture in one of FORMATS."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise UserError("pictures need matplotlib; install it: pip install matplotlib") from error
    with matplotlib.rc_context(style.SETTINGS):
        figure = Figure(figsize=INCHES, layout="constrained")
        *curves, thresholds, legend = figure.subplots(2, 3).flat
        lines = [_draw_run(curves, thresholds, index, record) for index, record in enumerate(found)]
        for axis, label in zip(curves, CURVES.values(), strict=True):
            axis.set(xlabel="epoch", ylabel=label)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        thresholds.set(xlabel="run", ylabel="output thresholds, last epoch", xlim=(0.4, len(found) + 0.6))
        thresholds.xaxis.set_major_locator(MaxNLocator(integer=True))
        labels = []
        for name, record in zip(names, found, strict=True):
            labels.append(f"{name}, {record.experiment.loss}: best {record.best.test_accuracy:.2%}")
        legend.axis("off")
        legend.legend(lines, labels, loc="upper left", frameon=False, title="dashed: accuracy while training")
        file = io.BytesIO()
        # matplotlib would write the time into an SVG, and the same runs should give the same bytes.
        metadata: dict[str, Any] = {"Date": None} if form == "svg" else {}
        figure.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
    return file.getvalue()


def _draw_run(curves: Sequence[Any], thresholds: Any, index: int, record: RunRecord) -> Any:
    """Draw a run's curves and its output thresholds, and return a line for the legend."""
    line = style.run_line(index) | {"markersize": 4, "markevery": max(1, len(record.epochs) // MARKS)}
    epochs = [figures.epoch for figures in record.epochs]
    lines = []
    for axis, name in zip(curves, CURVES, strict=True):
        lines += axis.plot(epochs, _curve(record.epochs, name), **line)
    curves[0].plot(epochs, _curve(record.epochs, TRAINING), color=line["color"], alpha=0.4, linestyle="--")
    values = record.last.output_thresholds
    thresholds.plot([index + 1] * len(values), values, "_", color=line["color"], markersize=14)
    thresholds.plot([index + 1], [math.fsum(values) / len(values)], **line)
    return lines[0]


def _curve(epochs: Sequence[EpochFigures], name: str) -> list[float]:
    """Return a figure of every epoch: accuracies in percent, NaN where it is unknown."""
    unit = 100 if name.endswith("accuracy") else 1
    values = []
    for figures in epochs:
        value = getattr(figures, name)
        values.append(math.nan if value is None else value * unit)
    return values
