# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sizes, thresholds and shapes that cannot be are named."""

import pytest
import torch

from hfseg import postprocess


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_sizes": [(4, 4)]}, "output_sizes has 1 entries for a batch of 2"),
        ({"image_sizes": [(99, 4), (4, 4)]}, "exceeds the padded size"),
        ({"output_sizes": [(0, 4), (4, 4)]}, "at least"),
        ({"mask_threshold": 1.5}, "mask_threshold must lie"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        postprocess.panoptic_segmentation(torch.zeros(2, 3, 4), torch.zeros(2, 3, 8, 8), **change)
    with pytest.raises(ValueError, match="Class logits must be"):
        postprocess.semantic_segmentation(torch.zeros(2, 3, 4), torch.zeros(2, 4, 8, 8))
