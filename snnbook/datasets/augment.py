"""Augment training images: many images at once, on their device, with separate draws for each image.

All draws are made on the CPU from the caller's generator, and all arithmetic is on whole numbers or in steps that round
in the same way everywhere, so every device computes the same images. AutoAugment (Cubuk et al. 2019) gives the same
bytes as Pillow's operations (tests/datasets/test_augment.py). Kornia's implementation is not used, because it draws one
sub-policy for a whole batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from .. import inputs
from ..devices import send
from ..errors import UserError, choice
from . import autoaugment

NAMES = ("crop", "flip", *autoaugment.POLICIES)
"""Random crop after padding; mirroring left to right; AutoAugment's policies. Applied in this order."""

PAD = 4
"""Black pixels added on every side before a crop (App. Table 1's crop; released settings)."""

FLIP_PROBABILITY = 0.5
"""Probability that an image is mirrored."""


@dataclass(frozen=True)
class Draws:
    """Random draws for N images, on the CPU; None for an augmentation that is not used.

    Args:
        flip: whether to mirror, bool (N,)
        corner: row and column of the crop's upper left corner in the padded image, 0..2 PAD, int64 (N, 2)
        operations: index of the sub-policy's two operations in the policy's table, -1 for none; int64 (N, 2)
        policy: name of the policy
    """

    flip: Tensor | None
    corner: Tensor | None
    operations: Tensor | None
    policy: str | None

    def at(self, positions: Tensor) -> "Draws":
        """Select the draws of some of the images."""
        selected = [None if each is None else each[positions] for each in (self.flip, self.corner, self.operations)]
        return Draws(*selected, self.policy)


def check(names: Sequence[str], channels: int, frames: bool = False) -> tuple[str, ...]:
    """Check the names of augmentations, together and for these images.

    Args:
        names: some of NAMES
        channels: of the images
        frames: whether the images are frames of events
    Returns:
        the names, each once and in the order of NAMES
    Raises:
        UserError: if a name is unknown, or the augmentations do not suit each other or the images
    """
    given = [choice("augmentation", name, NAMES) for name in inputs.listed("augmentation", names)]
    if given and frames:
        raise UserError("frames of events cannot be augmented; leave augmentation out")
    policies = [name for name in autoaugment.POLICIES if name in given]
    if len(policies) > 1:
        raise UserError(f"augmentation can have one of {' and '.join(policies)}, not both")
    if policies and channels != 3:
        raise UserError(f"augmentation {policies[0]!r} is for colour images; this data set has {channels} channel(s)")
    return tuple(name for name in NAMES if name in given)


def draw(names: tuple[str, ...], count: int, generator: torch.Generator) -> Draws:
    """Draw the augmentations of N images.

    Args:
        names: from NAMES
        count: N
        generator: on the CPU; its state determines all draws
    """
    flip = None
    if "flip" in names:
        flip = torch.rand(count, generator=generator) < FLIP_PROBABILITY
    corner = None
    if "crop" in names:
        corner = torch.randint(2 * PAD + 1, (count, 2), generator=generator)
    policy = next((name for name in names if name in autoaugment.POLICIES), None)
    if policy is None:
        return Draws(flip, corner, None, None)
    probability = autoaugment.probabilities(policy)
    chosen = torch.randint(len(probability), (count,), generator=generator)
    used = torch.rand(count, 2, generator=generator) < probability[chosen]
    negative = torch.rand(count, 2, generator=generator) < 0.5
    index = autoaugment.table_index(chosen[:, None], torch.arange(2), negative)
    return Draws(flip, corner, torch.where(used, index, -1), policy)


def apply(images: Tensor, draws: Draws) -> Tensor:
    """Augment images.

    Args:
        images: uint8 (N, C, H, W)
        draws: for these N images
    Returns:
        uint8 (N, C, H, W)
    """
    if draws.corner is not None:
        images = _crop(images, send(draws.corner, images.device))
    if draws.flip is not None:
        flip = send(draws.flip, images.device)[:, None, None, None]
        images = torch.where(flip, images.flip(-1), images)
    if draws.policy is not None:
        kinds, settings = _table(draws.policy, images.shape[-2:])
        images = images.clone()
        for index in draws.operations.unbind(1):
            _operate(images, index, kinds, settings)
    return images


