"""The paper's numbers, as data: Tables 3, 4 and 5 and the runs behind Figures 1 to 3 of the appendix.

Zhu, Fang, Xie, Huang, Yu: Exploring Loss Functions for Time-based Training Strategy in Spiking Neural Networks
(NeurIPS 2023), appendix. Nothing here is ours, and no other file of the package contains a number of the paper.
"""

from dataclasses import dataclass

EPOCHS = 100
"""Epochs of all runs below (App. 5.3 for Table 5; the released settings for the others)."""


@dataclass(frozen=True)
class Row:
    """One row of Table 3 or 4.

    Args:
        title: shown to readers
        experiment: our name of it
        accuracy: the paper's test accuracy, %
    """

    title: str
    experiment: str
    accuracy: float


TABLES: dict[str, tuple[Row, ...]] = {
    "3": (
        Row("enhanced counting", "fashion_mnist", 94.03),
        Row("counting", "fashion_mnist_counting", 93.72),
        Row("spike train (kernel)", "fashion_mnist_kernel", 93.81),
        Row("temporal efficient training", "fashion_mnist_tet", 80.91),
        Row("spike train (timing)", "fashion_mnist_timing", 94.03),
        Row("time to first spike, 4T", "fashion_mnist_ttfs", 91.89),
    ),
    "4": (
        Row("t_unfired = T", "fashion_mnist_ttfs_T", 80.85),
        Row("t_unfired = 4T", "fashion_mnist_ttfs", 91.89),
        Row("t_unfired = 20T", "fashion_mnist_ttfs_20T", 87.90),
    ),
}
"""App. Table 3 (losses on Fashion-MNIST) and App. Table 4 (TTFS on Fashion-MNIST, by t_unfired)."""

SOURCES = {"3": "App. Table 3", "4": "App. Table 4", "5": "App. Table 5"}

TABLE_5 = "mnist_latency"
"""The experiment of App. Table 5: MNIST, latency coding, T = 10."""

TABLE_5_EPOCHS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
TABLE_5_ACCURACY = (98.83, 98.86, 98.99, 99.04, 99.04, 99.09, 99.09, 99.09, 99.09, 99.09)
"""%, best so far."""
TABLE_5_TIME = (0.189, 0.169, 0.159, 0.147, 0.147, 0.137, 0.129, 0.128, 0.128, 0.128)
"""Inference time, fastest so far; the appendix names no unit (steps, or shares of T)."""


def tables_of(experiment: str) -> list[str]:
    """Return the tables of results, "3" to "5", that have a row of an experiment."""
    found = []
    for name, rows in TABLES.items():
        if experiment in [row.experiment for row in rows]:
            found.append(name)
    if experiment == TABLE_5:
        found.append("5")
    return found


FIGURES: dict[str, tuple[str, ...]] = {
    "1": tuple(row.experiment for row in TABLES["3"]),
    "2": tuple(row.experiment for row in TABLES["4"]),
    "3": tuple(row.experiment for row in TABLES["4"]),
}
"""Experiments behind App. Fig. 1 (the losses), Fig. 2 and Fig. 3 (TTFS by t_unfired)."""
