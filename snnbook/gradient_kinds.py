"""Warn where a gradient on spike times meets a network that expects one on spike amounts, or the other way round.

The layers of this package take e = dL/dt, the gradient on the time of every spike. A surrogate-gradient network takes
r = dL/d(amount), the gradient on the size of every spike. Where a loss counts spikes, e = -r (eq-approximation): the
same tensor handed to the wrong kind of network trains it in the wrong direction, without an error. So this module
looks through autograd's graph. It warns once for each loss, and once for each layer.

A foreign loss beside one of ours, such as a penalty on the number of spikes, shows in the gradient alone: e is 0 where
there is no spike, and r is not. A hidden layer's first gradient is looked at, and each of an output layer.
"""

import warnings
import weakref
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from .devices import is_on_cpu

OUR_PACKAGE = __name__.partition(".")[0]

_noted: weakref.WeakValueDictionary[tuple[str, int], Any] = weakref.WeakValueDictionary()
"""Losses and layers' maps that were warned of or looked at, by topic and id, while they live."""

_CALLER = 3
"""Frames from a warning up to whoever called the loss."""

_graph_is_hidden = False
"""Whether a loss of times was seen where the graph below it cannot be: compiled, or above a checkpoint of torch's."""


def _is_noted(topic: str, thing: object) -> bool:
    """Whether something of this topic was noted of this object."""
    return _noted.get((topic, id(thing))) is thing


def _first_time(topic: str, thing: object) -> bool:
    """Whether nothing of this topic was noted of this object yet; from now on it is."""
    if _is_noted(topic, thing):
        return False
    with suppress(TypeError):  # a map of the caller's own class that cannot be referenced weakly
        _noted[topic, id(thing)] = thing
    return True


def _layers_below(node: Any) -> tuple[list[Any], list[Tensor], bool]:
    """The nodes of our layers that a gradient arrives at first, and what else it reaches.

    A layer of ours ends the search. So does an autograd function of another package, such as the step function of a
    surrogate-gradient network. Operations of torch that move or weigh numbers are passed through.

    Returns:
        the nodes of our layers; the leaves that are reached without a layer of ours in between, such as weights; and
        whether a foreign function is reached
    """
    global _graph_is_hidden
    layers: list[Any] = []
    leaves: list[Tensor] = []
    foreign = False
    seen = {node}
    waiting = [node]
    while waiting:
        node = waiting.pop()
        function = getattr(type(node), "_forward_cls", None)
        if getattr(function, "takes_times", False):
            layers.append(node)
            continue
        if function is not None:
            if function.__module__.partition(".")[0] not in (OUR_PACKAGE, "torch"):
                foreign = True
                continue
            if function.__name__.startswith("Checkpoint"):
                _graph_is_hidden = True
                continue
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)
    return layers, leaves, foreign


def _is_given(leaf: Tensor) -> bool:
    """Whether a leaf is spikes that somebody wrote down, to read their gradient, and no weight of a network."""
    if isinstance(leaf, nn.Parameter) or not is_on_cpu(leaf):
        return False
    return bool(((leaf == 0) | (leaf == 1)).all())


def expect_times(spikes: Tensor, loss: object, name: str | None = None) -> None:
    """Note that a loss of times was computed from these spikes, and warn where something else made them.

    Args:
        spikes: output spikes, any shape; a tensor without a graph, whose gradient the caller reads, is fine
        loss: what was called; it is warned of once
        name: the loss that `losses.get` gives with gradient "rate" in its place; None where it has none
    """
    global _graph_is_hidden
    if torch.compiler.is_dynamo_compiling() and is_on_cpu(spikes):
        torch.compiler.disable(expect_times)(spikes, loss, name)  # a loss on a CPU breaks the graph anyway
        return
    if torch.compiler.is_compiling():
        _graph_is_hidden = True
        return
    if spikes.grad_fn is None or not torch.is_grad_enabled():
        return
    layers, leaves, foreign = _layers_below(spikes.grad_fn)
    for layer in layers:
        layer.kind_is_known = True
    foreign |= not all(_is_given(leaf) for leaf in leaves)
    if layers and not foreign and is_on_cpu(spikes) and not _is_noted("gradient", loss):
        _look_at_gradient(spikes, loss)
    if foreign and _first_time("kind", loss):
        instead = name or "enhanced_counting"
        warnings.warn(
            "this loss gives gradients on spike times, and the spikes come from a network that takes gradients on "
            "spike amounts, so training would go in the wrong direction; for surrogate-gradient networks use "
            f"losses.get({instead!r}, gradient='rate')",
            stacklevel=_CALLER,
        )


