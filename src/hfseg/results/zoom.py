# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parts of an image around boxes, for networks that see too little of small objects in the whole image."""

import math
from collections.abc import Sequence

__all__ = ["zoom_window"]

SMALLEST = 16  # pixels of a window's side: of less, nothing can be seen however large it is made


def zoom_window(box: Sequence[float], size: Sequence[int], zoom: float) -> tuple[int, int, int, int]:
    """The square part of an image around a box.

    Args:
        box: (x0, y0, x1, y1) in pixels.
        size: Height and width of the image.
        zoom: Side of the square, in longer sides of the box.

    Returns:
        Left, top, right, bottom, half-open. The square is moved into the image where it reaches beyond, and cut where
        the image is smaller; it always holds the box as far as the image does.
    """
    side = max(math.ceil(zoom * max(box[2] - box[0], box[3] - box[1])), SMALLEST)
    ends = []
    for low, high, length in ((box[0], box[2], size[1]), (box[1], box[3], size[0])):
        start = min(max(0, math.floor((low + high - side) / 2 + 0.5)), max(0, length - side))
        ends.append((start, min(start + side, length)))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom
