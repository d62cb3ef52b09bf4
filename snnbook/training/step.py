"""One training step, the same on every device: forward, loss, backward, bounded gradients, update, figures.

Nothing in it waits for a GPU: values are looked at on CPUs alone, and a loss or gradient that is not finite stops the
updates by a flag that stays on the device (`measure.Totals.watch`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..devices import SideStream, is_on_cpu, keep_memory
from ..networks import Network
from ..settings import Experiment
from . import metrics
from .distributed import ALONE, Team, sum_gradients

LARGE = 2**20
"""Entries from which on a gradient's norm is taken by itself: torch goes through several tensors in pieces of 2^16, a
block for each, and a large one alone would leave most of a GPU idle."""


class TrainingStep:
    """One step of a network in training.

    Args:
        experiment: the settings
        net: what is trained, on its device
        totals: where every step's figures go
        team: the processes that train it together
        static: keep the learning rate in a tensor on the device, which a recorded step reads each time
    Attributes:
        optimiser: that updates the weights
    """

    def __init__(
        self, experiment: Experiment, net: Network, totals: metrics.Totals, team: Team = ALONE, static: bool = False
    ) -> None:
        self.experiment, self.net, self.totals, self.team = experiment, net, totals, team
        self.optimiser = experiment.build_optimiser(net.named_parameters())
        self._loss = experiment.build_loss()
        self._parameters = list(net.parameters())
        if is_on_cpu(self._parameters[0]):
            keep_memory()
        if static:
            for group in self.optimiser.param_groups:
                group["lr"] = torch.full((), group["lr"], device=self._parameters[0].device, dtype=torch.float32)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step on a joint batch.

        Args:
            images: as `loader.Batches` gives them
            labels: (N,)
        Raises:
            UserError: on a CPU, if the gradient is not finite, or a gamma not above 0
        """
        self.compute(images, labels)
        self.totals.batches += 1

    def compute(self, images: Tensor, labels: Tensor) -> None:
        """All that a step does on its device; arguments as in `__call__`."""
        shard = self.team.shard(len(labels))
        images = images[shard.rows]
        labels = labels[shard.rows]
        # the optimiser's own zero_grad takes 0.05 ms of a small step's 9
        for parameter in self._parameters:
            parameter.grad = None
        spikes, raw = self.net(self.experiment.encode(images), labels=labels, shard=shard)
        spikes.retain_grad()
        loss = self._loss(spikes, labels, shard)
        loss.backward()
        sum_gradients(self._parameters, shard)
        norm = clip_gradients(self._parameters, self.experiment.gradient_clip, self.optimiser)
        if is_on_cpu(norm) and not bool(norm.isfinite()):  # elsewhere it is told at the next look
            raise metrics.broke_down("gradient norm", norm.item(), self.net)
        figures = SideStream(norm.device)
        with figures.work():
            self.totals.add(spikes, raw, labels, shard)
        self.optimiser.found_inf = self.totals.watch(loss, norm, shard)  # where 1, a fused optimiser updates nothing
        self.optimiser.step()
        figures.join()

    def set_learning_rate(self, rate: float) -> None:
        """The rate of the steps to come."""
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def optimiser_state(self) -> dict[str, Any]:
        """The optimiser's state_dict, with the learning rate as a number: the same from every kind of device."""
        state = self.optimiser.state_dict()
        for group in state["param_groups"]:
            group["lr"] = float(group["lr"])
        return state

    def restore_optimiser(self, state: dict[str, Any]) -> None:
        """Take up what `optimiser_state` gave. A step that was recorded before must be recorded again."""
        own = [group["lr"] for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state)
        for group, rate in zip(self.optimiser.param_groups, own, strict=True):
            if isinstance(rate, Tensor):
                group["lr"] = rate.fill_(group["lr"])


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], bound: float, optimiser: torch.optim.Optimizer) -> Tensor:
    """Scale the gradients down where their total norm is above `bound`, as `torch.nn.utils.clip_grad_norm_` does.

    On a CPU gradients below the bound are left alone, where torch multiplies them by 1. On a GPU the norm is not
    looked at, since that would halt the device: the fused optimiser divides the gradients as it reads them.

    Args:
        parameters: whose `grad` is set
        bound: largest norm of all gradients together
        optimiser: whose next step it is for, fused
    Returns:
        the norm before, a scalar
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norms = [torch.linalg.vector_norm(g) for g in grads if g.numel() >= LARGE]
    if small := [g for g in grads if g.numel() < LARGE]:
        norms += torch._foreach_norm(small)
    norm = torch.linalg.vector_norm(torch.stack(norms))
    if not is_on_cpu(norm):
        optimiser.grad_scale = ((norm + 1e-6) / bound).clamp(min=1.0)
    elif not norm <= bound:
        torch._foreach_mul_(grads, bound / (norm + 1e-6))
    return norm
