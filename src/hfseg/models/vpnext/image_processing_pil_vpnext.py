# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of VPNeXt on Pillow and NumPy; works without torchvision."""

from ...processing.kwargs import SemanticImageProcessorKwargs as VPNeXtImageProcessorKwargs
from ...processing.pil_backend import SemanticImageProcessorPil


class VPNeXtImageProcessorPil(SemanticImageProcessorPil):
    """Prepares images for VPNeXt like `VPNeXtImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = VPNeXtImageProcessorKwargs
    size = {"shortest_edge": 520}
    size_divisor = 16


__all__ = ["VPNeXtImageProcessorPil"]
