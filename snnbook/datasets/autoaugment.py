"""AutoAugment's learnt policies (Cubuk et al. 2019, appendix), and the meaning of their levels 0 to 9.

A policy has 25 sub-policies, of which one is drawn for each image. A sub-policy has two operations, each with a
probability and a level. The direction of an operation, if it has one, is drawn with probability 1/2.
"""

import math

import torch
from torch import Tensor

TOP = 9
"""The highest level."""

Operation = tuple[str, float, int]
"""Name, probability, level (0 where there is none)."""

POLICIES: dict[str, tuple[tuple[Operation, Operation], ...]] = {
    "autoaugment": (
        (("invert", 0.1, 0), ("contrast", 0.2, 6)),
        (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
        (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
        (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
        (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
        (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
        (("color", 0.4, 3), ("brightness", 0.6, 7)),
        (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
        (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
        (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
        (("color", 0.7, 7), ("translate_x", 0.5, 8)),
        (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
        (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
        (("brightness", 0.9, 6), ("color", 0.2, 8)),
        (("solarize", 0.5, 2), ("invert", 0.0, 0)),
        (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
        (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
        (("color", 0.9, 9), ("equalize", 0.6, 0)),
        (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
        (("brightness", 0.1, 3), ("color", 0.7, 0)),
        (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
        (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
        (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
        (("equalize", 0.8, 0), ("invert", 0.1, 0)),
        (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
    ),
    "autoaugment_imagenet": (
        (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
        (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
        (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
        (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
        (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
        (("equalize", 0.4, 0), ("rotate", 0.8, 8)),
        (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
        (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
        (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
        (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
        (("rotate", 0.8, 8), ("color", 0.4, 0)),
        (("rotate", 0.4, 9), ("equalize", 0.6, 0)),
        (("equalize", 0.0, 0), ("equalize", 0.8, 0)),
        (("invert", 0.6, 0), ("equalize", 1.0, 0)),
        (("color", 0.6, 4), ("contrast", 1.0, 8)),
        (("rotate", 0.8, 8), ("color", 1.0, 2)),
        (("color", 0.8, 8), ("solarize", 0.8, 7)),
        (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
        (("shear_x", 0.6, 5), ("equalize", 1.0, 0)),
        (("color", 0.4, 0), ("equalize", 0.6, 0)),
        (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
        (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
        (("invert", 0.6, 0), ("equalize", 1.0, 0)),
        (("color", 0.6, 4), ("contrast", 1.0, 8)),
        (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
    ),
}  # fmt: skip
"""The policy for CIFAR10, as in the paper; and the one for ImageNet, which the authors' release uses on CIFAR10."""

LARGEST_SHEAR = 0.3
"""Pixels a row (or column) at the top level."""

LARGEST_ANGLE = 30.0
"""Degrees at the top level."""

LARGEST_SHIFT = 150 / 331
"""Fraction of the image's side at the top level: 150 of the 331 pixels that the policies were learnt on."""

LARGEST_CHANGE = 0.9
"""Change of brightness, colour, contrast and sharpness at the top level: factors 0.1 and 1.9."""


def probabilities(policy: str) -> Tensor:
    """Return the probabilities of a policy's operations, float32 (25, 2)."""
    return torch.tensor([[probability for _, probability, _ in pair] for pair in POLICIES[policy]])


def table_index(sub_policy: Tensor, which: Tensor, negative: Tensor) -> Tensor:
    """Return the index in `table` of operation `which` (0 or 1) of sub-policies, in one direction or the other."""
    return (2 * sub_policy + which) * 2 + negative


def table(policy: str, size: tuple[int, int]) -> list[tuple[str, list[float]]]:
    """List the kind (see augment.py) and six settings of every operation of a policy, in both directions.

    Args:
        policy: its name
        size: height and width of the images
    """
    operations = [operation for pair in POLICIES[policy] for operation in pair]
    return [kind_and_settings(name, level, sign, size) for name, _, level in operations for sign in (1, -1)]


def kind_and_settings(name: str, level: int, sign: int, size: tuple[int, int]) -> tuple[str, list[float]]:
    """Return the kind and six settings of an operation at a level.

    Args:
        name: of the operation
        level: 0..9
        sign: 1 or -1, the direction; without effect where there is none
        size: height and width of the images
    """
    strength = level / TOP
    height, width = size
    if name == "shear_x":
        return _affine(1, sign * LARGEST_SHEAR * strength, 0, 0, 1, 0)
    if name == "shear_y":
        return _affine(1, 0, 0, sign * LARGEST_SHEAR * strength, 1, 0)
    if name == "translate_x":
        return _affine(1, 0, -sign * int(LARGEST_SHIFT * width * strength), 0, 1, 0)
    if name == "translate_y":
        return _affine(1, 0, 0, 0, 1, -sign * int(LARGEST_SHIFT * height * strength))
    if name == "rotate":
        angle = math.radians(-sign * LARGEST_ANGLE * strength)
        cos = math.cos(angle)
        sin = math.sin(angle)
        # Around the image's centre.
        x = width / 2
        y = height / 2
        return _affine(cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)
    setting = 0.0
    if name in ("brightness", "color", "contrast", "sharpness"):
        setting = 1 + sign * LARGEST_CHANGE * strength
    elif name == "posterize":
        cleared_bits = round(4 * strength)
        setting = float(256 - 2**cleared_bits)
    elif name == "solarize":
        setting = 255 * (TOP - level) / TOP
    return name, [setting] + [0.0] * 5


def _affine(a: float, b: float, c: float, d: float, e: float, f: float) -> tuple[str, list[float]]:
    """Convert a matrix for the pixels' corners to one for their centres, in units of 2^-16."""
    numbers = (a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2)
    return "affine", [float(math.floor(number * 2**16 + 0.5)) for number in numbers]
