"""Decide which of our own rows of a table are above which, by the rules of protocol.py."""

import itertools

from . import Result, paper, protocol
from .grouped import groups

RELEASED = "_released"
"""Suffix of the variant with the settings of the authors' release."""

FIGURES = ("crossed", "last")
"""What orders are decided on. Neither is chosen on the images that it is measured on, as "best" is."""


def orders(name: str, results: list[Result], figure: str, epochs: int, suffix: str = "") -> list[protocol.Order]:
    """Compare all pairs of a table's rows under one schedule.

    Args:
        name: of the table, "3" or "4"
        results: records
        figure: of FIGURES, or "best"
        epochs: length of the schedule
        suffix: of the experiments' names, such as RELEASED
    Returns:
        one order for each pair, with the titles of the two rows; p-values are corrected for the pairs of the table
    """
    spreads = {}
    for row in paper.TABLES[name]:
        by_epochs = {group.epochs: group for group in groups(results, row.experiment + suffix)}
        group = by_epochs.get(epochs)
        spreads[row.title] = getattr(group, figure) if group else None
    return protocol.orders(spreads)


def order_notes(name: str, results: list[Result]) -> list[str]:
    """Say in sentences which rows of a table are above which, as far as the seeds can decide."""
    schedules = sorted({result.experiment.epochs for result in results} - {paper.EPOCHS}, reverse=True)
    notes = [
        "Orders of our rows: Welch's test on crossed and on last, with p-values corrected for the number of pairs "
        f"(Holm). The chance of a wrong order among the pairs of a line is {100 * protocol.LEVEL:g} % at most."
    ]
    for suffix, epochs, figure in itertools.product(("", RELEASED), (paper.EPOCHS, *schedules), FIGURES):
        found = orders(name, results, figure, epochs, suffix)
        decided = any(order.higher is not None for order in found)
        if decided or (suffix, epochs) == ("", paper.EPOCHS):
            settings = ", released settings" if suffix else ""
            notes.append(f"Order by {figure} after {epochs} epochs{settings}: {_sentence(found)}.")
    return notes


def _sentence(found: list[protocol.Order]) -> str:
    """List the orders of a table's rows by the upper row, and count the undecided pairs."""
    losers: dict[str, list[str]] = {}
    undecided = 0
    for order in found:
        if order.higher is None:
            undecided += 1
        elif order.higher:
            losers.setdefault(order.first, []).append(order.second)
        else:
            losers.setdefault(order.second, []).append(order.first)
    parts = [f"{winner} > {' and '.join(below)}" for winner, below in losers.items()]
    return "; ".join([*parts, f"{undecided} of {len(found)} pairs undecided"])
