"""Curves of runs (App. Fig. 1-3) as a picture: accuracy, sums and signs of gradients, thresholds of the output."""

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
"""Figures drawn against the epoch, and what their axes say; e is the gradient on the times of the output spikes."""

TRAINING = "train_accuracy"
"""Drawn beside test accuracy, fainter."""

INCHES = (12.0, 6.6)
DOTS_PER_INCH = 120


def plot(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draw the curves of one or several runs.

    Args:
        runs: run folders or record files
        out: file to write, .png or .svg; one that is there is replaced
    Returns:
        the file
    Raises:
        UserError: if a run cannot be read or has no epoch yet, the file's ending is another, it cannot be written, or
            matplotlib is missing
    """
    path = as_path("out", out)
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise UserError(f"a picture must be named .png or .svg, not {str(out)!r}")
    runs = [runs] if isinstance(runs, (str, bytes, os.PathLike)) else inputs.listed("runs", runs, "a list of paths")
    runs = [as_path("each of runs", run) for run in runs]
    if not runs:
        raise UserError("runs are empty: name a run's folder or a record")
    found = [records.read(run) for run in runs]
    for run, record in zip(runs, found, strict=True):
        if not record.epochs:
            raise UserError(f"{run} has no epoch done yet, and so no curve")
    content = _draw(found, [f"{number}  {_name(run)}" for number, run in enumerate(runs, start=1)], form)
    files.make_folder(path.parent)
    files.write_atomic(path, content)
    return path


def _name(run: str | Path) -> str:
    """A run's name, as matplotlib takes it: no formula, nothing that cannot be shown."""
    return visible(Path(run).resolve().name.removesuffix(".jsonl")).replace("$", r"\$")


def _draw(found: list[RunRecord], names: list[str], form: str) -> bytes:
    """The picture in one of FORMATS."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise UserError("pictures need matplotlib; install it: pip install matplotlib") from error
    with matplotlib.rc_context(style.SETTINGS):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.subplots(2, 3).flat
        lines = []
        for index, record in enumerate(found):
            look = style.run_line(index) | {"markersize": 4, "markevery": max(1, len(record.epochs) // 12)}
            epochs = [figures.epoch for figures in record.epochs]
            for axis, name in zip(axes, CURVES, strict=False):
                lines += axis.plot(epochs, _curve(record.epochs, name), **look)
            axes[0].plot(epochs, _curve(record.epochs, TRAINING), color=look["color"], alpha=0.4, linestyle="--")
            thresholds = record.last.output_thresholds
            axes[4].plot([index + 1] * len(thresholds), thresholds, "_", color=look["color"], markersize=14)
            axes[4].plot([index + 1], [math.fsum(thresholds) / len(thresholds)], **look)
        for axis, label in zip(axes, CURVES.values(), strict=False):
            axis.set(xlabel="epoch", ylabel=label)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[4].set(xlabel="run", ylabel="output thresholds, last epoch", xlim=(0.4, len(found) + 0.6))
        axes[4].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[5].axis("off")
        best = [
            f"{name}, {record.experiment.loss}: best {record.best.test_accuracy:.2%}"
            for name, record in zip(names, found, strict=True)
        ]
        axes[5].legend(
            lines[:: len(CURVES)], best, loc="upper left", frameon=False, title="dashed: accuracy while training"
        )
        file = io.BytesIO()
        date: dict[str, Any] = {"Date": None} if form == "svg" else {}
        figure.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=date)
    return file.getvalue()


def _curve(epochs: Sequence[EpochFigures], name: str) -> list[float]:
    """A figure at every epoch; accuracies in percent, a gap where it is unknown."""
    values = (getattr(figures, name) for figures in epochs)
    return [math.nan if value is None else value * (100 if name.endswith("accuracy") else 1) for value in values]
