# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of UniSegFormer on Pillow and NumPy; works without torchvision."""

from ...processing.pil_backend import UniversalImageProcessorPil
from .processing import UniSegFormerProcessing


class UniSegFormerImageProcessorPil(UniSegFormerProcessing, UniversalImageProcessorPil):
    """Prepares images for UniSegFormer like `UniSegFormerImageProcessor`, with Pillow's bilinear resize."""


__all__ = ["UniSegFormerImageProcessorPil"]
