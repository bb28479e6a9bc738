# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading images and label maps: every format becomes an RGB array or an integer map, or a clear error."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ...files.images import FORMATS, convert_to_rgb, open_image, sixteen_bit_to_eight, stretch_contrast

__all__ = ["image_size", "read_image", "read_map", "read_rgb_ids", "stretch_contrast", "to_id_map", "to_rgb"]


def to_rgb(image: Any) -> np.ndarray:
    """RGB image from a PIL image of any mode, an array or a tensor.

    PIL images are converted as `hfseg.files.images.convert_to_rgb` says. In arrays alpha is dropped, gray is repeated,
    16-bit gray is divided by 257, and floats are taken as [0, 1] (and must be finite).
    Tensors are (3, H, W) or (1, H, W); arrays (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        TypeError: For anything else than an image, array or tensor.
        ValueError: For another shape or data type, an empty image, or floats outside [0, 1].

    Shape:
        (H, W, 3), uint8.
    """
    if isinstance(image, Image.Image):
        array = np.array(convert_to_rgb(image))  # a copy: torch warns of arrays that it may not write
    elif isinstance(image, torch.Tensor):
        if image.ndim != 3 or image.shape[0] not in (1, 3):
            raise ValueError(f"image tensor has shape {tuple(image.shape)}; give (3, height, width)")
        array = image.detach().cpu().permute(1, 2, 0).numpy()
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise TypeError(f"image is a {type(image).__name__}; give a PIL image, a numpy array or a tensor")

    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ValueError(
            f"image has shape {array.shape}; give (height, width), (height, width, 3) or (height, width, 4)"
        )
    array = array[..., :3]
    if array.dtype == np.uint16:
        array = sixteen_bit_to_eight(array)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ValueError("float images must be finite and in [0, 1]; scale the image, or give uint8")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"image has data type {array.dtype}; give uint8, uint16 or floats in [0, 1]")
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def to_id_map(segmentation: Any, name: str = "segmentation") -> np.ndarray:
    """Map of ids from a PIL image (palette index, not color), an array or a tensor.

    Raises:
        ValueError: If it is not a two-dimensional map of whole numbers.

    Shape:
        (H, W), int32.
    """
    if isinstance(segmentation, Image.Image) and len(segmentation.getbands()) != 1:
        raise ValueError(
            f"{name} is a color image (mode {segmentation.mode!r}); give one number per pixel: an 8- or 16-bit gray "
            "or palette PNG"
        )
    if isinstance(segmentation, torch.Tensor):
        segmentation = segmentation.detach().cpu()
    array = np.asarray(segmentation)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(
            f"{name} has shape {array.shape} and data type {array.dtype}; give whole numbers of shape (height, width)"
        )
    return array.astype(np.int32)


def read_map(path: str | Path) -> np.ndarray:
    """Label map of an 8-bit (gray or palette) or 16-bit PNG.

    Raises:
        FileNotFoundError, ValueError: As `open_image` and `to_id_map`, naming the file.

    Shape:
        (H, W), int32.
    """
    return to_id_map(open_image(path), name=str(path))


def read_rgb_ids(path: str | Path) -> np.ndarray:
    """Segment ids of a COCO panoptic PNG: R + 256 G + 65536 B.

    Shape:
        (H, W), int32.
    """
    image = open_image(path)
    if image.mode not in ("RGB", "RGBA"):
        raise ValueError(f"{path} has mode {image.mode!r}; a COCO panoptic PNG codes ids in RGB")
    channels = np.asarray(image.convert("RGB"), dtype=np.int32)
    return channels[..., 0] + 256 * channels[..., 1] + 65536 * channels[..., 2]


def read_image(path: str | Path, label_size: tuple[int, int] | None = None) -> np.ndarray:
    """RGB image of a file, turned upright by its EXIF orientation.

    A label drawn on the pixels as stored would not fit the upright image; if `label_size` (height, width) fits only
    the stored orientation, that one is kept.

    Raises:
        FileNotFoundError, ValueError: As `open_image` and `to_rgb`, naming the file.

    Shape:
        (H, W, 3), uint8.
    """
    stored = open_image(path)
    upright = ImageOps.exif_transpose(stored)
    keep_stored = label_size is not None and upright.size[::-1] != label_size and stored.size[::-1] == label_size
    try:
        return to_rgb(stored if keep_stored else upright)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image as it is stored, from the header of its file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no regular file, or no image.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no image file {str(path)!r}: check the path, or the name in an annotation file."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return image.size[::-1]
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not an image that can be read: {error}") from error
