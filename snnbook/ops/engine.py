"""What an engine is: the one door through which layers reach their neurons and products.

A layer never asks which kernel is best. It hands an engine its input, and gets spikes and a `Pass`; later it hands
back the `Pass` with a gradient. An engine chooses by itself between dense products and products spike by spike.
`dense.py` implements the protocol in plain torch. The fast engines inherit from it, and override what they do better.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..neuron import NeuronParameters
from .affine import Affine
from .saved import Saved

Force = Callable[[Saved], Tensor]
"""Takes the pass of a layer's neurons, returns the spikes (T, N, C) to emit instead: the supervisory spike."""


class Layer(NamedTuple):
    """A layer apart from its weights and thresholds.

    Args:
        affine: the map from inputs to currents
        neuron: time constants, steps
        window: side of the adjusted average pooling's window after the neurons, positions; 1 for none
    """

    affine: Affine
    neuron: NeuronParameters
    window: int = 1


class Plan(NamedTuple):
    """How an engine computed its forward pass, apart from the tensors.

    Args:
        neuron: the neuron's constants
        window: side of the pooling window
        current_shape: shape of the currents, (T, N, C, ...)
        is_plain: whether the tensors are spikes, du and dg, as in `Saved`; else they are the engine's own
    """

    neuron: NeuronParameters
    window: int
    current_shape: torch.Size
    is_plain: bool


class Pass(NamedTuple):
    """What a forward pass keeps for its backward pass: tensors, which autograd saves, and how they are to be read."""

    tensors: tuple[Tensor, ...]
    plan: Plan


class Engine(Protocol):
    """Neurons, layers and weights. Callers check arguments (events.py, layers.py, ops/__init__.py)."""

    name: str

    def start(self) -> None:
        """Compute something small, so that an engine that cannot run fails here."""

    def forward(self, current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
        """Let neurons integrate and fire. Eq. (eq-neuron); arguments and results as in `snnbook.ops.forward`."""

    def backward(self, grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
        """Carry gradients back through neurons. Eq. (eq-grad-timing), (eq-grad-weight); as `snnbook.ops.backward`."""

    def pooled_forward(
        self, current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
    ) -> tuple[Tensor, Pass]:
        """Run neurons, then average pooling. Eq. (eq-neuron), (eq-pool).

        Args:
            current: (T, N, C, H, W); with window 1 any (T, N, C, ...)
            threshold: theta, (C,)
            neuron: time constants, steps
            window: side of the pooling window, positions; 1 for none
        Returns:
            means (T, N, C, H // window, W // window), or with window 1 the spikes; and the pass
        """

    def pooled_backward(self, grad_out: Tensor, pass_: Pass, sum_weight: bool = False) -> tuple[Tensor | None, Tensor]:
        """Run adjusted pooling and neurons backwards. Eq. (eq-pool), (eq-grad-timing), (eq-grad-weight).

        Args:
            grad_out: dL/dt at the output of `pooled_forward`, 1/step
            pass_: what it returned
            sum_weight: return G_w summed over time, (1, N, C, ...), and no G_t; for an input that repeats at every step
        Returns:
            grad_timing G_t, or None, and grad_weight G_w, (T, N, C, ...)
        """

    def currents(self, x: Tensor, weight: Tensor, affine: Affine) -> Tensor:
        """Input currents of every step.

        Args:
            x: spikes, or an image expanded over time (stride 0), (T, N, ...)
            weight: W_hat
            affine: the map that the weight belongs to
        Returns:
            (T, N, C, ...)
        """

    def layer_forward(
        self, x: Tensor, weight: Tensor, threshold: Tensor, layer: Layer, force: Force | None = None
    ) -> tuple[Tensor, Tensor, Pass]:
        """Run a layer: currents, neurons, pooling.

        Args:
            x, weight: as in `currents`
            threshold: theta, (C,)
            layer: everything else about the layer
            force: replaces the output spikes; goes with window 1
        Returns:
            the output, the neurons' own output without `force`, both (T, N, C, ...), and the pass
        """

    def layer_backward(
        self, grad_out: Tensor, pass_: Pass, x: Tensor, weight: Tensor, layer: Layer, need_x: bool, need_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Run a layer backwards. Eq. (eq-grad-timing), (eq-grad-weight), (eq-pool).

        Args:
            grad_out: e at the layer's output, 1/step
            pass_, x, weight, layer: as `layer_forward` returned and took them
            need_x, need_weight: which gradients are wanted
        Returns:
            the gradients of x, x W^T G_t, and of the weight; None where not wanted
        """

    def standardise(self, weight: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Standardise weights (C_out, fan-in). Eq. (eq-standardise); as `standardise` in reference.py."""

    def standardise_backward(
        self, grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of raw weights, gamma and beta; as `standardise_backward` in reference.py."""

    def fold(self, weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float) -> None:
        """Move gamma into the threshold, in place. Eq. (eq-fold); as `fold` in reference.py.

        Autograd's version counters stay as they are: whoever changed gamma or a weight has moved them already.
        """

    def prepare(
        self, weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fold, then standardise the flattened weight, in one pass over memory where the engine can."""
