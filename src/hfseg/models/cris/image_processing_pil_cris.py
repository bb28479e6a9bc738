# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of CRIS on Pillow and NumPy; works without torchvision."""

from transformers.processing_utils import Unpack

from ...files.remote_code import RemoteCodeImageProcessor
from ...processing.pil_backend import PilPixels
from .referring_processing import CrisImageProcessorKwargs, ReferringSegmentationProcessing


class CrisImageProcessorPil(RemoteCodeImageProcessor, ReferringSegmentationProcessing, PilPixels):
    """Prepares images for CRIS like `CrisImageProcessor`."""

    valid_kwargs = CrisImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[CrisImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["CrisImageProcessorPil"]
