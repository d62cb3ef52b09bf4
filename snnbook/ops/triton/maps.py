"""The GPU engine's own way through a layer's map: host side of halves.py.

Taken where the channels on both sides are multiples of 32; elsewhere, and in other precisions, torch's products are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import triton
from torch import Tensor

from . import halves as kernels

CHANNELS = 32
"""Channels, in and out, must be multiples of it."""

FAN = 256
"""Inputs of an output from which on this way is taken."""

WIDE = 1024
"""Entries that a program of the simpler kernels works on."""

CONVOLVE = {"WIDE": 128, "BLOCK": 64, "DEEP": 64, "num_warps": 4, "num_stages": 3}
CONNECT = {"WIDE": 64, "BLOCK": 32, "DEEP": 64, "num_warps": 4, "num_stages": 4}
CORRELATE = {"WIDE": 128, "BLOCK": 64, "DEEP": 64, "num_warps": 4, "num_stages": 3}
"""How the products of maps, of fully connected layers and of both with gradients are cut up; measured on an H200."""

LARGE_CONVOLVE = {"WIDE": 128, "BLOCK": 128, "DEEP": 64, "num_warps": 8, "num_stages": 3}
LARGE_CORRELATE = {"WIDE": 256, "BLOCK": 64, "DEEP": 64, "num_warps": 8, "num_stages": 3}
LARGE_MEMORY = 144 * 2**10
"""The same for layers large enough, and the shared memory in bytes that this takes: some GPUs have less."""

SPLIT = 128
"""The most channels that are split at once, of 32 pixels."""

SHARE = 512
"""The fewest pixels whose gradients of weights are summed by themselves."""


@dataclass(frozen=True)
class Halves:
    """Maps in two halves with channels last, (2, pixels, channels), as float16.

    Attributes:
        largest: bits of the largest magnitude, which gives the scale; not read where the maps are not scaled
        more: 1 where the second half holds anything
    """

    values: Tensor
    largest: Tensor
    more: Tensor


def fits(x: Tensor, weight: Tensor, padding: int) -> bool:
    """Whether a layer's map goes this way: inputs (T, N, C, ...), weight (C_out, C_in, ...)."""
    kernel = weight.shape[2:]
    around = math.prod(side + max(2 * padding, weight.shape[2] - 1) for side in x.shape[3:])  # forward and back
    return (
        (x.device.type == "cpu" or not torch.backends.cudnn.allow_tf32)
        and all(count % CHANNELS == 0 for count in weight.shape[:2])
        and weight[0].numel() >= FAN
        and len(set(kernel)) <= 1
        and (not kernel or padding < kernel[0] <= min(x.shape[3:]) + 2 * padding)
        and len(x) * x.shape[1] * around * max(weight.shape[:2]) < 2**31
    )


def split(
    x: Tensor, scaled: bool, padding: int = 0, known: Tensor | None = None, marks: Tensor | None = None
) -> Halves:
    """Maps (B, C, ...) in halves, with zeros around them.

    Unscaled, which takes no look for the largest entry, is for spikes and their means: what is below 1e-4 loses digits
    then, and what is above 65,504 is infinite. `known` is the largest entry's magnitude, as bits, where it is known;
    else `marks`, two int32 of 0, or new ones take it.
    """
    x = x.contiguous()
    channels = x.shape[1]
    (height, width) = sides(x.shape)
    pixels = len(x) * (height + 2 * padding) * (width + 2 * padding)
    if known is None:
        largest, more = (x.new_zeros(2, dtype=torch.int32) if marks is None else marks).unbind()
    else:
        largest = more = known
    values = x.new_empty((2, pixels, channels), dtype=torch.float16)
    with torch.cuda.device_of(x):
        if scaled and known is None:
            kernels.largest[(triton.cdiv(x.numel(), 4 * WIDE),)](x, largest, x.numel(), WIDE=4 * WIDE)
        if height * width == 1 and padding == 0:  # nothing changes its place
            pixels = 1
            channels = x.numel()
            rows = 1
            wide = 4 * WIDE
        else:
            rows = 32
            wide = math.gcd(channels, SPLIT)
        grid = triton.cdiv(pixels, rows), triton.cdiv(channels, wide)
        settings = (pixels, channels, height, width, padding)
        warps = 8 if wide == SPLIT else 4
        kernels.split[grid](
            x, values, largest, more, *settings, SCALED=scaled, ROWS=rows, WIDE=wide, num_warps=warps
        )  # fmt: skip
    return Halves(values, largest, more)


def sides(shape: torch.Size) -> tuple[int, int]:
    """Height and width of (B, C, H, W) or (B, C)."""
    return tuple(shape[2:]) if len(shape) == 4 else (1, 1)


def of_layer(x: Tensor, weight: Tensor, padding: int) -> tuple[Halves, Halves]:
    """A layer's inputs (T, N, C, ...) and weights in halves."""
    marks = x.new_zeros((2, 2), dtype=torch.int32)
    return split(x.flatten(0, 1), False, padding, None, marks[0]), split(weight, True, 0, None, marks[1])


