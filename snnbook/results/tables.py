"""Tables 3, 4 and 5, the curves of Figures 1 to 3, and the list of all runs: the paper's numbers beside our records.

Nothing is filled in: a row without runs says "missing". Runs of different settings or schedules are never averaged
together. protocol.py decides which conclusions are allowed.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..errors import unknown
from ..records import EpochFigures
from . import Result, paper, protocol
from .grouped import Group, groups
from .orders import RELEASED, order_notes
from .render import NONE, Cell, Table, text_cell

NAMES = ("3", "4", "5", "figures", "runs")

EQUIVALENT = f"within {protocol.MARGIN:g}"
"""Heading of the verdict on equivalence."""

MARKS = (0.1, 0.2, 0.5, 1)
"""Fractions of a schedule after which the figures are listed, beside the first epoch."""


def build(name: str, results: Iterable[Result]) -> Table:
    """Build a table.

    Args:
        name: of NAMES
        results: records
    Raises:
        UserError: for another name
    """
    results = list(results)
    if name in paper.TABLES:
        return losses_table(name, results)
    if name == "5":
        return exit_table(results)
    if name == "figures":
        return figures_table(results)
    if name == "runs":
        return runs_table(results)
    raise unknown("table", name, NAMES)


def _number(value: float | None, form: str, runs: tuple[str, ...] = ()) -> Cell:
    """Show a number in a format such as ".2f"; NONE if there is no number."""
    if value is None:
        return Cell(NONE, None, runs)
    return Cell(f"{value:{form}}", value, runs)


def _spread(spread: protocol.Spread | None, runs: tuple[str, ...], digits: int = 2) -> Cell:
    """Show a mean and its deviation, as in "94.01 ± 0.05"; the mean alone for one run."""
    if spread is None:
        return Cell(NONE, None, runs)
    mean = f"{spread.mean:.{digits}f}"
    if spread.std is None:
        return Cell(mean, spread.mean, runs)
    return Cell(f"{mean} ± {spread.std:.{digits}f}", spread.mean, runs, spread.std)


def _best(spread: protocol.Spread | None, runs: tuple[str, ...]) -> Cell:
    """Show the figure that a row is about: `_spread`, or "missing"."""
    if runs:
        return _spread(spread, runs)
    return Cell("missing")


# ---- Tables 3 and 4 ----


def losses_table(name: str, results: list[Result]) -> Table:
    """Build Table 3 or 4: test accuracy on Fashion-MNIST, in percent."""
    rows = []
    for row in paper.TABLES[name]:
        # The paper's setting has a row even without a run, the released setting only with runs.
        found = groups(results, row.experiment)
        found += [group for group in groups(results, row.experiment + RELEASED) if group.results]
        rows += [_losses_row(row, group) for group in found]
    columns = (
        "row",
        "paper",
        "epochs",
        "best",
        "crossed",
        "last",
        "n",
        "difference",
        "verdict",
        EQUIVALENT,
        "experiment",
    )
    title = f"Table {name}: test accuracy on Fashion-MNIST, %, the paper's ({paper.SOURCES[name]}) beside ours"
    notes = (
        "best: highest test accuracy of any epoch, as the paper presumably reports; crossed: epoch chosen on one half "
        "of the test images, judged on the other, both ways; last: of the last epoch. Mean and deviation over n seeds; "
        "difference: best minus paper. Verdicts, on best, as in results/PROTOCOL.md.",
        f"{EQUIVALENT}: whether two one-sided tests rule out a difference of {protocol.MARGIN:g} points or more. "
        "Not shown does not mean different.",
        f"Runs are added by: snnbook reproduce table{name} --seeds {protocol.SEEDS}, or more",
        *_collapses(name, results),
        *order_notes(name, results),
    )
    return Table(title, columns, tuple(rows), notes, spread=("best", "crossed", "last"))


def _losses_row(row: paper.Row, group: Group) -> tuple[Cell, ...]:
    """Build the row of one setting and schedule in Table 3 or 4."""
    title = row.title
    if group.experiment.endswith(RELEASED):
        title = f"{row.title}, released"
    best = group.best
    difference = None
    if best is not None:
        difference = best.mean - row.accuracy
    runs = group.names
    return (
        Cell(title, row.title),
        _number(row.accuracy, ".2f"),
        _number(group.epochs, "d"),
        _best(best, runs),
        _spread(group.crossed, runs),
        _spread(group.last, runs),
        _number(len(runs), "d"),
        _number(difference, "+.2f", runs),
        text_cell(protocol.verdict(row.accuracy, best, group.full)),
        text_cell(protocol.equivalence(row.accuracy, best, group.full)),
        text_cell(group.experiment),
    )


def _collapses(name: str, results: list[Result]) -> list[str]:
    """Say which rows end far below their best epoch, on which the verdicts rest."""
    notes = []
    for row in paper.TABLES[name]:
        for group in groups(results, row.experiment):
            if not group.results:
                continue
            lost = group.best.mean - group.last.mean
            if lost > protocol.CEILING:
                ends = f"{row.title}, {group.epochs} epochs: the last epoch is {lost:.1f} points below the best"
                notes.append(f"{ends}, which the verdicts are about.")
    return notes


# ---- Table 5 ----


class RunningBest(NamedTuple):
    """The best figures of a run up to some epoch, each on its own.

    Args:
        accuracy: highest test accuracy, %
        time: fastest exit, as a fraction of T
    """

    accuracy: float
    time: float


def so_far(result: Result, epoch: int) -> RunningBest:
    """Return the best figures of the epochs up to one; App. 5.3."""
    epochs = result.record.epochs[:epoch]
    accuracy = 100 * max(e.test_accuracy for e in epochs)
    return RunningBest(accuracy, min(e.exit_time for e in epochs))


def exit_table(results: list[Result]) -> Table:
    """Build Table 5: accuracy and time of early exit on MNIST, running bests."""
    found = groups(results, paper.TABLE_5)
    found += [group for group in groups(results, paper.TABLE_5 + RELEASED) if group.results]
    rows = []
    for group in found:
        epochs = {epoch for epoch in paper.TABLE_5_EPOCHS if epoch <= group.epochs} | {group.epochs}
        rows += [_exit_row(group, epoch) for epoch in sorted(epochs)]
    columns = (
        "epoch",
        "paper %",
        "ours %",
        "paper's time",
        "ours, steps",
        "ours / T",
        "n",
        "verdict",
        EQUIVALENT,
        "experiment",
    )
    title = f"Table 5: accuracy and exit time on MNIST, T = 10, the paper's ({paper.SOURCES['5']}) beside ours"
    notes = (
        "Accuracy and time are running bests, each on its own. The paper's time has no unit: ours stands in both.",
        f"Runs are added by: snnbook reproduce table5 --seeds {protocol.SEEDS}, or more",
    )
    return Table(title, columns, tuple(rows), notes, spread=("ours %", "ours, steps", "ours / T"))


def _exit_row(group: Group, epoch: int) -> tuple[Cell, ...]:
    """Build the row of Table 5 after some epochs."""
    accuracy = time = None
    if epoch in paper.TABLE_5_EPOCHS:
        line = paper.TABLE_5_EPOCHS.index(epoch)
        accuracy = paper.TABLE_5_ACCURACY[line]
        time = paper.TABLE_5_TIME[line]
    best = group.over_seeds(lambda result: so_far(result, epoch).accuracy)
    fraction = group.over_seeds(lambda result: so_far(result, epoch).time)
    steps = group.over_seeds(lambda result: result.experiment.steps * so_far(result, epoch).time)
    # The last line is what the paper would report as its result. The lines before it are intermediate.
    verdict = equivalent = NONE
    if epoch == paper.EPOCHS:
        verdict = protocol.verdict(accuracy, best, group.full)
        equivalent = protocol.equivalence(accuracy, best, group.full)
    runs = group.names
    return (
        Cell(f"{epoch} of {group.epochs}", epoch),
        _number(accuracy, ".2f"),
        _best(best, runs),
        _number(time, ".3f"),
        _spread(steps, runs, 3),
        _spread(fraction, runs, 3),
        _number(len(runs), "d"),
        text_cell(verdict),
        text_cell(equivalent),
        text_cell(group.experiment),
    )


# ---- Figures 1 to 3 ----


def _ratio(epochs: Sequence[EpochFigures]) -> float | None:
    """Return sum of e over sum of |e| of some epochs together; None without any e."""
    absolute = math.fsum(e.grad_abs_sum for e in epochs)
    if not absolute:
        return None
    return math.fsum(e.grad_sum for e in epochs) / absolute


METRICS: dict[str, tuple[str, Callable[[Sequence[EpochFigures]], float | None]]] = {
    "test accuracy": ("%", lambda e: 100 * e[-1].test_accuracy),
    "train accuracy": ("%", lambda e: 100 * e[-1].train_accuracy),
    "sum of |e|": ("1/step", lambda e: e[-1].grad_abs_sum),
    "sum of e": ("1/step", lambda e: e[-1].grad_sum),
    "positive ratio": ("sum of e / sum of |e|", lambda e: e[-1].positive_ratio),
    "ratio since the start": ("sum of e / sum of |e|", _ratio),
    "share of e > 0": ("of output spikes", lambda e: e[-1].positive_share),
    "output threshold": ("mean of the last layer", lambda e: statistics.fmean(e[-1].output_thresholds)),
    "output spikes": ("of a neuron, on test images", lambda e: math.fsum(e[-1].firing_rates[-1])),
}
"""Unit, and value after some epochs, of each curve.

