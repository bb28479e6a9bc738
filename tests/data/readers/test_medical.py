# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Medical slices, splits, layouts and collation."""

import numpy as np
import pytest
import torch

from hfseg.data.readers.medical import MedicalCase, MedicalCollator, MedicalSlices, random_affine
from hfseg.data.readers.medical_layouts import medical_cases
from medical_files import NAMES, write_pair


def test_partly_annotated_sets(tmp_path):
    for name, label_set in (("a", "all"), ("b", "few"), ("c", "few"), ("d", "few"), ("e", "few")):
        write_pair(tmp_path / label_set, name)
    cases = [
        MedicalCase(c.case_id, c.image, c.mask, c.patient_id, "MR", label_set=label_set)
        for label_set in ("all", "few")
        for c in medical_cases(tmp_path / label_set, "pairs", "train", "MR")
    ]
    slices = MedicalSlices(cases, NAMES, label_sets={"all": [0, 1, 2], "few": [0, 1]})
    # 24 slices of "few", 6 of "all" drawn as 24 (6 / 24)^0.5 = 12.
    sets = [slices.cases[number].label_set for number, _ in slices.index]
    assert (sets.count("few"), sets.count("all")) == (24, 12)
    batch = MedicalCollator(16)([slices[0], slices[-1]])
    assert batch["annotated_classes"].tolist() == [[True, True, True], [True, True, False]]


# Collation.


def example(height=20, width=30):
    image = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    return {"image": image, "segmentation_map": (image[0] > 0.5).astype(np.uint8), "case_id": "x"}


def test_scaling_is_anisotropic():
    batch = MedicalCollator((40, 30))([example(), example(50, 10)])
    assert batch["pixel_values"].shape == (2, 3, 40, 30) and batch["labels"].shape == (2, 40, 30)
    np.testing.assert_array_equal(batch["labels"][0][::2], example()["segmentation_map"])  # height x 2, width as it is
    np.testing.assert_array_equal(batch["labels"][0][1::2], example()["segmentation_map"])


def test_nearest_exact_keeps_masks_through_the_round_trip():
    mask = (np.random.default_rng(0).random((90, 70)) > 0.5).astype(np.uint8)
    labels = MedicalCollator(512)([{"image": np.zeros((3, 90, 70)), "segmentation_map": mask}])["labels"]
    back = torch.nn.functional.interpolate(labels[:, None].float(), size=(90, 70), mode="nearest-exact")
    np.testing.assert_array_equal(back[0, 0].numpy(), mask)


def test_image_and_labels_move_together():
    rows, columns = np.mgrid[:64, :96]
    disc = (((rows - 30) / 14.0) ** 2 + ((columns - 50) / 20.0) ** 2 < 1).astype(np.float32)
    images = torch.from_numpy(disc)[None, None].repeat(8, 3, 1, 1)
    labels = torch.from_numpy(disc).long()[None].repeat(8, 1, 1)
    generator = torch.Generator().manual_seed(0)
    moved, targets = random_affine(images, labels, probability=1.0, generator=generator)
    agreement = ((moved[:, 0] > 0.5) == (targets > 0)).float().mean()
    assert agreement > 0.998 and targets.dtype == torch.int64
    assert (targets != labels).flatten(1).any(1).all()  # every one has moved
    same, unmoved = random_affine(images, labels, probability=0.0)
    torch.testing.assert_close(same, images, rtol=0, atol=1e-5)
    assert torch.equal(unmoved, labels)


def test_rotation_keeps_shapes_in_pixels():
    """A circle stays one although height and width differ."""
    rows, columns = np.mgrid[:64, :128]
    circle = torch.from_numpy(((rows - 32) ** 2 + (columns - 64) ** 2) < 400).long()[None]
    options = {"rotation": 45.0, "scale": (1.0, 1.0), "translation": 0.0, "shear": 0.0, "probability": 1.0}
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        _, turned = random_affine(circle[:, None].float(), circle, **options, generator=generator)
        assert (turned != circle).float().mean() < 0.01


def test_border_is_repeated_and_labels_end_in_background():
    images, labels = torch.full((4, 1, 32, 32), 3.0), torch.ones(4, 32, 32, dtype=torch.long)
    moved, targets = random_affine(images, labels, translation=0.3, probability=1.0)
    torch.testing.assert_close(moved, images)
    assert set(targets.unique().tolist()) == {0, 1}


def test_collator_refuses():
    with pytest.raises(ValueError, match="empty"):
        MedicalCollator(8)([])
    with pytest.raises(ValueError, match=r"\(20, 30\).*\(5, 5\)"):
        MedicalCollator(8)([{**example(), "segmentation_map": np.zeros((5, 5))}])
