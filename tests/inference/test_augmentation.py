# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Flips and scales: of an oracle they change nothing, and views are averaged."""

import numpy as np
import torch

from hfseg.inference import augmented_scores
from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor
from window_models import Counting, direct, local_logits, photo, placed_logits, plain


def test_flip_and_scales_of_an_oracle_change_nothing():
    image = photo(64, 64)
    single = direct(image, local_logits)
    torch.testing.assert_close(augmented_scores(image, local_logits, plain, flip=True), single, atol=1e-6, rtol=0)
    flat = np.full((40, 56, 3), 90, dtype=np.uint8)
    flat[..., 1] = 10
    processor = ProScaleImageProcessor(size={"shortest_edge": 32, "longest_edge": 90})
    scores = augmented_scores(flat, local_logits, processor, scales=(0.5, 1.0, 1.75), flip=True)
    torch.testing.assert_close(scores, direct(flat, local_logits, processor), atol=1e-6, rtol=0)
    windows = augmented_scores(image, local_logits, plain, flip=True, window=40, stride=20, weighting="gaussian")
    torch.testing.assert_close(windows, single, atol=1e-6, rtol=0)


def test_views_have_the_right_sizes_and_are_averaged():
    processor = ProScaleImageProcessor(size={"shortest_edge": 64, "longest_edge": 200})
    image, predict = photo(50, 75), Counting(placed_logits)
    scores = augmented_scores(image, predict, processor, scales=(0.5, 1.0), flip=True)
    assert predict.shapes == [(1, 3, 32, 64), (1, 3, 32, 64), (1, 3, 64, 96), (1, 3, 64, 96)]
    views = []
    for size in ({"height": 32, "width": 48}, {"height": 64, "width": 96}):
        view = direct(image, placed_logits, ProScaleImageProcessor(size=size))
        views += [view, view.flip(-1)]
    torch.testing.assert_close(scores, torch.stack(views).mean(0), atol=1e-6, rtol=1e-5)


def test_sizes_of_scales_are_rounded_half_up():
    """64 x 96 times 0.508 is 32.5 x 48.8: 33 x 49, which is padded to 64 x 64; rounded down it would be 32 x 64."""
    processor = ProScaleImageProcessor(size={"shortest_edge": 64, "longest_edge": 200})
    predict = Counting(placed_logits)
    augmented_scores(photo(50, 75), predict, processor, scales=(0.508,), flip=False)
    assert predict.shapes == [(1, 3, 64, 64)]
