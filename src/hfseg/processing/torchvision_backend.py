# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Image processors on torchvision: the hooks that touch pixels, as tensors on any device.

An architecture derives from `UniversalImageProcessor` or `SemanticImageProcessor` and sets its defaults.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_transforms import group_images_by_shape, reorder_images
from transformers.image_utils import SizeDict
from transformers.processing_utils import Unpack

from ..files.remote_code import RemoteCodeImageProcessor
from .kwargs import SemanticImageProcessorKwargs, UniversalImageProcessorKwargs
from .semantic import SemanticSegmentationProcessing
from .universal import UniversalSegmentationProcessing

__all__ = ["SemanticImageProcessor", "TorchvisionPixels", "UniversalImageProcessor"]


class TorchvisionPixels(TorchvisionBackend):
    """Hooks of `SegmentationProcessing` on tensors."""

    def resize_images(
        self, images: list[Tensor], sizes: Sequence[tuple[int, int]], resample: Any, disable_grouping: bool | None
    ) -> list[Tensor]:
        """Resizes images to (height, width) each; images of one size together."""
        groups, order = group_images_by_shape(images, disable_grouping=disable_grouping)
        size_of = {tuple(image.shape[-2:]): size for image, size in zip(images, sizes)}
        for shape, group in groups.items():
            height, width = size_of[tuple(group.shape[-2:])]
            if (height, width) != tuple(group.shape[-2:]):
                groups[shape] = self.resize(group, SizeDict(height=height, width=width), resample=resample)
        return list(reorder_images(groups, order))

    def normalize_images(self, images: list[Tensor], *rescale_and_normalize: Any) -> list[Tensor]:
        """Rescales and normalizes images."""
        return [self.rescale_and_normalize(image.unsqueeze(0), *rescale_and_normalize)[0] for image in images]

    def filled(self, image: Tensor, shape: Sequence[int], value: float) -> Tensor:
        """Canvas with one value, of the type and device of an image."""
        return image.new_full(tuple(shape), value)

    def device_of(self, image: Any) -> torch.device | None:
        """Where an image lies."""
        return image.device if isinstance(image, Tensor) else None


class UniversalImageProcessor(RemoteCodeImageProcessor, UniversalSegmentationProcessing, TorchvisionPixels):
    """Prepares images (and segmentation maps) for a model with masks per query, and turns its outputs into segments."""

    valid_kwargs = UniversalImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[UniversalImageProcessorKwargs]):
        super().__init__(**kwargs)


class SemanticImageProcessor(RemoteCodeImageProcessor, SemanticSegmentationProcessing, TorchvisionPixels):
    """Prepares images (and class maps) for a model with class logits per pixel, and turns logits into class maps."""

    valid_kwargs = SemanticImageProcessorKwargs

    def __init__(self, **kwargs: Unpack[SemanticImageProcessorKwargs]):
        super().__init__(**kwargs)
