"""How does the cost of a training step grow with the number of steps T, the batch and the width?

Milliseconds per image on the fused CPU engine and, at fewer points, on the readable reference. The Fashion-MNIST
network at T = 5, batch 50, width 1 is the starting point; one of the three is changed at a time. Width multiplies the
channels and neurons of all layers but the output. At every point the engines must agree, in double precision, before a
time is reported. Run it as `python benchmarks/scaling.py`; `--record` writes the answer, which chapter 8 draws.
"""

import re
import sys
from typing import Any

from kit.contenders import Step, compare
from kit.measuring import Benchmark, Row, run, take_turns, timing

from snnbook.experiments import FASHION_NETWORK

START = {"T": 5, "batch": 50, "width": 1.0}
POINTS: dict[str, tuple[float, ...]] = {"T": (1, 5, 10, 20), "batch": (10, 50, 100, 200, 400), "width": (0.5, 1, 2)}
REFERENCE: dict[str, tuple[float, ...]] = {"T": (1, 5, 10), "batch": (10, 50, 100), "width": (0.5, 1)}
"""Points at which the reference is measured too. It is slow."""

ROUNDS = 3
"""Rounds at each point."""

CHECKED = 20
"""Images on which the engines are compared, at most: no image changes another image's spikes."""


def widened(width: float) -> str:
    """Multiply the channels and neurons of the network."""
    # Sizes are the numbers that do not follow a C or P, which stand before kernels and windows.
    return re.sub(r"(?<![CP\d])\d+", lambda size: str(round(int(size[0]) * width)), FASHION_NETWORK)


def changes(point: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the experiment at a point."""
    found = {"steps": point["T"], "batch_size": point["batch"], "network": widened(point["width"])}
    # In one step a neuron fires once at most, so a target of one spike for the other neurons would teach nothing.
    if point["T"] == 1:
        found["target_others"] = 0
    return found


def main() -> int:
    """Check, measure and print; return 1 if the engines disagree."""
    settings = {"network": "fashion_mnist", "precision": "float32", "else": START, "rounds": ROUNDS}
    benchmark = Benchmark(__file__, "How does a training step's cost grow with T, batch and width?", settings)
    rows: list[Row] = []
    for axis, values in POINTS.items():
        for value in values:
            point = START | {axis: value}
            small = changes(point) | {"batch_size": min(point["batch"], CHECKED)}
            difference = compare("fashion_mnist", **small)
            if difference:
                return benchmark.refuse(f"{axis} = {value:g}: {difference}")
            steps = {"snnbook cpu": Step("cpu", **changes(point))}
            if value in REFERENCE[axis]:
                steps["snnbook reference"] = Step("reference", like=steps["snnbook cpu"], **changes(point))
            seconds = take_turns({who: step.train for who, step in steps.items()}, ROUNDS, warm_ups=1)
            for who, found in seconds.items():
                row = timing(found, point["batch"])
                per_image = round(row["ms"] / point["batch"], 3)
                rows.append({"changed": axis, **point, "who": who, **row, "ms_per_image": per_image})
    return benchmark.answer(rows, ["engines agree at every point"])


if __name__ == "__main__":
    sys.exit(run(main))
