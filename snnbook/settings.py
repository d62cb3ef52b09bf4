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

from . import encoding, inputs, losses, networks, ops, readout
from .datasets import augment, loader
from .datasets.sources import SOURCES
from .devices import PRECISIONS
from .errors import UserError, choice, exactly, instance, real, shown, switch, unknown, whole
from .neuron import NeuronParameters

OPTIMISERS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

LARGEST_SIZE = 2**15
"""Of a layer in channels, neurons or positions, and of T: above it, sizes of tensors overflow before memory ends."""

LARGEST_PADDING = 2**10

LONGEST = 2**12
"""Letters of the name and of the network: more than 500 layers in one line."""

ADDED = {"supervision": True, "readout": "count", "precision": "float32", "sharpness": 1.0}
"""Settings that came after the first records, with the values that runs had before."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The settings of a training run.

    Args:
        name: the experiment that they started from
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

    name: str
    dataset: str
    network: str
    padding: int | tuple[int, ...] = 0
    steps: int = 5
    neuron: NeuronParameters
    pooling: str = "adjusted"
    dropout: float = 0.0
    encoding: str = "direct"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    augmentation: tuple[str, ...] = ()
    loss: str = "enhanced_counting"
    target_label: float = 5.0
    target_others: float = 1.0
    clip: bool = True
    label_scaling: bool = True
    t_unfired: float = 4.0
    sharpness: float = 1.0
    kernel_tau_s: float | None = None
    supervision: bool = True
    readout: str = "count"
    rate: float = 0.6
    optimiser: str = "adamw"
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    norm_weight_decay: float | None = None
    gradient_clip: float = 1000.0
    epochs: int = 100
    batch_size: int = 50
    seed: int = 0
    engine: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for field in ("name", "network"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value or not value.isprintable() or len(value) > LONGEST:
                raise UserError(f"{field} must be a line of text of {LONGEST} letters or less, not {shown(value)}")
            self._set(field, str(value))
        for field, choices in _CHOICES.items():
            self._set(field, choice(_SPOKEN.get(field, field), getattr(self, field), choices))
        for field, (least, most) in _WHOLE.items():
            self._set(field, whole(field, getattr(self, field), least, most))
        for field, bounds in _REAL.items():
            if (value := getattr(self, field)) is not None or field not in _OPTIONAL:
                self._set(field, real(field, value, **bounds))
        for field in ("clip", "label_scaling", "supervision"):
            self._set(field, switch(field, getattr(self, field)))
        instance("neuron", self.neuron, NeuronParameters)
        self._check_sequences()
        self._check_encoding()
        if any(len(size) > 5 or int(size) > LARGEST_SIZE for size in re.findall(r"\d+", self.network)):
            raise UserError(f"sizes in network {self.network!r} must be {LARGEST_SIZE} or less")
        with torch.device("meta"):  # shapes only: no memory, no random numbers
            self.build_network()
        self._check_steps()

    def _check_steps(self) -> None:
        """That T is enough for the start rate and for the loss to teach something."""
        if self.rate > self.steps:
            raise UserError(
                f"rate must be {self.steps} or less, the steps that a neuron can fire at, not {self.rate:g}"
            )
        if reason := self.build_loss().cannot_learn(self.steps):
            raise UserError(f"loss {self.loss!r} can teach nothing with these settings: {reason}")

    def _set(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    def _check_sequences(self) -> None:
        if isinstance(self.padding, (list, tuple)) or getattr(self.padding, "ndim", 0) == 1:
            each = inputs.listed("padding", self.padding)
            self._set("padding", tuple(whole("padding", value, 0, LARGEST_PADDING) for value in each))
        else:
            self._set("padding", whole("padding", self.padding, 0, LARGEST_PADDING))
        channels = self.in_shape[0]
        mean, std = loader.check_statistics(self.mean, self.std, channels)
        self._set("mean", mean)
        self._set("std", std)
        self._set("augmentation", augment.check(self.augmentation, channels, SOURCES[self.dataset].events))

    def _check_encoding(self) -> None:
        events = SOURCES[self.dataset].events
        if (self.encoding == "frames") != events:
            wanted = "'frames'" if events else "'direct', 'latency' or 'latency_bright_first'"
            raise UserError(f"data set {self.dataset!r} goes with encoding {wanted}, not {self.encoding!r}")
        if self.encoding.startswith("latency") and (set(self.mean) != {0.0} or set(self.std) != {1.0}):
            raise UserError("latency coding needs intensities in [0, 1]: set mean to 0 and std to 1")

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
        settings = {
            "target_label": self.target_label,
            "target_others": self.target_others,
            "clip": self.clip,
            "label_scaling": self.label_scaling,
            "t_unfired": self.t_unfired,
            "sharpness": self.sharpness,
            "tau_s": self.neuron.tau_s if self.kernel_tau_s is None else self.kernel_tau_s,
        }
        taken = inspect.signature(losses.LOSSES[self.loss]).parameters
        return {name: value for name, value in settings.items() if name in taken}

    def build_loss(self) -> losses.Loss:
        """The loss, with this experiment's settings."""
        return losses.get(self.loss, **self.loss_settings)

    def build_network(self) -> networks.Network:
        """The network, with random weights (torch's generator) and thresholds of 1."""
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
        norm_decay = self.weight_decay if self.norm_weight_decay is None else self.norm_weight_decay
        groups = [
            {"params": weights, "weight_decay": self.weight_decay},
            {"params": norms, "weight_decay": norm_decay},
        ]
        # A fused optimiser makes one pass over memory: four times as fast on a CPU, and equal to torch's plain loop
        # but for the last bit. On every device it also obeys the flag `found_inf` without reading it.
        return OPTIMISERS[self.optimiser](groups, lr=self.learning_rate, fused=True)

    def learning_rate_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1: a cosine from `learning_rate` towards 0."""
        epoch = whole("epoch", epoch, 1)
        return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, C, H, W), or frames (N, T, C, H, W), as the network's input, (T, N, C, H, W)."""
        return encoding.encode(images, self.encoding, self.steps)

    def override(self, **settings: Any) -> "Experiment":
        """The same experiment with other settings; the neuron's constants may be given by their own names.

        Raises:
            UserError: for an unknown setting or a wrong value
        """
        known = [field for field in (*_FIELDS, *_NEURON_FIELDS) if field != "name"]
        for setting in settings:
            if setting not in known:
                raise unknown("setting", setting, known)
        neuron = instance("neuron", settings.get("neuron", self.neuron), NeuronParameters)
        constants = {field: settings.pop(field) for field in _NEURON_FIELDS if field in settings}
        if constants:
            settings["neuron"] = dataclasses.replace(neuron, **constants)
        return dataclasses.replace(self, **settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` makes an equal experiment of them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Experiment":
        """The experiment that `to_dict` wrote, also after a way through JSON.

        Raises:
            UserError: if a setting is missing, unknown or wrong
        """
        if isinstance(values, dict):
            values = ADDED | values
        values = exactly("setting", values, _FIELDS)
        neuron = NeuronParameters(**exactly("setting of the neuron", values["neuron"], _NEURON_FIELDS))
        return cls(**{**values, "neuron": neuron})


_FIELDS = tuple(field.name for field in dataclasses.fields(Experiment))
_NEURON_FIELDS = tuple(field.name for field in dataclasses.fields(NeuronParameters))

_CHOICES = {
    "dataset": SOURCES,
    "loss": losses.LOSSES,
    "pooling": networks.POOLINGS,
    "encoding": encoding.ENCODINGS,
    "readout": readout.READOUTS,
    "optimiser": OPTIMISERS,
    "engine": ("auto", *ops.ENGINES),
    "precision": PRECISIONS,
}
_SPOKEN = {"dataset": "data set"}
_WHOLE = {"steps": (1, LARGEST_SIZE), "epochs": (1, 2**31), "batch_size": (1, 2**31), "seed": (0, 2**63 - 1)}
_REAL: dict[str, dict[str, float]] = {
    "dropout": {"least": 0, "below": 1},
    "target_label": {"least": 0},
    "target_others": {"least": 0},
    "t_unfired": {"above": 0},
    "sharpness": {"above": 0},
    "kernel_tau_s": {"above": 1},
    "rate": {"above": 0},
    "learning_rate": {"above": 0},
    "weight_decay": {"least": 0},
    "norm_weight_decay": {"least": 0},
    "gradient_clip": {"above": 0},
}
_OPTIONAL = ("kernel_tau_s", "norm_weight_decay")
