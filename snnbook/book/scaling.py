"""The figure of a training step's cost against T, batch and width, from its benchmark's record."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..results.style import COLORS
from .canvas import figure
from .filed import Growing, growing
from .measured import NOT_YET, ROOT, read

AXES = {"T": "time steps T", "batch": "images in a batch", "width": "times the channels"}
"""What is changed, by the record's names, and the title of its axis."""

LINES = {
    "snnbook cpu": {"color": COLORS["label"], "marker": "o", "linestyle": "-"},
    "snnbook reference": {"color": COLORS["other"], "marker": "s", "linestyle": "--"},
}
"""How an engine's line is drawn, by the record's names."""

TEXT = "figure: cost of a training step per image against T, batch and width, from the record"

CAPTION = "Cost of a training step per image: how it grows with T and with the width, and what a larger batch saves."

Line = list[tuple[float, float]]


def lines(rows: Sequence[Mapping[str, Any]], axis: str) -> dict[str, Line]:
    """Collect the points (value, ms per image) of each engine from the rows where one thing was changed.

    Args:
        rows: of the record
        axis: what was changed, one of AXES
    Returns:
        the points of each engine, in the order of their values

    Raises:
        UserError: if a row lacks what is drawn
    """
    found: dict[str, Line] = {}
    try:
        for row in rows:
            if row["changed"] == axis:
                found.setdefault(row["who"], []).append((float(row[axis]), float(row["ms_per_image"])))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the record of benchmarks/scaling.py lacks {error}; run it again with --record") from error
    return {who: sorted(line) for who, line in found.items()}


def describe(rows: Sequence[Mapping[str, Any]]) -> str:
    """Describe the picture."""
    if not rows:
        return f"Cost of a training step per image against T, batch and width: {NOT_YET}."
    parts = []
    for axis, title in AXES.items():
        for who, line in lines(rows, axis).items():
            start, least = line[0]
            end, most = line[-1]
            parts.append(f"{who}: from {least:.2g} ms at {start:g} {title} to {most:.2g} ms at {end:g}")
    return f"Cost of a training step per image, three panels. {'; '.join(parts)}."


def scaling(root: Path = ROOT) -> Growing:
    """Show ms per image against T, batch and width, as the last line of a cell; `not measured yet` without a record.

    Args:
        root: the project's folder
    Raises:
        UserError: for a record that cannot be read
    """
    path = root / "results" / "benchmarks" / "scaling.json"
    rows: Sequence[Mapping[str, Any]] = []
    if path.exists():
        rows = read(path)["rows"]

    def draw(axes: Any) -> None:
        for ax, (axis, title) in zip(axes, AXES.items(), strict=True):
            ax.set(xlabel=title)
            found = lines(rows, axis)
            for who, line in found.items():
                values, costs = zip(*line, strict=True)
                ax.plot(values, costs, label=who.removeprefix("snnbook "), **LINES.get(who, {}))
            if found:
                _logarithmic(ax, found)
            else:
                ax.text(0.5, 0.5, NOT_YET, ha="center", va="center", transform=ax.transAxes)
                ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel("ms per image")
        if rows:
            # The lines of the second panel are level, which leaves room for the legend.
            axes[1].legend()

    subplots = {"ncols": 3, "sharey": True}
    return growing(figure(draw, alt=describe(rows), figsize=(6.4, 2.8), subplots=subplots, caption=CAPTION), TEXT)


def _logarithmic(ax: Any, found: Mapping[str, Line]) -> None:
    """Set logarithmic axes, with a tick at each value measured, and at 1, 2 and 5 times powers of ten."""
    values = sorted({value for line in found.values() for value, _ in line})
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(values, [f"{value:g}" for value in values], fontsize=9)
    costs = [cost for line in found.values() for _, cost in line]
    low, high = ax.get_ylim()
    powers = range(math.floor(math.log10(min(costs))) - 1, math.ceil(math.log10(max(costs))) + 1)
    ticks = [unit * 10.0**power for power in powers for unit in (1, 2, 5) if low <= unit * 10.0**power <= high]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
