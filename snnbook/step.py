"""One training step's end: gradients bounded, without a pass over memory where there is nothing to bound."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], bound: float) -> Tensor:
    """Scale the gradients down where their total norm is above `bound`, as `torch.nn.utils.clip_grad_norm_` does.

    On a CPU gradients below the bound are left alone, where torch multiplies them by 1; on a GPU the norm is not
    looked at, since that would halt the device.

    Args:
        parameters: whose `grad` is set
        bound: largest norm of all gradients together
    Returns:
        the norm before, a scalar
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
    if norm.device.type != "cpu" or not norm <= bound:
        torch._foreach_mul_(grads, (bound / (norm + 1e-6)).clamp(max=1.0))
    return norm
