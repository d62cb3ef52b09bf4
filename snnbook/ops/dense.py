"""The reference engine: the equations of reference.py, with dense products of plain torch.

The fast engines inherit from it. So this file is the plain form of everything that they do in a faster way.
"""

from torch import Tensor

from ..neuron import NeuronParameters
from . import reference
from .affine import Affine
from .engine import Force, Layer, Pass, Plan
from .saved import Saved


def distinct(x: Tensor) -> Tensor:
    """Return the steps of x (T, ...) that differ: all, or only the first where x is one step expanded over time."""
    return x[:1] if len(x) > 1 and x.stride(0) == 0 else x


class DenseEngine:
    """The protocol of engine.py in plain torch; arguments and results are documented there."""

    name = "reference"

    def start(self) -> None:
        """Plain torch always runs."""

    # ---- neurons ----

    def forward(self, current: Tensor, threshold: Tensor, neuron: NeuronParameters) -> tuple[Tensor, Saved]:
        """As `reference.forward`."""
        return reference.forward(current, threshold, neuron)

    def backward(self, grad_times: Tensor, saved: Saved) -> tuple[Tensor, Tensor]:
        """As `reference.backward`."""
        return reference.backward(grad_times, saved)

    def pooled_forward(
        self, current: Tensor, threshold: Tensor, neuron: NeuronParameters, window: int
    ) -> tuple[Tensor, Pass]:
        """`forward`, then `reference.pool_forward`."""
        spikes, saved = self.forward(current, threshold, neuron)
        out = reference.pool_forward(spikes, window) if window > 1 else spikes
        return out, _plain_pass(saved, window)

    def pooled_backward(self, grad_out: Tensor, pass_: Pass, sum_weight: bool = False) -> tuple[Tensor | None, Tensor]:
        """`reference.pool_backward`, then `backward`."""
        spikes, du, dg = pass_.tensors
        window = pass_.plan.window
        grad_times = reference.pool_backward(grad_out, spikes, window) if window > 1 else grad_out
        grad_timing, grad_weight = self.backward(grad_times, Saved(spikes, du, dg, pass_.plan.neuron, self.name))
        if sum_weight:
            return None, grad_weight.sum(0, keepdim=True)
        return grad_timing, grad_weight

    # ---- a whole layer ----

    def currents(self, x: Tensor, weight: Tensor, affine: Affine) -> Tensor:
        """One product for all steps that differ."""
        steps = distinct(x)
        current = affine.current(steps.flatten(0, 1), weight).unflatten(0, steps.shape[:2])
        return current.expand(len(x), *current.shape[1:])

    def layer_forward(
        self, x: Tensor, weight: Tensor, threshold: Tensor, layer: Layer, force: Force | None = None
    ) -> tuple[Tensor, Tensor, Pass]:
        """`currents`, then `pooled_forward`, or with `force` the plain neurons."""
        current = self.currents(x, weight, layer.affine)
        if force is None:
            out, pass_ = self.pooled_forward(current, threshold, layer.neuron, layer.window)
            return out, out, pass_
        own, saved = self.forward(current, threshold, layer.neuron)
        out = force(saved)
        return out, own, _plain_pass(saved.with_spikes(out), window=1)

    def layer_backward(
        self, grad_out: Tensor, pass_: Pass, x: Tensor, weight: Tensor, layer: Layer, need_x: bool, need_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """`pooled_backward`, then the two transposes of the map."""
        # An input that repeats needs one product for the sum of G_w over time, unless its own times are wanted.
        steps = x if need_x else distinct(x)
        grad_timing, grad_weight = self.pooled_backward(grad_out, pass_, sum_weight=len(steps) < len(x))
        grad_x = None
        grad_w = None
        if need_x:
            back = layer.affine.grad_input(grad_timing.flatten(0, 1), weight, x.flatten(0, 1).shape)
            grad_x = back.unflatten(0, x.shape[:2]) * x
        if need_weight:
            grad_w = layer.affine.grad_weight(grad_weight.flatten(0, 1), steps.flatten(0, 1), weight.shape)
        return grad_x, grad_w

    # ---- weights ----

    def standardise(self, weight: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `reference.standardise`."""
        return reference.standardise(weight, gamma, beta)

    def standardise_backward(
        self, grad: Tensor, weight: Tensor, gamma: Tensor, mean: Tensor, std: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `reference.standardise_backward`."""
        return reference.standardise_backward(grad, weight, gamma, mean, std)

    def fold(self, weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float) -> None:
        """As `reference.fold`."""
        # .data leaves autograd's version counters alone
        reference.fold(weight.data, threshold.data, gamma.data, beta.data, bound)

    def prepare(
        self, weight: Tensor, threshold: Tensor, gamma: Tensor, beta: Tensor, bound: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`fold`, then `standardise`."""
        self.fold(weight, threshold, gamma, beta, bound)
        return self.standardise(weight.flatten(1), gamma, beta)


def are_contiguous(*tensors: Tensor) -> bool:
    """Whether compiled kernels can change these tensors in place; of other memory they would change a copy."""
    return all(tensor.is_contiguous() for tensor in tensors)


def _plain_pass(saved: Saved, window: int) -> Pass:
    """The pass of neurons whose spikes and slopes are kept as they are."""
    plan = Plan(saved.neuron, window, saved.spikes.shape, is_plain=True)
    return Pass((saved.spikes, saved.du, saved.dg), plan)


ENGINE = DenseEngine()
