"""Print progress and results for people: a progress bar on a terminal, a line per epoch, summaries."""

import math
import shlex
import sys
from pathlib import Path
from typing import Any

from ..datasets.sources import SOURCES
from ..errors import visible
from ..records import EpochFigures, RunRecord
from ..results import paper, render
from ..settings import Experiment
from ..training import metrics
from ..training.loop import Progress
from ..training.metrics import Evaluation

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}"
"""Format of the bar; elapsed and remaining time are those of the whole run."""


class TerminalProgress(Progress):
    """Print a line per epoch on standard output, and a moving bar on standard error if that is a terminal.

    Attributes:
        folder: of the run; None until it begins
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._bar: Any = None
        self._epochs = 0
        self._layers: list[str] = []
        self._silent: list[int] = []

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """Print the settings, and show the bar."""
        self.folder = folder
        self._epochs = experiment.epochs
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
        """Print a line, and a warning when a layer falls silent."""
        line = epoch_line(figures, self._epochs)
        if best:
            line += "  best"
        self._say(line)
        silent = metrics.silent(figures.firing_rates)
        for number in silent:
            if number not in self._silent:
                self._say(silence(number, self._layers))
        self._silent = silent
        if self._bar is not None and figures.epoch < self._epochs:
            self._bar.set_description_str(f"epoch {figures.epoch + 1}/{self._epochs}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stdout)
        else:
            print(line)
        sys.stdout.flush()


def heading(experiment: Experiment, images: int) -> str:
    """Describe a run's settings in one line."""
    return (
        f"{experiment.name}: network {_whole_network(experiment)}, T = {experiment.steps}, "
        f"loss {experiment.loss}, {experiment.epochs} epoch(s) of {images:,} images, seed {experiment.seed}"
    )


def layer_names(experiment: Experiment) -> list[str]:
    """List the layers with neurons in the network's notation; the output layer is its number of classes."""
    tokens = [token.strip() for token in _whole_network(experiment).split("-")]
    return [token for token in tokens if not token.startswith("P")]


def _whole_network(experiment: Experiment) -> str:
    """Return the network's notation with its output layer."""
    return f"{experiment.network}-{experiment.classes}"


def silence(number: int, names: list[str]) -> str:
    """Return a warning that a layer, counted from 1, is silent."""
    return (
        f"warning: layer {number} of {len(names)} ({names[number - 1]}) is silent: not one spike on all test images. "
        "Nothing can be learnt behind it; try a larger --rate, a lower --learning-rate or more --steps"
    )


def epoch_line(figures: EpochFigures, epochs: int) -> str:
    """Return the main figures of an epoch in one line."""
    return (
        f"epoch {figures.epoch:>{len(str(epochs))}}/{epochs}  loss {figures.loss:<8.4g}"
        f"  train {figures.train_accuracy:7.2%}  test {figures.test_accuracy:7.2%}"
        f"  exit {figures.exit_time:.3f} T  {figures.images_per_second:,.0f} images/s  {duration(figures.seconds)}"
    )


def summary(record: RunRecord, folder: Path) -> str:
    """Return a run's best and last epoch side by side, and the command to test it."""
    best = record.best
    last = record.last
    rows = [
        ("", "best", "last"),
        ("epoch", f"{best.epoch}", f"{last.epoch}"),
        ("test accuracy", f"{best.test_accuracy:.2%}", f"{last.test_accuracy:.2%}"),
        ("train accuracy", f"{best.train_accuracy:.2%}", f"{last.train_accuracy:.2%}"),
        ("loss", f"{best.loss:.4g}", f"{last.loss:.4g}"),
        ("early exit (share of T)", f"{best.exit_time:.3f}", f"{last.exit_time:.3f}"),
    ]
    table = render.aligned(rows, "<>>")
    spent = duration(sum(figures.seconds for figures in record.epochs))
    command = visible(shlex.join(["snnbook", "evaluate", str(folder)]))
    return "\n".join(["", *table, "", f"{spent} in all; run folder {visible(str(folder))}", f"next: {command}"])


def evaluation(figures: Evaluation, run: str, which: str) -> str:
    """Return the figures of a test of a run's checkpoint.

    Args:
        figures: of the test
        run: name of its folder
        which: "best" or "last"
    """
    rates = [f"  layer {number}  {sum(rates):.3f}" for number, rates in enumerate(figures.firing_rates, start=1)]
    by_class = []
    for number, accuracy in enumerate(figures.by_class):
        # A class without test images has no accuracy.
        if not math.isnan(accuracy):
            by_class.append(f"{number:4} {accuracy:7.2%}")
    classes = ["".join(by_class[start : start + 5]) for start in range(0, len(by_class), 5)]
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
    """List experiments, one per line.

    Args:
        experiments: to list
        parameters: number of parameters of each network
    """
    lines = [["name", "table", "T", "loss", "parameters", "images", "size", "network"]]
    for experiment, count in zip(experiments, parameters, strict=True):
        tables = ",".join(paper.tables_of(experiment.name)) or "-"
        images = "+".join(f"{number:,}" for number in SOURCES[experiment.dataset].sizes)
        loss = experiment.loss
        if loss == "ttfs":
            loss = f"ttfs {experiment.t_unfired:g} T"
        size = "x".join(map(str, experiment.in_shape))
        network = _whole_network(experiment)
        lines.append([experiment.name, tables, str(experiment.steps), loss, f"{count:,}", images, size, network])
    return "\n".join(render.aligned(lines, "<<><><<<"))


def duration(seconds: float) -> str:
    """Return a time such as 4.2 s, 3 min 5 s or 1 h 4 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
