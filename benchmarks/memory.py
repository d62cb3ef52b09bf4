"""How much memory do a training step and inference need beyond parameters, optimiser and data?

Each contender runs in a process of its own; `kit/peak.py` says how it is measured. The two engines must agree before a
figure is reported. Run it as `python benchmarks/memory.py`; `--record` writes the answer for the book.
"""

import sys

from kit import peak
from kit.contenders import compare, images_of
from kit.measuring import Benchmark, Row, run
from kit.peers import LEARNING_RATE, available

NETWORK = "fashion_mnist"
BATCH = 50


def main() -> int:
    """Check, measure and print; return 1 if the engines disagree or the system reports no peak."""
    settings = {"network": NETWORK, "batch": BATCH, "steps": 5, "precision": "float32", "measured": peak.HOW}
    benchmark = Benchmark(__file__, "How much memory does a training step need?", settings)
    obstacle = peak.obstacle() or compare(NETWORK, batch_size=BATCH)
    if obstacle:
        return benchmark.refuse(obstacle)
    remarks: list[str] = ["beyond parameters, the optimiser's running means and the images; gradients count"]
    peers = available(*images_of(NETWORK, BATCH), LEARNING_RATE, remarks.append)
    contenders = {"snnbook reference": "reference", "snnbook cpu": "cpu"}
    contenders |= {title: peer.package for title, peer in peers.items()}
    found = {title: peak.peaks(name, name=NETWORK, batch_size=BATCH) for title, name in contenders.items()}
    rows: list[Row] = []
    for what in ("train", "infer"):
        ours = found["snnbook cpu"][what]
        for title, peaks in found.items():
            mib = peaks[what]
            rows.append({"what": what, "who": title, "MiB": round(mib, 1), "times_ours": round(mib / ours, 2)})
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
