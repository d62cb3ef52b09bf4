"""What the trainer says to a person: a progress bar where there is a terminal, a line per epoch, a summary."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

from ..datasets.sources import SOURCES
from ..errors import visible
from ..records import EpochFigures, RunRecord
from ..results import paper
from ..settings import Experiment
from ..training import metrics
from ..training.loop import Progress
from ..training.metrics import Evaluation

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}"
"""The bar's format: elapsed and remaining time are the whole run's."""


class TerminalProgress(Progress):
    """A line per epoch on standard output; a moving bar on standard error, if that is a terminal.

    Attributes:
        folder: of the run, once it has begun
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._bar: Any = None
        self._epochs = 0
        self._layers: list[str] = []
        self._silent: list[int] = []

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """Say what is trained, and show the bar."""
        self.folder, self._epochs = folder, experiment.epochs
        self._layers = layer_names(experiment)
        self._say(heading(experiment, images))
        self._say(f"run folder {visible(str(folder))}")
        if epochs_done == experiment.epochs:
            self._say(f"all {epochs_done} epochs are done already")
        elif epochs_done:
            self._say(f"going on after epoch {epochs_done} of {experiment.epochs}")
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=f"epoch {min(epochs_done + 1, self._epochs)}/{self._epochs}",
                total=experiment.epochs * images,
                initial=epochs_done * images,
                unit=" images",
                unit_scale=True,
                bar_format=BAR,
                dynamic_ncols=True,
                leave=False,
            )

    def report(self, images: int, loss: float, accuracy: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4g}, train {accuracy:.1%}", refresh=False)
            self._bar.update(images)

    def epoch(self, figures: EpochFigures, best: bool) -> None:
        """Leave a line, and a warning where a layer has fallen silent."""
        self._say(epoch_line(figures, self._epochs) + ("  best" if best else ""))
        silent = metrics.silent(figures.firing_rates)
        for number in silent:
            if number not in self._silent:
                self._say(silence(number, self._layers))
        self._silent = silent
        if self._bar is not None and figures.epoch < self._epochs:
            self._bar.set_description_str(f"epoch {figures.epoch + 1}/{self._epochs}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _say(self, line: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stdout)
        else:
            print(line)
        sys.stdout.flush()


def heading(experiment: Experiment, images: int) -> str:
    """What is trained, in one line."""
    return (
        f"{experiment.name}: network {experiment.network}-{experiment.classes}, T = {experiment.steps}, "
        f"loss {experiment.loss}, {experiment.epochs} epoch(s) of {images:,} images, seed {experiment.seed}"
    )


def layer_names(experiment: Experiment) -> list[str]:
    """The layers that hold neurons, as the network's notation has them, and the output layer's number of classes."""
    tokens = f"{experiment.network}-{experiment.classes}".split("-")
    return [token for token in map(str.strip, tokens) if not token.startswith("P")]


def silence(number: int, names: list[str]) -> str:
    """A warning that a layer, counted from 1, is silent."""
    return (
        f"warning: layer {number} of {len(names)} ({names[number - 1]}) is silent: not one spike on all test images. "
        "Nothing can be learnt behind it; try a larger --rate, a lower --learning-rate or more --steps"
    )


def epoch_line(figures: EpochFigures, epochs: int) -> str:
    """The figures of an epoch that one looks at first."""
    return (
        f"epoch {figures.epoch:>{len(str(epochs))}}/{epochs}  loss {figures.loss:<8.4g}"
        f"  train {figures.train_accuracy:7.2%}  test {figures.test_accuracy:7.2%}"
        f"  exit {figures.exit_time:.3f} T  {figures.images_per_second:,.0f} images/s  {duration(figures.seconds)}"
    )


def summary(record: RunRecord, folder: Path) -> str:
    """A run's best and last epoch side by side, and where to go from there."""
    best, last = record.best, record.last
    rows = [
        ("", "best", "last"),
        ("epoch", f"{best.epoch}", f"{last.epoch}"),
        ("test accuracy", f"{best.test_accuracy:.2%}", f"{last.test_accuracy:.2%}"),
        ("train accuracy", f"{best.train_accuracy:.2%}", f"{last.train_accuracy:.2%}"),
        ("loss", f"{best.loss:.4g}", f"{last.loss:.4g}"),
        ("early exit (share of T)", f"{best.exit_time:.3f}", f"{last.exit_time:.3f}"),
    ]
    table = [f"{name:<24}{left:>10}{right:>10}" for name, left, right in rows]
    spent = duration(sum(figures.seconds for figures in record.epochs))
    again = visible(shlex.join(["snnbook", "evaluate", str(folder)]))
    return "\n".join(["", *table, "", f"{spent} in all; run folder {visible(str(folder))}", f"next: {again}"])


def evaluation(figures: Evaluation, run: str, which: str) -> str:
    """What a test of a run showed."""
    rates = [f"  layer {number}  {sum(rates):.3f}" for number, rates in enumerate(figures.firing_rates, start=1)]
    shares = [f"{number:4} {share:7.2%}" for number, share in enumerate(figures.by_class) if not math.isnan(share)]
    classes = ["".join(shares[start : start + 5]) for start in range(0, len(shares), 5)]
    return "\n".join(
        [
            f"{visible(run)}, {which} checkpoint",
            f"test accuracy            {figures.accuracy:.2%}",
            f"  highest score shared   {figures.tied:.2%} (then the lowest class is read)",
            f"  label's is the highest {figures.among:.2%} (alone or not)",
            f"early exit (share of T)  {figures.exit_time:.3f}",
            "spikes per neuron",
            *rates,
            "test accuracy by class",
            *classes,
        ]
    )


def catalogue(experiments: list[Experiment], parameters: list[int]) -> str:
    """The experiments, one a line.

    Args:
        experiments: to list
        parameters: how many each one's network has
    """
    rows = [("name", "table", "T", "loss", "parameters", "images", "size", "network")]
    for experiment, count in zip(experiments, parameters, strict=True):
        tables = ",".join(paper.tables_of(experiment.name)) or "-"
        images = "+".join(f"{number:,}" for number in SOURCES[experiment.dataset].sizes)
        loss = f"{experiment.loss} {experiment.t_unfired:g} T" if experiment.loss == "ttfs" else experiment.loss
        size, network = "x".join(map(str, experiment.in_shape)), f"{experiment.network}-{experiment.classes}"
        rows.append((experiment.name, tables, f"{experiment.steps}", loss, f"{count:,}", images, size, network))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = "<<><><<<"
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True)).rstrip()
        for row in rows
    )


def duration(seconds: float) -> str:
    """Such as 4.2 s, 3 min 5 s or 1 h 4 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
