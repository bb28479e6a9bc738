# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of CRIS on torchvision: letterbox, normalize; masks; post-processing."""

from transformers.processing_utils import Unpack

from ...files.remote_code import RemoteCodeImageProcessor
from ...processing.torchvision_backend import TorchvisionPixels
from .referring_processing import CrisImageProcessorKwargs, ReferringSegmentationProcessing


class CrisImageProcessor(RemoteCodeImageProcessor, ReferringSegmentationProcessing, TorchvisionPixels):
    """Prepares images (and masks) for CRIS and turns its outputs into masks.

    Images are fitted into 416 x 416 pixels by the authors' warp (`hfseg.processing.letterbox`), with CLIP's mean color
    around them, and normalized with CLIP's mean and deviation.

    Example:
        >>> import numpy as np
        >>> processor = CrisImageProcessor(size={"height": 64, "width": 64})
        >>> processor(np.zeros((48, 60, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"].shape
        torch.Size([1, 3, 64, 64])
    """

    valid_kwargs = CrisImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[CrisImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["CrisImageProcessor"]
