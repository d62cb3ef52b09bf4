"""Everything that determines a training run, apart from the machine: one frozen value, checked when it is made."""

import dataclasses
import inspect
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import encoding, inputs, losses, networks, ops, readout, schema
from .datasets import augment, loader
from .datasets.sources import SOURCES
from .devices import PRECISIONS
from .errors import UserError, choice, exactly, instance, real, shown, switch, unknown, whole
from .neuron import NeuronParameters
from .schema import checked

__all__ = ["ADDED", "LOSS_SETTINGS", "OPTIMISERS", "Experiment"]

OPTIMISERS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

LARGEST_SIZE = 2**15
"""Limit of a layer's channels, neurons and positions, and of T. Above it, sizes of tensors overflow before memory is
full."""

LARGEST_PADDING = 2**10

LOSS_NAME = "loss_name"
"""Metadata of a setting that only some losses take: what these call it."""

LONGEST = 2**12
"""Limit of the letters in the name and in the network, which is more than 500 layers."""


def one_line(name: str, value: Any) -> str:
    """Check that a setting is a line of text."""
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > LONGEST:
        raise UserError(f"{name} must be a line of text of {LONGEST} letters or less, not {shown(value)}")
    return str(value)


def reals(name: str, value: Any, **bounds: float) -> tuple[float, ...]:
    """Check that a setting is a list of numbers within the bounds of `errors.real`."""
    return tuple(real(name, each, **bounds) for each in inputs.listed(name, value))


def paddings(name: str, value: Any) -> int | tuple[int, ...]:
    """Check that a setting is a padding, or a list of paddings."""
    if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1:
        return tuple(whole(name, each, 0, LARGEST_PADDING) for each in inputs.listed(name, value))
    return whole(name, value, 0, LARGEST_PADDING)


