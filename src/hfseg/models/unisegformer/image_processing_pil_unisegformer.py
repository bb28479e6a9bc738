# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of UniSegFormer on Pillow and NumPy; works without torchvision."""

from transformers.processing_utils import Unpack

from ...processing.pil_backend import UniversalImageProcessorPil
from .processing import UniSegFormerImageProcessorKwargs, UniSegFormerProcessing


class UniSegFormerImageProcessorPil(UniSegFormerProcessing, UniversalImageProcessorPil):
    """Prepares images for UniSegFormer like `UniSegFormerImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = UniSegFormerImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[UniSegFormerImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["UniSegFormerImageProcessorPil"]
