"""Group the records of each experiment by schedule, so that no two settings are ever averaged together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import Result, paper, protocol


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
