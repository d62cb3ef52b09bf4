"""How fast are a training step and inference: the fused CPU engine, the readable reference, other libraries, the floor?

One process, everything in turn, medians. Before a speed is told the two engines must agree after a step from equal
weights: every output spike, and every gradient to 1e-4 of its largest entry. The dense floor is the time of the best
library calls for the network's products alone. Run it as `python benchmarks/training_step.py` with nothing else going
on; `--record` writes the answer for the book.
"""

import sys

from kit.contenders import Step, disagreement
from kit.floor import DenseFloor
from kit.measuring import Benchmark, Row, run, take_turns, timing
from kit.peers import LEARNING_RATE, Tuned, available

BATCH = 50
ROUNDS = 21
"""Each trains the networks on, by two steps: towards the end of so many, ours fires about as often as in the runs on
file (`fashion_mnist`: layer by layer 0.6 to 1.0, 0.5 to 0.8, 0.7 to 0.9 and 0.5 to 0.6 spikes per neuron and image)."""

NETWORKS = ("fashion_mnist", "mnist")


def main() -> int:
    """Check, measure, print; 1 where the engines disagree."""
    settings = {
        "batch": BATCH,
        "steps": 5,
        "coding": "direct",
        "precision": "float32",
        "optimiser": "fused AdamW",
        "rounds": ROUNDS,
        "counted": "each second of two in a row",
    }
    benchmark = Benchmark(__file__, "How fast are a training step and inference?", settings)
    rows: list[Row] = []
    remarks: list[str] = []
    for network in NETWORKS:
        ours = {engine: Step(engine, network, batch_size=BATCH) for engine in ("reference", "cpu")}
        if difference := disagreement(*ours.values()):
            return benchmark.refuse(f"{network}: {difference}")
        fused = ours["cpu"]
        peers = (
            available(fused.images, fused.labels, LEARNING_RATE, remarks.append) if network == "fashion_mnist" else {}
        )
        tuned = {f"{title}, oneDNN": Tuned(peer) for title, peer in peers.items()}
        contenders = {**{f"snnbook {engine}": step for engine, step in ours.items()}, **peers, **tuned}
        contenders["dense floor"] = DenseFloor(fused.net, BATCH)
        for what in ("train", "infer"):
            tasks = {name: getattr(contender, what) for name, contender in contenders.items()}
            seconds = take_turns(tasks, ROUNDS, again=True)
            found = [{"network": network, "what": what, "who": who, **timing(s, BATCH)} for who, s in seconds.items()]
            own = next(row["ms"] for row in found if row["who"] == "snnbook cpu")
            rows += [row | {"times_ours": round(row["ms"] / own, 2)} for row in found]
        remarks.append(f"{network}: spikes per neuron and example, layer by layer: {fused.rates()}; engines agree")
        remarks += [f"{peer.title}: {peer.settings}" for peer in peers.values()]
        remarks += ['oneDNN: the same under torch.set_float32_matmul_precision("medium")'] * bool(peers)
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
