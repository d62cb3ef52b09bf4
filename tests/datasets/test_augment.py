"""Augmentation: every operation's bytes against Pillow's; draws per image, and from the generator alone."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from snnbook.datasets import augment, autoaugment
from snnbook.errors import UserError

SIZE = (32, 32)
COLOUR = ("autoaugment", "autoaugment_imagenet")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures():
    """Random, smooth, plain, two-valued and dark images, uint8 (N, 3, 32, 32)."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    slope = np.broadcast_to(np.arange(32, dtype=np.uint8) * 7, (1, 3, 32, 32))
    plain = np.stack([np.full((3, 32, 32), value, np.uint8) for value in (0, 77, 255)])
    two = np.where(rng.random((2, 3, 32, 32)) < 0.1, 200, 10).astype(np.uint8)
    dark = rng.integers(0, 12, (2, 3, 32, 32), dtype=np.uint8)
    few = np.where(rng.random((2, 3, 32, 32)) < 0.6, 9, noise[:2]).astype(np.uint8)
    return torch.from_numpy(np.concatenate([noise, slope, plain, two, dark, few]))


def by_pillow(image, name, level, sign):
    """The operation as torchvision's AutoAugment lets Pillow do it (nearest pixel, black outside)."""
    share = level / 9
    if name in ("shear_x", "shear_y"):
        shear = sign * 0.3 * share
        matrix = (1, shear, 0, 0, 1, 0) if name == "shear_x" else (1, 0, 0, shear, 1, 0)
        return image.transform(image.size, Image.Transform.AFFINE, matrix)
    if name in ("translate_x", "translate_y"):
        pixels = -sign * int(150 / 331 * 32 * share)
        matrix = (1, 0, pixels, 0, 1, 0) if name == "translate_x" else (1, 0, 0, 0, 1, pixels)
        return image.transform(image.size, Image.Transform.AFFINE, matrix)
    if name == "rotate":
        return image.rotate(sign * 30 * share)
    if name in ("brightness", "color", "contrast", "sharpness"):
        return getattr(ImageEnhance, name.capitalize())(image).enhance(1 + sign * 0.9 * share)
    if name == "posterize":
        return ImageOps.posterize(image, 8 - round(level / (9 / 4)))
    if name == "solarize":
        return ImageOps.solarize(image, float(np.linspace(255, 0, 10)[level]))
    return getattr(ImageOps, name)(image)


OPERATIONS = sorted({operation[0] for policy in autoaugment.POLICIES.values() for pair in policy for operation in pair})


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_give_pillows_bytes(name):
    images = pictures()
    for level in range(10):
        for sign in (1, -1):
            kind, settings = autoaugment.kind_and_settings(name, level, sign, SIZE)
            rows = torch.tensor(settings, dtype=torch.float64).expand(len(images), 6)
            ours = augment.OPERATIONS[kind](images, rows)
            assert ours.dtype == torch.uint8
            for number, (image, out) in enumerate(zip(images, ours, strict=True)):
                packed = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
                wanted = np.asarray(by_pillow(packed, name, level, sign)).transpose(2, 0, 1)
                assert np.array_equal(out.numpy(), wanted), (level, sign, number)


def test_all_operations_are_tested():
    assert set(augment.KINDS) == {autoaugment.kind_and_settings(name, 1, 1, SIZE)[0] for name in OPERATIONS}
    assert len(OPERATIONS) == 14


def one_by_one(image, draws, number):
    """Crop, mirror and sub-policy of a single image, in Python."""
    padded = np.zeros((3, 40, 40), np.uint8)
    padded[:, 4:-4, 4:-4] = image
    row, column = draws.corner[number].tolist()
    out = padded[:, row : row + 32, column : column + 32]
    if draws.flip[number]:
        out = out[:, :, ::-1]
    for place in draws.operations[number].tolist():
        if place >= 0:
            pair = autoaugment.POLICIES[draws.policy][place // 4]
            name, _, level = pair[place // 2 % 2]
            packed = Image.fromarray(np.ascontiguousarray(out.transpose(1, 2, 0)))
            out = np.asarray(by_pillow(packed, name, level, -1 if place % 2 else 1)).transpose(2, 0, 1)
    return out


@pytest.mark.parametrize("policy", COLOUR)
def test_a_batch_is_what_its_images_are_one_by_one(policy):
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 256, (300, 3, 32, 32), dtype=np.uint8))
    before = images.clone()
    draws = augment.draw(("crop", "flip", policy), len(images), generator())
    out = augment.apply(images, draws)
    assert torch.equal(images, before), "the data set itself must stay as it is"
    for number, image in enumerate(images.numpy()):
        assert np.array_equal(out[number].numpy(), one_by_one(image, draws, number)), number


