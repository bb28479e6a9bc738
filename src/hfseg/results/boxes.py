# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Boxes drawn over their images, with names and scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .canvas import font_of
from .colors import distinct_color, instance_color

__all__ = ["draw_boxes", "mask_of_box"]


def draw_boxes(
    image: Image.Image,
    boxes: Sequence[Mapping[str, Any]],
    id2label: Mapping[int, str] | None = None,
    color_by: str = "class",
) -> Image.Image:
    """Draws boxes over an image, the last given first, so that the best ones lie on top.

    Args:
        image: RGB image.
        boxes: `{"box": (left, top, right, bottom) in pixels, "label_id", "score" (optional)}`.
        id2label: Names of the classes; default: their ids.
        color_by: "class": shades of the color of the class; "instance": a color of its own for each box, that of its
            `"color_number"` where it has one.

    Raises:
        ValueError: `color_by` is unknown.
    """
    if color_by not in ("class", "instance"):
        raise ValueError(f"color_by must be one of class, instance; got {color_by!r}")
    drawn = image.convert("RGB").copy()
    canvas, side = ImageDraw.Draw(drawn), max(drawn.size)
    font, width = font_of(max(round(side / 45), 9)), max(round(side / 300), 1)
    numbers: dict[int, int] = {}
    styled = []
    for position, entry in enumerate(boxes):
        label = int(entry["label_id"])
        color = instance_color(label, numbers.get(label, 0))
        if color_by == "instance":
            color = distinct_color(int(entry.get("color_number", position)))
        styled.append((entry, label, color))
        numbers[label] = numbers.get(label, 0) + 1
    for entry, label, color in reversed(styled):
        left, top, right, bottom = (float(value) for value in entry["box"])
        canvas.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=width)
        score = entry.get("score")
        text = str((id2label or {}).get(label, label)) + ("" if score is None else f" {float(score):.2f}")
        place = canvas.textbbox((left + width, top + width), text, font=font)
        canvas.rectangle((place[0] - 1, place[1] - 1, place[2] + 1, place[3] + 1), fill=(24, 24, 28))
        canvas.text((left + width, top + width), text, font=font, fill=(255, 255, 255))
    return drawn


def mask_of_box(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Fills a box: the pixels whose center is in it, at least the one at its own center.

    Args:
        box: (left, top, right, bottom) in pixels.
        size: Height and width of the image.

    Shape:
        Output: (H, W), bool.
    """
    mask = np.zeros(size, dtype=bool)
    left, top, right, bottom = box
    rows = slice(max(int(np.ceil(top - 0.5)), 0), max(int(np.ceil(bottom - 0.5)), 0))
    columns = slice(max(int(np.ceil(left - 0.5)), 0), max(int(np.ceil(right - 0.5)), 0))
    mask[rows, columns] = True
    if not mask.any():
        row, column = int((top + bottom) / 2), int((left + right) / 2)
        mask[min(max(row, 0), size[0] - 1), min(max(column, 0), size[1] - 1)] = True
    return mask
