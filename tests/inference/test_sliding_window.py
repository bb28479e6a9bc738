# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sliding windows against the whole image, with models whose answer moves with the image."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers.utils import ModelOutput

from hfseg.inference import (
    gaussian_weights,
    sliding_window_scores,
    sliding_window_segmentation,
    window_starts,
)
from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor
from window_models import NUM_LABELS, Counting, direct, local_logits, photo, placed_logits, plain


def test_starts_cover_everything_and_end_with_the_image():
    assert window_starts(10, 4, 3) == [0, 3, 6]
    assert window_starts(11, 4, 3) == [0, 3, 6, 7]
    assert window_starts(4, 4, 2) == window_starts(3, 4, 2) == [0]
    for length in range(1, 40):
        covered = {position + step for position in window_starts(length, 7, 5) for step in range(7)}
        assert set(range(length)) <= covered
    with pytest.raises(ValueError, match="between 1 and the window"):
        window_starts(10, 4, 5)


def test_one_window_is_the_direct_prediction_also_when_the_processor_resizes():
    processor = ProScaleImageProcessor(size={"shortest_edge": 48, "longest_edge": 90})
    image = photo()
    for weighting in ("mean", "gaussian"):
        scores = sliding_window_scores(image, local_logits, processor, window=(100, 100), weighting=weighting)
        assert torch.equal(scores, direct(image, local_logits, processor))


@pytest.mark.parametrize("weighting", ["mean", "gaussian"])
@pytest.mark.parametrize("window, stride", [((32, 32), None), ((23, 40), (9, 31)), ((64, 17), (64, 17))])
def test_windows_of_an_oracle_give_the_whole_prediction(weighting, window, stride):
    image = photo()
    whole = direct(image, local_logits)
    settings = {"window": window, "stride": stride, "weighting": weighting, "batch_size": 3}
    scores = sliding_window_scores(image, local_logits, plain, **settings)
    torch.testing.assert_close(scores, whole, atol=1e-6, rtol=0)
    labels = sliding_window_segmentation(image, local_logits, plain, **settings)
    assert torch.equal(labels, scores.argmax(0))


@pytest.mark.parametrize("target", [(40, 50), (61, 120), (150, 83), (3, 2)])
def test_bands_are_resized_as_the_whole_map_would_be(target):
    image = photo()
    whole = functional.interpolate(direct(image, local_logits)[None], target, mode="bilinear")[0]
    scores = sliding_window_scores(image, local_logits, plain, window=20, stride=11, target_size=target)
    torch.testing.assert_close(scores, whole, atol=2e-6, rtol=0)


@pytest.mark.parametrize("weighting", ["mean", "gaussian"])
def test_average_in_closed_form(weighting):
    image, window, stride = photo(64, 96), 32, 16
    weights = torch.ones(32, 32) if weighting == "mean" else gaussian_weights((32, 32))
    of_window = placed_logits(torch.zeros(1, 3, 32, 32)).logits[0].softmax(0)
    total, mass = torch.zeros(2, 64, 96), torch.zeros(64, 96)
    for top in (0, 16, 32):
        for left in (0, 16, 32, 48, 64):
            total[:, top : top + 32, left : left + 32] += weights * of_window
            mass[top : top + 32, left : left + 32] += weights
    scores = sliding_window_scores(image, placed_logits, plain, window=window, stride=stride, weighting=weighting)
    torch.testing.assert_close(scores, total / mass, atol=1e-6, rtol=1e-6)
    # The first 16 x 16 pixels lie in one window only.
    torch.testing.assert_close(scores[:, :16, :16], of_window[:, :16, :16])


def test_gaussian_weights():
    weights = gaussian_weights((9, 17))
    assert weights[4, 8] == 1 and weights.min() >= 1e-3
    assert torch.equal(weights, weights.flip(0)) and torch.equal(weights, weights.flip(1))
    assert weights[4, 8 + 2].item() == pytest.approx(np.exp(-0.5 * (2 / (0.125 * 17)) ** 2), rel=1e-6)


def test_windows_are_padded_and_batched():
    predict = Counting(local_logits)
    sliding_window_scores(photo(61, 83), predict, plain, window=40, stride=30, batch_size=2)
    assert predict.shapes == [(2, 3, 64, 64), (1, 3, 64, 64)] * 2


def test_memory_of_the_class_map_is_a_row_of_windows(monkeypatch):
    made = []

    def watching(method):
        def call(*args, **kwargs):
            made.append(method(*args, **kwargs).numel())
            return method(*args, **kwargs)

        return call

    monkeypatch.setattr(torch, "cat", watching(torch.cat))
    monkeypatch.setattr(torch.Tensor, "new_zeros", watching(torch.Tensor.new_zeros))
    height, width = 640, 40
    sliding_window_segmentation(
        photo(height, width), local_logits, plain, window=(32, 40), stride=(16, 40), target_size=(900, 50)
    )
    assert NUM_LABELS * 32 * 40 in made  # the sums
    assert max(made) < NUM_LABELS * 900 * 50 / 10


def test_mask_classification_models_slide_too():
    """Queries that mark pixels by their color: away from the rims, windows and whole agree."""
    image = np.kron(np.random.default_rng(1).integers(0, 200, (16, 24, 3)), np.ones((4, 4, 1))).astype(np.uint8)

    def predict(pixel_values):
        pooled = functional.avg_pool2d(pixel_values, 4)
        return ModelOutput(
            class_queries_logits=(torch.eye(3, 4) * 30).expand(len(pixel_values), -1, -1),
            masks_queries_logits=(pooled - 100) / 20,
        )

    whole = direct(image, predict)
    scores = sliding_window_scores(image, predict, plain, window=32, stride=32)
    inside = torch.ones(64, 96, dtype=torch.bool)
    for edge in (32, 64):  # where windows meet
        inside[:, edge - 2 : edge + 2] = False
    inside[30:34] = False
    torch.testing.assert_close(scores[:, inside], whole[:, inside], atol=1e-6, rtol=0)
    assert not torch.allclose(scores, whole)
