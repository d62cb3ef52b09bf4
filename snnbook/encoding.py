"""Images into input over time: (N, C, H, W) -> (T, N, C, H, W)."""

import torch
from torch import Tensor

from .errors import UserError


def _check(images: Tensor, steps: int) -> None:
    if images.dim() != 4:
        raise UserError(f"images must have shape (N, C, H, W), not {tuple(images.shape)}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UserError(f"steps must be a whole number of time steps, 1 or more, not {steps!r}")


def direct(images: Tensor, steps: int) -> Tensor:
    """The image as a current source that repeats at every step. Eq. (eq-direct).

    Args:
        images: (N, C, H, W)
        steps: T
    Returns:
        (T, N, C, H, W), a view with stride 0 in T, by which layers see that the input repeats
    """
    _check(images, steps)
    return images.expand(steps, *images.shape)


def latency(images: Tensor, steps: int, bright_first: bool = False, check: bool = True) -> Tensor:
    """One spike per pixel, at step floor(intensity T), the last step at most. Eq. (eq-latency).

    Dark pixels fire first, as in the authors' release; `bright_first` turns that round.

    Args:
        images: intensities in [0, 1], (N, C, H, W)
        steps: T
        bright_first: use 1 - intensity
        check: look whether intensities lie in [0, 1]; this waits for the device, so that the trainer, whose pixels
            are bytes divided by 255, does without
    Returns:
        spikes (T, N, C, H, W), exactly one per pixel
    Raises:
        UserError: if an intensity lies outside [0, 1] (NaN included)
    """
    _check(images, steps)
    if check and not bool(((images >= 0) & (images <= 1)).all()):
        raise UserError("latency coding needs intensities in [0, 1]; divide by the largest, and do not normalise")
    intensity = 1 - images if bright_first else images
    step = (intensity * steps).floor().clamp(max=steps - 1)
    t = torch.arange(steps, device=images.device).reshape(-1, 1, 1, 1, 1)
    return (step == t).to(images.dtype)
