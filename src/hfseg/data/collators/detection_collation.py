# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Collation of raw examples into the inputs of a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .collation import UniversalCollator

__all__ = ["DetectionCollator", "boxes_of_ids"]


def boxes_of_ids(id_map: torch.Tensor, count: int) -> torch.Tensor:
    """Frames the segments 1 .. N of a map, last pixel included; every segment must have a pixel.

    Shape:
        id_map: (H, W), integer. Output: (N, 4), (left, top, right, bottom) in pixels, float32.
    """
    height, width = id_map.shape
    ids = id_map.flatten().long()
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    ends = []
    for places, reduction, start in ((columns, "amin", width), (rows, "amin", height)):
        first = torch.full((count + 1,), start).scatter_reduce(0, ids, places, reduction)
        ends.append(first[1:])
    for places in (columns, rows):
        ends.append(torch.full((count + 1,), -1).scatter_reduce(0, ids, places, "amax")[1:] + 1)
    return torch.stack(ends, dim=1).float()


class DetectionCollator(UniversalCollator):
    """Batch of a detector from examples of the universal schema.

    As `UniversalCollator`, but the truth is a box around each thing's visible pixels. Stuff has none.

    Args:
        As `UniversalCollator`; classes of `stuff_class_ids` have no boxes.

    Returns (of a call):
        `pixel_values`: normalized images, zero-padded right and bottom;
        `labels`: per example `class_labels` and `boxes`, (center x, center y, width, height) as shares of the padded
        input.

    Shape:
        pixel_values: (B, 3, H, W), float32.
        class_labels: (N,), int64; boxes: (N, 4), float32.
    """

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        batch = super().__call__(examples)
        height, width = batch["pixel_values"].shape[-2:]
        stuff, labels = torch.from_numpy(self.stuff - 1), []
        for id_map, classes in zip(batch["mask_labels"], batch["class_labels"]):
            things = ~torch.isin(classes, stuff)
            boxes = boxes_of_ids(id_map, len(classes))[things]
            center, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            shares = torch.cat((center, side), dim=1) / torch.tensor([width, height, width, height])
            labels.append({"class_labels": classes[things], "boxes": shares})
        return {"pixel_values": batch["pixel_values"], "labels": labels}
