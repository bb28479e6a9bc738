# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Flips and scales: of an oracle they change nothing, and views are averaged."""

import numpy as np
import torch
from transformers.utils import ModelOutput

import oracle
from hfseg.inference import augmented_scores, output_scores
from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor

NUM_LABELS = 4

plain = oracle.processor(mask_stride=4)


def photo(height=61, width=83, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def local_logits(pixel_values):
    """Every pixel answers for itself, so the answer moves with the image."""
    mixing = torch.linspace(-1, 1, NUM_LABELS * 3).reshape(NUM_LABELS, 3).roll(1, 0) / 60
    return ModelOutput(logits=torch.einsum("kc,bchw->bkhw", mixing, pixel_values))


def placed_logits(pixel_values):
    """Answers by the place in the window only, which shows the weights of the average."""
    height, width = pixel_values.shape[-2:]
    ramp = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width) / (height * width)
    return ModelOutput(logits=torch.cat([ramp, -ramp], 1).expand(len(pixel_values), -1, -1, -1))


class Counting:
    def __init__(self, predict):
        self.predict, self.shapes = predict, []

    def __call__(self, pixel_values):
        self.shapes.append(tuple(pixel_values.shape))
        return self.predict(pixel_values)


def direct(image, predict, processor=plain, target=None):
    inputs = processor(image, return_tensors="pt")["pixel_values"].float()
    inner = processor(image, return_tensors="pt", do_pad=False)["pixel_values"].shape[-2:]
    return output_scores(predict(inputs), tuple(inputs.shape[-2:]), [inner], [target or image.shape[:2]])[0]


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
