"""Recordings of an event camera on the device, and frames made of them there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import send


@dataclass(frozen=True, eq=False)
class Recordings:
    """The events of many recordings: two bytes an event, so that a whole data set fits on a device.

    Args:
        cells: place (c, y, x) of every event as one number, (c H + y) W + x; int16 (E,), recording by recording
        starts: where each recording starts, and E at the end; int64 (N + 1,), on the CPU
        shape: (C, H, W) of a frame
    """

    cells: Tensor
    starts: Tensor
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def to(self, device: str | torch.device) -> "Recordings":
        """The same on another device."""
        return Recordings(self.cells.to(device), self.starts, self.shape)

    def frames(self, rows: Tensor, steps: int) -> Tensor:
        """Frames over time: every recording cut into T slices of equal event count, and the events counted.

        The slices have floor(E/T) events (at least 1), and the last one what is left too, as in the authors' release.

        Args:
            rows: which recordings, int64 (N,), on the CPU
            steps: T
        Returns:
            counts, float32 (T, N, C, H, W)
        """
        device, size = self.cells.device, self.shape[0] * self.shape[1] * self.shape[2]
        start, counts = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        total = int(counts.sum())  # known on the CPU: nothing below waits for the device
        first = counts.cumsum(0) - counts
        start, counts, first = (send(each, device) for each in (start, counts, first))
        sample = torch.repeat_interleave(torch.arange(len(rows), device=device), counts, output_size=total)
        place = torch.arange(total, device=device) - first[sample]
        step = (place // (counts // steps).clamp_(min=1)[sample]).clamp_(max=steps - 1)
        index = (step * len(rows) + sample) * size + self.cells[start[sample] + place]
        frames = torch.zeros(steps * len(rows) * size, device=device)
        frames.index_add_(0, index, torch.ones(total, device=device))  # whole numbers: exact in any order
        return frames.view(steps, len(rows), *self.shape)
