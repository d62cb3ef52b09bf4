"""How long do the neurons alone take, forward and backward, by the readable reference and by the fused engines?

Currents are given, so no product is in it: integrating, firing, pooling, and the way back to the currents. The same
currents for both engines; every spike must be equal and every gradient agree before a time is told. With a GPU the
Triton engine is measured there too. Run it as `python benchmarks/neuron_pass.py`; `--record` writes the answer.
"""

import sys
from collections.abc import Callable

import torch
from kit.contenders import TOLERANCE
from kit.measuring import Benchmark, Row, run, take_turns, timing
from torch import Tensor

from snnbook import NeuronParameters, ops

BATCH, ROUNDS = 50, 5
STEPS = (5, 20)
LAYERS = {"32 x 28 x 28, pooled": ((32, 28, 28), 2), "64 x 14 x 14, pooled": ((64, 14, 14), 2), "1024": ((1024,), 1)}
NEURON = NeuronParameters()


class Pass:
    """One layer's neurons on an engine.

    Args:
        engine: see `snnbook.ops`
        current: (T, N, C, ...)
        threshold: (C,)
        window: of the pooling, 1 for none
        grad: of the pooled outputs
    """

    def __init__(self, engine: str, current: Tensor, threshold: Tensor, window: int, grad: Tensor) -> None:
        self.engine = ops.get(engine, current.device)
        self.inputs = (current, threshold, NEURON, window)
        self.grad = grad
        self.wait: Callable[[], None] = torch.cuda.synchronize if current.is_cuda else lambda: None

    def forward(self) -> Tensor:
        """Pooled spikes."""
        pooled, self.saved = self.engine.pooled_forward(*self.inputs)
        self.wait()
        return pooled

    def backward(self) -> tuple[Tensor, Tensor]:
        """G_t and G_w of what `forward` left."""
        found = self.engine.pooled_backward(self.grad, self.saved)
        self.wait()
        return found


def layer(shape: tuple[int, ...], window: int, steps: int, device: str) -> tuple[Tensor, Tensor, int, Tensor]:
    """Currents, thresholds, window, output gradients; in memory as the device's convolutions leave them: channels last
    on a CPU, in the order of the shapes on a GPU."""
    generator = torch.Generator().manual_seed(0)
    channels, *map_ = shape
    current = torch.randn((steps, BATCH, *map_, channels), generator=generator).movedim(-1, 2)
    grad = torch.randn((steps, BATCH, *[side // window for side in map_], channels), generator=generator)
    threshold = torch.full((channels,), 1.0)
    current, grad = current.to(device), grad.movedim(-1, 2).to(device)
    if device != "cpu":
        current, grad = current.contiguous(), grad.contiguous()
    return current, threshold.to(device), window, grad


def disagreement(wanted: Pass, got: Pass) -> str:
    """What differs between two engines, or "" if nothing does; leaves both ready for `backward`."""
    if not torch.equal(one := wanted.forward(), other := got.forward()):
        return f"{int((one != other).sum())} outputs differ"
    for name, one, other in zip(("G_t", "G_w"), wanted.backward(), got.backward(), strict=True):
        if not (error := (one - other).abs().max() / one.abs().max()) <= TOLERANCE:
            return f"{name} differs by {error:.1e} of the largest"
    return ""


def main() -> int:
    """Check, measure, print; 1 where engines disagree."""
    engines = {"cpu": "cpu"} | ({"cuda": "triton"} if torch.cuda.is_available() else {})
    settings = {"batch": BATCH, "precision": "float32", "rounds": ROUNDS}
    benchmark = Benchmark(__file__, "How long do the neurons alone take?", settings, [*engines][-1])
    rows: list[Row] = []
    for device, fused in engines.items():
        for name, (shape, window) in LAYERS.items():
            for steps in STEPS:
                inputs = layer(shape, window, steps, device)
                pair = {engine: Pass(engine, *inputs) for engine in ("reference", fused)}
                if difference := disagreement(*pair.values()):
                    return benchmark.refuse(f"{name}, T = {steps}, {fused}: {difference}")
                fixed = {"device": device, "neurons": name, "T": steps}
                for what in ("forward", "backward"):
                    seconds = take_turns({engine: getattr(pass_, what) for engine, pass_ in pair.items()}, ROUNDS)
                    found = [fixed | {"what": what, "who": who, **timing(s)} for who, s in seconds.items()]
                    own = found[-1]["ms"]
                    rows += [row | {"times_fused": round(row["ms"] / own, 2) if own else None} for row in found]
    remarks = ["engines agree; the reference is plain torch", *([] if len(engines) > 1 else ["no GPU here"])]
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
