"""Tables 3, 4 and 5, the curves of Figures 1 to 3, and the list of all runs: the paper's numbers beside our records.

Nothing is filled in: a row without runs says "missing". Runs of different settings or schedules are never averaged
together. protocol.py decides which conclusions are allowed.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import unknown
from ..records import EpochFigures
from . import Result, paper, protocol
from .render import NONE, Cell, Table, text_cell

NAMES = ("3", "4", "5", "figures", "runs")

RELEASED = "_released"
"""Suffix of the variant with the settings of the authors' release."""

MARKS = (0.1, 0.2, 0.5, 1)
"""Fractions of a schedule after which the figures are listed, beside the first epoch."""


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seeds.

    Args:
        experiment: name
        epochs: length of the schedule
        results: one per seed, sorted by seed
    """

    experiment: str
    epochs: int
    results: tuple[Result, ...]

    @property
    def full(self) -> bool:
        """Whether the schedule is the paper's."""
        return self.epochs == paper.EPOCHS

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the runs."""
        return tuple(result.name for result in self.results)

    def over_seeds(self, figure: Callable[[Result], float]) -> protocol.Spread | None:
        """Return mean and deviation of a figure over the seeds."""
        return protocol.spread([figure(result) for result in self.results])

    @property
    def best(self) -> protocol.Spread | None:
        """Best test accuracy, %."""
        return self.over_seeds(lambda result: 100 * result.record.best.test_accuracy)

    @property
    def crossed(self) -> protocol.Spread | None:
        """Test accuracy with the epoch chosen on one half of the test images and judged on the other, %."""
        return self.over_seeds(lambda result: 100 * result.record.cross_selected)

    @property
    def last(self) -> protocol.Spread | None:
        """Test accuracy of the last epoch, %."""
        return self.over_seeds(lambda result: 100 * result.record.last.test_accuracy)


def groups(results: Iterable[Result], experiment: str) -> list[Group]:
    """Group an experiment's runs by schedule.

    Runs with other settings than the experiment's, or on other images, are left out. A seed counts once.

    Returns:
        the group of the paper's schedule, which may be empty, then the others, longest schedule first
    """
    by_epochs: dict[int, dict[int, Result]] = {paper.EPOCHS: {}}
    for result in results:
        if result.experiment.name == experiment and result.counts:
            by_seed = by_epochs.setdefault(result.experiment.epochs, {})
            by_seed.setdefault(result.experiment.seed, result)
    found = []
    for epochs, by_seed in by_epochs.items():
        found.append(Group(experiment, epochs, tuple(by_seed[seed] for seed in sorted(by_seed))))
    return sorted(found, key=lambda group: (not group.full, -group.epochs))


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
    columns = ("row", "paper", "epochs", "best", "crossed", "last", "n", "difference", "verdict", "experiment")
    title = f"Table {name}: test accuracy on Fashion-MNIST, %, the paper's ({paper.SOURCES[name]}) beside ours"
    notes = (
        "best: highest test accuracy of any epoch, as the paper presumably reports; crossed: epoch chosen on one half "
        "of the test images, judged on the other, both ways; last: of the last epoch. Mean and deviation over n seeds; "
        "difference: best minus paper. Verdicts as in results/PROTOCOL.md.",
        f"Runs are added by: snnbook reproduce table{name} --seeds {protocol.SEEDS}, or more",
        *_order_notes(name, results),
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
        text_cell(group.experiment),
    )


def _order_notes(name: str, results: list[Result]) -> list[str]:
    """Say which rows are above which, as far as the seeds can decide."""
    schedules = sorted({result.experiment.epochs for result in results} - {paper.EPOCHS}, reverse=True)
    notes = []
    for suffix, epochs in itertools.product(("", RELEASED), (paper.EPOCHS, *schedules)):
        pairs = _orders(name, results, suffix, epochs)
        losers: dict[str, list[str]] = {}
        undecided = 0
        for first, second, higher in pairs:
            if higher is None:
                undecided += 1
            elif higher:
                losers.setdefault(first, []).append(second)
            else:
                losers.setdefault(second, []).append(first)
        if losers or (suffix, epochs) == ("", paper.EPOCHS):
            settings = ", released settings" if suffix else ""
            orders = [f"{winner} > {' and '.join(below)}" for winner, below in losers.items()]
            parts = [*orders, f"{undecided} of {len(pairs)} pairs undecided"]
            notes.append(f"Order of the rows after {epochs} epochs{settings}: {'; '.join(parts)}.")
    return notes


def _orders(name: str, results: list[Result], suffix: str, epochs: int) -> list[tuple[str, str, bool | None]]:
    """Compare all pairs of rows under one schedule: two titles, and whether the first is above the second."""
    best = {}
    for row in paper.TABLES[name]:
        by_epochs = {group.epochs: group.best for group in groups(results, row.experiment + suffix)}
        best[row.title] = by_epochs.get(epochs)
    return [(a, b, protocol.above(best[a], best[b])) for a, b in itertools.combinations(best, 2)]


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
    columns = ("epoch", "paper %", "ours %", "paper's time", "ours, steps", "ours / T", "n", "verdict", "experiment")
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
    verdict = NONE
    if epoch == paper.EPOCHS:
        verdict = protocol.verdict(accuracy, best, group.full)
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


def curve(group: Group, metric: str) -> list[tuple[int, float]]:
    """Return a metric's mean over seeds by epoch.

    Args:
        group: of runs
        metric: of METRICS
    Returns:
        pairs of epoch and value; an epoch in which a run has no value is left out
    """
    _, value_of = METRICS[metric]
    points = []
    for epoch in range(1, group.epochs + 1):
        values = [value_of(result.record.epochs[:epoch]) for result in group.results]
        if values and None not in values:
            points.append((epoch, math.fsum(values) / len(values)))
    return points


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
