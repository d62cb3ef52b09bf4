"""The six losses' gradients e on one sample: their sum, size and balance, and tables for all states of a small raster.

A raster of C neurons and T steps has 2^(C T) states, too many to draw. But the gradient on a spike depends on only a
part of the raster, and there are few such parts: the neuron's own train (counting, kernel, timing), the spikes of the
same step (TET), or all first spikes (TTFS). The package's own losses fill a table for every part once, and a state's
gradients are then looked up. Label scaling couples a whole batch, so it is off here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import losses
from ..errors import UserError, unknown

FAMILIES = {
    "counting": "train",
    "enhanced_counting": "train",
    "kernel": "train",
    "tet": "step",
    "timing": "train",
    "ttfs": "first",
}
"""The part of a raster that decides about e: a neuron's train, all neurons at one step, or all first spikes."""

T_UNFIRED = (1.0, 4.0, 20.0)
"""The paper's three values, in units of T (App. 5.2)."""

MAX_ENTRIES = 150_000
"""Most numbers in one loss's table: about what a page can carry."""


@dataclass(frozen=True)
class Fingerprint:
    """All that a distant layer sees of a loss. Eq. (eq-fingerprint).

    Args:
        sum: of e over all spikes, 1/step
        size: of |e|, 1/step
        ratio: sum over size, -1..1, the paper's "ratio of positive gradients"; None where no spike is pushed
    """

    sum: float
    size: float
    ratio: float | None


def fingerprint(e: Tensor) -> Fingerprint:
    """Compute the fingerprint of gradients on spike times. Eq. (eq-fingerprint); App. Fig. 1-2, panels b to d.

    Args:
        e: any shape, 0 where there is no spike, 1/step
    """
    total = e.sum().item()
    size = e.abs().sum().item()
    return Fingerprint(total, size, total / size if size else None)


def settings_of(name: str, t_unfired: float) -> dict[str, float | bool]:
    """Return a loss's settings in the tables: the package's defaults, but no label scaling."""
    if FAMILIES[name] == "first":
        return {"t_unfired": t_unfired}
    if name in ("counting", "enhanced_counting"):
        return {"label_scaling": False}
    return {}


def gradient(name: str, spikes: Tensor, label: int, t_unfired: float = 4.0) -> Tensor:
    """Compute e of one sample, directly from the loss.

    Args:
        name: of the loss
        spikes: (T, C), 0 or 1
        label: index of the label neuron
        t_unfired: units of T; ttfs only
    Returns:
        (T, C), 1/step
    """
    spikes = spikes.detach()[:, None].clone().requires_grad_()
    losses.get(name, **settings_of(name, t_unfired))(spikes, torch.tensor([label])).backward()
    return spikes.grad[:, 0]


def choice_of(t_unfired: float, choices: tuple[float, ...] = T_UNFIRED) -> int:
    """Return the place of a t_unfired among those that have tables.

    Raises:
        UserError: if it is none of them
    """
    if t_unfired not in choices:
        known = ", ".join(f"{choice:g}" for choice in choices)
        raise UserError(f"t_unfired must be one of {known} (units of T), not {t_unfired!r}")
    return choices.index(t_unfired)