def expect_spikes(spikes: Tensor, loss: object) -> None:
    """Warn where not one output neuron fires, so that no gradient on spike times can exist.

    Args:
        spikes: of a network in training, any shape, on a CPU: elsewhere the look would halt the device
        loss: what was called; it is warned of once
    """
    if not spikes.any() and _first_time("silence", loss):
        warnings.warn(
            "no output neuron fires in this batch, so every gradient on spike times is 0 and nothing can be learnt: "
            "look at the input's scale, and set the thresholds by net.initialise(images, rate=...)",
            stacklevel=_CALLER,
        )


def pass_on(x: Tensor, layer: object) -> None:
    """Note that a layer of ours takes x as its input, and so gives what is below a gradient on spike times.

    Args:
        x: the input
        layer: an object that lives as long as the layer; it is warned of once
    """
    if torch.compiler.is_compiling():
        return
    if x.grad_fn is None or not torch.is_grad_enabled():
        return
    layers, leaves, foreign = _layers_below(x.grad_fn)
    for below in layers:
        below.kind_is_known = True
    foreign |= any(isinstance(leaf, nn.Parameter) for leaf in leaves)
    if foreign and _first_time("input", layer):
        warnings.warn(
            "a snnbook layer gives gradients on spike times to whatever makes its input, and that has parameters or a "
            "function of its own that take gradients on amounts, so they would be trained in the wrong direction: "
            "freeze them by requires_grad_(False), or detach the input",
            stacklevel=_CALLER,
        )
    elif not foreign and is_on_cpu(x) and not _is_noted("gradient", layer) and not bool(x.all()):
        for below in layers:
            _look_for_penalty(below, layer)


def _look_at_gradient(spikes: Tensor, loss: object) -> None:
    """Warn if spikes that a loss of times was computed from get a gradient where there is no spike.

    Args:
        spikes: with a graph
        loss: it is warned of once
    """
    silent = spikes.detach() == 0

    def look(grad: Tensor) -> None:
        found = grad[silent]
        if bool(found.any()) and not bool(found.isnan().any()) and _first_time("gradient", loss):
            _warn_of_amounts()

    spikes.register_hook(look)


def _look_for_penalty(node: Any, layer: object) -> None:
    """Warn if the layer of this node gets a gradient at every place, as from a penalty on its mean rate.

    Some places without a spike may well get one, where the spikes of several layers are added up.

    Args:
        node: of a layer that does not fire everywhere
        layer: the one that takes its output; its first gradient is looked at
    """

    def look(grads: tuple[Tensor | None, ...]) -> None:
        if _first_time("gradient", layer) and grads[0] is not None and bool((grads[0].abs() > 0).all()):
            _warn_of_amounts()

    node.register_prehook(look)


def check_arrival(node: Any, layer: object) -> None:
    """Warn where a layer of ours receives a gradient that neither a loss of times nor a layer of ours made.

    Args:
        node: the layer's node in the graph
        layer: an object that lives as long as the layer; it is warned of once
    """
    if not getattr(node, "kind_is_known", False) and not _graph_is_hidden and _first_time("kind", layer):
        _warn_of_amounts()


def _warn_of_amounts() -> None:
    """Warn of a gradient on amounts at a layer of ours."""
    warnings.warn(
        "the output of a snnbook layer received a gradient that no loss of snnbook made; these layers take gradients "
        "on spike times, and other losses give gradients on spike amounts, which train them in the wrong direction: "
        "use losses.get(...), a subclass of losses.Loss, or losses.from_times(spikes, e) for an e = dL/dt of your own",
        stacklevel=3,
    )
