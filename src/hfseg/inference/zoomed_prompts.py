# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks of points and boxes from the part of the image around each, for objects that are small in the whole image.

A network reads an image at a fixed size and gives masks at a quarter of it: an object of 20 pixels in an image of 1,000
is five cells of a map of 256, and a fraction of one in a small network's. The part around its box, brought to the
network's size, shows the same object many cells wide, and its neighbors too. A box means what lies in it, so pixels
farther from it than a tenth of its longer side are left out. A point does not say how large its object is: it is asked
about in parts of several sizes, and of all masks that cover it and end inside of their part those count which the model
trusts most. A score says little about a mask of the wrong size; a box does not leave the size open. So, where boxes are
asked about in parts too, the box around each of these masks is asked in turn: a mask of a whole object comes back.
"""

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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


class _Answer(NamedTuple):
    """Masks of one prompt in one part of the image. Shape: masks (M, h, w) bool, scores (M,)."""

    window: Window
    masks: np.ndarray
    scores: Tensor


class _Parts:
    """Asks a mask-generation model about parts of one image."""

    def __init__(self, model: Any, image_processor: Any, image: Any, mask_threshold: float, dtype: torch.dtype | None):
        self.model, self.image_processor = model, image_processor
        self.pixels = np.array(image)
        self.size = self.pixels.shape[:2]
        side = image_processor.zoom_size
        self.resize = {"size": {"longest_edge": side}} if side else {}
        self.prepare: dict[str, Any] = {**self.resize}
        if image_processor.stretch_contrast:  # of the image, as in training, not of each part
            self.pixels = stretch_contrast(self.pixels)
            self.prepare["stretch_contrast"] = False
        self.mask_threshold = mask_threshold
        first = next(model.parameters())
        self.device, self.dtype = first.device, dtype or first.dtype

    def ask(self, windows: Sequence[Window], prompts: Mapping[str, Sequence[Any]]) -> Iterator[_Answer]:
        """Yields the answer to each prompt of each window.

        Args:
            windows: Parts of the image.
            prompts: Per window one prompt, in pixels of the window.
        """
        for start in range(0, len(windows), CHUNK):
            part = windows[start : start + CHUNK]
            given = {name: [[value] for value in values[start : start + CHUNK]] for name, values in prompts.items()}
            yield from self._answers(part, given)

    def ask_whole(self, prompts: Mapping[str, Sequence[Any]]) -> Iterator[_Answer]:
        """Yields the answer to each prompt in the whole image, the largest part, which is read once for all."""
        window = (0, 0, self.size[1], self.size[0])
        return self._answers([window], {name: [values] for name, values in prompts.items()})

    def _answers(self, windows: Sequence[Window], prompts: Mapping[str, Sequence[Any]]) -> Iterator[_Answer]:
        images = [self.pixels[top:bottom, left:right] for left, top, right, bottom in windows]
        inputs = self.image_processor(images=images, return_tensors="pt", **prompts, **self.prepare)
        inputs = inputs.to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        outputs = self.model(**inputs)
        for index, window in enumerate(windows):
            sizes = inputs["original_sizes"][index : index + 1]
            for prompt, scores in enumerate(outputs.iou_scores[index].float().cpu()):
                logits = outputs.pred_masks[index : index + 1, prompt : prompt + 1]
                masks = self.image_processor.post_process_masks(logits, sizes, self.mask_threshold, **self.resize)[0][0]
                yield _Answer(window, masks.cpu().numpy(), scores)

    def placed(self, mask: np.ndarray, window: Window) -> np.ndarray:
        """A mask of a window at its place in the image. Shape: (h, w) -> (H, W)."""
        left, top, right, bottom = window
        whole = np.zeros(self.size, dtype=bool)
        whole[top:bottom, left:right] = mask
        return whole

    def of_boxes(self, boxes: Sequence[Sequence[float]], zoom: float) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yields the masks and scores of each box, as `masks_of_boxes`."""
        windows = [zoom_window(box, self.size, zoom) for box in boxes]
        moved = [[value - window[place % 2] for place, value in enumerate(box)] for box, window in zip(boxes, windows)]
        for box, answer in zip(boxes, self.ask(windows, {"input_boxes": moved})):
            near = np.zeros(self.size, dtype=bool)
            near[_near(box)] = True
            order = answer.scores.argsort(descending=True, stable=True)
            masks = [self.placed(answer.masks[index], answer.window) & near for index in order.tolist()]
            yield np.stack(masks), answer.scores[order]


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
    _check(zoom, "box_zoom", "at least 1: the side of a part, in longer sides of its box")
    parts = _Parts(model, image_processor, image, mask_threshold, dtype)
    checked = image_processor.scale_prompts([parts.size], [parts.size], input_boxes=boxes)["input_boxes"][0].tolist()
    yield from parts.of_boxes(checked, zoom)


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
        model, image_processor, image, mask_threshold, dtype: As for `masks_of_boxes`. With a `box_zoom` of the
            image processor the box around each mask is asked about too.
        points: (x, y) in pixels of the image, one per prompt or several.
        smallest: Side of the smallest part in pixels of the image; the others are 2, 4, ... times as large, up to the
            whole image. Parts that do not hold all points of a prompt are left out.
        labels: 1 for points on the object, 0 beside it.

    Yields:
        Per prompt, in their order, the M best masks of all parts at the image's size, and their scores: first those
        that cover the (first) point and end inside of their part (the image's border is no end), by their scores.
        With `box_zoom` these M are replaced by the best masks of the boxes around them (unless such a mask is on the
        wrong side of a point that its own mask is on the right side of), and ordered and scored by the box's score
        times the IoU of both masks.

    Shape:
        points: (N, 2) or (N, P, 2); labels: (N, P); each masks (M, H, W) bool, scores (M,) float32.

    Raises:
        ValueError: For a side below 1 pixel, and points that do not stack or lie outside of the image.
    """
    _check(smallest, "point_zoom", "at least 1: the side of the smallest part, in pixels")
    parts = _Parts(model, image_processor, image, mask_threshold, dtype)
    given = image_processor.scale_prompts([parts.size], [parts.size], input_points=points, input_labels=labels)
    checked, signs = given["input_points"][0], given.get("input_labels", [None])[0]  # (N, P, 2), (N, P)
    prompts = {"input_points": checked.tolist(), **({} if signs is None else {"input_labels": signs.tolist()})}
    for index, whole in enumerate(parts.ask_whole(prompts)):
        own = checked[index]
        windows = _around(own, parts.size, smallest)
        moved = {"input_points": [(own - np.array(window[:2])).tolist() for window in windows]}
        if signs is not None:
            moved["input_labels"] = [signs[index].tolist()] * len(windows)
        found = [
            (_is_of(own[0], mask, answer.window, parts.size), score, mask, answer.window)
            for answer in (*parts.ask(windows, moved), whole)
            for mask, score in zip(answer.masks, answer.scores.tolist())
        ]
        best = sorted(found, key=lambda one: one[:2], reverse=True)[: len(whole.scores)]
        masks = np.stack([parts.placed(mask, window) for _, _, mask, window in best])
        scores = torch.tensor([score for _, score, _, _ in best])
        zoom = getattr(image_processor, "box_zoom", None)
        if zoom is not None:
            masks, scores = _confirmed(parts, masks, own, None if signs is None else signs[index], zoom)
        yield masks, scores


def _confirmed(
    parts: _Parts, masks: np.ndarray, points: np.ndarray, signs: Any, zoom: float
) -> tuple[np.ndarray, Tensor]:
    """Asks about the box around each mask of a prompt, and trusts masks that come back.

    Shape:
        masks: (M, H, W) bool; points: (P, 2); signs: (P,), 1 on the object and 0 beside it; output: (M, H, W), (M,).
    """
    rows, columns = (points[:, axis].astype(int).clip(0, parts.size[1 - axis] - 1) for axis in (1, 0))
    wanted = np.ones(len(points), dtype=bool) if signs is None else np.asarray(signs) == 1
    drawn = np.flatnonzero(masks.any((1, 2)))
    answers = parts.of_boxes([_box_around(masks[index]) for index in drawn], zoom)
    shown, trust = masks.copy(), torch.zeros(len(masks))
    for index, (found, scores) in zip(drawn.tolist(), answers):
        mask = found[0]
        if mask[rows[0], columns[0]] != wanted[0]:
            continue
        trust[index] = scores[0] * (mask & masks[index]).sum() / (mask | masks[index]).sum()
        right, right_before = (one[rows, columns] == wanted for one in (mask, masks[index]))
        if not (right_before & ~right).any():
            shown[index] = mask
    order = trust.argsort(descending=True, stable=True)
    return shown[order.numpy()], trust[order]


def _check(value: Any, name: str, needed: str) -> None:
    """Refuses a zoom that is no number, or is not finite, or below 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 1 <= float(value) < math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a number, {needed}.")


def _is_of(point: np.ndarray, mask: np.ndarray, window: Window, size: tuple[int, int]) -> bool:
    """Whether a mask covers a point and ends before its window does: one that does not is of something larger.

    Shape: mask (h, w), of the window.
    """
    left, top, right, bottom = window
    height, width = mask.shape
    if not mask[min(int(point[1]) - top, height - 1), min(int(point[0]) - left, width - 1)]:
        return False
    inner = (top > 0, bottom < size[0], left > 0, right < size[1])  # borders that are not the image's
    return not any(
        line.any() for line, is_inner in zip((mask[0], mask[-1], mask[:, 0], mask[:, -1]), inner) if is_inner
    )


def _around(points: np.ndarray, size: tuple[int, int], smallest: int) -> list[Window]:
    """Parts of an image that hold some points, smaller than it, from small to large. Shape: points (P, 2)."""
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
    return list(dict.fromkeys(windows))


def _box_around(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box (x0, y0, x1, y1) of the pixels of a mask that has some. Shape: mask (H, W)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _near(box: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of pixels whose centers lie in a box, widened on each side."""
    margin = MARGIN * max(box[2] - box[0], box[3] - box[1])
    x0, y0, x1, y1 = (
        max(0, math.ceil(value - 0.5)) for value in (*(b - margin for b in box[:2]), *(b + margin for b in box[2:]))
    )
    return slice(y0, y1), slice(x0, x1)