def put_together(tensors: Sequence[Tensor]) -> tuple[Halves, Halves]:
    """What `of_layer` gave, from its tensors in order."""
    return Halves(*tensors[:3]), Halves(*tensors[3:])


def _side(weight: torch.Size) -> int:
    """Side of the kernel of (C_out, C_in, K, K), or 1 for (F_out, F_in)."""
    return weight[2] if len(weight) == 4 else 1


def _for_size(
    small: dict[str, int], large: dict[str, int], rows: int, columns: int, device: torch.device
) -> dict[str, int]:
    """The options for large layers, where their blocks fill the rows and keep a GPU with memory enough busy."""
    blocks = columns // large["WIDE"] * (rows // large["BLOCK"])
    fills = rows % large["BLOCK"] == 0 and blocks >= 2 * _processors(device)
    return large if fills and _shared_memory(device) >= LARGE_MEMORY else small


def fitted(options: dict[str, int], rows: int, fan: int | None = None) -> dict[str, int]:
    """These options, with blocks that divide the rows, and at least two rounds of products for sums of `fan`.

    One round alone is no loop to Triton 3.6, which then makes gradients of float16 accuracy; seen on an H200.
    """
    deep = options["DEEP"] if fan is None else min(options["DEEP"], 2 ** (fan.bit_length() - 2))
    return {**options, "BLOCK": options["BLOCK"] if rows % options["BLOCK"] == 0 else CHANNELS, "DEEP": deep}


def current(x: Halves, weight: Halves, shape: torch.Size) -> Tensor:
    """Currents of this shape, (B, C_out, ...)."""
    out = torch.empty(shape, device=x.values.device)
    _convolve(x, weight, out, out, False)
    return out


def grad_input(grad: Halves, weight: Halves, x: Tensor) -> Tensor:
    """x W^T grad, in the shape of x (B, C_in, ...)."""
    x = x.contiguous()
    out = torch.empty_like(x)
    _convolve(grad, weight, x, out, True)
    return out


def _convolve(maps: Halves, weight: Halves, factor: Tensor, out: Tensor, back: bool) -> None:
    """The product, forward or back, into `out`; weights in halves are (2, C_out * K * K, C_in)."""
    rows = out.shape[1]
    channels = maps.values.shape[2]
    (height, width) = sides(out.shape)
    count = len(out) * height * width
    side = math.isqrt(weight.values[0].numel() // (rows * channels))
    cut = _for_size(CONVOLVE, LARGE_CONVOLVE, rows, count, out.device) if height * width > 1 else CONNECT
    options = fitted(cut, rows, side * side * channels)
    grid = triton.cdiv(count, options["WIDE"]), rows // options["BLOCK"]
    tensors = (maps.values, weight.values, factor, out, maps.largest, weight.largest, maps.more)
    with torch.cuda.device_of(out):
        kernels.convolve[grid](
            *tensors, maps.values.shape[1], count, rows, BACK=back, SIDE=side, HEIGHT=height, WIDTH=width,
            CHANNELS=channels, **options,
        )  # fmt: skip


def grad_weight(grad: Halves, x: Halves, shape: torch.Size, map_: tuple[int, int]) -> Tensor:
    """Sum over the batch of grad (x) x, in the shape of the weight, for gradients on maps of these sides."""
    side = _side(shape)
    (rows, channels) = shape[:2]
    count = grad.values.shape[1]
    pairs = side * side * channels
    device = x.values.device
    even = pairs % LARGE_CORRELATE["WIDE"] == 0
    cut = _for_size(CORRELATE, LARGE_CORRELATE, rows, pairs * (count // SHARE), device) if even else CORRELATE
    options = fitted(cut, rows)
    tiles = triton.cdiv(pairs, options["WIDE"]), rows // options["BLOCK"]
    share = max(SHARE, triton.cdiv(count * math.prod(tiles), 2 * _processors(device)))
    share = triton.cdiv(min(share, count), options["DEEP"]) * options["DEEP"]
    shares = triton.cdiv(count, share)
    parts = x.values.new_empty((shares, rows, pairs), dtype=torch.float32)
    tensors = (grad.values, x.values, parts, grad.largest, x.more)
    with torch.cuda.device_of(parts):
        kernels.correlate[(*tiles, shares)](
            *tensors, x.values.shape[1], count, rows, share, SIDE=side, HEIGHT=map_[0], WIDTH=map_[1],
            CHANNELS=channels, **options,
        )  # fmt: skip
        if shares == 1 and side == 1:
            return parts.view(shape)
        out = parts.new_empty(shape)
        grid = (triton.cdiv(out.numel(), WIDE),)
        kernels.collect[grid](parts, out, rows, channels, side * side, shares, WIDE=WIDE)
    return out


@cache
def _processors(device: torch.device) -> int:
    """Of a GPU; for a CPU, on which kernels are interpreted, some."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@cache
def _shared_memory(device: torch.device) -> int:
    """Bytes that a program may take of a GPU, 0 where torch does not tell; for a CPU as many as are asked for."""
    if device.type != "cuda":
        return LARGE_MEMORY
    return getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
