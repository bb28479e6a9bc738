# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of VPNeXt on torchvision."""

from ...processing.kwargs import SemanticImageProcessorKwargs as VPNeXtImageProcessorKwargs
from ...processing.torchvision_backend import SemanticImageProcessor


class VPNeXtImageProcessor(SemanticImageProcessor):
    """Prepares images (and class maps) for VPNeXt and turns its logits into class maps.

    Images are resized bilinearly (shortest edge 520, as in training on Pascal Context), normalized with ImageNet's mean
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


__all__ = ["VPNeXtImageProcessor"]
