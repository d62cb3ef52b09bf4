"""Augmentation of training images: many images at once, on their device, each with draws of its own.

All draws are made on the CPU from a generator that is given, and all arithmetic is on whole numbers or in steps that
round alike everywhere: the same images come out on every device. AutoAugment (Cubuk et al. 2019) gives the bytes that
Pillow's operations give (tests/datasets/test_augment.py). Kornia's is not used, since it draws one sub-policy for a
whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from ..devices import send
from ..errors import UserError
from . import autoaugment

NAMES = ("crop", "flip", *autoaugment.POLICIES)
"""Random crop after padding; mirroring left to right; AutoAugment's policies. Applied in this order."""

PAD = 4
"""Black pixels added on every side before a crop (App. Table 1's crop; released settings)."""

FLIP_PROBABILITY = 0.5
"""Share of images mirrored."""


@dataclass(frozen=True)
class Draws:
    """What was drawn for N images, on the CPU; None for what is not asked for.

    Args:
        flip: whether to mirror, bool (N,)
        corner: row and column of the crop's upper left corner in the padded image, 0..2 PAD, int64 (N, 2)
        operations: for each of a sub-policy's two operations its place in the policy's table, -1 for none; (N, 2)
        policy: name of the policy
    """

    flip: Tensor | None
    corner: Tensor | None
    operations: Tensor | None
    policy: str | None

    def at(self, places: Tensor) -> "Draws":
        """The draws of some of the images."""
        parts = (None if each is None else each[places] for each in (self.flip, self.corner, self.operations))
        return Draws(*parts, self.policy)


def check(names: tuple[str, ...], channels: int) -> None:
    """Whether these augmentations go together and with images of so many channels.

    Raises:
        UserError: if they do not
    """
    automatic = [name for name in names if name in autoaugment.POLICIES]
    if len(automatic) > 1:
        raise UserError(f"augmentation can have one of {' and '.join(automatic)}, not both")
    if automatic and channels != 3:
        raise UserError(f"augmentation {automatic[0]!r} is for colour images; this data set has {channels} channel(s)")


def draw(names: tuple[str, ...], count: int, generator: torch.Generator) -> Draws:
    """Draw for so many images.

    Args:
        names: from NAMES
        count: N
        generator: on the CPU; all that is drawn follows from its state
    """
    flip = torch.rand(count, generator=generator) < FLIP_PROBABILITY if "flip" in names else None
    corner = torch.randint(2 * PAD + 1, (count, 2), generator=generator) if "crop" in names else None
    policy = next((name for name in names if name in autoaugment.POLICIES), None)
    if policy is None:
        return Draws(flip, corner, None, None)
    probability = autoaugment.probabilities(policy)
    chosen = torch.randint(len(probability), (count,), generator=generator)
    used = torch.rand(count, 2, generator=generator) < probability[chosen]
    negative = torch.rand(count, 2, generator=generator) < 0.5
    place = autoaugment.place(chosen[:, None], torch.arange(2), negative)
    return Draws(flip, corner, torch.where(used, place, -1), policy)


def apply(images: Tensor, draws: Draws) -> Tensor:
    """The augmented images.

    Args:
        images: uint8 (N, C, H, W)
        draws: for these N images
    Returns:
        uint8 (N, C, H, W)
    """
    if draws.corner is not None:
        images = _crop(images, send(draws.corner, images.device))
    if draws.flip is not None:
        images = torch.where(send(draws.flip, images.device)[:, None, None, None], images.flip(-1), images)
    if draws.policy is not None:
        kinds, settings = _table(draws.policy, images.shape[-2:])
        images = images.clone()
        for places in draws.operations.unbind(1):
            _operate(images, places, kinds, settings)
    return images


