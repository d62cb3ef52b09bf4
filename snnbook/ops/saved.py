"""What a forward pass leaves for its backward pass."""

from dataclasses import dataclass, replace

from torch import Tensor

from ..neuron import NeuronParameters


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

    def with_spikes(self, forced: Tensor) -> "Saved":
        """The same pass with other output spikes, as supervision needs: slopes stay, inter-spike intervals follow.

        Args:
            forced: the spikes to use instead, (T, N, C, ...)
        Raises:
            ValueError: if the shape differs
        """
        if forced.shape != self.spikes.shape:
            raise ValueError(f"forced spikes have shape {tuple(forced.shape)}, the layer's {tuple(self.spikes.shape)}")
        return replace(self, spikes=forced)
