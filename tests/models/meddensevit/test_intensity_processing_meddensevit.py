# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Intensities and volumes: statistics of the whole image, windows of CT, and the way back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from hfseg import MedDenseViTImageProcessor
from hfseg.volumes import volume_from_array
from meddensevit_inputs import BOTH, SIZE, deep


@pytest.mark.parametrize("processor_class", BOTH)
def test_statistics_are_of_the_whole_image_before_scaling(processor_class):
    processor = processor_class(size=SIZE)
    pixels = processor(deep(), return_tensors="pt")["pixel_values"]
    low, high = np.percentile(deep(), [0.5, 99.5])
    expected = np.clip(deep().astype(np.float32), low, high)
    expected = ((expected - expected.mean()) / expected.std()).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(expected)[None, None], size=(24, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(pixels, expected.repeat(1, 3, 1, 1), rtol=0, atol=2e-3)


@pytest.mark.parametrize("processor_class", BOTH)
@pytest.mark.parametrize("kind", ["array", "16-bit", "file", "float", "tensor", "list"])
def test_deep_images_in_every_form_are_the_same(processor_class, kind, tmp_path):
    processor, array = processor_class(size=SIZE), deep()
    if kind == "file":
        Image.fromarray(array).save(tmp_path / "x.png")
    image = {
        "array": array,
        "16-bit": Image.fromarray(array),
        "file": str(tmp_path / "x.png"),
        "float": Image.fromarray(array.astype(np.float32)),
        "tensor": torch.from_numpy(array.astype(np.int32)),
        "list": [array],
    }[kind]
    pixels = processor(image, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 24, 32)
    torch.testing.assert_close(pixels, processor(array[None], return_tensors="pt")["pixel_values"])
    assert len(pixels[0, 0].unique()) > 400  # not the few hundred steps of 8 bits


def test_ct_slices_are_seen_in_three_windows():
    hounsfield = np.array([[-1000.0, 40.0], [300.0, -600.0]])
    processor = MedDenseViTImageProcessor(size={"height": 2, "width": 2}, modality="CT")
    lung, soft, bone = processor(hounsfield, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(soft, torch.tensor([[0.0, 0.5], [1.0, 0.0]]))
    torch.testing.assert_close(lung[1, 1], torch.tensor(0.5))
    torch.testing.assert_close(bone[0, 1], torch.tensor(0.3))
    one = processor(hounsfield, windows=[[-1000.0, 400.0]], return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(one[0], one[2])
    with pytest.raises(ValueError, match="no air"):
        processor(deep(), return_tensors="pt")
    processor(deep(), check_values=False)


def test_public_rgb_weights_get_their_standardisation():
    hounsfield = np.full((8, 8), -1000.0)
    processor = MedDenseViTImageProcessor(size={"height": 8, "width": 8}, modality="CT", do_normalize=True)
    pixels = processor(hounsfield, return_tensors="pt")["pixel_values"]
    expected = (torch.tensor([350 / 1500, 0.0, 0.0]) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(pixels[0, :, 0, 0], expected)


def test_volumes_record_the_way_back(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[0, -0.5, 0, 3], [0.7, 0, 0, -4], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).integers(1, 900, (30, 20, 5)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "a.nii.gz")
    processor = MedDenseViTImageProcessor(size=SIZE, modality="MR")
    batch = processor(str(tmp_path / "a.nii.gz"), return_tensors="pt")
    (geometry,) = batch["geometry"]
    assert batch["pixel_values"].shape == (5, 3, 24, 32)
    assert geometry["native_size"] == (20, 30) and geometry["factors"] == (24 / 20, 32 / 30)
    assert geometry["axis"] == 2 and geometry["modality"] == "MR" and geometry["input_mode"] == "2.5d"
    assert {"low", "high", "mean", "std"} <= set(geometry["statistics"][0])
    # A class per place in the network's input comes back at the place of its voxel.
    labels = torch.zeros(5, 24, 32, dtype=torch.long)
    labels[:, :12, :16] = 1  # left and back in RAS
    outputs = SimpleNamespace(logits=F.one_hot(labels, 2).permute(0, 3, 1, 2).float() * 9)
    (result,) = processor.post_process_semantic_segmentation(outputs, geometry=batch["geometry"])
    assert result.shape == voxels.shape
    # The first stored axis runs to the front, the second to the left.
    assert result[:15, 10:].all() and not result[15:].any() and not result[:, :10].any()
    two = processor([tmp_path / "a.nii.gz", tmp_path / "a.nii.gz"])
    assert len(two["geometry"]) == 2 and len(two["pixel_values"]) == 10
    with pytest.raises(ValueError, match="5 slices, the logits are of 1"):
        processor.post_process_semantic_segmentation(
            SimpleNamespace(logits=torch.zeros(1, 2, 24, 32)), geometry=batch["geometry"]
        )


def test_volumes_that_are_refused(tmp_path):
    processor = MedDenseViTImageProcessor(size=SIZE)
    scan = volume_from_array(np.full((6, 5, 4), -900), spacing=(1, 1, 1), modality="CT")
    with pytest.raises(ValueError, match="is CT, but modality='MR'"):
        processor(scan, modality="MR")
    assert processor(scan)["geometry"][0]["input_mode"] == "windows"  # the file knows better than the default
    with pytest.raises(ValueError, match="mixes volumes and images"):
        processor([scan, deep()])
    with pytest.raises(ValueError, match=r"2\.5d"):
        processor(scan, input_mode="3d")


def test_probabilities_come_back_to_native_size():
    logits = torch.randn(2, 3, 12, 16) * 4
    processor = MedDenseViTImageProcessor(size=SIZE)
    results = processor.post_process_semantic_segmentation(
        SimpleNamespace(logits=logits), target_sizes=[(30, 20), (12, 16)], return_segmentation_scores=True
    )
    expected = F.interpolate(logits[:1].softmax(1), size=(30, 20), mode="bilinear")[0]
    torch.testing.assert_close(results[0].segmentation_scores, expected)
    assert torch.equal(results[0].segmentation, expected.argmax(0))
    torch.testing.assert_close(results[1].segmentation_scores.sum(0), torch.ones(12, 16))
    with pytest.raises(ValueError, match="1 entries for a batch of 2"):
        processor.post_process_semantic_segmentation(SimpleNamespace(logits=logits), target_sizes=[(3, 3)])


def test_slices_that_shrink_are_averaged():
    """Noise shrunk to a quarter: a filter as wide as the step leaves a sixth of it, reading 2 x 2 pixels half."""
    noise = np.random.default_rng(0).normal(1000, 100, (64, 64, 4)).astype(np.float32)
    volume = volume_from_array(noise, spacing=(1.0, 1.0, 3.0), modality="MR")
    processor = MedDenseViTImageProcessor(size={"height": 16, "width": 16}, input_mode="slice", do_normalize=False)
    deviation = np.asarray(processor([volume])["pixel_values"]).std()  # the volume itself has 1
    assert deviation < 0.25
