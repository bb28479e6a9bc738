# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of MedDenseViT on Pillow and NumPy; works without torchvision."""

from typing import Any

import numpy as np
from PIL import Image
from transformers.image_utils import SizeDict
from transformers.processing_utils import Unpack

from ...processing.pil_backend import SemanticImageProcessorPil
from .intensity_processing_meddensevit import MedDenseViTImageProcessorKwargs, MedicalIntensityProcessing


class MedDenseViTImageProcessorPil(MedicalIntensityProcessing, SemanticImageProcessorPil):
    """Prepares images for MedDenseViT like `MedDenseViTImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = MedDenseViTImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[MedDenseViTImageProcessorKwargs]):
        super().__init__(**kwargs)

    def resize(self, image: np.ndarray, size: SizeDict, resample: Any = None, **kwargs: Any) -> np.ndarray:
        """Resizes an image; floats as floats (transformers would go through 8 bits)."""
        if not np.issubdtype(image.dtype, np.floating):
            return super().resize(image, size, resample=resample, **kwargs)
        method = Image.Resampling.BILINEAR if resample is None else Image.Resampling(int(resample))
        target = (int(size["width"]), int(size["height"]))
        planes = [
            Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32)).resize(target, method) for plane in image
        ]
        return np.stack([np.asarray(plane) for plane in planes])


__all__ = ["MedDenseViTImageProcessorPil"]
