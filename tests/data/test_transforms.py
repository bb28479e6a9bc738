# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Transforms keep image and label map together and do what their recipe says."""

import pytest
import torch
from torchvision import tv_tensors

from hfseg.data.transforms import (
    CategoryCappedCrop,
    FixedSizeCrop,
    LargeScaleJitter,
    PhotometricDistortion,
    RandomShortSide,
    instance_training_transforms,
    semantic_training_transforms,
)


def blob(height=60, width=80):
    """An image whose brightness tells its label: smooth half planes, so that resizing keeps them in step."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    labels = ((rows > height // 3).int() + 2 * (columns > width // 2).int()) + 1  # 1 .. 4
    return {
        "image": tv_tensors.Image((labels * 50).to(torch.uint8).expand(3, -1, -1).clone()),
        "mask": tv_tensors.Mask(torch.stack([labels, labels + 10])),
    }


def agreement(sample):
    """Share of non-void pixels whose brightness is that of their label."""
    labels = sample["mask"][0]
    known = labels > 0
    return ((sample["image"][0].int() - labels * 50).abs()[known] <= 2).float().mean()


@pytest.mark.parametrize("scale", [0.23, 0.5, 0.77, 1.0, 1.31, 2.0])
def test_jitter_keeps_aspect_and_alignment(scale):
    sample = LargeScaleJitter((60, 100), (scale, scale))(blob())
    assert sample["image"].shape == (3, int(60 * scale + 0.5), int(80 * scale + 0.5))
    assert sample["mask"].shape == (2, *sample["image"].shape[1:])
    assert sample["mask"][1].eq(sample["mask"][0] + 10).all()
    assert agreement(sample) > 1 - 0.06 / scale  # all but the blurred borders


def test_resized_labels_are_symmetric():
    """Taking the label under the pixel's center commutes with flipping; the corner rule of plain nearest does not."""
    sample = blob(31, 47)
    flipped = {k: tv_tensors.wrap(v.as_subclass(torch.Tensor).flip(-1).clone(), like=v) for k, v in sample.items()}
    resize = RandomShortSide([17])
    assert torch.equal(resize(sample)["mask"].flip(-1), resize(flipped)["mask"])


def test_jitter_scale_covers_its_range():
    torch.manual_seed(0)
    heights = [LargeScaleJitter((100, 100), (0.5, 1.5))(blob(50, 100))["image"].shape[1] for _ in range(60)]
    assert 25 <= min(heights) < 32 and 68 < max(heights) <= 75


def test_fixed_crop_pads_with_gray_and_void():
    sample = FixedSizeCrop((70, 64))(blob())
    assert sample["image"].shape == (3, 70, 64) and sample["mask"].shape == (2, 70, 64)
    assert (sample["image"][:, 60:] == 128).all() and (sample["mask"][:, 60:] == 0).all()
    assert (sample["mask"][:, :60] > 0).all() and agreement(sample) == 1


def test_short_side_and_longest_side():
    torch.manual_seed(0)
    shapes = {tuple(RandomShortSide([30, 120], max_size=100)(blob())["image"].shape[1:]) for _ in range(20)}
    assert shapes == {(30, 40), (75, 100)}


def test_category_cap_prefers_mixed_windows():
    torch.manual_seed(0)
    labels = torch.ones(2, 40, 400, dtype=torch.int32)
    labels[:, :, 180:220] = 2
    sample = {"image": tv_tensors.Image(torch.zeros(3, 40, 400, dtype=torch.uint8)), "mask": tv_tensors.Mask(labels)}

    def mixed(transform):
        return sum(len(transform(sample)["mask"].unique()) > 1 for _ in range(60))

    assert mixed(CategoryCappedCrop((40, 60), 1.0)) < 25
    assert mixed(CategoryCappedCrop((40, 60), 0.75)) > 40


def test_category_cap_ignores_void_and_keeps_small_images():
    sample = blob(20, 30)
    sample["mask"][:] = 0
    result = CategoryCappedCrop((64, 16))(sample)
    assert result["image"].shape == (3, 20, 16)
    assert CategoryCappedCrop((64, 16), pad=True)(sample)["image"].shape == (3, 64, 16)


def test_photometric_distortion_changes_the_image_only():
    torch.manual_seed(0)
    changes = []
    for _ in range(30):
        sample = blob()
        result = PhotometricDistortion()(sample)
        assert result["image"].dtype == torch.uint8 and torch.equal(result["mask"], sample["mask"])
        changes.append((result["image"].int() - sample["image"].int()).abs().max().item())
    assert max(changes) > 20 and sum(c > 0 for c in changes) > 15


@pytest.mark.parametrize("steps", [{"brightness": 12.75}, {"contrast": 0.5}])
def test_photometric_steps_in_gray_levels(steps):
    transform = PhotometricDistortion()
    params = dict.fromkeys(["brightness", "contrast", "saturation", "hue"]) | {"contrast_first": True} | steps
    image = tv_tensors.Image(torch.full((3, 1, 1), 100, dtype=torch.uint8))
    assert transform.transform(image, params)[0].item() == {"brightness": 113, "contrast": 50}[next(iter(steps))]


def test_recipes_run_and_follow_the_seed():
    for recipe in (instance_training_transforms((48, 48)), semantic_training_transforms((32, 48), [40, 60, 90])):
        torch.manual_seed(3)
        first = recipe(blob())
        torch.manual_seed(3)
        second = recipe(blob())
        assert torch.equal(first["image"], second["image"]) and torch.equal(first["mask"], second["mask"])
        assert isinstance(first["mask"], tv_tensors.Mask) and isinstance(first["image"], tv_tensors.Image)


def test_errors():
    with pytest.raises(ValueError, match=r"\(0, 2\)"):
        LargeScaleJitter((8, 8), (0, 2))
    with pytest.raises(ValueError, match="max_share"):
        CategoryCappedCrop((8, 8), 0)
    sample = blob()
    sample["mask"] = tv_tensors.Mask(torch.zeros(2, 5, 5, dtype=torch.int32))
    with pytest.raises(ValueError, match="differ in size"):
        FixedSizeCrop((8, 8))(sample)
