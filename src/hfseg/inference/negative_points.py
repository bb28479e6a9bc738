# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Negative points for models of masks: places that the masks of points and boxes must not cover.

Unpair-Seg encodes negative points, but its training shows it single points on objects, so that its weights for negative
ones say nothing. They are therefore used on the masks, where any model of masks can be asked: of a prompt's masks, from
part to whole, those that cover no negative point come first; where none is left, the negative point's own mask is cut
out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["choose_mask", "masks_without"]


def _covers(mask: np.ndarray, points: Sequence[Sequence[float]]) -> np.ndarray:
    """Which points are in a mask (H, W); those on the far edges of the image belong to its last pixels."""
    height, width = mask.shape
    return np.array([mask[min(int(y), height - 1), min(int(x), width - 1)] for x, y in points], dtype=bool)


def choose_mask(
    masks: np.ndarray,
    scores: Sequence[float],
    inside: Sequence[Sequence[float]],
    outside: Sequence[Sequence[float]],
    cuts: Sequence[np.ndarray],
) -> tuple[np.ndarray, float]:
    """Chooses the mask of a prompt that covers none of the negative points, or cuts them out of the best.

    Args:
        masks: Candidates of the prompt.
        scores: Of the candidates.
        inside: The prompt's own point, if it is one.
        outside: Negative points.
        cuts: Mask of each negative point.

    Returns:
        Mask (H, W) and score; a mask is cut only by masks of negative points that it covers.

    Shape:
        masks: (M, H, W) bool; cuts: each (H, W) bool.
    """
    fits = [bool(_covers(mask, inside).all()) and not _covers(mask, outside).any() for mask in masks]
    # Of equal fit, the best score; the first of equal scores.
    best = max(range(len(masks)), key=lambda index: (fits[index], scores[index], -index))
    mask = masks[best].copy()
    for covered, cut in zip(_covers(mask, outside), cuts):
        if covered:
            mask &= ~cut
    return mask, float(scores[best])


def masks_without(
    pipe: Any, image: Any, asked: dict[str, Any], outside: Sequence[Sequence[float]]
) -> dict[str, list[Any]]:
    """Asks a mask-generation pipeline for masks of points or boxes that cover no negative point.

    Args:
        pipe: `pipeline("mask-generation")`.
        image: As the pipeline takes it.
        asked: `input_points` or `input_boxes`.
        outside: Negative points, (x, y) in pixels of the image.

    Returns:
        `{"masks", "scores"}`, one per prompt, as the pipeline's.
    """
    points = [list(map(float, point)) for point in asked.get("input_points", ())]
    negative = [list(map(float, point)) for point in outside]
    if points:
        found, rest = pipe(image, input_points=points + negative, multimask_output=True), None
    else:
        found = pipe(image, multimask_output=True, **asked)
        rest = pipe(image, input_points=negative, multimask_output=True)
    count = len(points) or len(asked["input_boxes"])

    def of_prompts(answer: Any, prompts: int) -> tuple[np.ndarray, np.ndarray]:
        masks = np.stack([np.asarray(mask, dtype=bool) for mask in answer["masks"]])
        return masks.reshape(prompts, -1, *masks.shape[1:]), np.asarray(answer["scores"]).reshape(prompts, -1)

    if rest is None:
        masks, scores = of_prompts(found, count + len(negative))
        masks, scores, others, trust = masks[:count], scores[:count], masks[count:], scores[count:]
    else:
        (masks, scores), (others, trust) = of_prompts(found, count), of_prompts(rest, len(negative))
    # The mask of a negative point covers it, and leaves the objects alone that are asked for.
    cuts = [
        choose_mask(own, own_scores, [point], points, ())[0] for own, own_scores, point in zip(others, trust, negative)
    ]
    chosen = [
        choose_mask(own, own_scores, [points[index]] if points else [], negative, cuts)
        for index, (own, own_scores) in enumerate(zip(masks, scores))
    ]
    return {"masks": [mask for mask, _ in chosen], "scores": [score for _, score in chosen]}
