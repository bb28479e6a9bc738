# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images beside one another, with titles."""

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from .canvas import fitting, to_pil

__all__ = ["image_grid", "side_by_side"]


def image_grid(
    images: Sequence[Any],
    columns: int,
    titles: Sequence[str] | None = None,
    gap: int = 6,
    minimum_side: int = 0,
) -> Image.Image:
    """Images in rows of `columns`, each in a cell of the largest size, with optional titles above.

    Titles are as wide as their cells at most. Images are enlarged by a whole factor until the largest has a side of
    `minimum_side`.

    Raises:
        ValueError: Without images, without columns, or if the titles are not as many as the images.
    """
    if len(images) == 0 or columns < 1:
        raise ValueError(f"{len(images)} images in {columns} columns; give at least one of each")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"{len(titles)} titles for {len(images)} images; give one title per image")
    photos = [to_pil(image) for image in images]
    factor = max(math.ceil(minimum_side / max(max(photo.size) for photo in photos)), 1)
    if factor > 1:
        photos = [
            photo.resize((photo.width * factor, photo.height * factor), Image.Resampling.BICUBIC) for photo in photos
        ]
    columns = min(columns, len(photos))
    width, height = (max(photo.size[axis] for photo in photos) for axis in (0, 1))
    size = max(width // 28, 12)
    head = round(size * 1.6) if titles is not None else 0
    rows = math.ceil(len(photos) / columns)
    result = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + head + gap) + gap), "white")
    draw = ImageDraw.Draw(result)
    for position, photo in enumerate(photos):
        row, column = divmod(position, columns)
        x, y = gap + column * (width + gap), gap + row * (height + head + gap)
        if titles is not None:
            text, font = fitting(titles[position], width - 2, size)
            draw.text((x + 2, y + head / 2), text, font=font, fill="black", anchor="lm")
        result.paste(photo, (x, y + head))
    return result


def side_by_side(
    images: Sequence[Any], titles: Sequence[str] | None = None, gap: int = 6, minimum_side: int = 0
) -> Image.Image:
    """Images in one row, enlarged or reduced to the height of the tallest.

    Raises:
        ValueError: As `image_grid`.
    """
    photos = [to_pil(image) for image in images]
    height = max((photo.height for photo in photos), default=0)
    photos = [
        photo
        if photo.height == height
        else photo.resize((max(round(photo.width * height / photo.height), 1), height), Image.Resampling.BICUBIC)
        for photo in photos
    ]
    return image_grid(photos, max(len(photos), 1), titles, gap, minimum_side)
