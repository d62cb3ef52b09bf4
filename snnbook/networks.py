"""Networks from their one-line notation, their first thresholds, and the supervision of their output.

"32C5-P2-64C5-P2-1024" reads: 32 channels of 5x5 convolution, 2x2 pooling, 64 channels of 5x5 convolution, 2x2
pooling, 1024 fully connected neurons. The output layer is left out, as in the paper, and added by `build`.
"""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from . import encoding, inputs, ops
from .devices import SideStream, is_on_cpu
from .errors import UserError, choice, instance, real, switch, whole
from .layers import AdjustedAvgPool2d, PlainPool2d, SpikingConv2d, SpikingLayer, SpikingLinear, TimeDropout
from .neuron import NeuronParameters
from .ops.engines import uncompiled
from .shards import Shard

POOLINGS = ("adjusted", "avg", "max")
TOKEN = re.compile(r"(?P<channels>\d+)C(?P<kernel>\d+)|P(?P<pool>\d+)|(?P<features>\d+)")

IN_SHAPE = "(C, H, W), such as (1, 28, 28) for grey images of 28 x 28"
"""The shape of an input, as errors say it."""

SEARCH_RANGE = (0.01, 100.0)
"""Factors between which the first threshold of a layer is searched (released settings)."""

SEARCH_RATIO = 1.01
"""The search ends when its bounds are this close (released settings)."""

NEAR_RATE = 2.0
"""Factor between the wanted and the reached rate of a layer above which `initialise` warns."""

FORCE_SLOPE = 0.05
"""Slope of the potential above which a step may take the supervisory spike (released settings)."""


def supervise(saved: ops.Saved, labels: Tensor) -> Tensor:
    """The output spikes with the label neuron made to fire. Eq. (eq-supervise); App. 1.

    It fires at the last step whose slope du is above 0.05; where there is none, at the first step; and not at all
    where du is 0 there, since then it had no input to credit. The neuron's state does not change.

    Args:
        saved: the output layer's pass, (T, N, C)
        labels: (N,)
    Returns:
        spikes, (T, N, C)
    Raises:
        UserError: if saved is no pass of an output layer, or labels are not one integer per sample
    """
    inputs.axes("saved: its spikes", instance("saved", saved, ops.Saved).spikes, "(T, N, C)", 3)
    labels = inputs.labels("labels", labels, saved.spikes.shape[1], saved.spikes.device)
    steps = len(saved.spikes)
    of_label = labels.long()[None, :, None].expand(steps, -1, 1)
    du = saved.du.gather(2, of_label)
    own = saved.spikes.gather(2, of_label)
    t = torch.arange(steps, device=labels.device).view(-1, 1, 1)
    step = ((du > FORCE_SLOPE) * t).amax(0)  # the last that rises; 0, the first, where none does
    return saved.spikes.scatter(2, of_label, own.masked_fill((t == step) & (du != 0), 1.0))


