# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Collation of images with expressions and captions."""

import numpy as np
import pytest
import torch

from hfseg.data import ImageTextCollator, ReferringCollator, ShapesDataset


def characters(texts, max_length, **options):
    """A tokenizer whose tokens are the letters' codes."""
    assert options == {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    rows = [[ord(letter) for letter in text[:max_length]] for text in texts]
    return {"input_ids": torch.tensor([row + [0] * (max_length - len(row)) for row in rows]), "other": None}


def test_referring_and_image_text_batches():
    scene = ShapesDataset(num_scenes=1, image_size=(40, 32))[0]
    example = {"image": scene["image"], "mask": 255 * (scene["segmentation"] == 1), "expressions": ["ab", "cd"]}
    batch = ReferringCollator(characters, max_length=3, size_divisor=16)([example] * 20)
    assert batch["labels"].shape == (20, 48, 32)
    assert torch.equal(batch["labels"][0, :40], torch.from_numpy(scene["segmentation"] == 1).float())
    assert {tuple(row.tolist()) for row in batch["input_ids"]} == {(97, 98, 0), (99, 100, 0)}
    assert set(ImageTextCollator(characters, max_length=3)([{"image": scene["image"], "text": "x"}])) == {
        "pixel_values",
        "input_ids",
    }
    with pytest.raises(ValueError, match=r"example 0 .*'expressions' .*none of them empty"):
        ReferringCollator(characters)([{**example, "expressions": [" "]}])
    with pytest.raises(ValueError, match=r"size .* and its mask .*must be equal"):
        ReferringCollator(characters)([{**example, "mask": np.zeros((3, 3), dtype=np.uint8)}])
    with pytest.raises(ValueError, match=r"model\.tokenizer"):
        ReferringCollator(None)
