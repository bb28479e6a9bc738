# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segmentation maps from class and mask logits of query-based models: pure tensor functions.

All functions follow the post-processing with which PRO-SCALE and Mask2Former were evaluated: mask logits are resized
bilinearly to the padded network input, cropped to the image, resized bilinearly to the output, and only then passed
through a sigmoid. `resizing` does the three steps in one, in bands of rows; queries that cannot become a segment are
dropped before any resize, and within a band everything is vectorized over queries.

Shapes: B images, Q queries, K classes, (h, w) mask logits, (H, W) output.
"""

from .binary import binary_segmentation
from .bits import pack_masks, unpack_masks
from .boxes import detect_boxes
from .duplicates import distinct_queries
from .instance import InstanceMasks, instance_segmentation
from .mask_suppression import clean_small_regions, mask_nms, mask_stability
from .panoptic import panoptic_segmentation
from .semantic import resize_class_logits, semantic_segmentation

__all__ = [
    "InstanceMasks",
    "binary_segmentation",
    "clean_small_regions",
    "detect_boxes",
    "distinct_queries",
    "instance_segmentation",
    "mask_nms",
    "mask_stability",
    "pack_masks",
    "panoptic_segmentation",
    "resize_class_logits",
    "semantic_segmentation",
    "unpack_masks",
]
