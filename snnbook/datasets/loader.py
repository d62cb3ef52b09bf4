"""Batches of a data set that is whole on the device: gathered, augmented and normalised there."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .. import inputs
from ..devices import send
from ..errors import UserError, real, whole
from . import Dataset, augment
from .recordings import Recordings

CHUNK = 2**22
"""Pixel values that are augmented and normalised at once, unless a batch has more: 16 MiB, some dozens of batches."""


class Batches:
    """Batches of a data set that is whole on the device.

    Order and augmentation are drawn on the CPU from (seed, epoch) alone: they are the same on every device, for every
    batch size, and when a run resumes at an epoch.

    Args:
        dataset: the images or recordings, and their labels
        batch_size: images a batch; the last batch of an epoch has the rest
        device: of the batches
        mean: of pixel values scaled to 0..1, one per channel
        std: as mean; an image becomes (x / 255 - mean) / std, a frame of counts (x - mean) / std
        augmentation: names from `augment.NAMES`, drawn anew for each image in each epoch
        steps: T, for recordings
        seed: of order and augmentation, >= 0
        shuffle: draw a new order each epoch; False takes the data set's order

    Raises:
        UserError: if a setting is out of its range, or pixels would not be finite
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        device: str | torch.device,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: tuple[str, ...] = (),
        steps: int = 1,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.batch_size = whole("batch_size", batch_size, 1)
        self.seed = whole("seed", seed, 0)
        self.steps = whole("steps", steps, 1)
        self.shuffle = shuffle
        self._count = len(dataset)
        self._recorded = isinstance(dataset.images, Recordings)
        shape = tuple(dataset.images.shape[-3:])
        self.augmentation = augment.check(augmentation, shape[0], self._recorded)
        self._images = dataset.images.to(device)
        self._labels = dataset.labels.to(device)
        if self._recorded:
            white = 1
            # Frames are large, so they are made one batch at a time.
            self._chunk = batch_size
        else:
            white = 255
            self._chunk = batch_size * max(1, CHUNK // (batch_size * math.prod(shape)))
        scale, shift = _scale_and_shift(mean, std, white, shape[0])
        self._scale = scale.to(device)
        self._shift = shift.to(device)

    def __len__(self) -> int:
        return math.ceil(self._count / self.batch_size)

    def epoch(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch.

        Args:
            index: number of the epoch, >= 0

        Returns:
            pairs of images, float32 (N, C, H, W), normalised, and labels, int64 (N,); for recordings, the images are
            frames (N, T, C, H, W)
        """
        whole("epoch index", index, 0)
        entropy = np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0]))
        order = torch.arange(self._count)
        if self.shuffle:
            order = torch.randperm(self._count, generator=generator)
        return self._batches(order, augment.draw(self.augmentation, self._count, generator))

    def _batches(self, order: Tensor, draws: augment.Draws) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches in this order; many are prepared at once, which costs fewer kernel launches."""
        for positions in torch.arange(self._count).split(self._chunk):
            rows = order[positions]
            labels = self._labels.index_select(0, send(rows, self._labels.device))
            images = self._normalised(rows, draws.at(positions))
            yield from zip(images.split(self.batch_size), labels.split(self.batch_size), strict=True)

    def first(self, count: int) -> Tensor:
        """Return the first images in the data set's order, normalised and not augmented.

        Args:
            count: number of images; all, if there are fewer

        Returns:
            float32 (count, C, H, W), or frames (count, T, C, H, W)
        """
        whole("count", count, 1)
        return self._normalised(torch.arange(min(count, self._count)), None)

    def _normalised(self, rows: Tensor, draws: augment.Draws | None) -> Tensor:
        """Gather, augment and normalise the images of these rows (indices on the CPU)."""
        if self._recorded:
            frames = self._images.frames(rows, self.steps)
            return frames.mul_(self._scale).add_(self._shift).transpose(0, 1)
        images = self._images.index_select(0, send(rows, self._images.device))
        if draws is not None:
            images = augment.apply(images, draws)
        return torch.mul(images, self._scale).add_(self._shift)


def check_statistics(mean: Sequence[float], std: Sequence[float], channels: int) -> tuple[tuple[float, ...], ...]:
    """Check the mean and standard deviation of a data set's channels.

    Args:
        mean: one finite number per channel
        std: one finite number above 0 per channel
        channels: of the images
    Returns:
        mean and std as tuples of floats
    Raises:
        UserError: if one is not such a list
    """
    checked = []
    for name, values, bound in (("mean", mean, -math.inf), ("std", std, 0)):
        values = inputs.listed(name, values)
        if len(values) != channels:
            raise UserError(f"{name} must list {channels} number(s), one per channel, not {len(values)}")
        checked.append(tuple(real(name, value, above=bound) for value in values))
    return tuple(checked)


def _scale_and_shift(mean: Sequence[float], std: Sequence[float], white: int, channels: int) -> tuple[Tensor, Tensor]:
    """Compute the factor and the summand that normalise pixels of which `white` is 1; float32 (C, 1, 1)."""
    mean, std = check_statistics(mean, std, channels)
    scale = torch.tensor([1 / (white * s) for s in std]).view(-1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(-1, 1, 1)
    brightest = scale * 255 + shift
    if not bool(brightest.isfinite().all() and shift.isfinite().all()):
        raise UserError(f"pixels are not finite after normalising by mean {mean} and std {std}")
    return scale, shift
