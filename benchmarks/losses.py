"""Does the choice of the loss change what a training step costs? The paper's appendix (5.1) says: almost not.

All six losses on the Fashion-MNIST network: a whole training step, the loss alone (its value, and its gradient on the
output spikes) as a fraction of the step, and the peak memory of a step. The engines must agree under each loss, in
double precision, before a time is reported. Run it as `python benchmarks/losses.py`; `--record` writes the answer for
the book.
"""

import statistics
import sys
from collections.abc import Callable

from kit import peak
from kit.contenders import Step, compare
from kit.measuring import Benchmark, Row, run, take_turns, timing

from snnbook.losses import LOSSES

BATCH = 50
ROUNDS = 7


def alone(step: Step) -> Callable[[], None]:
    """Return a task that computes a step's loss without the network: its value and the gradient on output spikes."""
    spikes = step.train().requires_grad_()

    def run() -> None:
        spikes.grad = None
        step.loss(spikes, step.labels).backward()

    return run


def main() -> int:
    """Check, measure and print; return 1 if the engines disagree."""
    settings = {"network": "fashion_mnist", "batch": BATCH, "steps": 5, "precision": "float32", "engine": "cpu"}
    benchmark = Benchmark(__file__, "Does the choice of the loss change what a training step costs?", settings)
    for loss in LOSSES:
        difference = compare("fashion_mnist", loss=loss, batch_size=BATCH)
        if difference:
            return benchmark.refuse(f"{loss}: {difference}")
    first = Step("cpu", batch_size=BATCH)
    steps = {loss: Step("cpu", like=first, loss=loss, batch_size=BATCH) for loss in LOSSES}
    whole = take_turns({loss: step.train for loss, step in steps.items()}, ROUNDS)
    part = take_turns({loss: alone(step) for loss, step in steps.items()}, ROUNDS)
    obstacle = peak.obstacle()
    memory = {}
    if not obstacle:
        for loss in LOSSES:
            memory[loss] = peak.peaks("cpu", ["train"], loss=loss, batch_size=BATCH)["train"]
    median = statistics.median(timing(seconds)["ms"] for seconds in whole.values())
    rows: list[Row] = []
    for loss, seconds in whole.items():
        row = timing(seconds, BATCH)
        row["to_the_median"] = round(row["ms"] / median, 2)
        row["loss_alone_ms"] = timing(part[loss])["ms"]
        row["loss_alone_share"] = round(row["loss_alone_ms"] / row["ms"], 4)
        if memory:
            row["peak_MiB"] = round(memory[loss], 1)
            row["peak_to_the_median"] = round(memory[loss] / statistics.median(memory.values()), 2)
        rows.append({"loss": loss, **row})
    remarks = ["to the median: of the six losses; engines agree under each", f"memory: {obstacle or peak.HOW}"]
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
