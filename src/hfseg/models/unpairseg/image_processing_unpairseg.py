# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of Unpair-Seg on torchvision: resize, pad, normalize; prompts; masks and segments."""

from transformers.processing_utils import Unpack

from ...files.remote_code import RemoteCodeImageProcessor
from ...processing.torchvision_backend import TorchvisionPixels
from .mask_generation_processing import MaskGenerationProcessing, UnpairSegImageProcessorKwargs


class UnpairSegImageProcessor(RemoteCodeImageProcessor, MaskGenerationProcessing, TorchvisionPixels):
    """Prepares images and prompts for Unpair-Seg and turns its outputs into masks and segments.

    The longer side becomes 1024 pixels, the rest of the square is gray (128), and colors are normalized with CLIP's
    mean and deviation. Resized values are within one gray level of Pillow's; `UnpairSegImageProcessorPil` equals them.

    Example:
        >>> import numpy as np
        >>> processor = UnpairSegImageProcessor(size={"longest_edge": 64})
        >>> inputs = processor(np.zeros((30, 60, 3), dtype=np.uint8), input_points=[[30, 15]], return_tensors="pt")
        >>> inputs["pixel_values"].shape, inputs["input_points"].tolist()
        (torch.Size([1, 3, 64, 64]), [[[[32.0, 16.0]]]])
    """

    valid_kwargs = UnpairSegImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[UnpairSegImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["UnpairSegImageProcessor"]
