# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What the pipelines take as an image, and how they go through many of them."""

import os
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers.image_utils import load_image as load_any_image

from ..files.images import load_image, sixteen_bit_to_eight

__all__ = ["OneByOne", "image_of_array", "in_usable_dtype", "is_stream", "read_image", "refuse_nothing"]


def refuse_nothing(images: Any) -> None:
    """Checks that there is something to run on; transformers ends an empty list in an IndexError.

    Raises:
        ValueError: An empty list or tuple.
    """
    if isinstance(images, (list, tuple)) and len(images) == 0:
        raise ValueError("The list of images is empty; give at least one image.")


def is_stream(inputs: Any) -> bool:
    """Whether inputs are read one after another: a generator or a dataset."""
    return isinstance(inputs, (types.GeneratorType, Dataset))


def image_of_array(array: Any, deep: bool = False) -> Image.Image:
    """PIL image of an array or tensor: (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels.

    8-bit values are taken as they are, floats from 0 to 1 as shares of white.

    Args:
        array: The image.
        deep: Keep 16-bit and float values of gray images (for X-rays and slices of scans).

    Raises:
        ValueError: For another shape, or floats outside of [0, 1].
    """
    is_tensor = isinstance(array, torch.Tensor)
    values = _channels_last(array.detach().cpu().numpy() if is_tensor else np.asarray(array), is_tensor)
    if deep and values.ndim == 2 and values.dtype != np.uint8:
        kind = np.float32 if np.issubdtype(values.dtype, np.floating) else np.int32
        return Image.fromarray(values.astype(kind))
    return Image.fromarray(np.ascontiguousarray(_eight_bit(values)))


def _channels_last(values: np.ndarray, is_tensor: bool) -> np.ndarray:
    """Brings an image to (H, W) or (H, W, C).

    Args:
        values: (H, W), (H, W, C) or (C, H, W).
        is_tensor: Decides where both ends could be the channels: tensors have them first.

    Raises:
        ValueError: For another shape.
    """
    shape = values.shape
    if values.ndim == 3 and shape[0] in (1, 3, 4) and (is_tensor or shape[-1] not in (1, 3, 4)):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in (3, 4)) or 0 in values.shape:
        raise ValueError(f"An image array must be (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels; got {shape}.")
    return values


def _eight_bit(values: np.ndarray) -> np.ndarray:
    """Brings the values of an image to 0 to 255.

    Raises:
        ValueError: Floats outside of [0, 1], or integers outside of [0, 255] that are not 16-bit.
    """
    if values.dtype == np.uint16:
        values = sixteen_bit_to_eight(values)
    elif np.issubdtype(values.dtype, np.floating):
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError("A float image must have finite values from 0 to 1; give 8-bit integers for 0 to 255.")
        values = np.round(values * 255)
    elif values.dtype == bool:
        values = values * np.uint8(255)
    elif values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
        raise ValueError(f"An integer image must have values from 0 to 255; got {values.min()} to {values.max()}.")
    return values.astype(np.uint8)


def read_image(image: Any, timeout: float | None = None, load: Callable[[Any], Image.Image] = load_image) -> Any:
    """Image of a local path, an address, a PIL image, an array or a tensor.

    Args:
        image: The image. An address typed by the user is followed, as in every transformers pipeline.
        timeout: Seconds to wait for an address.
        load: Reads local files and checks images; a processor may know better than 8-bit RGB (16-bit X-rays).
    """
    if isinstance(image, (np.ndarray, torch.Tensor)):
        image = image_of_array(image, deep=load is not load_image)
    elif isinstance(image, str) and not os.path.isfile(image) and image.startswith(("http://", "https://", "data:")):
        image = load_any_image(image, timeout=timeout)
    return load(image)


def in_usable_dtype(model: torch.nn.Module) -> None:
    """Brings a model of half precision into float32, with a warning, on a CPU that does not compute with its type."""
    first = next(model.parameters())
    if first.dtype in (torch.bfloat16, torch.float16):
        from ..inference.precision import usable_dtype

        model.to(usable_dtype(first.dtype, first.device))


class OneByOne:
    """Mixin before a pipeline whose inputs differ in prompts, names or sizes: a batch runs image by image.

    `batch_size` is taken, and changes nothing but how many images are prepared ahead.
    """

    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self, "_is_ours", True):
            in_usable_dtype(self.model)

    def __call__(self, inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        """See `Pipeline.__call__`; an empty list is a ValueError."""
        refuse_nothing(inputs)
        pipeline: Any = super()  # the mixin comes before a pipeline
        return pipeline.__call__(inputs, *args, **kwargs)

    def get_iterator(self, inputs: Any, num_workers: int, batch_size: int, *parameters: Any, **named: Any) -> Any:
        """See `Pipeline.get_iterator`."""
        if not getattr(self, "_is_ours", True):
            return super().get_iterator(inputs, num_workers, batch_size, *parameters, **named)
        workers = num_workers if hasattr(inputs, "__len__") else min(num_workers, 1)
        return super().get_iterator(inputs, workers, 1, *parameters, **named)
