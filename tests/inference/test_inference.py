# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Windows, tiles and views against the whole image, with oracle models whose answer moves with the image."""

import numpy as np
import pytest
import torch
from transformers.utils import ModelOutput

import oracle
from hfseg.inference import (
    augmented_scores,
    sliding_window_scores,
    tiled_panoptic_segmentation,
)

NUM_LABELS = 4
plain = oracle.processor(mask_stride=4)


def photo(height=61, width=83, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def local_logits(pixel_values):
    """Every pixel answers for itself, so the answer moves with the image."""
    mixing = torch.linspace(-1, 1, NUM_LABELS * 3).reshape(NUM_LABELS, 3).roll(1, 0) / 60
    return ModelOutput(logits=torch.einsum("kc,bchw->bkhw", mixing, pixel_values))


# -------------------------------------------------------------------------------------------------- panoptic tiles


@pytest.mark.parametrize(
    "function, settings, message",
    [
        (sliding_window_scores, {"window": 0}, "window is 0"),
        (sliding_window_scores, {"window": (32, 32), "stride": 40}, "exceeds the window"),
        (sliding_window_scores, {"window": 32, "weighting": "cosine"}, "must be one of mean, gaussian"),
        (sliding_window_scores, {"window": 32, "batch_size": 0}, "batch_size is 0"),
        (augmented_scores, {"scales": ()}, "one or more positive"),
        (augmented_scores, {"scales": (1, -1)}, "one or more positive"),
        (tiled_panoptic_segmentation, {"tile": 32, "overlap": 32}, "smaller than the tile"),
        (tiled_panoptic_segmentation, {"tile": 32, "merge_iou": 0}, "merge_iou is 0"),
    ],
)
def test_errors_name_the_value(function, settings, message):
    with pytest.raises(ValueError, match=message):
        function(photo(), local_logits, plain, **settings)
