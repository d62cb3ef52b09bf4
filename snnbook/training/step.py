"""A training step, the same on every device: forward, loss, backward, gradient clipping, update, figures.

Nothing in it waits for a GPU. Values are read on CPUs alone. A loss or gradient that is not finite stops the updates
by a flag that stays on the device (`metrics.Totals.add_health`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..devices import SideStream, is_on_cpu
from ..networks import Network
from ..settings import Experiment
from . import metrics
from .distributed import ALONE, ProcessGroup, sum_gradients

LARGE = 2**20
"""Gradients with this many entries or more get a norm of their own. torch's norm of several tensors takes a block for
every 2^16 entries, so that a single large tensor would leave most of a GPU idle."""


class TrainingStep:
    """One step of a network in training.

    Args:
        experiment: the settings
        net: to train, on its device
        totals: sums that every step adds its figures to
        group: the processes that train the network together
        static: keep the learning rate in a tensor on the device, where a recorded step reads it each time
    Attributes:
        optimiser: updates the weights
    """

    def __init__(
        self,
        experiment: Experiment,
        net: Network,
        totals: metrics.Totals,
        group: ProcessGroup = ALONE,
        static: bool = False,
    ) -> None:
        self.experiment = experiment
        self.net = net
        self.totals = totals
        self.group = group
        self.optimiser = experiment.build_optimiser(net.named_parameters())
        self._loss = experiment.build_loss()
        self._parameters = list(net.parameters())
        if static:
            device = self._parameters[0].device
            for options in self.optimiser.param_groups:
                options["lr"] = torch.full((), options["lr"], device=device, dtype=torch.float32)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on a joint batch.

        Args:
            images: as `loader.Batches` gives them
            labels: (N,)
        Raises:
            UserError: on a CPU, if the gradient is not finite; if a gamma is not above 0
        """
        self.compute(images, labels)
        self.totals.batches += 1

    def compute(self, images: Tensor, labels: Tensor) -> None:
        """Do the part of a step that runs on the device; arguments as in `__call__`."""
        shard = self.group.shard(len(labels))
        images = images[shard.rows]
        labels = labels[shard.rows]
        # The optimiser's own zero_grad would take 0.05 ms of the 9 ms of a small step.
        for parameter in self._parameters:
            parameter.grad = None
        spikes, raw = self.net(self.experiment.encode(images), labels=labels, shard=shard)
        spikes.retain_grad()
        loss = self._loss(spikes, labels, shard)
        loss.backward()
        sum_gradients(self._parameters, shard)
        norm = clip_gradients(self._parameters, self.experiment.gradient_clip, self.optimiser)
        # On other devices `Totals.read` raises this error at the next progress report.
        if is_on_cpu(norm) and not bool(norm.isfinite()):
            raise metrics.not_finite("gradient norm", norm.item(), self.net)
        side_stream = SideStream(norm.device)
        with side_stream.work():
            self.totals.add_outputs(spikes, raw, labels, shard)
        # Where this flag is 1, a fused optimiser updates nothing.
        self.optimiser.found_inf = self.totals.add_health(loss, norm, shard)
        self.optimiser.step()
        side_stream.join()

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the steps to come."""
        for options in self.optimiser.param_groups:
            if isinstance(options["lr"], Tensor):
                options["lr"].fill_(rate)
            else:
                options["lr"] = rate

    def optimiser_state(self) -> dict[str, Any]:
        """Return the optimiser's state_dict, with the learning rate as a number whatever the device."""
        state = self.optimiser.state_dict()
        for options in state["param_groups"]:
            options["lr"] = float(options["lr"])
        return state

    def restore_optimiser(self, state: dict[str, Any]) -> None:
        """Load what `optimiser_state` returned. A recorded step must be recorded again after this."""
        rates = [options["lr"] for options in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state)
        for options, rate in zip(self.optimiser.param_groups, rates, strict=True):
            if isinstance(rate, Tensor):
                options["lr"] = rate.fill_(options["lr"])


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], bound: float, optimiser: torch.optim.Optimizer) -> Tensor:
    """Scale the gradients down where their total norm is above `bound`, as `torch.nn.utils.clip_grad_norm_` does.

    On a CPU gradients below the bound are left alone, where torch multiplies them by 1. On a GPU the norm is not read,
    since the CPU would have to wait for it. Instead, the fused optimiser divides the gradients as it reads them.

    Args:
        parameters: whose `grad` is set
        bound: largest norm of all gradients together
        optimiser: fused; its next step uses these gradients
    Returns:
        the norm before, a scalar
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norms = [torch.linalg.vector_norm(grad) for grad in grads if grad.numel() >= LARGE]
    small = [grad for grad in grads if grad.numel() < LARGE]
    if small:
        norms += torch._foreach_norm(small)
    norm = torch.linalg.vector_norm(torch.stack(norms))
    if not is_on_cpu(norm):
        optimiser.grad_scale = ((norm + 1e-6) / bound).clamp(min=1.0)
    elif not norm <= bound:
        torch._foreach_mul_(grads, bound / (norm + 1e-6))
    return norm
