"""What a forward pass keeps for its backward pass."""

from dataclasses import dataclass, replace

from torch import Tensor

from .. import inputs
from ..errors import UserError, choice, instance
from ..neuron import NeuronParameters

ENGINES = ("reference", "cpu", "triton")
"""Names of the engines."""


@dataclass(frozen=True, eq=False)
class Saved:
    """One layer's spikes and slopes, all of shape (T, N, C, ...).

    Args:
        spikes: 1 where the neuron fired, else 0
        du: increment of the potential u over the step (from 0 after a reset)
        dg: the same slope as the input times are credited with: the backward trace g, or du for the exact kernel
        neuron: the constants that the forward pass used
        engine: name of the engine that ran, and that will run backward
    """

    spikes: Tensor
    du: Tensor
    dg: Tensor
    neuron: NeuronParameters
    engine: str

    def __post_init__(self) -> None:
        for name in ("spikes", "du", "dg"):
            inputs.tensor(name, instance(name, getattr(self, name), Tensor))
        if not self.spikes.shape == self.du.shape == self.dg.shape:
            shapes = ", ".join(str(tuple(x.shape)) for x in (self.spikes, self.du, self.dg))
            raise UserError(f"spikes, du and dg must have one shape, not {shapes}")
        instance("neuron", self.neuron, NeuronParameters)
        choice("engine", self.engine, ENGINES)

    def with_spikes(self, forced: Tensor) -> "Saved":
        """The same pass with other output spikes, as supervision needs: slopes stay, inter-spike intervals follow.

        Args:
            forced: the spikes to use instead, (T, N, C, ...)
        Raises:
            UserError: if the shape differs
        """
        forced = inputs.floats("forced", forced, like=self.spikes)
        if forced.shape != self.spikes.shape:
            raise UserError(f"forced spikes have shape {tuple(forced.shape)}, the layer's {tuple(self.spikes.shape)}")
        return replace(self, spikes=forced)
