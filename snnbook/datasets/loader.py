"""Batches of a data set that lies whole on the device: gathered, augmented and normalised there."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..devices import send
from ..errors import UserError, real, unknown, whole
from . import Dataset, augment
from .recordings import Recordings

CHUNK = 2**22
"""Pixel values that are made ready at once, unless a batch has more: 16 MiB, some dozens of batches."""


class Batches:
    """Batches of a data set that lies whole on the device.

    Order and augmentation are drawn on the CPU from (seed, epoch) alone: the same on every device, for every batch
    size, and when a run resumes at an epoch.

    Args:
        dataset: what to draw from
        batch_size: images a batch; the last batch of an epoch holds what is left
        device: where the batches are made
        mean, std: of pixel values scaled to 0..1, one per channel; an image becomes (x / 255 - mean) / std, a frame
            of counts (x - mean) / std
        augmentation: names from `augment.NAMES`, drawn anew for each image in each epoch
        steps: T, of data sets that come as recordings
        seed: of order and augmentation, >= 0
        shuffle: draw a new order each epoch; False keeps the data set's

    Raises:
        UserError: if a setting is out of its range, or pixels would become numbers that are not finite
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
        whole("batch_size", batch_size, 1)
        whole("seed", seed, 0)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.steps, self.augmentation = whole("steps", steps, 1), augmentation
        self._count = len(dataset)
        self._images, self._labels = dataset.images.to(device), dataset.labels.to(device)
        self._recorded = isinstance(dataset.images, Recordings)
        shape = tuple(dataset.images.shape[-3:])
        for name in augmentation:
            if name not in augment.NAMES:
                raise unknown("augmentation", name, augment.NAMES)
        if augmentation and self._recorded:
            raise UserError("frames of events cannot be augmented; leave augmentation out")
        augment.check(augmentation, shape[0])
        self._scale, self._shift = _scale_and_shift(mean, std, 1 if self._recorded else 255, shape[0])
        self._scale, self._shift = self._scale.to(device), self._shift.to(device)
        # frames of recordings are large: a batch at a time
        self._chunk = batch_size * (1 if self._recorded else max(1, CHUNK // (batch_size * math.prod(shape))))

    def __len__(self) -> int:
        return math.ceil(self._count / self.batch_size)

    def epoch(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch.

        Args:
            index: number of the epoch, >= 0

        Returns:
            pairs of images, float32 (N, C, H, W), normalised, and labels, int64 (N,); of recordings, frames
            (N, T, C, H, W)
        """
        whole("epoch index", index, 0)
        entropy = np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0]))
        order = torch.randperm(self._count, generator=generator) if self.shuffle else torch.arange(self._count)
        return self._batches(order, augment.draw(self.augmentation, self._count, generator))

    def _batches(self, order: Tensor, draws: augment.Draws) -> Iterator[tuple[Tensor, Tensor]]:
        for places in torch.arange(self._count).split(self._chunk):
            rows = order[places]
            labels = self._labels.index_select(0, send(rows, self._labels.device))
            images = self._normalised(rows, draws.at(places))
            yield from zip(images.split(self.batch_size), labels.split(self.batch_size), strict=True)

    def first(self, count: int) -> Tensor:
        """The first `count` images (all, if there are fewer) in the data set's order, not augmented, normalised.

        Returns:
            float32 (count, C, H, W), or frames (count, T, C, H, W)
        """
        whole("count", count, 1)
        return self._normalised(torch.arange(min(count, self._count)), None)

    def _normalised(self, rows: Tensor, draws: augment.Draws | None) -> Tensor:
        """The images of these rows (on the CPU)."""
        if self._recorded:
            frames = self._images.frames(rows, self.steps).mul_(self._scale).add_(self._shift)
            return frames.transpose(0, 1)
        images = self._images.index_select(0, send(rows, self._images.device))
        return torch.mul(images if draws is None else augment.apply(images, draws), self._scale).add_(self._shift)


def _scale_and_shift(mean: Sequence[float], std: Sequence[float], white: int, channels: int) -> tuple[Tensor, Tensor]:
    """What pixels are multiplied by, and what is added then; float32 (C, 1, 1)."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise UserError(f"{name} must list {channels} number(s), one per channel, not {len(values)}")
    pairs = [(real("mean", m), real("std", s, above=0)) for m, s in zip(mean, std, strict=True)]
    scale = torch.tensor([1 / (white * s) for _, s in pairs]).view(-1, 1, 1)
    shift = torch.tensor([-m / s for m, s in pairs]).view(-1, 1, 1)
    if not bool((scale * 255 + shift).isfinite().all() and shift.isfinite().all()):
        raise UserError(f"pixels are not finite after normalising by mean {tuple(mean)} and std {tuple(std)}")
    return scale, shift
