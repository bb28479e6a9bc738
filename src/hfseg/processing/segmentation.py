# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What image processors of segmentation models share: reading, checking, and ONE way from images to a batch."""

import importlib
import importlib.util
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    PILImageResampling,
    SizeDict,
)
from transformers.utils import TensorType

from ..files.images import check_finite, check_rescaled_values, convert_to_rgb, load_image, sixteen_bit_to_eight
from .sizes import resized_size

# Releases of transformers without the class: the same container under its base class.
SemanticSegmentationPostProcessorOutput: type[BatchFeature] = (
    importlib.import_module("transformers.image_processing_outputs").SemanticSegmentationPostProcessorOutput
    if importlib.util.find_spec("transformers.image_processing_outputs")
    else BatchFeature
)

__all__ = ["Placement", "SegmentationProcessing", "SemanticSegmentationPostProcessorOutput", "place", "sizes_of"]


@dataclass(frozen=True)
class Placement:
    """Where images lie in a batch: (height, width) before and after the resize, and of the padded input."""

    original_sizes: list[tuple[int, int]]
    resized_sizes: list[tuple[int, int]]
    padded_size: tuple[int, int] | None
    resized: bool


def sizes_of(images: Sequence[Any]) -> list[tuple[int, int]]:
    """(height, width) of channel-first images."""
    return [(image.shape[-2], image.shape[-1]) for image in images]


def place(images: Sequence[Any], canvas: Any) -> Any:
    """Puts images at the top left of the canvases of a batch, which it returns. Shape: canvas (B, C, H, W)."""
    for target, image in zip(canvas, images):
        target[:, : image.shape[-2], : image.shape[-1]] = image
    return canvas


