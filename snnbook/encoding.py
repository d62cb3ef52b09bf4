"""Images into input over time: (N, C, H, W) -> (T, N, C, H, W)."""

import torch
from torch import Tensor

from . import inputs
from .errors import UserError, choice, switch

ENCODINGS = ("direct", "latency", "latency_bright_first", "frames")


def encode(images: Tensor, kind: str, steps: int) -> Tensor:
    """Encode images as input over time, in the way that an experiment's settings name.

    Args:
        images: (N, C, H, W), with intensities in [0, 1] for latency coding; frames of a recording, (N, T, C, H, W)
        kind: one of ENCODINGS; "frames" only moves the time axis to the front
        steps: T; not used for frames
    Returns:
        (T, N, C, H, W)
    Raises:
        UserError: for another kind, shape or type. Intensities are not checked, since that would wait for a GPU
    """
    kind = choice("encoding", kind, ENCODINGS)
    if kind == "frames":
        frames = inputs.floats("frames", images, hint="normalise them first")
        if frames.dim() != 5:
            raise UserError(f"frames must have shape (N, T, C, H, W), not {tuple(frames.shape)}")
        return frames.transpose(0, 1)
    if kind == "direct":
        return direct(images, steps)
    return latency(images, steps, bright_first=kind == "latency_bright_first", check=False)


def _taken(images: Tensor, steps: int) -> tuple[Tensor, int]:
    """Images and number of steps as they are computed with."""
    images = inputs.floats("images", images, hint="normalise them first")
    if images.dim() != 4:
        raise UserError(f"images must have shape (N, C, H, W), not {tuple(images.shape)}")
    return images, inputs.steps(steps)


def direct(images: Tensor, steps: int) -> Tensor:
    """The image as a current source that repeats at every step. Eq. (eq-direct).

    Args:
        images: (N, C, H, W)
        steps: T
    Returns:
        (T, N, C, H, W), a view with stride 0 in T, by which layers see that the input repeats
    Raises:
        UserError: for another shape or type of images, or steps below 1
    """
    images, steps = _taken(images, steps)
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
        UserError: as `direct`, and if an intensity lies outside [0, 1] (NaN included)
    """
    images, steps = _taken(images, steps)
    bright_first = switch("bright_first", bright_first)
    if switch("check", check) and images.is_meta:
        raise UserError("images are on the meta device, which holds no values to look at; pass check=False")
    if check and not bool(((images >= 0) & (images <= 1)).all()):
        raise UserError("latency coding needs images in [0, 1]; divide by the largest, and do not normalise")
    intensity = 1 - images if bright_first else images
    step = (intensity * steps).floor().clamp(max=steps - 1)
    t = torch.arange(steps, device=images.device).reshape(-1, 1, 1, 1, 1)
    return (step == t).to(images.dtype)
