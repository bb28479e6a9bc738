# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks of points and boxes from the part of the image around each, for objects that are small in the whole image.

A network reads an image at a fixed size and gives masks at a quarter of it: an object of 20 pixels in an image of 1,000
is five cells of a map of 256, and a fraction of one in a small network's. The part around its box, brought to the
network's size, shows the same object many cells wide, and its neighbors too. A box means what lies in it, so pixels
farther from it than a tenth of its longer side are left out. A point does not say how large its object is: it is asked
about in parts of several sizes, and of all masks that cover it and end inside of their part that one counts which the
model trusts most.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files.images import stretch_contrast
from ..results.zoom import zoom_window

__all__ = ["masks_of_boxes", "masks_of_points"]

Window = tuple[int, int, int, int]  # left, top, right, bottom

# Parts of the image in one forward pass: bounds memory.
CHUNK = 8
# Boxes are drawn by hand: so far beyond one its object may reach, in longer sides of the box.
MARGIN = 0.1


class _Parts:
    """Asks a mask-generation model about parts of one image."""

    def __init__(self, model: Any, image_processor: Any, image: Any, mask_threshold: float, dtype: torch.dtype | None):
        self.model, self.image_processor = model, image_processor
        self.pixels = np.array(image)
        self.size = self.pixels.shape[:2]
        if stretches := image_processor.stretch_contrast:  # of the image, as in training, not of each part
            self.pixels = stretch_contrast(self.pixels)
        self.mask_threshold = mask_threshold
        first = next(model.parameters())
        self.device, self.dtype = first.device, dtype or first.dtype
        side = image_processor.zoom_size
        self.resize = {"size": {"longest_edge": side}} if side else {}
        self.prepare = {**self.resize, **({"stretch_contrast": False} if stretches else {})}

    def ask(
        self, windows: Sequence[Window], prompts: Mapping[str, Sequence[Any]]
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yields the M masks of each window, of the image's size and False outside of the window, and their scores.

        Args:
            windows: Parts of the image.
            prompts: Per window one prompt, in pixels of the window.
        """
        for start in range(0, len(windows), CHUNK):
            part = windows[start : start + CHUNK]
            inputs = self.image_processor(
                images=[self.pixels[top:bottom, left:right] for left, top, right, bottom in part],
                return_tensors="pt",
                **{name: [[value] for value in values[start : start + CHUNK]] for name, values in prompts.items()},
                **self.prepare,
            ).to(self.device)
            inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
            outputs = self.model(**inputs)
            for index, (left, top, right, bottom) in enumerate(part):
                sizes = inputs["original_sizes"][index : index + 1]
                found = self.image_processor.post_process_masks(
                    outputs.pred_masks[index : index + 1], sizes, self.mask_threshold, **self.resize
                )[0][0]  # (M, h, w)
                masks = np.zeros((len(found), *self.size), dtype=bool)
                masks[:, top:bottom, left:right] = found.cpu().numpy()
                yield masks, outputs.iou_scores[index, 0].float().cpu()


@torch.no_grad()
def masks_of_boxes(
    model: Any,
    image_processor: Any,
    image: Any,
    boxes: Any,
    zoom: float,
    *,
    mask_threshold: float = 0.0,
    dtype: torch.dtype | None = None,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Asks a mask-generation model about the part of an image around each box.

    Args:
        model: A mask-generation model, in evaluation mode.
        image_processor: Its image processor, whose `zoom_size` is the network's size for a part, if it has one.
        image: PIL image or array (H, W, 3).
        boxes: (x0, y0, x1, y1) in pixels of the image.
        zoom: Side of a part, in longer sides of its box.
        mask_threshold: Smallest logit, exclusive, of a pixel inside.
        dtype: Of the pixels; default: the model's.

    Yields:
        Per box, in their order, its M masks at the image's size, best score first, False farther from the box than a
        tenth of its longer side, and their scores.

    Shape:
        boxes: (N, 4); each masks (M, H, W) bool, scores (M,) float32.

    Raises:
        ValueError: For a zoom below 1, and boxes that do not stack or have no area inside the image.
    """
    if not zoom >= 1:
        raise ValueError(f"box_zoom is {zoom}; it must be at least 1, as of less a part of the box is not seen.")
    parts = _Parts(model, image_processor, image, mask_threshold, dtype)
    checked = image_processor.scale_prompts([parts.size], [parts.size], input_boxes=boxes)["input_boxes"][0].tolist()
    windows = [zoom_window(box, parts.size, zoom) for box in checked]
    moved = [[value - window[place % 2] for place, value in enumerate(box)] for box, window in zip(checked, windows)]
    for box, (masks, scores) in zip(checked, parts.ask(windows, {"input_boxes": moved})):
        near = np.zeros(parts.size, dtype=bool)
        near[_near(box)] = True
        order = scores.argsort(descending=True, stable=True)
        yield masks[order.numpy()] & near, scores[order]


@torch.no_grad()
def masks_of_points(
    model: Any,
    image_processor: Any,
    image: Any,
    points: Any,
    smallest: int,
    *,
    labels: Any = None,
    mask_threshold: float = 0.0,
    dtype: torch.dtype | None = None,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Asks a mask-generation model about parts of an image around each point, and takes the part it trusts most.

    Args:
        model, image_processor, image, mask_threshold, dtype: As for `masks_of_boxes`.
        points: (x, y) in pixels of the image, one per prompt or several.
        smallest: Side of the smallest part in pixels of the image; the others are 2, 4, ... times as large, up to the
            whole image. Parts that do not hold all points of a prompt are left out.
        labels: 1 for points on the object, 0 beside it.

    Yields:
        Per prompt, in their order, the M best masks of all parts at the image's size, and their scores: first those
        that cover the (first) point and end inside of their part (the image's border is no end), by their scores.

    Shape:
        points: (N, 2) or (N, P, 2); labels: (N, P); each masks (M, H, W) bool, scores (M,) float32.

    Raises:
        ValueError: For a side below 1 pixel, and points that do not stack or lie outside of the image.
    """
    if not smallest >= 1:
        raise ValueError(f"point_zoom is {smallest}; it is the side of the smallest part, at least 1 pixel.")
    parts = _Parts(model, image_processor, image, mask_threshold, dtype)
    given = image_processor.scale_prompts([parts.size], [parts.size], input_points=points, input_labels=labels)
    checked, signs = given["input_points"][0], given.get("input_labels", [None])[0]  # (N, P, 2), (N, P)
    for index, own in enumerate(checked):
        windows = _around(own, parts.size, smallest)
        moved = {"input_points": [(own - np.array(window[:2])).tolist() for window in windows]}
        if signs is not None:
            moved["input_labels"] = [signs[index].tolist()] * len(windows)
        found = [
            (_is_of(own[0], mask, window), float(score), mask)
            for window, (masks, scores) in zip(windows, parts.ask(windows, moved))
            for mask, score in zip(masks, scores)
        ]
        best = sorted(found, key=lambda one: one[:2], reverse=True)[: len(found) // len(windows)]
        yield np.stack([mask for _, _, mask in best]), torch.tensor([score for _, score, _ in best])


def _is_of(point: np.ndarray, mask: np.ndarray, window: Window) -> bool:
    """Whether a mask covers a point and ends before its window does: one that does not is of something larger."""
    left, top, right, bottom = window
    height, width = mask.shape
    if not mask[min(int(point[1]), height - 1), min(int(point[0]), width - 1)]:
        return False
    lines = (
        mask[top] if top else None,
        mask[bottom - 1] if bottom < height else None,
        mask[:, left] if left else None,
        mask[:, right - 1] if right < width else None,
    )
    return not any(line.any() for line in lines if line is not None)


def _around(points: np.ndarray, size: tuple[int, int], smallest: int) -> list[Window]:
    """Parts of an image that hold some points, from small to whole. Shape: points (P, 2)."""
    box = (*points.min(0).tolist(), *points.max(0).tolist())
    middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    pixel = (middle[0] - 0.5, middle[1] - 0.5, middle[0] + 0.5, middle[1] + 0.5)
    windows: list[Window] = []
    side = smallest
    while side < max(size):
        left, top, right, bottom = zoom_window(pixel, size, side)
        if left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom:
            windows.append((left, top, right, bottom))
        side *= 2
    return [*dict.fromkeys(windows), (0, 0, size[1], size[0])]


def _near(box: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of pixels whose centers lie in a box, widened on each side."""
    margin = MARGIN * max(box[2] - box[0], box[3] - box[1])
    x0, y0, x1, y1 = (
        max(0, math.ceil(value - 0.5)) for value in (*(b - margin for b in box[:2]), *(b + margin for b in box[2:]))
    )
    return slice(y0, y1), slice(x0, x1)
