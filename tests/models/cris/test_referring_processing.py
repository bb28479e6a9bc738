# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring masks: targets as shares, and masks back in the image with an own threshold."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hfseg import CrisImageProcessor, CrisImageProcessorPil

BOTH = pytest.mark.parametrize("processor_class", [CrisImageProcessor, CrisImageProcessorPil])


@BOTH
def test_masks_of_0_and_1_and_of_0_and_255_are_the_same_target(processor_class):
    processor = processor_class(size={"height": 32, "width": 32})
    image = np.zeros((32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[4:20, 7:9] = 1
    batches = [processor([image], [values], return_tensors="pt") for values in (mask, mask * 255, mask.astype(bool))]
    for batch in batches:
        assert torch.equal(batch["mask_labels"][0], torch.from_numpy(mask).float())
    half = processor([image], [mask * 51], return_tensors="pt")["mask_labels"]
    assert half.max().item() == pytest.approx(0.2)  # 8-bit masks are shares of 255


@BOTH
def test_masks_per_expression_stay_in_order(processor_class):
    processor = processor_class(size={"height": 32, "width": 32})
    masks = np.zeros((3, 32, 32), np.uint8)
    for index in range(3):
        masks[index, index] = 255
    batch = processor([np.zeros((32, 32, 3), np.uint8)], [masks], return_tensors="pt")
    assert torch.equal(batch["mask_labels"][0], torch.from_numpy(masks).float() / 255)


def test_masks_come_back_by_probability():
    processor = CrisImageProcessor(size={"height": 32, "width": 32})
    logits = torch.full((1, 2, 8, 8), 0.4).logit()
    logits[0, 1] = torch.tensor(0.3).logit()
    found = processor.post_process_referring_segmentation(SimpleNamespace(logits=logits))
    assert found[0].shape == (2, 32, 32) and found[0][0].all() and not found[0][1].any()  # 0.35 is the processor's
    higher = processor.post_process_referring_segmentation({"logits": logits}, threshold=0.5)
    assert not higher[0].any()
    (values,) = processor.post_process_referring_segmentation({"logits": logits}, [(20, 10)], return_probabilities=True)
    assert values.shape == (2, 20, 10) and values[0].mean().item() == pytest.approx(0.4, abs=0.02)
    with pytest.raises(ValueError, match="2 original size"):
        processor.post_process_referring_segmentation({"logits": logits}, [(20, 10)] * 2)
    with pytest.raises(ValueError, match=r"threshold=1\.5"):
        processor.post_process_referring_segmentation({"logits": logits}, threshold=1.5)
