# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Volumes of mixed datasets: classes that a dataset does not annotate do not count, images are measured in pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hfseg.data.readers.medical_layouts import load_medical
from hfseg.data.readers.medical_mixture import load_medical_mixture
from hfseg.evaluation.medical import evaluate_volumes
from hfseg.metrics import SurfaceDistance
from medical_files import write


class Says(nn.Module):
    """Gives bright pixels one class and the others background, in images of any size."""

    def __init__(self, number, bright):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.number, self.bright = number, bright

    def forward(self, pixel_values):
        logits = torch.zeros(len(pixel_values), self.number, *pixel_values.shape[-2:])
        logits[:, self.bright] = pixel_values[:, 1].sign() * 9
        return SimpleNamespace(logits=logits)


def mixture(root, **options):
    """Two MR sets whose bright halves are a gland in one and a cyst in the other."""
    for name in ("glands", "cysts"):
        mask = np.zeros((8, 8, 4), np.uint8)
        mask[:4] = 1
        image = (1 + 100 * mask + np.random.default_rng(0).random(mask.shape)).astype(np.float32)
        write(root / name / "images/val/a.nii.gz", image)
        write(root / name / "labels/val/a.nii.gz", mask)
    sets = [
        {"root": str(root / name), "split": "val", "id2label": {0: "background", 1: name[:-1]}}
        for name in ("glands", "cysts")
    ]
    return load_medical_mixture(sets, **options)


@pytest.mark.parametrize("cached", [False, True])
def test_classes_that_a_dataset_does_not_annotate(tmp_path, cached):
    data = mixture(tmp_path, **({"cache_dir": tmp_path / "cache"} if cached else {}))
    numbers = evaluate_volumes(Says(3, 1), data, (8, 8), ("dice", "surface_distance", "froc"))
    # "gland" on both: right where glands are known; of the cysts none is found, but no gland is wrong there.
    assert numbers["dice_gland"] == 100 and numbers["dice_cyst"] == 0
    assert numbers["dice"] == 50
    assert numbers["cpm"] == 100  # the scan of the cysts says nothing about false positives of glands
    everything = mixture(tmp_path)
    everything.label_sets = {}
    assert evaluate_volumes(Says(3, 1), everything, (8, 8))["dice_gland"] == 50


def test_images_are_measured_in_pixels(tmp_path):
    mask = np.zeros((12, 12), np.uint8)
    mask[:, 4:] = 1
    for folder, array in (("images", np.uint8(200) * np.roll(mask, 2, axis=1)), ("masks", mask)):
        (tmp_path / folder / "val").mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / folder / "val/a.png")
    names = {0: "background", 1: "lung"}
    data = load_medical(tmp_path, "xray", "val", "XR", names)
    results = evaluate_volumes(Says(2, 1), data, (12, 12), ("surface_distance",), full=True)["surface_distance"]
    assert results["unit"] == "px"
    predicted = np.roll(mask, 2, axis=1)
    metric = SurfaceDistance(names)
    metric.add(prediction=predicted, reference=mask)  # of two dimensions: no surface towards the viewer
    assert results["assd"] == pytest.approx(metric.compute()["assd"]) and results["assd"] > 0
