"""Options of the commands that have many, and numbers as people write them on a command line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

RESULTS = "results"
"""Folder of the records, unless --results names another."""

RUNS = "runs/reproduce"
"""Folder of the runs of `snnbook reproduce`, unless --runs names another."""


def _whole(_: type, tokens: Sequence[Any]) -> int:
    """Read a whole number as people write it; cyclopts alone would round 1.5 to 2."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)


Whole = Annotated[int, Parameter(converter=_whole)]


def _real(_: type, tokens: Sequence[Any]) -> float:
    """Read a number as people write it; cyclopts alone would take None and null for "not given", and 1_0 for 10."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", text, re.IGNORECASE):
        raise ValueError(f"not a number: {text!r}")
    return float(text)


Real = Annotated[float, Parameter(converter=_real)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Changes:
    """Settings that replace the experiment's own."""

    loss: str | None = None
    "enhanced_counting, counting, kernel, tet, timing or ttfs"
    epochs: Whole | None = None
    "passes over the training images"
    seed: Whole | None = None
    "of weights, order, augmentation and dropout"
    batch_size: Whole | None = None
    "images a step"
    learning_rate: Real | None = None
    "at the start; falls to 0 along a cosine"
    weight_decay: Real | None = None
    "of the weights (and of gamma and beta, where the experiment has no other for these)"
    norm_weight_decay: Real | None = None
    "of gamma and beta"
    gradient_clip: Real | None = None
    "largest norm of the whole gradient; a larger one is scaled down to it"
    optimiser: str | None = None
    "adamw or sgd"
    target_label: Real | None = None
    "spikes wanted of the label neuron (counting losses)"
    target_others: Real | None = None
    "spikes wanted of the other neurons (counting losses)"
    t_unfired: Real | None = None
    "time that a silent neuron counts with, in units of T (ttfs)"
    sharpness: Real | None = None
    "factor on the spikes before the softmax (tet)"
    kernel_tau_s: Real | None = None
    "time constant of the loss's filter, steps (kernel)"
    label_scaling: bool | None = None
    "scale the label neurons' gradients up where others fire more (counting losses)"
    supervision: bool | None = None
    "make the label's neuron fire in training"
    readout: str | None = None
    "count: spikes, early ones a little more; first: the first spikes above all"
    network: str | None = None
    "layers, such as 32C5-P2-64C5-P2-1024; the output layer is added"
    padding: Whole | None = None
    "zeros on every side of each convolution's input"
    steps: Whole | None = None
    "time steps T"
    tau_m: Real | None = None
    "membrane time constant, steps"
    tau_s: Real | None = None
    "synaptic time constant, steps"
    tau_g: Real | None = None
    "time constant of the backward kernel, steps"
    rate: Real | None = None
    "spikes per neuron that thresholds are initialised for"
    dropout: Real | None = None
    "share of channels and features dropped"
    engine: str | None = None
    "what computes the neurons: auto, reference, cpu or triton"
    precision: str | None = None
    "of products: float32; tf32 (on a GPU, forward too); bf16_backward (gradients alone; spikes stay)"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Which runs `snnbook reproduce` does, how, and where."""

    seeds: Whole = 1
    "runs of each row, with seeds 0, 1, 2, ...; from three on there are verdicts"
    epochs: Whole | None = None
    "another schedule than the paper's; such runs are kept apart"
    device: str = "auto"
    "auto, cpu, cuda, or cuda:1 for the second GPU"
    jobs: Whole = 1
    "runs at a time, each in a process of its own; threads are divided among them, GPUs dealt out in turn"
    list_commands: Annotated[bool, Parameter(name="--list", negative="")] = False
    "print a command for each missing run, for any scheduler, and do nothing"
    only: str | None = None
    "the name of one run, such as fashion_mnist_tet-e100-seed0"
    released: Annotated[bool, Parameter(negative="")] = False
    "take the settings of the authors' release"
    results: str = RESULTS
    "folder of the records"
    runs: str = RUNS
    "folder of the runs in progress"

    def for_each_run(self) -> list[str]:
        """Return the options that the command of each single run repeats."""
        words = []
        if self.device != "auto":
            words += ["--device", self.device]
        words += self.for_each_device()
        return words

    def for_each_device(self) -> list[str]:
        """Return the options that the command of each single run repeats, apart from --device."""
        words = []
        if self.results != RESULTS:
            words += ["--results", self.results]
        if self.runs != RUNS:
            words += ["--runs", self.runs]
        if self.released:
            words.append("--released")
        return words
