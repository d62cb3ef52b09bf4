"""How much memory do a training step and inference need beyond parameters, optimiser and data?

Each contender in a process of its own; `kit/peak.py` says how it is measured. Before a figure is told the two engines
must agree. Run it as `python benchmarks/memory.py`; `--record` writes the answer for the book.
"""

import sys

from kit import peak
from kit.contenders import compare, images_of
from kit.measuring import Benchmark, Row, run
from kit.peers import LEARNING_RATE, available

NETWORK, BATCH = "fashion_mnist", 50


def main() -> int:
    """Check, measure, print; 1 where the engines disagree or the system tells no peak."""
    settings = {"network": NETWORK, "batch": BATCH, "steps": 5, "precision": "float32", "measured": peak.HOW}
    benchmark = Benchmark(__file__, "How much memory does a training step need?", settings)
    if why := peak.obstacle() or compare(NETWORK, batch_size=BATCH):
        return benchmark.refuse(why)
    remarks: list[str] = ["beyond parameters, the optimiser's running means and the images; gradients count"]
    peers = available(*images_of(NETWORK, BATCH), LEARNING_RATE, remarks.append)
    who = {"snnbook reference": "reference", "snnbook cpu": "cpu"} | {t: p.package for t, p in peers.items()}
    found = {title: peak.peaks(name, name=NETWORK, batch_size=BATCH) for title, name in who.items()}
    rows: list[Row] = []
    for what in ("train", "infer"):
        own = found["snnbook cpu"][what]
        rows += [
            {"what": what, "who": title, "MiB": round(mib[what], 1), "times_ours": round(mib[what] / own, 2)}
            for title, mib in found.items()
        ]
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