@lru_cache
def _table(policy: str, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Tabulate the kind, (K,), and settings, float64 (K, 6), of every operation of a policy in both directions."""
    kinds, settings = zip(*autoaugment.table(policy, tuple(size)), strict=True)
    return torch.tensor([KINDS.index(kind) for kind in kinds]), torch.tensor(settings, dtype=torch.float64)


def _operate(images: Tensor, index: Tensor, kinds: Tensor, settings: Tensor) -> None:
    """Apply one operation to each image, in place; all images of one kind of operation together."""
    kind_of_image = torch.where(index < 0, -1, kinds[index])
    for number, kind in enumerate(KINDS):
        # These tensors are on the CPU, so nothing waits for the device.
        rows = (kind_of_image == number).nonzero().squeeze(1)
        if len(rows):
            values = send(settings[index[rows]], images.device)
            rows = send(rows, images.device)
            images.index_copy_(0, rows, OPERATIONS[kind](images.index_select(0, rows), values))


def _crop(images: Tensor, corner: Tensor) -> Tensor:
    """Cut each image out of its padded copy."""
    samples, channels, height, width = images.shape
    padded = functional.pad(images, (PAD, PAD, PAD, PAD))
    rows = corner[:, :1] + torch.arange(height, device=images.device)
    columns = corner[:, 1:] + torch.arange(width, device=images.device)
    n = torch.arange(samples, device=images.device)[:, None, None, None]
    c = torch.arange(channels, device=images.device)[:, None, None]
    return padded[n, c, rows[:, None, :, None], columns[:, None, None, :]]


def _affine(images: Tensor, matrix: Tensor) -> Tensor:
    """Map input pixel (a x + b y + c, d x + e y + f), rounded down, to output pixel (x, y); black outside the input.

    The six numbers are in units of 2^-16, for the pixels' centres.
    """
    samples, channels, height, width = images.shape
    a, b, c, d, e, f = (number[:, None, None] for number in matrix.long().unbind(1))
    x = torch.arange(width, device=images.device)
    y = torch.arange(height, device=images.device)[:, None]
    column = (a * x + b * y + c) >> 16
    row = (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = torch.where(inside, row * width + column, 0).view(samples, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, index).view_as(images) * inside[:, None]


def _luma(images: Tensor) -> Tensor:
    """Compute the grey value (ITU-R 601, as Pillow rounds it), int32 (N, 1, H, W)."""
    red, green, blue = images.int().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16)[:, None]


def _blend(plain: Tensor, images: Tensor, settings: Tensor) -> Tensor:
    """Blend `plain` (factor 0) with the images (factor 1), or beyond; clamped to 0..255, rounded down."""
    factor = settings[:, :1, None, None].float()
    # Product and sum are separate operations, so that every device rounds both.
    product = factor * (images.int() - plain).float()
    return (product + plain.float()).clamp_(0, 255).to(torch.uint8)


def _brightness(images: Tensor, settings: Tensor) -> Tensor:
    return _blend(torch.zeros_like(images, dtype=torch.int32), images, settings)


def _color(images: Tensor, settings: Tensor) -> Tensor:
    return _blend(_luma(images).expand(images.shape), images, settings)


def _contrast(images: Tensor, settings: Tensor) -> Tensor:
    """Blend with the mean grey value, which is rounded half up."""
    pixels = images.shape[-2] * images.shape[-1]
    total = _luma(images).sum((1, 2, 3), keepdim=True)
    mean = (2 * total + pixels) // (2 * pixels)
    return _blend(mean.int().expand(images.shape), images, settings)


def _sharpness(images: Tensor, settings: Tensor) -> Tensor:
    """Blend with a smooth image: the mean of 3 x 3 pixels, the middle one weighted five times; edges unchanged."""
    smooth = images.int()
    # A sum of whole numbers, so exact in float32.
    around = functional.avg_pool2d(images.float(), 3, stride=1, divisor_override=1).int()
    middle = around + 4 * smooth[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = (2 * middle + 13) // 26
    return _blend(smooth, images, settings)


def _invert(images: Tensor, settings: Tensor) -> Tensor:
    return 255 - images


def _solarize(images: Tensor, settings: Tensor) -> Tensor:
    """Invert the values from a threshold on."""
    return torch.where(images.double() < settings[:, :1, None, None], images, 255 - images)


def _posterize(images: Tensor, settings: Tensor) -> Tensor:
    """Clear the lower bits of every byte; the setting is the mask of the others."""
    return images & settings[:, :1, None, None].to(torch.uint8)


def _autocontrast(images: Tensor, settings: Tensor) -> Tensor:
    """Stretch every channel to 0..255."""
    flat = images.flatten(2).double()
    low, high = flat.aminmax(dim=2, keepdim=True)
    scale = torch.where(high > low, 255 / (high - low), 1.0)
    offset = torch.where(high > low, -low * scale, 0.0)
    return (flat * scale + offset).clamp_(0, 255).to(torch.uint8).view_as(images)


def _equalize(images: Tensor, settings: Tensor) -> Tensor:
    """Spread every channel's values so that its histogram becomes even."""
    flat = images.flatten(2).long()
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(2, flat, torch.ones_like(flat))
    last = counts.gather(2, flat.amax(2, keepdim=True))
    step = (flat.shape[2] - last) // 255
    before = counts.cumsum(2) - counts + step // 2
    table = torch.where(step > 0, before // step.clamp(min=1), torch.arange(256, device=images.device))
    return table.clamp_(max=255).gather(2, flat).to(torch.uint8).view_as(images)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "affine": _affine,
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "invert": _invert,
    "solarize": _solarize,
    "posterize": _posterize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
"""Functions of uint8 images (n, C, H, W) and their settings, float64 (n, 6), that return the changed images."""

KINDS = tuple(OPERATIONS)
