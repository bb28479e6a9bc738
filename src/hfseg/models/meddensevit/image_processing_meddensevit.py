# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processor of MedDenseViT on torchvision."""

from transformers.processing_utils import ImagesKwargs, Unpack

from ...processing.semantic_image_processing import SemanticImageProcessor
from .intensity_processing_meddensevit import MedicalIntensityProcessing


class MedDenseViTImageProcessorKwargs(ImagesKwargs, total=False):
    """Attributes beyond those of every image processor; `MedicalIntensityProcessing` describes them."""

    size_divisor: int | None
    ignore_index: int | None
    do_reduce_labels: bool | None
    num_labels: int | None
    modality: str | None
    input_mode: str | None
    windows: list[list[float]] | None
    do_normalize_intensity: bool | None
    check_values: bool | None


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