class Tables:
    """Every e that the six losses can give in a raster of C neurons and T steps, in float64.

    The label neuron has place 0, the others follow in their order. A code is the index of a table:

    - a train's code has bit t set for a spike at step t + 1;
    - a step's code has bit p set for a spike of the neuron at place p;
    - the code of first spikes has a digit, base T + 1, for each neuron, place 0 the lowest: the step 1..T of its first
      spike, 0 for a silent neuron.

    Args:
        steps: T
        neurons: C
        t_unfired: the values for ttfs, units of T
    Attributes:
        e: by loss, 1/step. Shapes by family: "train" (2, 2^T, T), the label first; "step" (2^C, C);
            "first" (values of t_unfired, (T+1)^C, C)

    Raises:
        UserError: if a table would be too large for a page
    """

    def __init__(self, steps: int, neurons: int, t_unfired: tuple[float, ...] = T_UNFIRED):
        largest = max(2 * steps * 2**steps, neurons * 2**neurons, len(t_unfired) * neurons * (steps + 1) ** neurons)
        if neurons < 2 or steps < 1 or largest > MAX_ENTRIES:
            raise UserError(
                f"a raster of {neurons} neurons and {steps} steps needs a table of {largest} numbers; take two neurons "
                f"or more, and at most {MAX_ENTRIES} numbers: 4 neurons and 6 steps are a good size"
            )
        self.steps = steps
        self.neurons = neurons
        self.t_unfired = tuple(t_unfired)
        fill = {"train": self._by_train, "step": self._by_step, "first": self._by_first}
        self.e = {name: fill[family](name) for name, family in FAMILIES.items()}

    def _by_train(self, name: str) -> Tensor:
        """Fill the table of a loss whose e depends on the neuron's own train."""
        codes = torch.arange(2**self.steps)
        trains = (codes >> torch.arange(self.steps)[:, None] & 1)[:, :, None].double()
        # All neurons fire the same train. Neuron 0 shows the label's e, neuron 1 that of any other neuron.
        e = self._of_batch(name, trains.expand(-1, -1, self.neurons), copies=1)
        return e[:, :, :2].permute(2, 1, 0).contiguous()

    def _by_step(self, name: str) -> Tensor:
        """Fill the table of a loss whose e depends on the spikes of the same step."""
        codes = torch.arange(2**self.neurons)
        spikes = (codes[:, None] >> torch.arange(self.neurons) & 1).double()
        # A sample repeats one step T times, so every step has the same e.
        return self._of_batch(name, spikes.expand(self.steps, -1, -1), copies=len(codes))[0]

    def _by_first(self, name: str) -> Tensor:
        """Fill the table of a loss whose e depends on all first spikes."""
        codes = torch.arange((self.steps + 1) ** self.neurons)
        first = codes[:, None] // (self.steps + 1) ** torch.arange(self.neurons) % (self.steps + 1)
        spikes = (first == torch.arange(1, self.steps + 1)[:, None, None]).double()
        return torch.stack([self._of_batch(name, spikes, len(codes), choice).sum(0) for choice in self.t_unfired])

    @staticmethod
    def _of_batch(name: str, spikes: Tensor, copies: int, t_unfired: float = 4.0) -> Tensor:
        """Compute e of many samples at once, with neuron 0 the label; `copies` undoes a mean over the samples."""
        spikes = spikes.clone().requires_grad_()
        labels = torch.zeros(spikes.shape[1], dtype=torch.long)
        loss = losses.get(name, **settings_of(name, t_unfired))(spikes, labels)
        (copies * loss).backward()
        return spikes.grad

    def look_up(self, name: str, spikes: Tensor, label: int, t_unfired: float = 4.0) -> Tensor:
        """Look e of one sample up in the tables, as raster.js does in the page.

        Args:
            name: of the loss
            spikes: (T, C), 0 or 1
            label: index of the label neuron
            t_unfired: one of the choices, units of T; ttfs only
        Returns:
            (T, C), 1/step, float64

        Raises:
            UserError: for an unknown loss or t_unfired, or spikes of another shape
        """
        if name not in FAMILIES:
            raise unknown("loss", name, FAMILIES)
        if spikes.shape != (self.steps, self.neurons) or not 0 <= label < self.neurons:
            raise UserError(
                f"these tables are for spikes of shape {(self.steps, self.neurons)} and a label below {self.neurons}, "
                f"not {tuple(spikes.shape)} and {label}"
            )
        choice = choice_of(t_unfired, self.t_unfired)
        order = [label, *(i for i in range(self.neurons) if i != label)]
        rows = spikes.T[order].long()
        table = self.e[name]
        e = torch.zeros(self.neurons, self.steps, dtype=torch.float64)
        if FAMILIES[name] == "train":
            codes = (rows << torch.arange(self.steps)).sum(1)
            e = table[[0] + [1] * (self.neurons - 1), codes]
        elif FAMILIES[name] == "step":
            codes = (rows << torch.arange(self.neurons)[:, None]).sum(0)
            e = table[codes].T * rows
        else:
            fires = rows.sum(1) > 0
            first = rows.argmax(1)
            digits = (first + 1) * fires
            code = (digits * (self.steps + 1) ** torch.arange(self.neurons)).sum()
            e[fires, first[fires]] = table[choice, code][fires]
        back = torch.empty_like(e)
        back[order] = e
        return back.T
