# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images and text for drawing."""

from typing import Any

import numpy as np
from PIL import Image, ImageFont


def to_pil(image: Any) -> Image.Image:
    """Image as 8-bit RGB.

    Raises:
        ValueError: For arrays of another type or shape.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if hasattr(image, "detach"):
        image = image.detach().cpu().numpy()
        if image.ndim == 3 and image.shape[0] in (1, 3):
            image = image.transpose(1, 2, 0)
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise ValueError(
            f"image has data type {array.dtype} and shape {array.shape}; give a PIL image, or uint8 of (height, "
            "width, 3)"
        )
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def font_of(size: int) -> Any:
    """Font of a height in pixels."""
    return ImageFont.load_default(size=size)


def fitting(text: str, width: float, size: int, smallest: int = 10) -> tuple[str, Any]:
    """Text and font with which it is at most `width` wide: smaller letters, then fewer of them."""
    while size > smallest and font_of(size).getlength(text) > width:
        size -= 1
    font = font_of(size)
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text = text.rstrip() + "..."
    return text, font
