# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of PRO-SCALE on torchvision: resize, normalize, pad; targets; post-processing."""

from ...processing.detection import DetectionProcessing
from ...processing.kwargs import UniversalImageProcessorKwargs as ProScaleImageProcessorKwargs
from ...processing.torchvision_backend import UniversalImageProcessor


class ProScaleImageProcessor(DetectionProcessing, UniversalImageProcessor):
    """Prepares images (and segmentation maps) for PRO-SCALE and turns its outputs into segments, or
    into boxes (`post_process_object_detection`).

    Images are resized bilinearly (shortest edge 800, longest at most 1333), normalized with ImageNet's mean and
    deviation, and padded with zeros at the right and bottom to a multiple of 32. Resized values are within one gray
    level of Pillow's; `ProScaleImageProcessorPil` equals them.

    Example:
        >>> import numpy as np
        >>> processor = ProScaleImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        >>> processor(np.zeros((48, 60, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"].shape
        torch.Size([1, 3, 64, 96])
    """

    valid_kwargs = ProScaleImageProcessorKwargs


__all__ = ["ProScaleImageProcessor"]
