# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of PRO-SCALE on torchvision: resize, normalise, pad; targets; post-processing."""

from transformers.processing_utils import ImagesKwargs, Unpack

from ..universal_image_processing import UniversalImageProcessor


class ProScaleImageProcessorKwargs(ImagesKwargs, total=False):
    """Attributes beyond those of every image processor; `UniversalSegmentationProcessing` describes them."""

    size_divisor: int | None
    ignore_index: int | None
    do_reduce_labels: bool | None
    num_labels: int | None
    label_ids_to_fuse: list[int] | None
    threshold: float | None
    mask_threshold: float | None
    overlap_mask_area_threshold: float | None
    num_instances: int | None
    suppress_duplicates: bool | None
    min_segment_area: int | None
    stretch_contrast: bool | None


class ProScaleImageProcessor(UniversalImageProcessor):
    """Prepares images (and segmentation maps) for PRO-SCALE and turns its outputs into segments.

    Images are resized bilinearly (shortest edge 800, longest at most 1333), normalised with ImageNet's mean and
    deviation, and padded with zeros at the right and bottom to a multiple of 32. Resized values are within one grey
    level of Pillow's; `ProScaleImageProcessorPil` equals them.

    Example:
        >>> import numpy as np
        >>> processor = ProScaleImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        >>> processor(np.zeros((48, 60, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"].shape
        torch.Size([1, 3, 64, 96])
    """

    valid_kwargs = ProScaleImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[ProScaleImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["ProScaleImageProcessor"]
