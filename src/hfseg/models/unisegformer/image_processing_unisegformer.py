# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of UniSegFormer on torchvision."""

from transformers.processing_utils import Unpack

from ...processing.torchvision_backend import UniversalImageProcessor
from .processing import UniSegFormerImageProcessorKwargs, UniSegFormerProcessing


class UniSegFormerImageProcessor(UniSegFormerProcessing, UniversalImageProcessor):
    """Prepares images (and segmentation maps) for UniSegFormer and turns its outputs into segments or class maps.

    Images are resized bilinearly (shortest edge 1024, longest at most 2048), normalized with ImageNet's mean and
    deviation, and padded with zeros at right and bottom to a multiple of 32. One processor serves both heads: semantic
    results come from queries or from dense logits, whatever the model gives.

    Example:
        >>> import numpy as np
        >>> processor = UniSegFormerImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        >>> processor(np.zeros((48, 60, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"].shape
        torch.Size([1, 3, 64, 96])
    """

    valid_kwargs = UniSegFormerImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[UniSegFormerImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["UniSegFormerImageProcessor"]
