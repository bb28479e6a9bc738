# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of MedDenseViT on torchvision."""

from transformers.processing_utils import Unpack

from ...processing.torchvision_backend import SemanticImageProcessor
from .intensity_processing_meddensevit import MedDenseViTImageProcessorKwargs, MedicalIntensityProcessing


class MedDenseViTImageProcessor(MedicalIntensityProcessing, SemanticImageProcessor):
    """Prepares X-rays, slices and volumes for MedDenseViT and brings its logits back to native geometry.

    Example:
        >>> import numpy as np
        >>> processor = MedDenseViTImageProcessor(size={"height": 64, "width": 64})
        >>> radiograph = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30)
        >>> processor(radiograph, return_tensors="pt")["pixel_values"].shape
        torch.Size([1, 3, 64, 64])
    """

    valid_kwargs = MedDenseViTImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[MedDenseViTImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["MedDenseViTImageProcessor"]
