"""What a forward pass leaves for its backward pass."""

from dataclasses import dataclass, fields, is_dataclass, replace
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


def take_out(saved: Any) -> tuple[Any, list[Tensor]]:
    """Any engine's record of a pass without its tensors, and those: autograd lets go of tensors that it keeps itself.

    Args:
        saved: a dataclass whose fields are tensors, such dataclasses, or settings
    Returns:
        the record with None in place of every tensor, and the tensors in order
    """
    bare, tensors = {}, []
    for field in fields(saved):
        value = getattr(saved, field.name)
        if isinstance(value, Tensor):
            bare[field.name] = None
            tensors.append(value)
        elif is_dataclass(value):
            bare[field.name], inner = take_out(value)
            tensors += inner
    return replace(saved, **bare), tensors


def put_back(bare: Any, tensors: list[Tensor]) -> Any:
    """The record that `take_out` took apart; empties the list."""
    whole = {}
    for field in fields(bare):
        value = getattr(bare, field.name)
        if value is None:
            whole[field.name] = tensors.pop(0)
        elif is_dataclass(value):
            whole[field.name] = put_back(value, tensors)
    return replace(bare, **whole)
