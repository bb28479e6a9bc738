# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading images and label maps: every format becomes an RGB array or an integer map, or a clear error."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ...files.images import (
    FORMATS,
    check_exact,
    convert_to_rgb,
    open_image,
    sixteen_bit_to_eight,
    stretch_contrast,
)

__all__ = [
    "image_size",
    "open_label",
    "orient",
    "orientation_of",
    "read_header",
    "read_image",
    "read_map",
    "read_rgb_ids",
    "say_once",
    "stretch_contrast",
    "to_id_map",
    "to_rgb",
    "upright_size",
]

logger = logging.getLogger(__name__)

_EXIF_ORIENTATION = 0x0112
_ONE_NUMBER = "give one number per pixel: an 8- or 16-bit gray or palette PNG"


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

    Color whose channels are equal, and opaque, is gray; whole numbers stored as floats are whole numbers.

    Raises:
        ValueError: If it is not a two-dimensional map of whole numbers, or as `hfseg.files.images.check_exact`.

    Shape:
        (H, W), int32.
    """
    if isinstance(segmentation, Image.Image):
        check_exact(segmentation, name)
        return _label_pixels(segmentation, name)
    if isinstance(segmentation, torch.Tensor):
        segmentation = segmentation.detach().cpu()
    array = np.asarray(segmentation)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and (array.shape[2] == 1 or (array.shape[2] in (3, 4) and array.dtype == np.uint8)):
        array = _gray(array, name)
    if array.ndim != 2 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(
            f"{name} has shape {array.shape} and data type {array.dtype}; give whole numbers of shape (height, width)"
        )
    return array.astype(np.int32)


def _label_pixels(image: Image.Image, name: str) -> np.ndarray:
    """Numbers of a label's pixels.

    Shape:
        (H, W), int32.
    """
    if image.mode == "PA":
        if image.getchannel("A").getextrema() != (255, 255):
            raise ValueError(f"{name} is partly transparent, and what it holds there is not clear; save it without")
        return np.asarray(image.getchannel("P"), dtype=np.int32)
    array = np.asarray(image)
    if array.ndim == 3:
        if image.mode not in ("RGB", "RGBA", "LA"):
            raise ValueError(f"{name} has mode {image.mode!r}; {_ONE_NUMBER}")
        return _gray(array, name).astype(np.int32)
    if np.issubdtype(array.dtype, np.floating):
        wrong = ~(np.isfinite(array) & (array == np.trunc(array)) & (np.abs(array) < 2**24))
        if wrong.any():
            raise ValueError(f"{name} is a label, but holds the fraction {array[wrong][0]:g}; {_ONE_NUMBER}")
    elif array.size and array.dtype.itemsize > 2 and (array.min() < -(2**31) or array.max() >= 2**31):
        raise ValueError(f"{name} holds the values {array.min()} to {array.max()}; {_ONE_NUMBER}")
    return array.astype(np.int32)


def _gray(array: np.ndarray, name: str) -> np.ndarray:
    """The one channel that equal, opaque channels are.

    Shape:
        array: (H, W, C) -> (H, W).
    """
    colors = array[..., : 1 if array.shape[2] < 3 else 3]
    if array.shape[2] in (2, 4) and (array[..., -1] != 255).any():
        raise ValueError(
            f"{name} is partly transparent, and what it holds there is not clear; save it without, as a gray PNG"
        )
    odd = (colors != colors[..., :1]).any(-1)
    if odd.any():
        row, column = (int(place[0]) for place in np.nonzero(odd))
        raise ValueError(
            f"{name} is a color image (RGB {tuple(colors[row, column].tolist())} in row {row}, column {column}); "
            f"{_ONE_NUMBER}, or say which color is which class by palette_rgb in classes.json"
        )
    return colors[..., 0]


def open_label(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """Opens a label, turned as its own EXIF orientation says.

    Args:
        source: Path of the file, or its content.
        name: Of content, for messages.

    Raises:
        FileNotFoundError, ValueError: As `open_image` with `exact`.
    """
    return ImageOps.exif_transpose(open_image(source, exact=True, name=name))


def read_map(path: str | Path) -> np.ndarray:
    """Label map of an 8-bit (gray or palette) or 16-bit PNG, or another lossless file.

    Raises:
        FileNotFoundError, ValueError: As `open_label` and `to_id_map`, naming the file.

    Shape:
        (H, W), int32.
    """
    return to_id_map(open_label(path), name=str(path))


def read_rgb_ids(path: str | Path) -> np.ndarray:
    """Segment ids of a COCO panoptic PNG: R + 256 G + 65536 B.

    Shape:
        (H, W), int32.
    """
    image = open_label(path)
    if image.mode not in ("RGB", "RGBA"):
        raise ValueError(f"{path} has mode {image.mode!r}; a COCO panoptic PNG codes ids in RGB")
    channels = np.asarray(image.convert("RGB"), dtype=np.int32)
    return channels[..., 0] + 256 * channels[..., 1] + 65536 * channels[..., 2]


def read_image(
    path: str | Path,
    label_size: tuple[int, int] | None = None,
    label: str | Path | None = None,
    labeled: bool = False,
) -> np.ndarray:
    """RGB image of a file, turned upright by its EXIF orientation.

    A label drawn on the pixels as stored would not fit the upright image: see `orient`.

    Args:
        path: The file.
        label_size: (height, width) of its label.
        label: File of the label, where it is an image.
        labeled: Whether there is a label, even of unknown size.

    Raises:
        FileNotFoundError, ValueError: As `open_image` and `to_rgb`, naming the file.

    Shape:
        (H, W, 3), uint8.
    """
    stored = open_image(path)
    try:
        return to_rgb(orient(stored, str(path), label_size, label, labeled))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def orient(
    stored: Image.Image,
    name: str,
    label_size: tuple[int, int] | None = None,
    label: str | Path | None = None,
    labeled: bool = False,
) -> Image.Image:
    """Turns an image upright by its EXIF orientation, unless its label fits the stored pixels only.

    Which of both a label without an orientation of its own was drawn on shows in its size. It is said once per folder
    when stored pixels are kept, and when the size tells nothing, as of square images: the label is then taken to be
    upright.

    Args:
        stored: The image as stored.
        name: Of its file.
        label_size: (height, width) of its label.
        label: File of the label, where it is an image.
        labeled: Whether there is a label of unknown size.
    """
    turn = orientation_of(stored)
    if turn == 1:
        return stored
    upright = ImageOps.exif_transpose(stored)
    fits = [label_size in (None, one.size[::-1]) for one in (upright, stored)]
    if fits == [False, True]:
        say_once(
            "%s has the EXIF orientation %d, and its label fits the pixels as they are stored: they are taken as "
            "stored, and so are those of other such images. Turn image and label upright to train on upright images.",
            name,
            turn,
        )
        return stored
    if (labeled or label_size is not None) and all(fits) and _orientation_of_file(label) != turn:
        say_once(
            "%s has the EXIF orientation %d, its label none, and the size of the label does not tell whether that was "
            "drawn on the upright image or on the pixels as stored: it is taken to be upright. If labels look turned, "
            "save the images without EXIF orientation.",
            name,
            turn,
        )
    return upright


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 (as stored) to 8."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data raise nearly anything, and say nothing
        return 1
    return value if value in range(1, 9) else 1


def _orientation_of_file(path: str | Path | None) -> int | None:
    """EXIF orientation of an image file; None for one without, and for other files."""
    if path is None or Path(path).suffix.lower() in (".json", ".txt"):
        return None
    try:
        with Image.open(path, formats=FORMATS) as image:
            return orientation_of(image)
    except (OSError, ValueError, SyntaxError):
        return None


_SAID: set[tuple[str, str]] = set()


def say_once(message: str, name: str, turn: int) -> None:
    """Warns of the orientation of a file, once per folder.

    Args:
        message: Takes the name and the orientation.
        name: Path of the file.
        turn: Its EXIF orientation.
    """
    key = (message, os.path.dirname(name))
    if key not in _SAID:
        _SAID.add(key)
        logger.warning(message, name, turn)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image as it is stored, from the header of its file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no regular file, or no image.
    """
    return read_header(path)[0]


def upright_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image turned as its EXIF orientation says, from the header of its file.

    Raises:
        FileNotFoundError, ValueError: As `image_size`.
    """
    size, turn = read_header(path)
    return size[::-1] if turn >= 5 else size


def read_header(path: str | Path) -> tuple[tuple[int, int], int]:
    """Stored (height, width), and EXIF orientation.

    Raises:
        FileNotFoundError, ValueError: As `image_size`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no image file {str(path)!r}: check the path, or the name in an annotation file."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return image.size[::-1], orientation_of(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not an image that can be read: {error}") from error
