# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of VPNeXt on Pillow and NumPy; works without torchvision."""

from transformers.processing_utils import ImagesKwargs, Unpack

from ...processing.semantic_image_processing_pil import SemanticImageProcessorPil


class VPNeXtImageProcessorKwargs(ImagesKwargs, total=False):
    """Attributes beyond those of every image processor; `SemanticSegmentationProcessing` describes them."""

    size_divisor: int | None
    ignore_index: int | None
    do_reduce_labels: bool | None
    num_labels: int | None


class VPNeXtImageProcessorPil(SemanticImageProcessorPil):
    """Prepares images for VPNeXt like `VPNeXtImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = VPNeXtImageProcessorKwargs
    size = {"shortest_edge": 520}
    size_divisor = 16

    def __init__(self, **kwargs: Unpack[VPNeXtImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["VPNeXtImageProcessorPil"]
