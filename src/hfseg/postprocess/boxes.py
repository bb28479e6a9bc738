# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Boxes of images from class logits and boxes of queries."""

from collections.abc import Sequence

import torch
from torch import Tensor


def detect_boxes(
    logits: Tensor,
    boxes: Tensor,
    *,
    padded_sizes: Sequence[tuple[int, int]],
    image_sizes: Sequence[tuple[int, int]] | None = None,
    output_sizes: Sequence[tuple[int, int]] | None = None,
    threshold: float = 0.0,
    num_detections: int = 300,
) -> list[dict[str, Tensor]]:
    """Takes the best (query, class) pairs of every image, as DINO does, and places their boxes in the image.

    Args:
        logits: Class logits, one sigmoid each.
        boxes: (center x, center y, width, height), 0..1 of the padded input.
        padded_sizes: (height, width) of the network input.
        image_sizes: Of each image within it; default: all of it.
        output_sizes: Of each image as it was given; default: boxes are shares of the image, 0..1.
        threshold: Pairs of a smaller score are left out.
        num_detections: Pairs at most.

    Returns:
        Per image `scores` (N,), `labels` (N,) and `boxes` (N, 4) as (left, top, right, bottom), cut off at the image's
        border; best first.

    Shape:
        logits: (B, Q, K); boxes: (B, Q, 4).
    """
    num_classes = logits.shape[-1]
    scores, pairs = logits.float().sigmoid().flatten(1).topk(min(num_detections, logits[0].numel()))
    results = []
    for index, (score, pair) in enumerate(zip(scores, pairs)):
        kept = score >= threshold
        score, pair = score[kept], pair[kept]
        center, side = boxes[index, pair // num_classes].float().chunk(2, dim=-1)
        placed = torch.cat((center - side / 2, center + side / 2), dim=-1)
        padded = padded_sizes[index]
        inner = padded if image_sizes is None else image_sizes[index]
        scale = placed.new_tensor([padded[1] / inner[1], padded[0] / inner[0]]).repeat(2)
        placed = (placed * scale).clamp(0, 1)
        if output_sizes is not None:
            placed = placed * placed.new_tensor([output_sizes[index][1], output_sizes[index][0]]).repeat(2)
        results.append({"scores": score, "labels": pair % num_classes, "boxes": placed})
    return results
