# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's image processors: the authors' pixels in both backends, images of extreme sizes."""

import pytest
import torch
from PIL import Image

from golden import read_case
from hfseg import UnpairSegImageProcessor, UnpairSegImageProcessorPil
from unpairseg_inputs import outputs, photo


@pytest.mark.parametrize("name", ["landscape_down", "portrait_up"])
def test_golden_pixels(name):
    case = read_case("unpairseg/open_vocab_parts")
    image = Image.fromarray(case.inputs[f"preprocess.{name}.hwc_uint8"].numpy())
    expected = case.outputs[f"preprocess.{name}.chw_uint8"]
    inputs = UnpairSegImageProcessorPil(size={"longest_edge": 128})(image, return_tensors="pt")
    mean, std = (torch.tensor(case.config["MODEL"][f"PIXEL_{what}"]).view(3, 1, 1) for what in ("MEAN", "STD"))
    assert torch.equal((inputs["pixel_values"][0] * std + mean).round().to(torch.uint8), expected)
    subsampled = case.outputs[f"preprocess.{name}.pixel_values"]
    torch.testing.assert_close(inputs["pixel_values"][0, :, ::8, ::8], subsampled, rtol=0, atol=1e-5)
    other = UnpairSegImageProcessor(size={"longest_edge": 128})(image, return_tensors="pt")["pixel_values"]
    assert (other - inputs["pixel_values"]).abs().max() < 1.6 / 65  # within one gray level
    assert inputs["original_sizes"].tolist() == [[image.height, image.width]]


@pytest.mark.parametrize("size", [(1, 1), (12000, 20), (20, 12000), (33, 500)])
def test_extreme_images_come_back_in_their_size(size):
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    inputs = processor(photo(*size), return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)
    masks = processor.post_process_masks(torch.ones(1, 2, 4, 16, 16), inputs["original_sizes"])[0]
    assert masks.shape == (2, 4, *size) and masks.all()


def test_open_vocabulary_results():
    processor = UnpairSegImageProcessor(size={"longest_edge": 64})
    result = outputs([0.9, 0.8, 0.1])
    semantic = processor.post_process_semantic_segmentation(result, target_sizes=[(32, 64)])[0]
    assert semantic.shape == (32, 64) and (semantic[:, :30] == 0).all() and (semantic[:, 34:] == 1).all()
    panoptic = processor.post_process_panoptic_segmentation(result, target_sizes=[(32, 64)])[0]
    assert [s["label_id"] for s in panoptic["segments_info"]] == [0, 1]
    assert panoptic["segments_info"][0]["score"] == pytest.approx(0.9, abs=1e-3)
    instances = processor.post_process_instance_segmentation(result, target_sizes=[(32, 64)])[0]
    assert [s["label_id"] for s in instances["segments_info"]] == [0, 1]
    assert instances.binary_masks().shape == (2, 32, 64)
    # The whole image comes first: it covers the halves, which are removed.
    covering = processor.post_process_instance_segmentation(outputs([0.7, 0.8, 0.95]), target_sizes=[(32, 64)])[0]
    assert [s["label_id"] for s in covering["segments_info"]] == [2]
    only_iou = processor.post_process_instance_segmentation(
        outputs([0.7, 0.8, 0.95]), target_sizes=[(32, 64)], nms_rule="iou", iou_threshold=0.6
    )[0]
    assert len(only_iou["segments_info"]) == 3
