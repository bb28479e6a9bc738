# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processors on Pillow and NumPy, like those of `torchvision_backend`, without torchvision."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import SizeDict
from transformers.processing_utils import Unpack

from ..files.remote_code import RemoteCodeImageProcessor
from .kwargs import SemanticImageProcessorKwargs, UniversalImageProcessorKwargs
from .semantic import SemanticSegmentationProcessing
from .universal import UniversalSegmentationProcessing

__all__ = ["PilPixels", "SemanticImageProcessorPil", "UniversalImageProcessorPil"]


class PilPixels(PilBackend):
    """Hooks of `SegmentationProcessing` on arrays."""

    def resize_images(
        self, images: list[np.ndarray], sizes: Sequence[tuple[int, int]], resample: Any, disable_grouping: Any
    ) -> list[np.ndarray]:
        """Resizes images to (height, width) each."""
        return [
            image
            if size == tuple(image.shape[-2:])
            else self.resize(image, SizeDict(height=size[0], width=size[1]), resample=resample)
            for image, size in zip(images, sizes)
        ]

    def resize(self, image: np.ndarray, size: SizeDict, resample: Any = None, **kwargs: Any) -> np.ndarray:
        """Resizes an image; floats as floats (transformers would go through 8 bits, and refuses fractions above 1)."""
        if not np.issubdtype(image.dtype, np.floating):
            return super().resize(image, size, resample=resample, **kwargs)
        method = Image.Resampling.BILINEAR if resample is None else Image.Resampling(int(resample))
        target = (int(size["width"]), int(size["height"]))
        planes = [
            Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32)).resize(target, method) for plane in image
        ]
        return np.stack([np.asarray(plane) for plane in planes])

    def normalize_images(
        self,
        images: list[np.ndarray],
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: Any,
        image_std: Any,
    ) -> list[np.ndarray]:
        """Rescales and normalizes images."""
        if do_rescale:
            images = [self.rescale(image, rescale_factor) for image in images]
        if do_normalize:
            images = [self.normalize(image, image_mean, image_std) for image in images]
        return images

    def filled(self, image: np.ndarray, shape: Sequence[int], value: float) -> np.ndarray:
        """Canvas with one value, of the type of an image."""
        return np.full(tuple(shape), value, dtype=image.dtype)

    def device_of(self, image: Any) -> None:
        """Arrays lie in main memory."""


class UniversalImageProcessorPil(RemoteCodeImageProcessor, UniversalSegmentationProcessing, PilPixels):
    """Prepares images like `UniversalImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = UniversalImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[UniversalImageProcessorKwargs]):
        super().__init__(**kwargs)


class SemanticImageProcessorPil(RemoteCodeImageProcessor, SemanticSegmentationProcessing, PilPixels):
    """Prepares images like `SemanticImageProcessor`, with Pillow's bilinear resize."""

    valid_kwargs = SemanticImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[SemanticImageProcessorKwargs]):
        super().__init__(**kwargs)
