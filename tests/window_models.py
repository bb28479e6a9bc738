# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Models of windows and tiles: answers that move with the image, or show the weights of an average."""

import numpy as np
import torch
from transformers.utils import ModelOutput

import oracle
from hfseg.inference import (
    output_scores,
)

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
