"""What a forward pass leaves for its backward pass."""

from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from torch import Tensor

from .. import inputs
from ..errors import UserError, choice, instance, shown
from ..neuron import NeuronParameters
from .engines import ENGINES


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
    Raises:
        UserError: if it is no such record
    """
    if isinstance(saved, type) or not is_dataclass(saved):
        raise UserError(f"saved must be what a forward pass returned, not {shown(saved)}")
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
    """The record that `take_out` took apart; empties the list.

    Raises:
        UserError: if the two are not what it returned
    """
    instance("bare", bare, Bare, "what take_out returned")
    if not isinstance(tensors, list) or len(tensors) < bare.values.count(None):
        raise UserError(f"tensors must be the list that take_out returned, not {shown(tensors)}")
    values = []
    for value in bare.values:
        if value is None:
            values.append(tensors.pop(0))
        else:
            values.append(put_back(value, tensors) if isinstance(value, Bare) else value)
    return bare.kind(*values)
