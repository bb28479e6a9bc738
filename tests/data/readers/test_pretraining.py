# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Batches of pre-training: image-text pairs, of which a share has segments."""

import numpy as np
import pytest
import torch

from hfseg.data.readers.pretraining import PreTrainingCollator, PreTrainingMixture
from hfseg.data.synthetic.shapes_captions import CaptionedShapes, caption_tokenizer


def test_batches_have_one_composition():
    data = PreTrainingMixture(CaptionedShapes("train", 100, (64, 64)))
    collate = PreTrainingCollator(caption_tokenizer(), segmentation_share=0.25, max_length=40, num_labels=10)
    batch = collate([data[index] for index in range(8)])
    assert batch["pixel_values"].shape == (8, 3, 64, 64) and batch["input_ids"].shape == (8, 40)
    assert batch["segmentation_pixel_values"].shape == (2, 3, 64, 64)
    assert len(batch["mask_labels"]) == len(batch["class_labels"]) == 2 and "attention_mask" not in batch
    assert torch.equal(batch["segmentation_pixel_values"], batch["pixel_values"][:2])
    with pytest.raises(ValueError, match="no segments"):
        collate([{"image": np.zeros((8, 8, 3), np.uint8), "text": "a"}])


@pytest.mark.parametrize("share, count", [(0.0, 0), (0.01, 1), (0.2, 2), (0.3, 2), (0.35, 3), (1.0, 8)])
def test_the_share_of_segments_is_rounded_and_at_least_one(share, count):
    data = PreTrainingMixture(CaptionedShapes("train", 8, (32, 32)))
    collate = PreTrainingCollator(caption_tokenizer(), segmentation_share=share, max_length=40, num_labels=10)
    batch = collate([data[index] for index in range(8)])
    assert len(batch.get("segmentation_pixel_values", ())) == count
