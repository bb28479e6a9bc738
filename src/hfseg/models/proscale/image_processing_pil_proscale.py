# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of PRO-SCALE on Pillow and NumPy: the authors' resize to the bit; works without torchvision."""

from ...processing.detection import DetectionProcessing
from ...processing.kwargs import UniversalImageProcessorKwargs as ProScaleImageProcessorKwargs
from ...processing.pil_backend import UniversalImageProcessorPil


class ProScaleImageProcessorPil(DetectionProcessing, UniversalImageProcessorPil):
    """Prepares images for PRO-SCALE like `ProScaleImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = ProScaleImageProcessorKwargs


__all__ = ["ProScaleImageProcessorPil"]
