# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Inference beyond one image in one pass: sliding windows, tiles, test-time augmentation.

Functions take `predict(pixel_values) -> outputs` (any model) and the model's image processor; no model is imported.
"""

from .augmentation import augmented_scores
from .scores import output_scores, pad_to_divisor, prepare
from .sliding_window import gaussian_weights, sliding_window_scores, sliding_window_segmentation, window_starts
from .tiled_panoptic import tiled_panoptic_segmentation
from .volumes import VolumeSegmentation, predict_volume, segment_volume

__all__ = [
    "VolumeSegmentation",
    "augmented_scores",
    "gaussian_weights",
    "output_scores",
    "pad_to_divisor",
    "predict_volume",
    "prepare",
    "segment_volume",
    "sliding_window_scores",
    "sliding_window_segmentation",
    "tiled_panoptic_segmentation",
    "window_starts",
]
