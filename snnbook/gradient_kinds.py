"""Warn where a gradient on spike times meets a network that expects one on spike amounts, or the other way round.

The layers of this package take e = dL/dt, the gradient on the time of every spike. A surrogate-gradient network takes
r = dL/d(amount), the gradient on the size of every spike. Where a loss counts spikes, e = -r (eq-approximation): the
same tensor handed to the wrong kind of network trains it in the wrong direction, without an error. So this module
looks through autograd's graph. It warns once for each loss, and once for each layer.
"""

import warnings
import weakref
from typing import Any

import torch
from torch import Tensor

OUR_PACKAGE = __name__.partition(".")[0]

_warned: weakref.WeakValueDictionary[tuple[str, int], Any] = weakref.WeakValueDictionary()
"""Losses and layers' thresholds that a warning was given for, by the warning's topic and their id, while they live."""

_CALLER = 3
"""Frames from a warning up to whoever called the loss."""

_graph_is_hidden = False
"""Whether a loss of times was seen where the graph below it cannot be: compiled, or above a checkpoint of torch's."""


def _first_time(topic: str, thing: object) -> bool:
    """Whether no warning of this topic was given for this object yet; from now on one was."""
    key = topic, id(thing)
    if _warned.get(key) is thing:
        return False
    _warned[key] = thing
    return True


def _layers_below(node: Any) -> tuple[list[Any], bool]:
    """The nodes of our layers that a gradient arrives at first, and whether something foreign would take it, too.

    A layer of ours ends the search, as does what is foreign: a parameter that is reached without a layer of ours in
    between, or an autograd function of another package, such as the step function of a surrogate-gradient network.
    Operations of torch that move or weigh numbers are passed through.
    """
    global _graph_is_hidden
    layers: list[Any] = []
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
        foreign |= hasattr(node, "variable")
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)
    return layers, foreign


def expect_times(spikes: Tensor, loss: object, name: str | None = None) -> None:
    """Note that a loss of times was computed from these spikes, and warn where something else made them.

    Args:
        spikes: output spikes, any shape; a tensor without a graph, whose gradient the caller reads, is fine
        loss: what was called; it is warned of once
        name: the loss that `losses.get` gives with gradient "rate" in its place; None where it has none
    """
    global _graph_is_hidden
    if torch.compiler.is_compiling():
        _graph_is_hidden = True
        return
    if spikes.grad_fn is None or not torch.is_grad_enabled():
        return
    layers, foreign = _layers_below(spikes.grad_fn)
    for layer in layers:
        layer.kind_is_known = True
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


def pass_on(x: Tensor) -> None:
    """Note that a layer of ours takes x as its input, and so gives the layers below it a gradient on spike times."""
    if torch.compiler.is_compiling():
        return
    if x.grad_fn is not None and torch.is_grad_enabled():
        for layer in _layers_below(x.grad_fn)[0]:
            layer.kind_is_known = True


def check_arrival(node: Any, layer: object) -> None:
    """Warn where a layer of ours receives a gradient that neither a loss of times nor a layer of ours made.

    Args:
        node: the layer's node in the graph
        layer: an object that lives as long as the layer; it is warned of once
    """
    if getattr(node, "kind_is_known", False) or _graph_is_hidden or not _first_time("kind", layer):
        return
    warnings.warn(
        "the output of a snnbook network received a gradient that no loss of snnbook made; its layers take gradients "
        "on spike times, and other losses give gradients on spike amounts, which train it in the wrong direction: use "
        "losses.get(...), a subclass of losses.Loss, or losses.from_times(spikes, e) for an e = dL/dt of your own",
        stacklevel=2,
    )
