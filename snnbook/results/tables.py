"""Tables 3, 4 and 5 and the curves of Figures 1 to 3: the paper's numbers beside those of the records.

Nothing is filled in: a row without runs says "missing". Runs of different settings or schedules are never put into
one mean. What may be concluded is said by protocol.py.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import unknown
from ..records import EpochFigures
from . import Result, paper, protocol
from .render import NONE, Cell, Table
from .runs import runs_table

NAMES = ("3", "4", "5", "figures", "runs")

RELEASED = "_released"
"""Ends the name of the variant with the settings of the authors' release."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds alone.

    Args:
        experiment: name
        epochs: the schedule
        results: one per seed, by seed
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
        """The runs' names."""
        return tuple(result.name for result in self.results)

    def over_seeds(self, figure: Callable[[Result], float]) -> protocol.Spread | None:
        """Mean and deviation of a figure over the seeds."""
        return protocol.spread([figure(result) for result in self.results])

    @property
    def best(self) -> protocol.Spread | None:
        """Best test accuracy, %."""
        return self.over_seeds(lambda result: 100 * result.record.best.test_accuracy)

    @property
    def crossed(self) -> protocol.Spread | None:
        """Test accuracy with the epoch chosen on other images than it is judged on, %."""
        return self.over_seeds(lambda result: 100 * result.record.cross_selected)

    @property
    def last(self) -> protocol.Spread | None:
        """Test accuracy of the last epoch, %."""
        return self.over_seeds(lambda result: 100 * result.record.last.test_accuracy)


def groups(results: Iterable[Result], experiment: str) -> list[Group]:
    """An experiment's runs by schedule, the paper's first (empty where there is none), then the longest.

    Runs with other settings than the experiment's, or on other images, are left out. A seed counts once.
    """
    by_epochs: dict[int, dict[int, Result]] = {paper.EPOCHS: {}}
    for result in results:
        if result.experiment.name == experiment and result.counts:
            by_epochs.setdefault(result.experiment.epochs, {}).setdefault(result.experiment.seed, result)
    order = sorted(by_epochs, key=lambda epochs: (epochs != paper.EPOCHS, -epochs))
    return [
        Group(experiment, epochs, tuple(by_epochs[epochs][seed] for seed in sorted(by_epochs[epochs])))
        for epochs in order
    ]


def build(name: str, results: Iterable[Result]) -> Table:
    """A table by its name, one of NAMES.

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


def shown(spread: protocol.Spread | None, digits: int = 2) -> str:
    """Such as 94.01 ± 0.05; without a deviation where there is one run."""
    if spread is None:
        return NONE
    tail = "" if spread.std is None else f" ± {spread.std:.{digits}f}"
    return f"{spread.mean:.{digits}f}{tail}"


def _cell(spread: protocol.Spread | None, runs: tuple[str, ...], digits: int = 2) -> Cell:
    return Cell(shown(spread, digits), spread and spread.mean, runs, spread and spread.std)


def _lines(name: str, results: list[Result]) -> list[tuple[paper.Row, Group]]:
    """The paper's setting of every row, run or not, then the released one where it was run."""
    lines = []
    for row in paper.TABLES[name]:
        lines += [(row, group) for group in groups(results, row.experiment)]
        lines += [(row, group) for group in groups(results, row.experiment + RELEASED) if group.results]
    return lines


