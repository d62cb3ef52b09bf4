"""What a forward pass leaves for its backward pass."""

from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True, eq=False)
class Bare:
    """A record without its tensors: its class, and its fields' values in order, None for every tensor."""

    kind: type
    values: list[Any]


def take_out(saved: Any) -> tuple[Bare, list[Tensor]]:
    """Any engine's record of a pass without its tensors, and those: autograd lets go of tensors that it keeps itself.

    Args:
        saved: a dataclass whose fields are tensors, a `Saved`, or settings
    Returns:
        what is left of the record, and the tensors in order
    """
    values: list[Any] = []
    tensors: list[Tensor] = []
    for value in vars(saved).values():
        if isinstance(value, Tensor):
            values.append(None)
            tensors.append(value)
        elif isinstance(value, Saved):
            inner, more = take_out(value)
            values.append(inner)
            tensors += more
        else:
            values.append(value)
    return Bare(type(saved), values), tensors


def put_back(bare: Bare, tensors: list[Tensor]) -> Any:
    """The record that `take_out` took apart; empties the list."""
    values = []
    for value in bare.values:
        if value is None:
            values.append(tensors.pop(0))
        else:
            values.append(put_back(value, tensors) if isinstance(value, Bare) else value)
    return bare.kind(*values)
