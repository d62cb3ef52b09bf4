"""How long do the neurons alone take, forward and backward, by the readable reference and by the fused engines?

The currents are given, so there are no matrix products: integration, firing, pooling, and the gradients back to the
currents. Both engines get the same currents; every spike must be equal and every gradient agree before a time is
reported. With a GPU the Triton engine is measured there too. Run it as `python benchmarks/neuron_pass.py`; `--record`
writes the answer.
"""

import sys
from itertools import product

import torch
from kit.contenders import TOLERANCE, relative_error
from kit.measuring import Benchmark, Row, run, take_turns, timing
from torch import Tensor

from snnbook import NeuronParameters, ops

BATCH = 50
ROUNDS = 5
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
        self.is_on_gpu = current.is_cuda

    def wait(self) -> None:
        """Wait for the GPU, if the currents are on one."""
        if self.is_on_gpu:
            torch.cuda.synchronize()

    def forward(self) -> Tensor:
        """Compute the pooled spikes."""
        pooled, self.saved = self.engine.pooled_forward(*self.inputs)
        self.wait()
        return pooled

    def backward(self) -> tuple[Tensor, Tensor]:
        """Compute G_t and G_w of the last forward pass."""
        found = self.engine.pooled_backward(self.grad, self.saved)
        self.wait()
        return found


def layer(shape: tuple[int, ...], window: int, steps: int, device: str) -> tuple[Tensor, Tensor, int, Tensor]:
    """Return currents, thresholds, window and output gradients of a layer.

    Their memory layout is that of the device's convolutions: channels last on a CPU, contiguous on a GPU.
    """
    generator = torch.Generator().manual_seed(0)
    channels, *map_ = shape
    current = torch.randn((steps, BATCH, *map_, channels), generator=generator).movedim(-1, 2)
    grad = torch.randn((steps, BATCH, *[side // window for side in map_], channels), generator=generator)
    threshold = torch.full((channels,), 1.0)
    current = current.to(device)
    grad = grad.movedim(-1, 2).to(device)
    if device != "cpu":
        current = current.contiguous()
        grad = grad.contiguous()
    return current, threshold.to(device), window, grad


def disagreement(wanted: Pass, got: Pass) -> str:
    """Return what differs between two engines; "" if nothing does. Both are then ready for `backward`."""
    wanted_spikes = wanted.forward()
    got_spikes = got.forward()
    if not torch.equal(wanted_spikes, got_spikes):
        return f"{int((wanted_spikes != got_spikes).sum())} outputs differ"
    for name, one, other in zip(("G_t", "G_w"), wanted.backward(), got.backward(), strict=True):
        error = relative_error(one, other)
        # Written so that a NaN counts as a difference.
        if not error <= TOLERANCE:
            return f"{name} differs by {error:.1e} of the largest"
    return ""


def rows_of(device: str, fused: str, name: str, steps: int) -> list[Row] | str:
    """Measure both engines on one layer; return the table's rows, or what the engines disagree in."""
    shape, window = LAYERS[name]
    inputs = layer(shape, window, steps, device)
    passes = {engine: Pass(engine, *inputs) for engine in ("reference", fused)}
    difference = disagreement(*passes.values())
    if difference:
        return f"{name}, T = {steps}, {fused}: {difference}"
    rows: list[Row] = []
    for what in ("forward", "backward"):
        seconds = take_turns({engine: getattr(one, what) for engine, one in passes.items()}, ROUNDS)
        ms_of_fused = timing(seconds[fused])["ms"]
        for who, found in seconds.items():
            row = {"device": device, "neurons": name, "T": steps, "what": what, "who": who, **timing(found)}
            # A pass may be too short for the two digits of its time.
            row["times_fused"] = round(row["ms"] / ms_of_fused, 2) if ms_of_fused else None
            rows.append(row)
    return rows


def main() -> int:
    """Check, measure and print; return 1 if the engines disagree."""
    engines = {"cpu": "cpu"}
    remarks = ["engines agree; the reference is plain torch"]
    if torch.cuda.is_available():
        engines["cuda"] = "triton"
    else:
        remarks.append("no GPU here")
    settings = {"batch": BATCH, "precision": "float32", "rounds": ROUNDS}
    benchmark = Benchmark(__file__, "How long do the neurons alone take?", settings, [*engines][-1])
    rows: list[Row] = []
    for (device, fused), name, steps in product(engines.items(), LAYERS, STEPS):
        found = rows_of(device, fused, name, steps)
        if isinstance(found, str):
            return benchmark.refuse(found)
        rows += found
    return benchmark.answer(rows, remarks)


if __name__ == "__main__":
    sys.exit(run(main))
