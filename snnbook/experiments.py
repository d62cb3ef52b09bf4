"""The paper's experiments by name: Table 1 of the appendix, the rows of Tables 3, 4 and 5, and `quick`.

A plain name has the weight decay of the appendix's Table 1 and, where the appendix is silent, the authors' released
settings; `*_released` has what the released file says throughout. VARIANTS are there to decide open questions.
"""

import math
from typing import Any

from .errors import UserError, choice
from .neuron import NeuronParameters
from .settings import Experiment

__all__ = ["Experiment", "get", "names"]

MNIST_NETWORK = "15C5-P2-40C5-P2-300"
FASHION_NETWORK = "32C5-P2-64C5-P2-1024"
NMNIST_NETWORK = "12C5-P2-64C5-P2"
VGG11 = "128C3-128C3-P2-256C3-256C3-256C3-P2-512C3-512C3-512C3-P2-2048-2048"
CIFARNET = "128C3-256C3-P2-512C3-P2-1024C3-512C3-1024-512"

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
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
"""One column of the appendix's Table 1 each; time constants, start rates, epochs and dropout as released."""

RELEASED: dict[str, Settings] = {
    "mnist": dict(weight_decay=0.05, norm_weight_decay=0.001),
    "fashion_mnist": dict(weight_decay=0.005),
    "nmnist": dict(weight_decay=0.002),
    "cifar10": dict(augmentation=("crop", "flip", "autoaugment_imagenet")),
}
"""Where the authors' release differs from the appendix's Table 1. On CIFAR10 it names no policy, and so gets the
default of torchvision's AutoAugment, which is ImageNet's."""

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
"""Rows beside enhanced counting, on Fashion-MNIST; 21 T is what the release has where the paper says 20 T."""

VARIANTS: dict[str, Settings] = {
    "unsupervised": dict(supervision=False),
    "unscaled": dict(label_scaling=False),
    "counting_unscaled": dict(loss="counting", label_scaling=False),
    "tet_unsupervised": dict(loss="tet", supervision=False),
    "tet_balanced": dict(loss="tet", sharpness=math.log(9)),
    "ttfs_unsupervised": dict(loss="ttfs", t_unfired=4, supervision=False),
    "ttfs_20T_unsupervised": dict(loss="ttfs", t_unfired=20, supervision=False),
}
"""Rows of no table of the paper, on Fashion-MNIST: what the supervisory spike and the label's scaling do, and
TET where a lone spike is pushed as hard as it is pulled: at a sharpness of ln(C - 1)."""

LATENCY = dict(encoding="latency", steps=10, target_label=10, target_others=1, mean=(0.0,), std=(1.0,))
"""Table 5 (App. 5.3): MNIST, latency coding. Time constants and start rate, which the appendix lacks, are MNIST's."""

LATENCY_RELEASED = dict(learning_rate=1e-3, target_label=5, target_others=1, readout="first")
"""The released file for early exit. (It also stretches each image's own darkest and brightest pixel to 0..1.)"""

TTFS_RELEASED_DECAY = 0.0
"""The released file for TTFS has its line on weight decay commented out."""

QUICK = dict(
    dataset="fashion_mnist_subset", network="8C3-P2-16C3-P2-128", padding=1, steps=5, neuron=_SMALL_NEURON, rate=0.6,
    target_label=5, target_others=1, optimiser="adamw", learning_rate=2e-3, weight_decay=0.002, epochs=12,
    mean=MNIST_MEAN, std=MNIST_STD, augmentation=("flip",),
)  # fmt: skip
"""A narrow network on the images that come with the package: under a minute on two cores."""


LOSS_OPTIONS = {
    **{name: name for name in ("target_label", "target_others", "t_unfired", "sharpness", "label_scaling", "clip")},
    "kernel_tau_s": "tau_s",
}
"""Settings that only some losses take, and what these call them."""


def _catalogue() -> dict[str, Settings]:
    """All settings by name."""
    found = {"quick": QUICK}
    for base, settings in TABLE_1.items():
        rows = {base: settings}
        if base == "fashion_mnist":
            rows |= {f"{base}_{row}": settings | change for row, change in (TABLES_3_AND_4 | VARIANTS).items()}
        if base == "mnist":
            rows[f"{base}_latency"] = settings | LATENCY
        if base == "cifar10":
            rows[f"{base}_cifarnet"] = settings | {"network": CIFARNET, "dropout": 0.0}
            rows[f"{base}_timing"] = settings | {"loss": "timing"}
        released = RELEASED.get(base, {})
        found |= rows | {f"{name}_released": row | released | _released_beside(row) for name, row in rows.items()}
    return found


def _released_beside(row: Settings) -> Settings:
    """What the released file of one row has that those of its data set's other rows lack."""
    if row.get("loss") == "ttfs":
        return {"weight_decay": TTFS_RELEASED_DECAY}
    return LATENCY_RELEASED if row.get("encoding") == "latency" else {}


_CATALOGUE = _catalogue()


def names() -> list[str]:
    """The names of all experiments."""
    return list(_CATALOGUE)


def get(name: str, **overrides: Any) -> Experiment:
    """An experiment by name.

    Args:
        name: one of `names()`
        overrides: settings to change, by the fields' names of `Experiment` or `NeuronParameters`
    Raises:
        UserError: for an unknown name or setting, or a wrong value
    """
    name = choice("experiment", name, _CATALOGUE, see="snnbook experiments")
    return Experiment(name=name, **_CATALOGUE[name]).override(**overrides)


def asked(name: str, **options: Any) -> Experiment:
    """An experiment as a person asks for it: as `get`, and nothing that was asked for may be without effect.

    Raises:
        UserError: as `get`, and for an option of another loss than the experiment's
    """
    found = get(name, **options)
    for option, own_name in LOSS_OPTIONS.items():
        if option in options and own_name not in found.loss_settings:
            raise UserError(f"loss {found.loss!r} has no {option}; leave that option out, or choose another loss")
    return found
