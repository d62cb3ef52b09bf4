"""From which firing rate on is the dense backward of a layer faster than the event-driven one?

Both compute the gradients of one layer of the Fashion-MNIST network (T = 5, batch 50) on the fused CPU engine, in
turn, at thresholds that set the rate. They must agree before a time is told. `snnbook.ops.cpu.EVENT_LIMIT` is what
the layers choose by. Run it as `python benchmarks/crossover.py` with nothing else going on.
"""

import statistics
import sys
import time

import torch
from torch import Tensor

from snnbook import NeuronParameters, events, ops
from snnbook.ops import cpu
from snnbook.provenance import session

STEPS, BATCH, WARM_UPS, ROUNDS, TOLERANCE = 5, 50, 2, 7, 1e-4
LAYERS = {
    "convolution 32 x 14 x 14 -> 64, 5 x 5": ((32, 14, 14), (64, 32, 5, 5), events.Convolution(2), 2),
    "fully connected 3136 -> 1024": ((3136,), (1024, 3136), events.FullyConnected(), 1),
}
RATES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
"""Spikes per neuron and example, of five steps."""


class Layer:
    """One layer on a random input with few spikes, its thresholds set for a rate."""

    def __init__(self, shape: tuple[int, ...], weight: tuple[int, ...], affine: events.Affine, pool: int, rate: float):
        generator = torch.Generator().manual_seed(0)
        x = (torch.rand((STEPS, BATCH, *shape), generator=generator) < 0.15).float()
        self.x = x.movedim(2, -1).contiguous().movedim(-1, 2).requires_grad_()
        self.weight = (torch.randn(weight, generator=generator) * 0.1).requires_grad_()
        self.neuron = NeuronParameters()
        current = events.currents(self.x.detach(), self.weight.detach(), affine)
        low, high = -3.0, 30.0
        for _ in range(20):  # the rate falls with the threshold: halve the interval that holds it
            theta = torch.full((weight[0],), (low + high) / 2)
            self.rate = ops.forward(current, theta, self.neuron)[0].sum(0).mean().item()
            if self.rate > rate:
                low = theta[0].item()
            else:
                high = theta[0].item()
        self.spikes, _ = events.spiking_affine(self.x, self.weight, theta, affine, self.neuron, pool, "cpu")
        self.e = torch.randn(self.spikes.shape, generator=generator)

    def backward(self, limit: float) -> tuple[float, list[Tensor]]:
        """Seconds, and the gradients, with EVENT_LIMIT set to `limit`."""
        kept, cpu.EVENT_LIMIT = cpu.EVENT_LIMIT, limit
        try:
            start = time.perf_counter()
            gradients = torch.autograd.grad(self.spikes, (self.x, self.weight), self.e, retain_graph=True)
            return time.perf_counter() - start, list(gradients)
        finally:
            cpu.EVENT_LIMIT = kept


def main() -> int:
    """Check, measure, print; 1 where the two ways disagree."""
    hardware = session(torch.device("cpu"), "cpu", 0, None)
    print(f"{hardware.processor}, {hardware.threads} threads, torch {hardware.versions['torch']}")
    print(f"layers choose by EVENT_LIMIT = {cpu.EVENT_LIMIT} spikes per neuron")
    for name, sizes in LAYERS.items():
        print(f"\n{name}\nspikes per neuron   event-driven ms   dense ms   dense / event-driven")
        for rate in RATES:
            layer = Layer(*sizes, rate)
            (_, sparse), (_, dense) = layer.backward(float("inf")), layer.backward(-1)
            for a, b in zip(sparse, dense, strict=True):
                if not (error := (a - b).abs().max() / b.abs().max()) <= TOLERANCE:
                    print(f"no time is told: gradients differ by {error:.1e} of the largest")
                    return 1
            rounds = [(layer.backward(float("inf"))[0], layer.backward(-1)[0]) for _ in range(WARM_UPS + ROUNDS)]
            by_event, by_product = (statistics.median(column) for column in zip(*rounds[WARM_UPS:], strict=True))
            times = f"{by_event * 1000:15.1f}   {by_product * 1000:8.1f}   {by_product / by_event:20.2f}"
            print(f"{layer.rate:17.2f}   {times}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
