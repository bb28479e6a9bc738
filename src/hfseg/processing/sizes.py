# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""How large an image is after the test-time resize."""

from collections.abc import Mapping
from typing import Any


def output_sizes(target_sizes: Any, count: int) -> list[tuple[int, int]]:
    """(height, width) of each image of a batch, from a list or a tensor, which is brought to the host once.

    Raises:
        ValueError: There are more or fewer than `count`.
    """
    if len(target_sizes) != count:
        raise ValueError(
            f"target_sizes has {len(target_sizes)} entries for a batch of {count} images; "
            "give one (height, width) per image."
        )
    sizes = target_sizes.tolist() if hasattr(target_sizes, "tolist") else target_sizes
    return [(int(height), int(width)) for height, width in sizes]


def resized_size(height: int, width: int, size: Any) -> tuple[int, int]:
    """Height and width after the test-time resize.

    With a shortest edge the aspect ratio is kept and sides are rounded half up, `int(scale * side + 0.5)`, as in
    detectron2 (transformers truncates, which differs by one pixel for a third of all sizes). No side is below 1.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        size: `shortest_edge` with or without `longest_edge`, `longest_edge`, `height` and `width`, or `max_height`
            and `max_width` (as a dict or a transformers `SizeDict`).

    Raises:
        ValueError: for other keys.
    """

    def value(key: str) -> int | None:
        return size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)

    if (rows := value("height")) and (columns := value("width")):
        return int(rows), int(columns)
    shortest, longest = value("shortest_edge"), value("longest_edge")
    if shortest:
        scale = shortest / min(height, width)
        # The shorter side is exact; the order of operations is the authors', so that rounding agrees.
        new_height, new_width = (shortest, scale * width) if height < width else (scale * height, shortest)
        if longest and max(new_height, new_width) > longest:
            scale = longest / max(new_height, new_width)
            new_height, new_width = new_height * scale, new_width * scale
    elif longest:
        scale = longest / max(height, width)
        new_height, new_width = height * scale, width * scale
    elif (most_rows := value("max_height")) and (most_columns := value("max_width")):
        scale = min(most_rows / height, most_columns / width)
        new_height, new_width = height * scale, width * scale
    else:
        raise ValueError(
            f"size {size} is not understood; give shortest_edge (and longest_edge), longest_edge, height and width, or "
            "max_height and max_width."
        )
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))