def test_every_image_of_a_batch_has_draws_of_its_own():
    """The same picture a thousand times: sub-policy, sign, use, corner and mirroring differ from copy to copy."""
    count = 1000
    draws = augment.draw(("crop", "flip", "autoaugment"), count, generator())
    used = draws.operations[draws.operations >= 0]
    assert len((used // 4).unique()) == 25, "every sub-policy in one batch"
    for stage in draws.operations.unbind(1):
        signs = stage[stage >= 0] % 2
        assert signs.double().mean().item() == pytest.approx(0.5, abs=0.1), "both signs in one batch"
    assert len(draws.corner.unique(dim=0)) == 81
    image = pictures()[:1].expand(count, -1, -1, -1)
    out = augment.apply(image, augment.draw(("autoaugment",), count, generator()))
    assert len(out.flatten(1).unique(dim=0)) > 25


def test_shares_are_those_of_the_policy():
    count = 50_000
    draws = augment.draw(("crop", "flip", "autoaugment"), count, generator())
    probability = torch.tensor([[p for _, p, _ in pair] for pair in autoaugment.POLICIES["autoaugment"]])
    for stage in range(2):
        places = draws.operations[:, stage]
        found = torch.bincount(places[places >= 0] // 4, minlength=25) / count
        # 4 standard deviations of a count of at most 0.04 x 50,000
        assert torch.allclose(found, probability[:, stage] / 25, atol=4 * (0.04 / count) ** 0.5)
        assert set((places[places >= 0] // 2 % 2).tolist()) == {stage}
    assert draws.flip.double().mean().item() == pytest.approx(0.5, abs=0.01)
    corners = torch.stack([torch.bincount(draws.corner[:, axis], minlength=9) for axis in range(2)]) / count
    assert torch.allclose(corners, torch.full((2, 9), 1 / 9), atol=0.006)


def test_draws_follow_from_the_generator_alone():
    names = ("crop", "flip", "autoaugment")
    first = augment.draw(names, 100, generator(3))
    torch.manual_seed(5)
    again = augment.draw(names, 100, generator(3))
    other = augment.draw(names, 100, generator(4))
    for field in ("flip", "corner", "operations"):
        assert torch.equal(getattr(first, field), getattr(again, field))
        assert not torch.equal(getattr(first, field), getattr(other, field))
    state = torch.get_rng_state()
    augment.apply(pictures(), augment.draw(names, len(pictures()), generator()))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_part_of_the_images_can_be_taken():
    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (60, 3, 32, 32), dtype=np.uint8))
    draws = augment.draw(("crop", "flip", "autoaugment"), 60, generator())
    places = torch.tensor([50, 3, 17])
    assert torch.equal(augment.apply(images[places], draws.at(places)), augment.apply(images, draws)[places])


def test_nothing_drawn_nothing_done():
    images = pictures()
    assert augment.apply(images, augment.draw((), len(images), generator())) is images


def test_what_does_not_go_together_is_refused():
    augment.check(("crop", "flip", "autoaugment"), 3)
    augment.check(("crop", "flip"), 1)
    with pytest.raises(UserError, match="not both"):
        augment.check(COLOUR, 3)
    with pytest.raises(UserError, match="colour images"):
        augment.check(("autoaugment",), 1)


def test_policies_are_whole():
    for policy in autoaugment.POLICIES.values():
        assert len(policy) == 25
        assert all(0 <= probability <= 1 and 0 <= level <= 9 for pair in policy for _, probability, level in pair)
