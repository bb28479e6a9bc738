# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of Unpair-Seg on Pillow and NumPy: the authors' pixels to the bit; works without torchvision."""

from transformers.processing_utils import Unpack

from ...files.remote_code import RemoteCodeImageProcessor
from ...processing.pil_backend import PilPixels
from .mask_generation_processing import MaskGenerationProcessing, UnpairSegImageProcessorKwargs


class UnpairSegImageProcessorPil(RemoteCodeImageProcessor, MaskGenerationProcessing, PilPixels):
    """Prepares images for Unpair-Seg like `UnpairSegImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = UnpairSegImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[UnpairSegImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["UnpairSegImageProcessorPil"]
