# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Ground truth and prediction beside their image, in which an object has one color on both sides."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..results.colors import object_numbers
from ..results.drawing import overlay, side_by_side

__all__ = ["TITLES", "compare_segments", "in_same_colors"]

TITLES = ("image", "ground truth", "prediction")
MOST_LABELS = 16  # names on an image; with more they hide what they name
SAME_OBJECT = 0.5  # IoU above which two segments are one object: at most one pair per segment

Segments = Mapping[str, Any]


def in_same_colors(
    truth: Segments, found: Segments, stuff_class_ids: Collection[int] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Numbers the colors of things: a predicted one that covers a true one (IoU above 0.5) has its number.

    Args:
        truth, found: `{"segmentation": (H, W) ids, "segments_info": [{"id", "category_id" or "label_id"}]}`.
        stuff_class_ids: Classes whose segments have the color of the class.

    Returns:
        Segments of both with `color_number` (things) and `was_fused` (whether a segment is stuff).
    """
    sides, stuff = [], set[int]()
    for side in (truth, found):
        segments = [dict(segment) for segment in side["segments_info"]]
        for segment in segments:
            label = segment["category_id"] if "category_id" in segment else segment["label_id"]
            segment["was_fused"] = int(label) in stuff_class_ids
            stuff |= {int(label)} & set(stuff_class_ids)
        sides.append(segments)
    things = [[segment for segment in side if not segment["was_fused"]] for side in sides]
    free = iter(object_numbers(sum(map(len, things)), stuff))
    numbers = {int(segment["id"]): next(free) for segment in things[0]}
    for segment in things[0]:
        segment["color_number"] = numbers[int(segment["id"])]
    partners = _partners(np.asarray(truth["segmentation"]), np.asarray(found["segmentation"]), set(numbers))
    for segment in things[1]:
        partner = partners.get(int(segment["id"]))
        segment["color_number"] = next(free) if partner is None else numbers[partner]
    return sides[0], sides[1]


def _partners(truth: np.ndarray, found: np.ndarray, true_ids: set[int]) -> dict[int, int]:
    """True id of each predicted id that covers it."""
    areas = [dict(zip(*(part.tolist() for part in np.unique(ids, return_counts=True)))) for ids in (truth, found)]
    factor = int(found.max(initial=0)) + 1
    pairs, overlaps = np.unique(truth.astype(np.int64) * factor + found, return_counts=True)
    partners = {}
    for pair, overlap in zip(pairs.tolist(), overlaps.tolist()):
        true, own = divmod(pair, factor)
        if true in true_ids and overlap > SAME_OBJECT * (areas[0][true] + areas[1][own] - overlap):
            partners[own] = true
    return partners


def compare_segments(
    image: np.ndarray,
    truth: Segments,
    found: Segments,
    id2label: Mapping[int, str],
    stuff_class_ids: Collection[int] = (),
) -> Image.Image:
    """Draws the image, its true segments and its predicted ones side by side; each thing has a color of its own.

    Names are written on the segments where there are few, and of more than one class.

    Shape:
        image: (H, W, 3), uint8.
    """
    sides: list[Sequence[dict[str, Any]]] = [[], *in_same_colors(truth, found, stuff_class_ids)]
    maps = [np.zeros(image.shape[:2], dtype=np.int32), truth["segmentation"], found["segmentation"]]
    labeled = max(map(len, sides)) <= MOST_LABELS and len(id2label) > 1
    drawn = [
        overlay(image, ids, segments, id2label, draw_labels=labeled, color_by="instance")
        for ids, segments in zip(maps, sides)
    ]
    return side_by_side(drawn, TITLES)
