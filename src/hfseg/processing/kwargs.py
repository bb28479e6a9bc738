# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Settings of image processors beyond those of every image processor of transformers.

Each is an attribute that the mixin of its family describes, and may be given for one call.
"""

from transformers.processing_utils import ImagesKwargs

__all__ = ["SemanticImageProcessorKwargs", "UniversalImageProcessorKwargs"]


class SemanticImageProcessorKwargs(ImagesKwargs, total=False):
    """Settings of `SemanticSegmentationProcessing`."""

    size_divisor: int | None
    ignore_index: int | None
    do_reduce_labels: bool | None
    num_labels: int | None


class UniversalImageProcessorKwargs(SemanticImageProcessorKwargs, total=False):
    """Settings of `UniversalSegmentationProcessing`."""

    label_ids_to_fuse: list[int] | None
    threshold: float | None
    instance_threshold: float | None
    mask_threshold: float | None
    overlap_mask_area_threshold: float | None
    num_instances: int | None
    binary_mask_labels: bool | None
    suppress_duplicates: bool | None
    min_segment_area: int | None
    stretch_contrast: bool | None
