"""The affine maps of layers, without bias: a convolution and a fully connected map, each with its two transposes.

Some products are computed in another way than torch's usual one, because that is more exact or faster. The results
agree up to the order of sums.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from .. import inputs
from ..devices import is_on_cpu, without_autocast
from ..errors import UserError, shown, whole

FEW = 8
"""Maps with fewer channels are inputs of a first layer. Deeper maps come from an engine, in the order it prefers."""

SAFE_SIDE = 3
"""Largest side of a kernel for which cuDNN's weight gradients (by Winograd's algorithm) are as exact as float32 allows.
At side 5 they were off by 1e-4 to 3e-3 of the largest entry (results/LOG.md)."""

MOST_ENTRIES = 2**26
"""Most entries that `image_products` may unfold its inputs into, or produce."""

LARGE_MAP = 32
"""Positions of the output map from which on the input's gradient is computed with channels last: 8 x 8, not 4 x 4."""

MANY = 2**24
"""Multiplications from which on `product` leaves torch's usual way. With fewer, neither way is faster."""


class Affine(Protocol):
    """A linear map without bias, and its two transposes. Inputs and currents have the batch axis first."""

    @property
    def padding(self) -> int:
        """Zeros on every side of the input map, positions."""
        ...

    @property
    def backward_dtype(self) -> torch.dtype | None:
        """What both factors of the transposes are rounded to; None leaves them as they are."""
        ...

    def current(self, x: Tensor, weight: Tensor) -> Tensor:
        """Input currents c = W x."""
        ...

    def grad_input(self, grad: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """W^T grad, in the shape of x."""
        ...

    def grad_weight(self, grad: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        """Sum over the batch of grad (x) x, in the shape of W."""
        ...


def check_affine(affine: Affine) -> Affine:
    """Return the map if it is one of the two in this module, or has their attributes; else raise a UserError."""
    wanted = ("padding", "backward_dtype", "current", "grad_input", "grad_weight")
    if not is_own(affine) and not all(hasattr(affine, name) for name in wanted):
        raise UserError(f"affine must be a Convolution, a FullyConnected or another Affine, not {shown(affine)}")
    return affine


def is_own(affine: Affine) -> bool:
    """Whether the map is one of the two in this module."""
    return type(affine) in (Convolution, FullyConnected)


def may_be_fast(affine: Affine, x: Tensor, weight: Tensor) -> bool:
    """Whether engines may compute the map in a way of their own, for x (T, N, C_in, ...): it is known, and x fits."""
    return is_own(affine) and x.dim() == weight.dim() + 1 and x.shape[2] == weight.shape[1]


@dataclass(frozen=True)
class Convolution:
    """x (B, C_in, H, W), weight (C_out, C_in, K, K), stride 1, `padding` zeros on every side."""

    padding: int = 0
    backward_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", whole("padding", self.padding, 0))
        _check_dtype(self.backward_dtype)

    @without_autocast
    def current(self, x: Tensor, weight: Tensor) -> Tensor:
        """Input currents, (B, C_out, H', W')."""
        x, weight = _checked(x, weight, self.padding)
        return F.conv2d(_channels_last(x), weight, padding=self.padding)

    @without_autocast
    def grad_input(self, grad: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """(B, C_in, H, W)."""
        weight = inputs.weights("weight", weight)
        shape = torch.Size(inputs.sizes("shape", shape, 4, "the shape of x, (B, C_in, H, W)"))
        grad = _checked_gradient(grad, shape, weight.shape, weight, self.padding)

        def compute(grad: Tensor, weight: Tensor) -> Tensor:
            return map_gradient(grad, weight, shape, self.padding)

        return _rounded(compute, self.backward_dtype, grad, weight)

    @without_autocast
    def grad_weight(self, grad: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        """(C_out, C_in, K, K)."""
        x = inputs.weights("x", x)
        shape = torch.Size(inputs.sizes("shape", shape, 4, "the shape of the weight, (C_out, C_in, K, K)"))
        grad = _checked_gradient(grad, x.shape, shape, x, self.padding)

        def compute(grad: Tensor, x: Tensor) -> Tensor:
            if needs_care(grad, shape):
                return image_products(grad, x, shape, self.padding)
            return conv2d_weight(_channels_last(x), shape, grad, padding=self.padding)

        return _rounded(compute, self.backward_dtype, grad, x)


@dataclass(frozen=True)
class FullyConnected:
    """x (B, F_in), weight (F_out, F_in)."""

    backward_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        _check_dtype(self.backward_dtype)

    @property
    def padding(self) -> int:
        """0: there is no map to pad."""
        return 0

    @without_autocast
    def current(self, x: Tensor, weight: Tensor) -> Tensor:
        """Input currents, (B, F_out)."""
        x, weight = _checked(x, weight, None)
        return product(x, weight)

    @without_autocast
    def grad_input(self, grad: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """(B, F_in)."""
        weight = inputs.weights("weight", weight)
        shape = inputs.sizes("shape", shape, 2, "the shape of x, (B, F_in)")
        grad = _checked_gradient(grad, shape, weight.shape, weight, None)
        return _rounded(product, self.backward_dtype, grad, weight.T)

    @without_autocast
    def grad_weight(self, grad: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
        """(F_out, F_in)."""
        x = inputs.weights("x", x)
        shape = inputs.sizes("shape", shape, 2, "the shape of the weight, (F_out, F_in)")
        grad = _checked_gradient(grad, x.shape, shape, x, None)
        return _rounded(product, self.backward_dtype, grad.T, x.T)


def _rounded(compute: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype | None, a: Tensor, b: Tensor) -> Tensor:
    """Compute with both factors rounded to a type, and return the result in a's own type."""
    if dtype is None:
        return compute(a, b)
    return compute(a.to(dtype), b.to(dtype)).to(a.dtype)


def _checked(x: Tensor, weight: Tensor, padding: int | None) -> tuple[Tensor, Tensor]:
    """Check and convert the inputs (B, ...) and the weight of a map; `padding` is None for a fully connected one."""
    if not inputs.ready(weight, x):
        weight = inputs.weights("weight", weight)
        x = inputs.floats("x", x, like=weight)
    axes = 2 if padding is None else 4
    if 0 in weight.shape:
        raise UserError(f"weight must have no empty axis, not shape {tuple(weight.shape)}")
    if weight.dim() != axes or x.dim() != axes or x.shape[1] != weight.shape[1]:
        raise UserError(
            f"a weight of shape {tuple(weight.shape)} takes no input x of shape {tuple(x.shape)} at each step: "
            f"both have {axes} axes, and axis 1 is channels or features on both"
        )
    if padding is not None and min(_output_sides(x.shape[2:], weight.shape[2:], padding)) < 1:
        raise UserError(
            f"x of shape {tuple(x.shape)} with padding {padding} is smaller than the kernel of {tuple(weight.shape)}"
        )
    return x, weight


def _checked_gradient(
    grad: Tensor, x: Sequence[int], weight: Sequence[int], like: Tensor, padding: int | None
) -> Tensor:
    """Check and convert the gradient of a map's output, for inputs and a weight of these shapes."""
    grad = inputs.floats("grad", grad, like=like)
    axes = 2 if padding is None else 4
    fits = len(x) == len(weight) == axes and x[1] == weight[1]
    if not fits or tuple(grad.shape) != (x[0], weight[0], *_output_sides(x[2:], weight[2:], padding or 0)):
        raise UserError(
            f"grad of shape {tuple(grad.shape)} belongs to no output of inputs x of shape {tuple(x)} under a weight of "
            f"shape {tuple(weight)} with padding {padding or 0}"
        )
    return grad


def _output_sides(map_: Sequence[int], kernel: Sequence[int], padding: int) -> list[int]:
    """Height and width of a convolution's output."""
    return [side + 2 * padding - k + 1 for side, k in zip(map_, kernel, strict=True)]


def _check_dtype(value: torch.dtype | None) -> None:
    """Raise a UserError if factors cannot be rounded to this type."""
    if value is not None and not (isinstance(value, torch.dtype) and value in inputs.FLOATS):
        raise UserError(f"backward_dtype must be None or a floating-point type of torch, not {shown(value)}")


def _channels_last(x: Tensor) -> Tensor:
    """Give maps of few channels the memory order in which a CPU's convolution leaves its output with channels last."""
    # A GPU's convolution prefers the other order. Deeper maps have channels last already.
    if x.shape[1] >= FEW or not is_on_cpu(x):
        return x
    if x.shape[1] == 1:
        # With one channel both orders are the same memory; strides say which one is meant.
        height, width = x.shape[2:]
        return x.contiguous().as_strided(x.shape, (height * width, 1, width, 1))
    return x.contiguous(memory_format=torch.channels_last)


def needs_care(grad: Tensor, shape: torch.Size) -> bool:
    """Whether a weight's gradient (C_out, C_in, K, K) should be a matrix product instead of cuDNN's convolution.

    cuDNN is inexact for large kernels, and slow for a first layer.
    """
    if is_on_cpu(grad) or grad.dtype != torch.float32 or torch.backends.cudnn.allow_tf32:
        return False
    entries = len(grad) * max(shape[0], grad.shape[2:].numel()) * shape[1:].numel()
    return entries <= MOST_ENTRIES and (max(shape[2:]) > SAFE_SIDE or shape[1] < FEW)


def image_products(grad: Tensor, x: Tensor, shape: torch.Size, padding: int) -> Tensor:
    """Sum over the batch of grad (x) x by a matrix product per image; arguments as in `Convolution.grad_weight`."""
    windows = F.pad(x, [padding] * 4).unfold(2, shape[2], 1).unfold(3, shape[3], 1)  # (B, C_in, H', W', K, K)
    columns = windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)  # (B, C_in K K, H' W')
    return torch.bmm(grad.flatten(2), columns.transpose(1, 2)).sum(0).view(shape)


def map_gradient(grad: Tensor, weight: Tensor, shape: torch.Size, padding: int) -> Tensor:
    """Gradient of a convolution's input map, W^T grad, in the shape (B, C_in, H, W)."""
    # torch orders the result as it finds the weight. With channels last, which the CPU engine works with, the product
    # itself is 1.3 to 1.6 times as fast (two cores of a Zen 5), but a fifth slower for small maps.
    is_large = grad.shape[2:].numel() >= LARGE_MAP
    if is_on_cpu(grad) and is_large and grad.is_contiguous(memory_format=torch.channels_last):
        weight = weight.contiguous(memory_format=torch.channels_last)
    return conv2d_input(shape, weight, grad, padding=padding)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b^T of two matrices, (A, K) and (B, K)."""
    # On x86 processors torch leaves float32 products to MKL, which takes twice as long on AMD's (measured on two cores
    # of a Zen 5). oneDNN, torch's other library there, is called directly, because torch turns to it only where the
    # caller allows rounding to bfloat16 (float32 matmul precision "medium").
    tracked = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    both_float32 = a.dtype == b.dtype == torch.float32
    onednn = None
    if both_float32 and not tracked and is_on_cpu(a) and a.numel() * len(b) >= MANY:
        onednn = _onednn()
    if onednn is None:
        return F.linear(a, b)
    if not b.is_contiguous() and not b.T.is_contiguous():
        b = b.contiguous()
    return onednn(a, b)


@functools.cache
def _onednn() -> Callable[[Tensor, Tensor], Tensor] | None:
    """Find torch's own call of oneDNN for such a product; None where this torch has none that works."""

    def call(a: Tensor, b: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # no bias, nothing done afterwards

    one = torch.ones(1, 1)
    # The function is not public: another version of torch may name or type it otherwise.
    try:
        if torch.backends.mkldnn.is_available() and call(one, one).item() == 1:
            return call
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        pass
    return None
