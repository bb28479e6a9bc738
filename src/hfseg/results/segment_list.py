# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What segmentation pipelines return: the list of dicts of transformers, over a compact result."""

from collections.abc import Callable
from typing import Any

from PIL import Image

__all__ = ["LazyMask", "SegmentList"]


class LazyMask(Image.Image):
    """PIL mask ("L", 0 or 255) that is drawn when its pixels are first asked for.

    Args:
        draw: Gives the image.
        size: Width and height.
    """

    _draw: Callable[[], Image.Image] | None = None

    def __init__(self, draw: Callable[[], Image.Image], size: tuple[int, int]) -> None:
        super().__init__()
        self._mode, self._size, self._draw = "L", size, draw

    def load(self) -> Any:
        """Draws the mask; every method of `Image` that reads pixels calls it."""
        if self._draw is not None:
            draw, self._draw = self._draw, None
            self.im = draw().im
        return super().load()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image.Image):
            return NotImplemented
        return (self.mode, self.size, self.tobytes()) == (other.mode, other.size, other.tobytes())

    __hash__ = None  # type: ignore[assignment]  # as Image


class SegmentList(list):
    """List of `{"score", "label", "mask"}`, whose masks are drawn on access.

    Attributes:
        result: The `SegmentationResult` that the list shows.
    """

    def __init__(self, result: Any) -> None:
        height, width = result.size
        super().__init__(
            {
                "score": segment.get("score"),
                "label": segment.get("label", segment["label_id"]),
                "mask": LazyMask(lambda index=index: result.masks[index], (width, height)),
            }
            for index, segment in enumerate(result.segments_info)
        )
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return SegmentList, (self.result,)
