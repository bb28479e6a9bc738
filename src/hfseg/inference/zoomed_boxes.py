# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks of boxes from the part of the image around each box, for objects that are small in the whole image.

A network reads an image at a fixed size and gives masks at a quarter of it: an object of 20 pixels in an image of 1,000
is five cells of a map of 256, and a fraction of one in a small network's. The part around its box, brought to the
network's size, shows the same object many cells wide, and its neighbors too. A box means what lies in it, so pixels
farther from it than a tenth of its longer side are left out.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..results.zoom import zoom_window

__all__ = ["masks_of_boxes"]

# Parts of the image in one forward pass: bounds memory.
CHUNK = 8
# Boxes are drawn by hand: so far beyond one its object may reach, in longer sides of the box.
MARGIN = 0.1


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
        image_processor: Its image processor, whose `box_zoom_size` is the network's size for a part, if it has one.
        image: PIL image or array (H, W, 3).
        boxes: (x0, y0, x1, y1) in pixels of the image.
        zoom: Side of a part, in longer sides of its box.
        mask_threshold: Smallest logit, exclusive, of a pixel inside.
        dtype: Of the pixels; default: the model's.

    Yields:
        Per box, in their order, its M masks at the image's size, False farther from the box than a tenth of its longer
        side, and their scores.

    Shape:
        boxes: (N, 4); each masks (M, H, W) bool, scores (M,) float32.

    Raises:
        ValueError: For a zoom below 1, and boxes that do not stack or have no area inside the image.
    """
    if not zoom >= 1:
        raise ValueError(f"box_zoom is {zoom}; it must be at least 1, as of less a part of the box is not seen.")
    pixels = np.array(image)
    size = pixels.shape[:2]
    checked = image_processor.scale_prompts([size], [size], input_boxes=boxes)["input_boxes"][0]
    windows = [zoom_window(box, size, zoom) for box in checked.tolist()]
    first = next(model.parameters())
    resize = {"size": {"longest_edge": image_processor.box_zoom_size}} if image_processor.box_zoom_size else {}
    for start in range(0, len(windows), CHUNK):
        part = windows[start : start + CHUNK]
        inputs = image_processor(
            images=[pixels[top:bottom, left:right] for left, top, right, bottom in part],
            input_boxes=[[_moved(box, window)] for box, window in zip(checked[start : start + CHUNK].tolist(), part)],
            return_tensors="pt",
            **resize,
        ).to(first.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(dtype or first.dtype)
        outputs = model(**inputs)
        for index, (left, top, right, bottom) in enumerate(part):
            found = image_processor.post_process_masks(
                outputs.pred_masks[index : index + 1],
                inputs["original_sizes"][index : index + 1],
                mask_threshold,
                **resize,
            )[0][0]  # (M, h, w)
            masks = np.zeros((len(found), *size), dtype=bool)
            masks[:, top:bottom, left:right] = found.cpu().numpy()
            rows, columns = _near(checked[start + index].tolist())
            near = np.zeros(size, dtype=bool)
            near[rows, columns] = True
            masks &= near
            yield masks, outputs.iou_scores[index, 0].float().cpu()


def _near(box: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of pixels whose centers lie in a box, widened on each side."""
    margin = MARGIN * max(box[2] - box[0], box[3] - box[1])
    x0, y0, x1, y1 = (
        math.ceil(value - 0.5) for value in (*(b - margin for b in box[:2]), *(b + margin for b in box[2:]))
    )
    return slice(max(y0, 0), max(y1, 0)), slice(max(x0, 0), max(x1, 0))


def _moved(box: Sequence[float], window: Sequence[int]) -> list[float]:
    """A box in pixels of a window."""
    return [value - window[place % 2] for place, value in enumerate(box)]
