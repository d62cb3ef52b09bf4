"""How fast are a training step and inference: the fused CPU engine, the readable reference, other libraries, the floor?

One process measures all contenders in turn and takes medians. The two engines must agree after a step from equal
weights before a speed is reported: every output spike, and every gradient to 1e-4 of its largest entry. The dense floor
is the time of the best library calls for the network's products alone. Run it as `python benchmarks/training_step.py`
on a machine that does nothing else; `--record` writes the answer for the book.
"""

import sys

from kit.contenders import Step, disagreement
from kit.floor import DenseFloor
from kit.measuring import Benchmark, Row, run, take_turns, timing
from kit.peers import LEARNING_RATE, Tuned, available

BATCH = 50
ROUNDS = 21
"""Each round trains the networks by two more steps. Near the end of these rounds ours fires about as often as in the
runs on file (`fashion_mnist`: 0.6 to 1.0, 0.5 to 0.8, 0.7 to 0.9 and 0.5 to 0.6 spikes per neuron and image, by layer).
"""

NETWORKS = ("fashion_mnist", "mnist")


def rows_of(network: str, remarks: list[str]) -> list[Row] | str:
    """Measure all contenders on one network; return the table's rows, or what the engines disagree in.

    Args:
        network: of NETWORKS
        remarks: to extend
    """
    ours = {engine: Step(engine, network, batch_size=BATCH) for engine in ("reference", "cpu")}
    difference = disagreement(*ours.values())
    if difference:
        return f"{network}: {difference}"
    fused = ours["cpu"]
    contenders = {f"snnbook {engine}": step for engine, step in ours.items()}
    peers = {}
    # The other libraries train this network alone.
    if network == "fashion_mnist":
        peers = available(fused.images, fused.labels, LEARNING_RATE, remarks.append)
        contenders |= peers
        contenders |= {f"{title}, oneDNN": Tuned(peer) for title, peer in peers.items()}
    contenders["dense floor"] = DenseFloor(fused.net, BATCH)
    rows: list[Row] = []
    for what in ("train", "infer"):
        tasks = {name: getattr(contender, what) for name, contender in contenders.items()}
        seconds = take_turns(tasks, ROUNDS, again=True)
        ours_ms = timing(seconds["snnbook cpu"])["ms"]
        for who, found in seconds.items():
            row = {"network": network, "what": what, "who": who, **timing(found, BATCH)}
            rows.append(row | {"times_ours": round(row["ms"] / ours_ms, 2)})
    remarks.append(f"{network}: spikes per neuron and example, layer by layer: {fused.rates()}; engines agree")
    remarks += [f"{peer.title}: {peer.settings}" for peer in peers.values()]
    if peers:
        remarks.append('oneDNN: the same under torch.set_float32_matmul_precision("medium")')
    return rows


def main() -> int:
    """Check, measure and print; return 1 if the engines disagree."""
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
        found = rows_of(network, remarks)
        if isinstance(found, str):
            return benchmark.refuse(found)
        rows += found
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
