"""Products that are better made in another way than torch's usual one, for exactness or speed; the numbers are the same
but for the order of their sums.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from ..devices import is_on_cpu

FEW = 8
"""Channels below which maps are those of a first layer. (Deeper ones come from the engine, in the order it likes.)"""

SAFE_SIDE = 3
"""The largest kernel's side at which cuDNN's gradients of weights, by Winograd's way, are as exact as float32 goes: at
5 they were 1e-4 to 3e-3 of the largest entry off (results/LOG.md)."""

MOST_ENTRIES = 2**26
"""Entries that `image_products` may take its inputs apart into, or make."""


def needs_care(grad: Tensor, shape: torch.Size) -> bool:
    """Whether a weight's gradient (C_out, C_in, K, K) is better left to a matrix product than to cuDNN.

    It is where cuDNN is inexact, and of a first layer, where it is slow.
    """
    exact = grad.dtype == torch.float32 and not torch.backends.cudnn.allow_tf32
    entries = len(grad) * max(shape[0], grad.shape[2:].numel()) * shape[1:].numel()
    return not is_on_cpu(grad) and exact and (max(shape[2:]) > SAFE_SIDE or shape[1] < FEW) and entries <= MOST_ENTRIES


def image_products(grad: Tensor, x: Tensor, shape: torch.Size, padding: int) -> Tensor:
    """Sum over the batch of grad (x) x by a matrix product per image; arguments as in `Convolution.grad_weight`."""
    windows = F.pad(x, [padding] * 4).unfold(2, shape[2], 1).unfold(3, shape[3], 1)  # (B, C_in, H', W', K, K)
    columns = windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)  # (B, C_in K K, H' W')
    return torch.bmm(grad.flatten(2), columns.transpose(1, 2)).sum(0).view(shape)


LARGE_MAP = 32
"""Places of the output's map from which on the input's gradient is made with channels last: 8 x 8 is, 4 x 4 is not."""


def map_gradient(grad: Tensor, weight: Tensor, shape: torch.Size, padding: int) -> Tensor:
    """The gradient of a convolution's input map: W^T grad, in this shape, (B, C_in, H, W).

    torch lays it out as it finds the weight. A CPU's engine works with channels last, and then so should this product:
    1.3 to 1.6 times as fast (two cores of a Zen 5), but a fifth slower for small maps.
    """
    if (
        is_on_cpu(grad)
        and grad.shape[2:].numel() >= LARGE_MAP
        and grad.is_contiguous(memory_format=torch.channels_last)
    ):
        weight = weight.contiguous(memory_format=torch.channels_last)
    return conv2d_input(shape, weight, grad, padding=padding)


MANY = 2**24
"""Multiplications from which on `product` leaves torch's usual way; below, neither is the faster one."""


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b^T of two matrices, (A, K) and (B, K).

    On x86 processors torch leaves float32 products to MKL, which takes a slow path on AMD's (half as fast, measured on
    two cores of a Zen 5). torch's other library there, oneDNN, is asked directly: by itself torch turns to it only
    where the caller lets products be rounded to bfloat16 (torch's float32 matmul precision "medium"), which processors
    that can then do.
    """
    tracked = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    own = is_on_cpu(a) and a.dtype == b.dtype == torch.float32 and a.numel() * len(b) >= MANY and not tracked
    way = _onednn() if own else None
    if way is None:
        return F.linear(a, b)
    return way(a, b if b.is_contiguous() or b.T.is_contiguous() else b.contiguous())


@functools.cache
def _onednn() -> Callable[[Tensor, Tensor], Tensor] | None:
    """torch's own call of oneDNN for such a product; None where this torch has none that works."""

    def way(a: Tensor, b: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # no bias, nothing done afterwards

    one = torch.ones(1, 1)
    try:  # no public function: another torch may have it otherwise
        return way if torch.backends.mkldnn.is_available() and way(one, one).item() == 1 else None
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return None