class SegmentationProcessing:
    """Mixin of image processors for segmentation models: from images and their maps to a batch, on any backend.

    A backend (`torchvision_backend`, `pil_backend`) comes behind it in the list of base classes and gives the hooks
    that touch pixels: `resize_images`, `normalize_images`, `filled` and `device_of`. A family of models may change how
    images are scaled (`scale_images`) and padded (`pad_images`), and says what its targets are (`make_targets`).

    Attributes:
        size: see `resized_size`.
        size_divisor: the batch is padded at the right and bottom with zeros, after normalization, to a multiple of it.
        ignore_index: class id that is void in semantic maps.
        do_reduce_labels: class 0 of maps is background and other classes are lowered by one.
        num_labels: number of classes, if targets should be checked against it.
    """

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    default_to_square = False
    do_convert_rgb = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_pad: bool | None = True
    size_divisor: int | None = 32
    ignore_index = 255
    do_reduce_labels = False
    num_labels = None
    model_input_names = ["pixel_values"]
    # Tells hfseg's pipeline that thresholds are this processor's business and that batches are grouped by size.
    owns_postprocessing_defaults = True
    # Hooks of the backend.
    resize_images: Any
    normalize_images: Any
    filled: Any
    device_of: Any
    # Whether targets have one size in a batch and become one tensor; else they stay a list.
    targets_are_stacked = False

    def preprocess(self, images: Any, *targets: Any, **kwargs: Any) -> BatchFeature:
        """Turns images, and optionally targets, into a batch; families document their targets.

        Raises:
            ValueError: for empty input, and what the family refuses.
        """
        if isinstance(images, (list, tuple)) and len(images) == 0:
            raise ValueError("The list of images is empty; give at least one image.")
        return super().preprocess(images, *targets, **kwargs)

    def _preprocess(
        self,
        images: list[Any],
        *targets: Any,
        do_resize: bool,
        size: SizeDict,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: Any,
        image_std: Any,
        return_tensors: str | TensorType | None = None,
        **settings: Any,
    ) -> BatchFeature:
        colors = {"do_rescale": do_rescale, "rescale_factor": rescale_factor, "image_mean": image_mean}
        original_sizes = sizes_of(images)
        if do_rescale:
            for image in images:
                check_rescaled_values(image, rescale_factor)
        if do_resize:
            images = self.scale_images(images, size, **settings, **colors)
        resized_sizes = sizes_of(images)
        images, padded_size = self.pad_images(images, size, **settings, **colors)
        pixel_values: Any = self.normalize_images(
            images, do_rescale, rescale_factor, do_normalize, image_mean, image_std
        )
        if padded_size is not None:
            # Zeros after normalization: the padding has the mean color, as in training.
            shape = (len(images), pixel_values[0].shape[0], *padded_size)
            pixel_values = place(pixel_values, self.filled(pixel_values[0], shape, 0))
        data = {"pixel_values": pixel_values}
        labels = {}
        if targets and targets[0] is not None:
            placed = Placement(original_sizes, resized_sizes, padded_size, do_resize)
            labels = self.make_targets(*targets, placed=placed, **settings)
        if self.targets_are_stacked:
            data |= labels
        batch = BatchFeature(data=data, tensor_type=return_tensors)
        as_arrays = return_tensors is not None and TensorType(return_tensors) == TensorType.NUMPY
        device = self.device_of(images[0])
        for name, values in labels.items():
            if not self.targets_are_stacked:
                # Each image has its own number of segments.
                batch[name] = values if as_arrays else [torch.from_numpy(value).to(device) for value in values]
            elif isinstance(batch[name], Tensor):
                batch[name] = batch[name].to(device)
        self.note_sizes(batch, original_sizes, resized_sizes)
        return batch

    # ------------------------------------------------------------------------------------- what families may change
    def scale_images(
        self, images: list[Any], size: SizeDict, resample: Any = None, disable_grouping: bool | None = None, **_: Any
    ) -> list[Any]:
        """Resizes images by the rule of `resized_size`."""
        targets = [resized_size(*image_size, size) for image_size in sizes_of(images)]
        return self.resize_images(images, targets, resample, disable_grouping)

    def pad_images(
        self,
        images: list[Any],
        size: SizeDict,
        do_pad: bool | None = None,
        pad_size: SizeDict | None = None,
        size_divisor: int | None = None,
        **_: Any,
    ) -> tuple[list[Any], tuple[int, int] | None]:
        """Images as they are normalized, and the size to which zeros are added afterwards (None: no padding)."""
        return images, self.padded_size(sizes_of(images), size_divisor, pad_size) if do_pad else None

    def make_targets(self, *targets: Any, placed: "Placement", **settings: Any) -> dict[str, list[np.ndarray]]:
        """Entries of the batch that training needs, one array per image."""
        raise NotImplementedError

    def note_sizes(
        self, batch: BatchFeature, original_sizes: list[tuple[int, int]], resized_sizes: list[tuple[int, int]]
    ) -> None:
        """Adds sizes to the batch, for families whose model or way back wants them."""

    # ------------------------------------------------------------------------------------------------------- images

    def fetch_images(self, images: Any) -> Any:
        """Loads local paths safely (never a URL); image objects pass through."""
        if isinstance(images, (str, os.PathLike)):
            return load_image(images)
        if isinstance(images, (list, tuple)):
            return [self.fetch_images(image) for image in images]
        return super().fetch_images(images)

    def process_image(
        self, image: Any, do_convert_rgb: bool | None = None, input_data_format: Any = None, **kwargs: Any
    ) -> Any:
        """Converts one image to the backend's channel-first form, after checking it."""
        if hasattr(image, "mode") and hasattr(image, "convert"):  # PIL
            if min(image.size) < 1:
                raise ValueError(f"Image has no pixels: its size is {image.size[0]} x {image.size[1]}.")
            if do_convert_rgb:
                image = convert_to_rgb(image)
        elif isinstance(image, (np.ndarray, Tensor)):
            if 0 in image.shape:
                raise ValueError(f"Image has no pixels: its shape is {tuple(image.shape)}.")
            if isinstance(image, np.ndarray):  # torch takes neither flipped views nor another order of bytes
                image = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
            if image.dtype == object or (isinstance(image, np.ndarray) and image.dtype.kind not in "buif"):
                raise ValueError(f"Image of shape {tuple(image.shape)} holds {image.dtype}, not numbers.")
            if image.ndim == 3 and input_data_format is None and not {image.shape[0], image.shape[-1]} & {1, 3, 4}:
                raise ValueError(
                    f"Image of shape {tuple(image.shape)} has neither 1, 3 nor 4 channels, first or last; choose "
                    "channels, or name their place by input_data_format."
                )
            check_finite(image)
            if image.dtype in (bool, torch.bool):  # as Pillow's mode "1", and as the pipelines
                image = image * np.uint8(255) if isinstance(image, np.ndarray) else image.to(torch.uint8) * 255
            if image.dtype in (np.uint16, torch.uint16):
                image = sixteen_bit_to_eight(image if isinstance(image, np.ndarray) else image.cpu().numpy())
            if input_data_format is None and image.ndim == 3 and image.shape[0] in (1, 4) and image.shape[-1] == 3:
                # RGB of height 1 or 4; transformers would take the rows for channels.
                input_data_format = ChannelDimension.LAST
        channels_first = super().process_image(
            image, do_convert_rgb=do_convert_rgb, input_data_format=input_data_format, **kwargs
        )
        if do_convert_rgb and channels_first.shape[0] == 1:
            # Older transformers releases leave gray arrays as they are.
            repeats = (3, 1, 1)
            return (
                channels_first.repeat(*repeats)
                if isinstance(channels_first, Tensor)
                else np.tile(channels_first, repeats)
            )
        return channels_first

    def padded_size(
        self, sizes: Sequence[tuple[int, int]], size_divisor: int | None, pad_size: SizeDict | None = None
    ) -> tuple[int, int]:
        """Height and width of the batch: `pad_size`, or the largest of `sizes` rounded up to `size_divisor`.

        Raises:
            ValueError: if an image is larger than `pad_size`.
        """
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
        if pad_size is not None:
            pad_height, pad_width = pad_size.height or 0, pad_size.width or 0
            if height > pad_height or width > pad_width:
                raise ValueError(
                    f"pad_size {dict(pad_size)} is smaller than the resized batch of {height} x {width} pixels."
                )
            return pad_height, pad_width
        divisor = size_divisor or 1
        return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor
