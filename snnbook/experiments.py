"""The paper's experiments by name: Table 1 of the appendix, the rows of Tables 3, 4 and 5, and `quick`.

A plain name has the weight decay of the appendix's Table 1 and, where the appendix gives no value, the authors'
released settings. `*_released` has the released settings throughout. VARIANTS answer questions that the paper leaves
open.
"""

import math
from typing import Any

from .errors import UserError, choice
from .neuron import NeuronParameters
from .settings import LOSS_SETTINGS, Experiment

__all__ = ["Experiment", "get", "names"]

MNIST_NETWORK = "15C5-P2-40C5-P2-300"
FASHION_NETWORK = "32C5-P2-64C5-P2-1024"
NMNIST_NETWORK = "12C5-P2-64C5-P2"
VGG11 = "128C3-128C3-P2-256C3-256C3-256C3-P2-512C3-512C3-512C3-P2-2048-2048"
CIFARNET = "128C3-256C3-P2-512C3-P2-1024C3-512C3-1024-512"

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2023, 0.1994, 0.2010)

MNIST_MEAN = (0.1307,)
MNIST_STD = (0.3081,)
"""Used for Fashion-MNIST too, as in the authors' release."""

Settings = dict[str, Any]

_SMALL_NEURON = NeuronParameters(tau_m=5, tau_s=3, tau_g=2.5)

TABLE_1: dict[str, Settings] = {
    "mnist": dict(
        dataset="mnist", network=MNIST_NETWORK, padding=0, steps=5, neuron=_SMALL_NEURON, rate=0.6,
        target_label=5, target_others=1, optimiser="adamw", learning_rate=5e-4, weight_decay=0.001, epochs=100,
        mean=MNIST_MEAN, std=MNIST_STD,
    ),
    "fashion_mnist": dict(
        dataset="fashion_mnist", network=FASHION_NETWORK, padding=2, steps=5, neuron=_SMALL_NEURON, rate=0.6,
        target_label=5, target_others=1, optimiser="adamw", learning_rate=5e-4, weight_decay=0.002, epochs=100,
        mean=MNIST_MEAN, std=MNIST_STD, augmentation=("flip",),
    ),
    "nmnist": dict(
        dataset="nmnist", network=NMNIST_NETWORK, padding=(1, 0), steps=30, rate=2.0, encoding="frames",
        neuron=NeuronParameters(tau_m=8, tau_s=4, tau_g=3), target_label=15, target_others=2,
        optimiser="adamw", learning_rate=5e-4, weight_decay=0.005, epochs=120, mean=(0.0, 0.0), std=(1.0, 1.0),
    ),
    "cifar10": dict(
        dataset="cifar10", network=VGG11, padding=1, steps=12, rate=1.0, dropout=0.1,
        neuron=NeuronParameters(tau_m=7, tau_s=4, tau_g=3.5), target_label=10, target_others=1,
        optimiser="sgd", learning_rate=1e-4, weight_decay=0.0005, epochs=500, mean=CIFAR_MEAN, std=CIFAR_STD,
        augmentation=("crop", "flip", "autoaugment"),
    ),
    "cifar100": dict(
        dataset="cifar100", network=VGG11, padding=1, steps=16, rate=1.5, dropout=0.1,
        neuron=NeuronParameters(tau_m=10, tau_s=6, tau_g=5.5), target_label=15, target_others=1,
        optimiser="sgd", learning_rate=1e-4, weight_decay=0.002, epochs=500, mean=CIFAR_MEAN, std=CIFAR_STD,
        augmentation=("crop", "flip"),
    ),
}  # fmt: skip
"""The columns of the appendix's Table 1. Time constants, start rates, epochs and dropout are those of the release."""

RELEASED: dict[str, Settings] = {
    "mnist": dict(weight_decay=0.05, norm_weight_decay=0.001),
    "fashion_mnist": dict(weight_decay=0.005),
    "nmnist": dict(weight_decay=0.002),
    "cifar10": dict(augmentation=("crop", "flip", "autoaugment_imagenet")),
}
"""Where the authors' release differs from the appendix's Table 1. On CIFAR10 it names no policy for torchvision's
AutoAugment, whose default is ImageNet's."""

TABLES_3_AND_4: dict[str, Settings] = {
    "counting": dict(loss="counting"),
    "kernel": dict(loss="kernel"),
    "tet": dict(loss="tet"),
    "timing": dict(loss="timing"),
    "ttfs": dict(loss="ttfs", t_unfired=4),
    "ttfs_T": dict(loss="ttfs", t_unfired=1),
    "ttfs_20T": dict(loss="ttfs", t_unfired=20),
    "ttfs_21T": dict(loss="ttfs", t_unfired=21),
}
"""Rows on Fashion-MNIST apart from enhanced counting. The release has 21 T where the paper says 20 T."""

VARIANTS: dict[str, Settings] = {
    "unsupervised": dict(supervision=False),
    "unscaled": dict(label_scaling=False),
    "counting_unscaled": dict(loss="counting", label_scaling=False),
    "tet_unsupervised": dict(loss="tet", supervision=False),
    "tet_balanced": dict(loss="tet", sharpness=math.log(9)),
    "ttfs_unsupervised": dict(loss="ttfs", t_unfired=4, supervision=False),
    "ttfs_20T_unsupervised": dict(loss="ttfs", t_unfired=20, supervision=False),
}
"""Rows on Fashion-MNIST that are in no table of the paper. They show what the supervisory spike and label scaling do,
and TET at a sharpness of ln(C - 1), where a lone spike is pushed as hard as it is pulled."""

LATENCY = dict(encoding="latency", steps=10, target_label=10, target_others=1, mean=(0.0,), std=(1.0,))
"""Table 5 (App. 5.3): MNIST with latency coding. Time constants and start rate are missing there; MNIST's are taken."""

LATENCY_RELEASED = dict(learning_rate=1e-3, target_label=5, target_others=1, readout="first")
"""The released file for early exit. (It also scales each image so that its pixels span 0..1.)"""

TTFS_RELEASED_DECAY = 0.0
"""In the released file for TTFS the line with the weight decay is commented out."""

QUICK = dict(
    dataset="fashion_mnist_subset", network="8C3-P2-16C3-P2-128", padding=1, steps=5, neuron=_SMALL_NEURON, rate=0.6,
    target_label=5, target_others=1, optimiser="adamw", learning_rate=2e-3, weight_decay=0.002, epochs=12,
    mean=MNIST_MEAN, std=MNIST_STD, augmentation=("flip",),
)  # fmt: skip
"""A narrow network on the images that come with the package: under a minute on two cores."""


def _catalogue() -> dict[str, Settings]:
    """Collect the settings of all experiments by name."""
    catalogue = {"quick": QUICK}
    for base, settings in TABLE_1.items():
        rows = {base: settings}
        if base == "fashion_mnist":
            for row, changes in (TABLES_3_AND_4 | VARIANTS).items():
                rows[f"{base}_{row}"] = settings | changes
        if base == "mnist":
            rows[f"{base}_latency"] = settings | LATENCY
        if base == "cifar10":
            rows[f"{base}_cifarnet"] = settings | {"network": CIFARNET, "dropout": 0.0}
            rows[f"{base}_timing"] = settings | {"loss": "timing"}
        catalogue |= rows
        for name, row in rows.items():
            catalogue[f"{name}_released"] = row | RELEASED.get(base, {}) | _released_for_row(row)
    return catalogue


def _released_for_row(row: Settings) -> Settings:
    """Return the released settings that a row does not share with the other rows of its data set."""
    if row.get("loss") == "ttfs":
        return {"weight_decay": TTFS_RELEASED_DECAY}
    if row.get("encoding") == "latency":
        return LATENCY_RELEASED
    return {}


_CATALOGUE = _catalogue()


def names() -> list[str]:
    """List the names of all experiments."""
    return list(_CATALOGUE)


def get(name: str, **overrides: Any) -> Experiment:
    """Return an experiment by name.

    Args:
        name: one of `names()`
        overrides: settings to change, by the fields' names of `Experiment` or `NeuronParameters`
    Raises:
        UserError: for an unknown name or setting, or a wrong value
    """
    name = choice("experiment", name, _CATALOGUE, see="snnbook experiments")
    return Experiment(name=name, **_CATALOGUE[name]).override(**overrides)


def asked(name: str, **options: Any) -> Experiment:
    """Return an experiment as `get` does, and refuse options without effect. For the command line.

    Raises:
        UserError: as `get`, and for an option of another loss than the experiment's
    """
    found = get(name, **options)
    for option, loss_name in LOSS_SETTINGS.items():
        if option in options and loss_name not in found.loss_settings:
            raise UserError(f"loss {found.loss!r} has no {option}; leave that option out, or choose another loss")
    return found