They are the curves of App. Fig. 1 and 2 (a: test accuracy, b: sum of |e|, c: sum of e, d: ratio), the mean of Fig. 3,
and more. Sums are an epoch's own, where the release adds up from the start (disagreement 9).
"""


class Band(NamedTuple):
    """A metric after an epoch: its range and mean over seeds."""

    epoch: int
    low: float
    mean: float
    high: float


def band(group: Group, metric: str) -> list[Band]:
    """Return a metric's range and mean over seeds by epoch.

    Args:
        group: of runs
        metric: of METRICS
    Returns:
        one entry an epoch; an epoch in which a run has no value is left out
    """
    _, value_of = METRICS[metric]
    found = []
    for epoch in range(1, group.epochs + 1):
        values = [value_of(result.record.epochs[:epoch]) for result in group.results]
        if values and None not in values:
            found.append(Band(epoch, min(values), math.fsum(values) / len(values), max(values)))
    return found


def curve(group: Group, metric: str) -> list[tuple[int, float]]:
    """Return a metric's mean over seeds by epoch, as in `band`."""
    return [(point.epoch, point.mean) for point in band(group, metric)]


def figures_table(results: list[Result]) -> Table:
    """List Figures 1 to 3 in numbers: the metrics after the first epoch and after MARKS of the schedule."""
    names = dict.fromkeys(itertools.chain.from_iterable(paper.FIGURES.values()))
    rows = []
    for name in names:
        for group in groups(results, name):
            rows += _figures_rows(group)
    columns = ["experiment", "epoch"]
    columns += [f"{metric} ({unit})" for metric, (unit, _) in METRICS.items()]
    title = "Figures 1 to 3 in numbers: figures of single epochs, mean over seeds"
    return Table(title, tuple(columns), tuple(rows), ("Runs are added by: snnbook reproduce figures",), "<<")