def losses_table(name: str, results: list[Result]) -> Table:
    """Table 3 or 4: test accuracy on Fashion-MNIST, in percent."""
    rows = []
    for row, group in _lines(name, results):
        best, runs = group.best, group.names
        said = protocol.verdict(row.accuracy, best, group.full)
        gap = None if best is None else best.mean - row.accuracy
        rows.append(
            (
                Cell(row.title + ", released" * group.experiment.endswith(RELEASED), row.title),
                Cell(f"{row.accuracy:.2f}", row.accuracy),
                Cell(str(group.epochs), group.epochs),
                _cell(best, runs) if runs else Cell("missing"),
                _cell(group.crossed, runs),
                _cell(group.last, runs),
                Cell(str(len(runs)), len(runs)),
                Cell(NONE if gap is None else f"{gap:+.2f}", gap, runs),
                Cell(said, said),
                Cell(group.experiment, group.experiment),
            )
        )
    columns = ("row", "paper", "epochs", "best", "crossed", "last", "n", "difference", "verdict", "experiment")
    title = f"Table {name}: test accuracy on Fashion-MNIST, %, the paper's ({paper.SOURCES[name]}) beside ours"
    notes = (*_notes(name), *order_notes(name, results))
    return Table(title, columns, tuple(rows), notes, spread=("best", "crossed", "last"))


def _notes(name: str) -> tuple[str, ...]:
    """What the columns mean, and how to add to them."""
    return (
        "best: highest test accuracy of any epoch, as the paper presumably reports; crossed: epoch chosen on one half "
        "of the test images, judged on the other, both ways; last: of the last epoch. Mean and deviation over n seeds; "
        "difference: best minus paper. Verdicts as in results/PROTOCOL.md.",
        f"Runs are added by: snnbook reproduce table{name} --seeds {protocol.SEEDS}, or more",
    )


def orders(
    name: str, results: list[Result], suffix: str = "", epochs: int = paper.EPOCHS
) -> list[tuple[str, str, bool | None]]:
    """All pairs of rows under one schedule: titles, and whether the first is above the second.

    Args:
        name: "3" or "4"
        results: records
        suffix: "" or RELEASED
        epochs: the schedule
    """
    best = {}
    for row in paper.TABLES[name]:
        of_row = {group.epochs: group.best for group in groups(results, row.experiment + suffix)}
        best[row.title] = of_row.get(epochs)
    return [(a, b, protocol.above(best[a], best[b])) for a, b in itertools.combinations(best, 2)]


def order_notes(name: str, results: list[Result]) -> tuple[str, ...]:
    """Which rows are above which, as far as the seeds tell."""
    schedules = sorted({result.experiment.epochs for result in results} - {paper.EPOCHS}, reverse=True)
    notes = []
    for suffix, epochs in itertools.product(("", RELEASED), (paper.EPOCHS, *schedules)):
        pairs = orders(name, results, suffix, epochs)
        decided = [(a, b) if higher else (b, a) for a, b, higher in pairs if higher is not None]
        below = {winner: [b for a, b in decided if a == winner] for winner, _ in decided}
        if decided or (suffix, epochs) == ("", paper.EPOCHS):
            settings = ", released settings" if suffix else ""
            told = "".join(f"{winner} > {' and '.join(losers)}; " for winner, losers in below.items())
            still = f"{len(pairs) - len(decided)} of {len(pairs)} pairs undecided"
            notes.append(f"Order of the rows after {epochs} epochs{settings}: {told}{still}.")
    return tuple(notes)


def so_far(result: Result, epoch: int) -> tuple[float, float]:
    """Best accuracy (%) and fastest exit (share of T) of the epochs up to one, each on its own; App. 5.3."""
    epochs = result.record.epochs[:epoch]
    return 100 * max(e.test_accuracy for e in epochs), min(e.exit_time for e in epochs)


