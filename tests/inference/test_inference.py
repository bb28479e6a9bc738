# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Windows, tiles and views against the whole image, with oracle models whose answer moves with the image."""

import pytest

from hfseg.inference import (
    augmented_scores,
    sliding_window_scores,
    tiled_panoptic_segmentation,
)
from window_models import local_logits, photo, plain

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