def _figures_rows(group: Group) -> list[tuple[Cell, ...]]:
    """Build the rows of one experiment and schedule; one row that says "missing" if there is no run."""
    name = text_cell(group.experiment)
    if not group.results:
        blank = [Cell(NONE) for _ in METRICS]
        blank[0] = Cell("missing")
        return [(name, Cell(f"0 of {group.epochs}", 0), *blank)]
    curves = [dict(curve(group, metric)) for metric in METRICS]
    epochs = {math.ceil(group.epochs * mark) for mark in MARKS} | {1}
    rows = []
    for epoch in sorted(epochs):
        cells = [_number(values.get(epoch), ".4g", group.names) for values in curves]
        rows.append((name, Cell(f"{epoch} of {group.epochs}", epoch), *cells))
    return rows


# ---- All runs ----


def runs_table(results: Iterable[Result]) -> Table:
    """List all runs on file, whatever their purpose, with hardware, sources and the command that repeats each."""
    columns = ("run", "best %", "last %", "minutes", "hardware", "engine", "torch", "commit", "command")
    notes = (
        "Minutes are those of the clock: a run that shared its machine with others, or was halted, has more",
        "Several machines, versions or commits: the run went on there, in this order",
    )
    return Table("All runs on file", columns, tuple(map(_runs_row, results)), notes)


def _runs_row(result: Result) -> tuple[Cell, ...]:
    """Build the row of one run."""
    title = result.name
    if not result.published:
        title += " (other images)"
    commits = ", ".join(map(_short, result.commits))
    return (
        Cell(title, result.name, (result.name,)),
        _number(100 * result.record.best.test_accuracy, ".2f"),
        _number(100 * result.record.last.test_accuracy, ".2f"),
        _number(result.seconds / 60, ".1f"),
        text_cell(result.hardware),
        text_cell(result.engine),
        text_cell(result.torch),
        Cell(commits, ", ".join(commit or NONE for commit in result.commits)),
        text_cell(result.repeated_by),
    )


def _short(commit: str | None) -> str:
    """Shorten a commit; a mark after "+", which says that the sources differed from it, stays."""
    digits, plus, mark = (commit or NONE).partition("+")
    return f"{digits[:8]}{plus}{mark}"
