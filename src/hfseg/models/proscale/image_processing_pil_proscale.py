# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of PRO-SCALE on Pillow and NumPy: the authors' resize to the bit; works without torchvision."""

from transformers.processing_utils import ImagesKwargs, Unpack

from ..universal_image_processing_pil import UniversalImageProcessorPil


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


class ProScaleImageProcessorPil(UniversalImageProcessorPil):
    """Prepares images for PRO-SCALE like `ProScaleImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = ProScaleImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[ProScaleImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["ProScaleImageProcessorPil"]
