# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of VPNeXt on torchvision."""

from transformers.processing_utils import ImagesKwargs, Unpack

from ...processing.semantic_image_processing import SemanticImageProcessor


class VPNeXtImageProcessorKwargs(ImagesKwargs, total=False):
    """Attributes beyond those of every image processor; `SemanticSegmentationProcessing` describes them."""

    size_divisor: int | None
    ignore_index: int | None
    do_reduce_labels: bool | None
    num_labels: int | None


class VPNeXtImageProcessor(SemanticImageProcessor):
    """Prepares images (and class maps) for VPNeXt and turns its logits into class maps.

    Images are resized bilinearly (shortest edge 520, as in training on Pascal Context), normalised with ImageNet's mean
    and deviation, and padded with zeros at the right and bottom to whole patches of 16 (`size_divisor`; set it to the
    patch size of another backbone). `image_mean` and `image_std` must be those of the backbone's weights: EVA-02 has
    CLIP's.

    Example:
        >>> import numpy as np
        >>> processor = VPNeXtImageProcessor(size={"shortest_edge": 64})
        >>> processor(np.zeros((48, 60, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"].shape
        torch.Size([1, 3, 64, 80])
    """

    valid_kwargs = VPNeXtImageProcessorKwargs
    size = {"shortest_edge": 520}
    size_divisor = 16

    def __init__(self, **kwargs: Unpack[VPNeXtImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["VPNeXtImageProcessor"]