def augmentations(name: str, value: Any) -> tuple[str, ...]:
    """Check that a setting lists augmentations, and put them in the order of `augment.NAMES`."""
    chosen = [choice(name, each, augment.NAMES) for each in inputs.listed(name, value)]
    return tuple(each for each in augment.NAMES if each in chosen)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The settings of a training run.

    Args:
        name: the experiment that they are based on
        dataset: key of `sources.SOURCES`
        network: layers in the one-line notation of `networks.build`, output layer left out
        padding: zeros on every side of a convolution's input, or one number per convolution
        steps: T
        neuron: time constants, steps
        pooling: "adjusted", "avg" or "max"
        dropout: share dropped after every pooling and hidden fully connected layer, in [0, 1)
        encoding: "direct", "latency" (dark pixels first), "latency_bright_first"; "frames" for events
        mean, std: of pixel values scaled to 0..1, one per channel
        augmentation: of training images, names from `augment.NAMES`
        loss: key of `losses.LOSSES`
        target_label, target_others: spikes wanted of the label neuron and of the others (counting losses), >= 0
        clip, label_scaling: switches of the counting losses
        t_unfired: time that a silent neuron counts with (ttfs), units of T, > 0
        sharpness: factor on the spikes before the softmax (tet), > 0
        kernel_tau_s: time constant of the kernel loss's filter, steps, > 1; None takes the neuron's tau_s
        supervision: whether the label's neuron is made to fire in training
        readout: how output spikes become a class, "count" or "first"
        rate: spikes per neuron over T steps that thresholds are initialised for (avg_spike_init), > 0
        optimiser: "adamw" or "sgd" (without momentum)
        learning_rate: at the start; follows a cosine to 0 over the epochs, stepped each epoch; > 0
        weight_decay: of W, >= 0
        norm_weight_decay: of gamma and beta, >= 0; None takes weight_decay
        gradient_clip: largest norm of the whole gradient, > 0
        epochs, batch_size: >= 1
        seed: of weights, order, augmentation and dropout, >= 0
        engine: see `snnbook.ops`
        precision: of products, one of `devices.PRECISIONS`

    Raises:
        UserError: for a wrong type, range or name, or values that do not go together; one line that says which
    """

    name: str = checked(one_line)
    dataset: str = checked(choice, choices=SOURCES, title="data set")
    network: str = checked(one_line)
    padding: int | tuple[int, ...] = checked(paddings, 0)
    steps: int = checked(whole, 5, least=1, most=LARGEST_SIZE)
    neuron: NeuronParameters = checked(instance, kind=NeuronParameters)
    pooling: str = checked(choice, "adjusted", choices=networks.POOLINGS)
    dropout: float = checked(real, 0.0, least=0, below=1)
    encoding: str = checked(choice, "direct", choices=encoding.ENCODINGS)
    mean: tuple[float, ...] = checked(reals, (0.0,))
    std: tuple[float, ...] = checked(reals, (1.0,), above=0)
    augmentation: tuple[str, ...] = checked(augmentations, ())
    loss: str = checked(choice, "enhanced_counting", choices=losses.LOSSES)
    target_label: float = checked(real, 5.0, least=0, notes={LOSS_NAME: "target_label"})
    target_others: float = checked(real, 1.0, least=0, notes={LOSS_NAME: "target_others"})
    clip: bool = checked(switch, True, notes={LOSS_NAME: "clip"})
    label_scaling: bool = checked(switch, True, notes={LOSS_NAME: "label_scaling"})
    t_unfired: float = checked(real, 4.0, above=0, notes={LOSS_NAME: "t_unfired"})
    sharpness: float = checked(real, 1.0, above=0, notes={LOSS_NAME: "sharpness"}, added_later=True)
    kernel_tau_s: float | None = checked(real, None, above=1, optional=True, notes={LOSS_NAME: "tau_s"})
    supervision: bool = checked(switch, True, added_later=True)
    readout: str = checked(choice, "count", choices=readout.READOUTS, added_later=True)
    rate: float = checked(real, 0.6, above=0)
    optimiser: str = checked(choice, "adamw", choices=OPTIMISERS)
    learning_rate: float = checked(real, 5e-4, above=0)
    weight_decay: float = checked(real, 0.0, least=0)
    norm_weight_decay: float | None = checked(real, None, least=0, optional=True)
    gradient_clip: float = checked(real, 1000.0, above=0)
    epochs: int = checked(whole, 100, least=1, most=2**31)
    batch_size: int = checked(whole, 50, least=1, most=2**31)
    seed: int = checked(whole, 0, least=0, most=2**63 - 1)
    engine: str = checked(choice, "auto", choices=("auto", *ops.ENGINES))
    precision: str = checked(choice, "float32", choices=PRECISIONS, added_later=True)

    def __post_init__(self) -> None:
        schema.check_fields(self)
        self._check_input()
        self._check_network()
        self._check_steps()

    def _check_input(self) -> None:
        """Check that data set, encoding, normalisation and augmentation go together."""
        channels = self.in_shape[0]
        events = SOURCES[self.dataset].events
        loader.check_statistics(self.mean, self.std, channels)
        augment.check(self.augmentation, channels, events)
        if (self.encoding == "frames") != events:
            wanted = "'frames'" if events else "'direct', 'latency' or 'latency_bright_first'"
            raise UserError(f"data set {self.dataset!r} goes with encoding {wanted}, not {self.encoding!r}")
        if self.encoding.startswith("latency") and (set(self.mean) != {0.0} or set(self.std) != {1.0}):
            raise UserError("latency coding needs intensities in [0, 1]: set mean to 0 and std to 1")

    def _check_network(self) -> None:
        """Check that the network can be built. Tensors on the meta device take no memory and no random numbers."""
        sizes = re.findall(r"\d+", self.network)
        if any(len(size) > 5 or int(size) > LARGEST_SIZE for size in sizes):
            raise UserError(f"sizes in network {self.network!r} must be {LARGEST_SIZE} or less")
        with torch.device("meta"):
            self.build_network()

    def _check_steps(self) -> None:
        """Check that T is enough for the start rate, and for the loss to teach anything."""
        if self.rate > self.steps:
            raise UserError(
                f"rate must be {self.steps} or less, the steps that a neuron can fire at, not {self.rate:g}"
            )
        reason = self.build_loss().cannot_learn(self.steps)
        if reason:
            raise UserError(f"loss {self.loss!r} can teach nothing with these settings: {reason}")

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image or frame."""
        return SOURCES[self.dataset].shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return SOURCES[self.dataset].classes

    @property
    def loss_settings(self) -> dict[str, Any]:
        """The settings that this experiment's loss takes, by the loss's own names."""
        taken = inspect.signature(losses.LOSSES[self.loss]).parameters
        settings = {own: getattr(self, name) for name, own in LOSS_SETTINGS.items() if own in taken}
        if "tau_s" in settings and self.kernel_tau_s is None:
            settings["tau_s"] = self.neuron.tau_s
        return settings

    def build_loss(self) -> losses.Loss:
        """Build the loss, with this experiment's settings."""
        return losses.get(self.loss, **self.loss_settings)

    def build_network(self) -> networks.Network:
        """Build the network, with random weights from torch's generator and thresholds of 1."""
        return networks.build(
            self.network,
            self.in_shape,
            self.classes,
            neuron=self.neuron,
            steps=self.steps,
            padding=self.padding,
            pooling=self.pooling,
            dropout=self.dropout,
            engine=self.engine,
            supervision=self.supervision,
            bf16_backward=self.precision == "bf16_backward",
        )

    def build_optimiser(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """Build the optimiser of named parameters: W decays by weight_decay, gamma and beta by norm_weight_decay."""
        parameters = list(parameters)
        weights = [parameter for name, parameter in parameters if name.endswith("weight")]
        norms = [parameter for name, parameter in parameters if not name.endswith("weight")]
        norm_decay = self.norm_weight_decay
        if norm_decay is None:
            norm_decay = self.weight_decay
        groups = [
            {"params": weights, "weight_decay": self.weight_decay},
            {"params": norms, "weight_decay": norm_decay},
        ]
        # A fused optimiser makes one pass over memory: it is four times as fast on a CPU, and equals torch's plain loop
        # up to the last bit. On every device it also obeys the flag `found_inf`, and the CPU need not read the flag.
        return OPTIMISERS[self.optimiser](groups, lr=self.learning_rate, fused=True)

    def learning_rate_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1: a cosine from `learning_rate` towards 0."""
        epoch = whole("epoch", epoch, 1)
        return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, C, H, W), or frames (N, T, C, H, W), as the network's input, (T, N, C, H, W)."""
        return encoding.encode(images, self.encoding, self.steps)

    def override(self, **settings: Any) -> "Experiment":
        """Return the same experiment with other settings. The neuron's constants go by their own names, too.

        Raises:
            UserError: for an unknown setting or a wrong value
        """
        known = [name for name in (*_NAMES, *_NEURON_NAMES) if name != "name"]
        for name in settings:
            if name not in known:
                raise unknown("setting", name, known)
        neuron = instance("neuron", settings.get("neuron", self.neuron), NeuronParameters)
        constants = {name: settings.pop(name) for name in _NEURON_NAMES if name in settings}
        if constants:
            settings["neuron"] = dataclasses.replace(neuron, **constants)
        return dataclasses.replace(self, **settings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON. `from_dict` makes an equal experiment of them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Experiment":
        """Make the experiment that `to_dict` wrote, also after a round trip through JSON.

        Raises:
            UserError: if a setting is missing, unknown or wrong
        """
        values = exactly("setting", values, _NAMES, ADDED)
        neuron = schema.read(NeuronParameters, "setting of the neuron", values["neuron"])
        return cls(**{**values, "neuron": neuron})


_NAMES = schema.names(Experiment)
_NEURON_NAMES = schema.names(NeuronParameters)

ADDED = schema.added(Experiment)
"""Settings that came after the first records, with the values that their runs had."""

LOSS_SETTINGS = {
    field.name: field.metadata[LOSS_NAME] for field in dataclasses.fields(Experiment) if LOSS_NAME in field.metadata
}
"""Settings that only some losses take, and what these call them."""