class Network(nn.Module):
    """Spiking layers in a row, ending in one output neuron per class.

    Args:
        layers: `SpikingLayer`s with pooling, dropout and one `nn.Flatten(2)` between them
        in_shape: (C, H, W) of an input image or frame
        steps: T that images are shown for
        supervision: whether the label's neuron is made to fire in training
    Raises:
        UserError: for other types, or layers that do not end in a `SpikingLayer`
    """

    _warned_of_order = False

    def __init__(
        self, layers: Sequence[nn.Module], in_shape: tuple[int, int, int], steps: int, supervision: bool = True
    ) -> None:
        super().__init__()
        self.supervision = switch("supervision", supervision)
        layers = tuple(layers) if isinstance(layers, nn.Sequential) else inputs.listed("layers", layers)
        if not layers or not isinstance(layers[-1], SpikingLayer):
            raise UserError("layers must end in a SpikingLayer, whose neurons are the classes")
        for layer in layers:
            instance("each of layers", layer, nn.Module, "a torch module")
        self.layers = nn.Sequential(*layers)
        self.in_shape = inputs.sizes("in_shape", in_shape, 3, IN_SHAPE)
        self.steps = inputs.steps(steps)

    @property
    def spiking(self) -> list[SpikingLayer]:
        """The layers that hold neurons, input side first."""
        return [layer for layer in self.layers if isinstance(layer, SpikingLayer)]

    def fold(self) -> None:
        """Fold every layer (`SpikingLayer.fold`): what training does before each step, and after the last one.

        Raises:
            UserError: if a gamma is not above 0
        """
        for layer in self.spiking:
            layer.fold()

    def encode(self, x: Tensor) -> Tensor:
        """Check the input; show images (N, C, H, W) for `steps` steps; pass (T, N, C, H, W) through.

        Raises:
            UserError: for another shape, an empty axis, a type that is not floating point, or NaN or infinity in it
        """
        x = inputs.floats("input x", x, like=self.spiking[0].threshold, hint="normalise it first")
        if x.dim() not in (4, 5) or tuple(x.shape[-3:]) != self.in_shape or 0 in x.shape:
            wanted = ", ".join(map(str, self.in_shape))
            raise UserError(f"input must have shape (N, {wanted}) or (T, N, {wanted}), not {tuple(x.shape)}")
        inputs.finite("input x", x)
        if x.dim() == 4:
            return encoding.direct(x, self.steps)
        if len(x) != self.steps == x.shape[1] and not self._warned_of_order:
            self._warned_of_order = True
            warnings.warn(
                f"the input is read as T = {len(x)} steps of {self.steps} samples, but this network is built for "
                f"{self.steps} steps: is the batch first? Then pass x.transpose(0, 1); axes are (T, N, C, H, W)",
                stacklevel=2,
            )
        return x

    @uncompiled
    def forward(
        self, x: Tensor, labels: Tensor | None = None, shard: Shard | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Output spikes.

        The supervisory spike gives the label away: read classes from the second of the pair, not from the first.

        Args:
            x: (T, N, C, H, W), or (N, C, H, W) for direct coding; one recording (T, C, H, W) needs `x.unsqueeze(1)`
            labels: (N,), integers; in training mode the label neuron is made to fire (`supervise`), in evaluation
                mode (`net.eval()`) never
            shard: the samples that this process computes of a joint batch, for dropout; None for all of them
        Returns:
            spikes, (T, N, classes); with labels a pair, with and without the supervisory spike
        Raises:
            UserError: for wrong shapes, or (looked at on a CPU alone) labels that are no classes
        Warns:
            UserWarning: once, if the batch seems to come before the steps
        """
        x = self.encode(x)
        if labels is not None:
            labels = self._classes(labels, x)
        ahead = SideStream(x.device)
        *hidden, output = self.layers
        for layer in hidden:
            if isinstance(layer, SpikingLayer):
                x = layer(x, ahead=ahead)
            elif isinstance(layer, TimeDropout):
                x = layer(x, shard)
            else:
                x = layer(x)
        if labels is None:
            return output(x, ahead=ahead)
        if not (self.supervision and self.training):
            spikes = output(x, ahead=ahead)
            return spikes, spikes.detach()
        return output(x, force=lambda saved: supervise(saved, labels), ahead=ahead)

    def _classes(self, labels: Tensor, x: Tensor) -> Tensor:
        """Labels as they are computed with: a class for every sample of the encoded input x, (T, N, ...)."""
        labels = inputs.tensor("labels", labels, x.device)
        labels = inputs.labels("labels", labels, x.shape[1], x.device, hint=_swapped(x, labels))
        classes = len(self.layers[-1].threshold)
        if is_on_cpu(labels) and not bool(((labels >= 0) & (labels < classes)).all()):  # a GPU would wait
            raise UserError(f"labels must be classes, 0 to {classes - 1}, not {labels.unique().tolist()}")
        return labels

    @torch.no_grad()
    def initialise(self, batch: Tensor, rate: float) -> None:
        """Choose every layer's thresholds so that its neurons fire at about the wanted rate. Eq. (eq-initialise).

        Layer by layer, input side first, by geometric bisection on a factor of the layer's gamma; App. 1 and the
        released settings.

        Args:
            batch: first training images in dataset order, (N, C, H, W) or (T, N, C, H, W)
            rate: wanted spikes per neuron over all T steps, measured on the last third of them
        Raises:
            UserError: for a wrong shape, NaN or infinity in the batch, or a rate that is not above 0
        Warns:
            UserWarning: for each layer that no threshold within the search range brings near the wanted rate
        """
        rate = real("rate", rate, above=0)
        x = self.encode(batch)
        if not bool(x.isfinite().all()):  # a neuron would keep silent about it: u >= threshold is false for NaN
            raise UserError("the first batch holds NaN or infinity; look at the images and at their normalisation")
        if rate > len(x):
            raise UserError(f"rate must be T = {len(x)} or less, the most spikes that there can be, not {rate:g}")
        training = self.training
        self.eval()
        is_silent = False
        for layer in self.layers:
            if isinstance(layer, SpikingLayer):
                layer.fold()
                factor, reached = _search_factor(layer, x, rate)
                layer.threshold.div_(factor)
                if not is_silent and not rate / NEAR_RATE <= reached <= rate * NEAR_RATE:
                    warnings.warn(_missed_rate(layer, rate, reached), stacklevel=3)
                is_silent |= reached == 0  # all layers after it are silent, too
            x = layer(x)
        self.train(training)


def _search_factor(layer: SpikingLayer, x: Tensor, rate: float) -> tuple[float, float]:
    """The last factor that the bisection tried, and the rate that it gave, spikes per neuron over all steps."""
    steps = len(x)
    start = 2 * steps // 3
    wanted = rate * (steps - start) / steps
    low, high = SEARCH_RANGE
    factor = 1.0
    while high / low >= SEARCH_RATIO:
        factor = math.sqrt(low * high)
        spikes, _ = ops.forward(layer.current(x, factor), layer.threshold, layer.neuron, layer.engine)
        fired = spikes[start:].sum(0).mean().item()
        if fired > wanted:
            high = factor
        else:
            low = factor
    return factor, fired * steps / (steps - start)


def _missed_rate(layer: SpikingLayer, rate: float, reached: float) -> str:
    """What to say of a layer whose neurons fire at another rate than the wanted one."""
    if reached == 0:
        advice = "nothing can be learnt behind a silent layer; look at the input's scale, or ask for a larger rate"
    elif reached < rate:
        advice = "its input is too weak or comes too late; scale the input up, or ask for a smaller rate"
    else:
        advice = "its neurons get the same input and fire together; scale the input, or ask for a larger rate"
    return f"{layer.title} fires {reached:.3g} spikes per neuron where rate={rate:g} was asked for: {advice}"


def _swapped(x: Tensor, labels: Tensor) -> str:
    """The hint for labels that fit the first axis of an input (T, N, ...) and not the second."""
    if labels.shape != x.shape[:1] or x.stride(0) == 0:
        return ""
    return f"; axes are (T, N, C, H, W), and axis 1 is {x.shape[1]}: is the batch first? Then pass x.transpose(0, 1)"


def _tokens(notation: str) -> list[re.Match[str]]:
    tokens = []
    for part in instance("notation", notation, str, "text").split("-"):
        match = TOKEN.fullmatch(part.strip())
        if match is None or any(int(v) == 0 for v in match.groupdict().values() if v):
            raise UserError(f"cannot read {part!r} in network {notation!r}; write layers as 32C5, P2 or 1024")
        tokens.append(match)
    return tokens


def _paddings(padding: Any, tokens: list[re.Match[str]], notation: str) -> list[int]:
    """The padding of every convolution in turn."""
    kernels = [int(token["kernel"]) for token in tokens if token["kernel"]]
    several = isinstance(padding, (list, tuple)) or getattr(padding, "ndim", 0) == 1
    each = inputs.listed("padding", padding) if several else [padding] * len(kernels)
    if len(each) != len(kernels):
        raise UserError(f"padding lists {len(each)} numbers for {len(kernels)} convolutions in {notation!r}")
    return [inputs.padding("padding", value, kernel) for value, kernel in zip(each, kernels, strict=True)]


def build(
    notation: str,
    in_shape: tuple[int, int, int],
    classes: int,
    neuron: NeuronParameters | None = None,
    steps: int = 5,
    padding: int | str | Sequence[int | str] = 0,
    pooling: str = "adjusted",
    dropout: float = 0.0,
    engine: str = "auto",
    supervision: bool = True,
    bf16_backward: bool = False,
) -> Network:
    """A network from its notation, with torch's default weights and thresholds of 1.

    Args:
        notation: such as "32C5-P2-64C5-P2-1024", without the output layer
        in_shape: (C, H, W)
        classes: output neurons
        neuron: time constants, steps
        steps: T
        padding: of every convolution, or one per convolution; a number, "same" or "valid"
        pooling: "adjusted", "avg" or "max"
        dropout: share dropped after every pooling and every hidden fully connected layer
        engine: see `snnbook.ops`
        supervision: whether the label's neuron is made to fire in training
        bf16_backward: compute the backward pass's products in bfloat16; spikes stay as they are
    Raises:
        UserError: for notation that cannot be read or does not fit the input
    """
    pooling = choice("pooling", pooling, POOLINGS)
    in_shape = inputs.sizes("in_shape", in_shape, 3, IN_SHAPE)
    classes = whole("classes", classes, 1)
    dropout = real("dropout", dropout, least=0, below=1)
    bf16_backward = switch("bf16_backward", bf16_backward)
    if neuron is None:
        neuron = NeuronParameters()
    tokens = _tokens(notation)
    paddings = _paddings(padding, tokens, notation)
    layers: list[nn.Module] = []
    shape: tuple[int, ...] = in_shape
    for token in tokens:
        if len(shape) == 1 and not token["features"]:
            raise UserError(f"{token[0]!r} comes after a fully connected layer in network {notation!r}")
        if token["kernel"]:
            shape = _append_convolution(layers, shape, token, paddings.pop(0), neuron, engine)
        elif token["pool"]:
            shape = _append_pooling(layers, shape, int(token["pool"]), pooling)
        else:
            shape = _append_connected(layers, shape, int(token["features"]), neuron, engine)
        if min(shape) < 1:
            raise UserError(f"nothing is left of the {in_shape} input at {token[0]!r} in network {notation!r}")
        if dropout and not token["kernel"]:
            layers.append(TimeDropout(dropout))
    _append_connected(layers, shape, classes, neuron, engine)
    net = Network(layers, in_shape, steps, supervision)
    _name_layers(net, [token[0] for token in tokens if not token["pool"]] + [str(classes)], notation)
    if bf16_backward:
        for layer in net.spiking:
            layer.affine = replace(layer.affine, backward_dtype=torch.bfloat16)
    return net


def _append_convolution(
    layers: list[nn.Module],
    shape: tuple[int, ...],
    token: re.Match,
    padding: int,
    neuron: NeuronParameters,
    engine: str,
) -> tuple[int, ...]:
    """Append a convolution; return the shape of its output."""
    channels = int(token["channels"])
    kernel = int(token["kernel"])
    layers.append(SpikingConv2d(shape[0], channels, kernel, padding, neuron, engine=engine))
    return (channels, *(side + 2 * padding - kernel + 1 for side in shape[1:]))


def _append_connected(
    layers: list[nn.Module], shape: tuple[int, ...], features: int, neuron: NeuronParameters, engine: str
) -> tuple[int, ...]:
    """Append a fully connected layer, and what flattens a map in front of it; return the shape of its output."""
    if len(shape) > 1:
        layers.append(nn.Flatten(2))
    layers.append(SpikingLinear(math.prod(shape), features, neuron, engine))
    return (features,)


def _append_pooling(layers: list[nn.Module], shape: tuple[int, ...], window: int, pooling: str) -> tuple[int, ...]:
    """Append pooling, or make it part of the convolution before it; return the shape of its output."""
    # Adjusted pooling right after a convolution belongs to that layer, so that an engine can fuse the two.
    if pooling != "adjusted":
        layers.append(PlainPool2d(window, pooling))
    elif layers and isinstance(layers[-1], SpikingConv2d) and layers[-1].pool == 1:
        layers[-1].pool = window
    else:
        layers.append(AdjustedAvgPool2d(window))
    return (shape[0], *(side // window for side in shape[1:]))


def _name_layers(net: Network, names: list[str], notation: str) -> None:
    """Give every layer its title, and raise a UserError where a neuron has one input only."""
    for number, (layer, name) in enumerate(zip(net.spiking, names, strict=True), start=1):
        layer.title = f"layer {number} of {len(names)} ({name})"
        if layer.weight[0].numel() == 1:
            raise UserError(
                f"{layer.title} of network {notation!r} has one input per neuron; weights are standardised over a "
                "neuron's inputs, so there must be two or more"
            )
