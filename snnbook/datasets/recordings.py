"""Recordings of an event camera on the device, from which frames are computed there."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import send


@dataclass(frozen=True, eq=False)
class Recordings:
    """The events of many recordings, two bytes an event, so that a whole data set fits on a device.

    Args:
        cells: (c, y, x) of every event as one index, (c H + y) W + x; int16 (E,), recording after recording
        starts: where each recording starts, and E at the end; int64 (N + 1,), on the CPU
        shape: (C, H, W) of a frame
    """

    cells: Tensor
    starts: Tensor
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def to(self, device: str | torch.device) -> "Recordings":
        """Copy the events to another device."""
        return Recordings(self.cells.to(device), self.starts, self.shape)

    def frames(self, rows: Tensor, steps: int) -> Tensor:
        """Cut each recording into T slices with the same number of events, and count the events of each pixel.

        A slice has floor(E/T) events (at least 1), and the last one also has the rest, as in the authors' release.

        Args:
            rows: which recordings, int64 (N,), on the CPU
            steps: T
        Returns:
            counts, float32 (T, N, C, H, W)
        """
        device = self.cells.device
        size = math.prod(self.shape)
        start = self.starts[rows]
        counts = self.starts[rows + 1] - start
        # The sum is taken on the CPU, so that nothing below waits for the device.
        total = int(counts.sum())
        first = counts.cumsum(0) - counts
        start, counts, first = (send(each, device) for each in (start, counts, first))
        # For every event: its recording, its number in the recording, its step, and its pixel among all frames.
        sample = torch.repeat_interleave(torch.arange(len(rows), device=device), counts, output_size=total)
        number = torch.arange(total, device=device) - first[sample]
        slice_size = (counts // steps).clamp_(min=1)
        step = (number // slice_size[sample]).clamp_(max=steps - 1)
        index = (step * len(rows) + sample) * size + self.cells[start[sample] + number]
        frames = torch.zeros(steps * len(rows) * size, device=device)
        # Sums of whole numbers are exact in any order.
        frames.index_add_(0, index, torch.ones(total, device=device))
        return frames.view(steps, len(rows), *self.shape)