def exit_table(results: list[Result]) -> Table:
    """Table 5: accuracy and time of early exit on MNIST, running bests."""
    rows = []
    found = [group for name in (paper.TABLE_5, paper.TABLE_5 + RELEASED) for group in groups(results, name)]
    figures = zip(paper.TABLE_5_ACCURACY, paper.TABLE_5_TIME, strict=True)
    papers = dict(zip(paper.TABLE_5_EPOCHS, figures, strict=True))
    for group in [g for g in found if g.results or g.experiment == paper.TABLE_5]:
        for epoch in sorted({epoch for epoch in papers if epoch <= group.epochs} | {group.epochs}):
            accuracy, time = papers.get(epoch, (None, None))
            best, share = (group.over_seeds(lambda r, i=i, e=epoch: so_far(r, e)[i]) for i in (0, 1))
            steps = group.over_seeds(lambda r, e=epoch: r.experiment.steps * so_far(r, e)[1])
            # the last line is what the paper would print as its result; the lines before it are on the way
            said = protocol.verdict(papers[epoch][0], best, group.full) if epoch == paper.EPOCHS else NONE
            runs = group.names
            rows.append(
                (
                    *(
                        Cell(f"{epoch} of {group.epochs}", epoch),
                        Cell(NONE if accuracy is None else f"{accuracy:.2f}", accuracy),
                        _cell(best, runs) if runs else Cell("missing"),
                    ),
                    Cell(NONE if time is None else f"{time:.3f}", time),
                    *(_cell(steps, runs, 3), _cell(share, runs, 3)),
                    *(Cell(str(len(runs)), len(runs)), Cell(said, said), Cell(group.experiment, group.experiment)),
                )
            )
    columns = ("epoch", "paper %", "ours %", "paper's time", "ours, steps", "ours / T", "n", "verdict", "experiment")
    title = f"Table 5: accuracy and exit time on MNIST, T = 10, the paper's ({paper.SOURCES['5']}) beside ours"
    notes = (
        "Accuracy and time are running bests, each on its own. The paper's time has no unit: ours stands in both.",
        f"Runs are added by: snnbook reproduce table5 --seeds {protocol.SEEDS}, or more",
    )
    return Table(title, columns, tuple(rows), notes, spread=("ours %", "ours, steps", "ours / T"))


def _ratio(epochs: Sequence[EpochFigures]) -> float | None:
    """Sum of e over sum of |e| of some epochs together; None without any e."""
    absolute = math.fsum(e.grad_abs_sum for e in epochs)
    return math.fsum(e.grad_sum for e in epochs) / absolute if absolute else None


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
"""What App. Fig. 1 and 2 plot (a: test accuracy, b: sum of |e|, c: sum of e, d: ratio), Fig. 3's mean, and more: unit,
and the figure after some epochs. Sums are an epoch's own, where the release adds up from the start (disagreement 9)."""


def curve(group: Group, metric: str) -> list[tuple[int, float]]:
    """A metric against the epoch, mean over seeds; epochs in which a run has none are left out."""
    points = []
    for epoch in range(1, group.epochs + 1):
        values = [METRICS[metric][1](result.record.epochs[:epoch]) for result in group.results]
        if values and None not in values:
            points.append((epoch, math.fsum(values) / len(values)))
    return points


def figures_table(results: list[Result]) -> Table:
    """Figures 1 to 3 in numbers: the metrics at the first epoch, along the way and at the end."""
    rows = []
    for name in dict.fromkeys(name for names in paper.FIGURES.values() for name in names):
        for group in groups(results, name):
            curves = [dict(curve(group, metric)) for metric in METRICS]
            marks = sorted({1, *(math.ceil(group.epochs * share) for share in (0.1, 0.2, 0.5, 1))})
            for epoch in marks if group.results else ():
                values = [found.get(epoch) for found in curves]
                cells = [Cell(NONE if v is None else f"{v:.4g}", v, group.names) for v in values]
                rows.append((Cell(name, name), Cell(f"{epoch} of {group.epochs}", epoch), *cells))
            if not group.results:
                empty = [Cell("missing"), *[Cell(NONE)] * (len(METRICS) - 1)]
                rows.append((Cell(name, name), Cell(f"0 of {group.epochs}", 0), *empty))
    title = "Figures 1 to 3 in numbers: figures of single epochs, mean over seeds"
    columns = ("experiment", "epoch", *(f"{metric} ({unit})" for metric, (unit, _) in METRICS.items()))
    return Table(title, columns, tuple(rows), ("Runs are added by: snnbook reproduce figures",), left=2)