@lru_cache
def _table(policy: str, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Kind, (K,), and settings, float64 (K, 6), of every operation of a policy at its two signs."""
    kinds, settings = zip(*autoaugment.table(policy, tuple(size)), strict=True)
    return torch.tensor([KINDS.index(kind) for kind in kinds]), torch.tensor(settings, dtype=torch.float64)


def _operate(images: Tensor, places: Tensor, kinds: Tensor, settings: Tensor) -> None:
    """One operation for each image, in place; the images are taken kind by kind."""
    kind_of = torch.where(places < 0, -1, kinds[places])
    for number, kind in enumerate(KINDS):
        rows = (kind_of == number).nonzero().squeeze(1)  # on the CPU: nothing waits for the device
        if len(rows):
            where, values = (send(each, images.device) for each in (rows, settings[places[rows]]))
            images.index_copy_(0, where, OPERATIONS[kind](images.index_select(0, where), values))


def _crop(images: Tensor, corner: Tensor) -> Tensor:
    samples, channels, height, width = images.shape
    padded = functional.pad(images, (PAD, PAD, PAD, PAD))
    rows = corner[:, :1] + torch.arange(height, device=images.device)
    columns = corner[:, 1:] + torch.arange(width, device=images.device)
    n = torch.arange(samples, device=images.device)[:, None, None, None]
    c = torch.arange(channels, device=images.device)[:, None, None]
    return padded[n, c, rows[:, None, :, None], columns[:, None, None, :]]


def _affine(images: Tensor, matrix: Tensor) -> Tensor:
    """Output pixel (x, y) is input pixel (a x + b y + c, d x + e y + f), rounded down; black outside the input.

    The six numbers are in units of 2^-16, for the pixels' centres.
    """
    samples, channels, height, width = images.shape
    a, b, c, d, e, f = (column[:, None, None] for column in matrix.long().unbind(1))
    x, y = torch.arange(width, device=images.device), torch.arange(height, device=images.device)[:, None]
    column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = torch.where(inside, row * width + column, 0).view(samples, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, index).view_as(images) * inside[:, None]


def _luma(images: Tensor) -> Tensor:
    """Grey value (ITU-R 601, as Pillow rounds it), int32 (N, 1, H, W)."""
    red, green, blue = images.int().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16)[:, None]


def _blend(plain: Tensor, images: Tensor, settings: Tensor) -> Tensor:
    """From `plain` (factor 0) through the images (factor 1) and beyond; cut off to 0..255, rounded down."""
    factor = settings[:, :1, None, None].float()
    product = factor * (images.int() - plain).float()  # product and sum apart: each is rounded, on every device
    return (product + plain.float()).clamp_(0, 255).to(torch.uint8)


def _brightness(images: Tensor, settings: Tensor) -> Tensor:
    return _blend(torch.zeros_like(images, dtype=torch.int32), images, settings)


def _color(images: Tensor, settings: Tensor) -> Tensor:
    return _blend(_luma(images).expand(images.shape), images, settings)


def _contrast(images: Tensor, settings: Tensor) -> Tensor:
    pixels = images.shape[-2] * images.shape[-1]
    mean = (2 * _luma(images).sum((1, 2, 3), keepdim=True) + pixels) // (2 * pixels)  # rounded half up
    return _blend(mean.int().expand(images.shape), images, settings)


def _sharpness(images: Tensor, settings: Tensor) -> Tensor:
    """Against a smooth image: the mean of 3 x 3 pixels, the middle one five times; edges as they are."""
    smooth = images.int()
    around = functional.avg_pool2d(images.float(), 3, stride=1, divisor_override=1).int()  # whole numbers: exact
    middle = around + 4 * smooth[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = (2 * middle + 13) // 26
    return _blend(smooth, images, settings)


def _invert(images: Tensor, settings: Tensor) -> Tensor:
    return 255 - images


def _solarize(images: Tensor, settings: Tensor) -> Tensor:
    """Invert from a threshold on."""
    return torch.where(images.double() < settings[:, :1, None, None], images, 255 - images)


def _posterize(images: Tensor, settings: Tensor) -> Tensor:
    """Keep the upper bits of every byte; the setting is what is kept, as a mask."""
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
"""Each takes uint8 images (n, C, H, W) and their settings, float64 (n, 6), and returns the images changed."""

KINDS = tuple(OPERATIONS)
