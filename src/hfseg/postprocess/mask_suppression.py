# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sets of class-agnostic masks: non-maximum suppression by pixels, stability, cleaning."""

import numpy as np
import torch
from torch import Tensor

NMS_RULES = ("or", "and", "iou")
# Candidates that are compared with all others at once, and pixels per matrix product: bound the memory.
NMS_BLOCK = 64
NMS_PIXELS = 1 << 15
NMS_EPSILON = 1e-6


def _intersections(few: Tensor, many: Tensor) -> Tensor:
    """Pixels common to masks of two sets. Shape: bool (n, S) and (m, S); result (n, m) float32, exact below 2^24."""
    common = torch.zeros((len(few), len(many)), device=many.device)
    for start in range(0, many.shape[1], NMS_PIXELS):
        common += few[:, start : start + NMS_PIXELS].float() @ many[:, start : start + NMS_PIXELS].float().t()
    return common


@torch.no_grad()
def mask_nms(
    masks: Tensor, scores: Tensor, iou_threshold: float = 0.5, cover_threshold: float = 0.7, rule: str = "or"
) -> Tensor:
    """Non-maximum suppression of masks by their pixels (Unpair-Seg, algorithm 1).

    From the best mask down, a kept mask removes every worse one that repeats it (IoU) or lies inside it (cover: the
    share of the worse mask inside the better). Candidates are taken in blocks of equal treatment: one matrix product
    gives all overlaps of a block with what is left, and suppression within a block is solved by iteration to its fixed
    point, so that no loop runs over pairs of masks. The result is that of the sequential rule.

    Args:
        masks: Binary masks.
        scores: Quality of each.
        iou_threshold: Smallest IoU that removes.
        cover_threshold: Smallest cover that removes. Empty masks count as covered.
        rule: `"or"` removes at one of the two (the official code); `"and"` where both are exceeded, as printed, which
            never removes a part of a kept object; `"iou"` ignores cover.

    Returns:
        Indices of kept masks, best first.

    Shape:
        masks `(N, H, W)` bool; scores `(N,)`; result `(n,)` int64.

    Raises:
        ValueError: for an unknown rule, or scores that do not fit.
    """
    if rule not in NMS_RULES:
        raise ValueError(f"NMS rule {rule!r} is unknown; choose one of {', '.join(NMS_RULES)}.")
    if masks.ndim != 3 or scores.shape != masks.shape[:1]:
        raise ValueError(
            f"Masks must be (N, H, W) with one score each, got {tuple(masks.shape)}, {tuple(scores.shape)}."
        )
    order = scores.argsort(descending=True, stable=True)
    if not len(order):
        return order
    flat = masks.flatten(1)
    areas = flat.sum(1).float()
    kept: list[Tensor] = []
    while len(order):
        block, rest = order[:NMS_BLOCK], order
        common = _intersections(flat[block], flat[rest])  # (n, m), n first of m
        area, own = areas[rest], areas[block][:, None]
        iou = (common + NMS_EPSILON) / (own + area - common + NMS_EPSILON)
        cover = (common + NMS_EPSILON) / (area + NMS_EPSILON)
        if rule == "or":
            removes = (iou >= iou_threshold) | (cover >= cover_threshold)
        elif rule == "and":
            removes = (iou > iou_threshold) & (cover > cover_threshold)
        else:
            removes = iou >= iou_threshold
        removes &= torch.ones_like(removes).triu(1)  # only worse masks
        inside = removes[:, : len(block)]
        alive = torch.ones(len(block), dtype=torch.bool, device=masks.device)
        while True:
            survivors = ~(inside & alive[:, None]).any(0)
            if torch.equal(survivors, alive):
                break
            alive = survivors
        kept.append(block[alive])
        gone = (removes & alive[:, None]).any(0)
        order = rest[len(block) :][~gone[len(block) :]]
    return torch.cat(kept)


def mask_stability(mask_logits: Tensor, threshold: float = 0.5, offset: float = 0.1) -> Tensor:
    """Stability of masks: area above `threshold + offset` by area above `threshold - offset`, of logits.

    NaN where even the larger area is empty, so that such a mask passes no threshold.

    Shape: mask_logits (..., H, W); result (...).
    """
    strict = (mask_logits > threshold + offset).flatten(-2).sum(-1)
    loose = (mask_logits > threshold - offset).flatten(-2).sum(-1)
    return strict / loose


def clean_small_regions(masks: np.ndarray, min_area: int) -> np.ndarray:
    """Fills holes, then drops islands, smaller than an area; a mask of small islands only keeps its largest.

    Pixels touching at a corner are connected.

    Shape: masks (N, H, W) bool; result likewise.
    """
    from scipy import ndimage

    cleaned = np.array(masks, dtype=bool)
    for index in range(len(cleaned)):
        for holes in (True, False):
            regions, count = ndimage.label(cleaned[index] != holes, structure=np.ones((3, 3), dtype=int))
            sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
            small = sizes < min_area
            if not small.any():
                continue
            if holes:
                cleaned[index] |= np.concatenate(([False], small))[regions]
            else:
                large = ~small if not small.all() else np.arange(count) == sizes.argmax()
                cleaned[index] = np.concatenate(([False], large))[regions]
    return cleaned
