# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of MedDenseViT on Pillow and NumPy; works without torchvision."""

from transformers.processing_utils import Unpack

from ...processing.pil_backend import SemanticImageProcessorPil
from .intensity_processing_meddensevit import MedDenseViTImageProcessorKwargs, MedicalIntensityProcessing


class MedDenseViTImageProcessorPil(MedicalIntensityProcessing, SemanticImageProcessorPil):
    """Prepares images for MedDenseViT like `MedDenseViTImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = MedDenseViTImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[MedDenseViTImageProcessorKwargs]):
        super().__init__(**kwargs)


__all__ = ["MedDenseViTImageProcessorPil"]
