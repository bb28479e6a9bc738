# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From logits to segments on NumPy: the rules of `hfseg.postprocess`, which says what each threshold means."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from .resizing import BandResizer, Size

__all__ = [
    "Geometry",
    "boxes",
    "instances",
    "mask_suppression",
    "panoptic",
    "semantic",
    "sigmoid",
    "softmax",
    "thresholded",
]

EPSILON = 1e-6
# As `hfseg.processing.limits`, which needs torch.
FULL = 0.95


@dataclass(frozen=True)
class Geometry:
    """Sizes (height, width): of the padded input, of the image in it, of the result, and of the result's canvas."""

    padded: Size
    inside: Size
    output: Size
    canvas: Size | None = None

    def resizer(self, logits: np.ndarray) -> BandResizer:
        """Brings logits (N, h, w) to the result."""
        return BandResizer(logits, self.padded, self.inside, self.output, self.canvas)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    positive = values >= 0
    z = np.exp(np.where(positive, -values, values))
    return np.where(positive, 1 / (1 + z), z / (1 + z)).astype(np.float32)


def softmax(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Probabilities of logits."""
    z = np.exp(values - values.max(axis, keepdims=True))
    return (z / z.sum(axis, keepdims=True)).astype(np.float32)


def check_shares(**values: float) -> None:
    """Checks scores and shares by name; outside of [0, 1] nothing, or everything, would pass without a word.

    Raises:
        ValueError: Outside of [0, 1], or NaN.
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}.")


def logit_of(probability: float) -> float:
    """Logit of a probability, infinite at 0 and 1.

    Raises:
        ValueError: It is outside of [0, 1].
    """
    check_shares(mask_threshold=probability)
    if probability in (0.0, 1.0):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))


def mask_suppression(
    masks: np.ndarray, scores: np.ndarray, iou_threshold: float, cover_threshold: float, rule: str = "or"
) -> np.ndarray:
    """Indices of the masks that no better one repeats (IoU) or covers, best first; `hfseg.postprocess.mask_nms`.

    Shape:
        masks: (N, H, W) bool; scores: (N,).
    """
    order = np.argsort(-scores, kind="stable")
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    areas = flat.sum(1)
    kept: list[int] = []
    while len(order):
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        common = flat[rest] @ flat[best]
        iou = (common + EPSILON) / (areas[best] + areas[rest] - common + EPSILON)
        cover = (common + EPSILON) / (areas[rest] + EPSILON)
        if rule == "and":
            gone = (iou > iou_threshold) & (cover > cover_threshold)
        else:
            gone = (iou >= iou_threshold) | ((cover >= cover_threshold) & (rule == "or"))
        order = rest[~gone]
    return np.asarray(kept, dtype=np.int64)


def _distinct(
    logits: np.ndarray, scores: np.ndarray, exempt: np.ndarray, geometry: Geometry, mask_threshold: float
) -> np.ndarray:
    """Which queries remain when duplicates give way; `hfseg.postprocess.distinct_queries`. Shape: (N,) bool."""
    height = math.ceil(logits.shape[1] * geometry.inside[0] / geometry.padded[0])
    width = math.ceil(logits.shape[2] * geometry.inside[1] / geometry.padded[1])
    part = logits[:, :height, :width].astype(np.float32)
    masks = part >= logit_of(mask_threshold)
    inside = (sigmoid(part) * masks).sum((1, 2)) / (masks.sum((1, 2)) + EPSILON)
    keep = exempt.copy()
    candidates = np.flatnonzero(~exempt)
    keep[candidates[mask_suppression(masks[candidates], (scores * inside)[candidates], 1.1, 0.5)]] = True
    return keep


def semantic(class_logits: np.ndarray, mask_logits: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Class of every pixel: the largest sum over queries of class probability times mask probability.

    Shape:
        class_logits: (Q, K + 1); mask_logits: (Q, h, w); result (H, W), int64.
    """
    weights = softmax(class_logits)[:, :-1].T  # (K, Q)
    result = np.empty(geometry.output, dtype=np.int64)
    for rows, band in geometry.resizer(mask_logits).bands():
        result[rows] = np.einsum("kq,qhw->khw", weights, sigmoid(band), optimize=True).argmax(0)
    return result


def panoptic(
    class_logits: np.ndarray,
    mask_logits: np.ndarray,
    geometry: Geometry,
    *,
    threshold: float,
    mask_threshold: float,
    overlap_mask_area_threshold: float,
    stuff: set[int],
    suppress_duplicates: bool = False,
    min_segment_area: int = 0,
    query_scores: np.ndarray | None = None,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Non-overlapping segments; see `hfseg.postprocess.panoptic_segmentation`.

    Returns:
        Map of ids (H, W) int32, 0 = void, and `{"id", "label_id", "was_fused", "score", "area"}` of each.

    Shape:
        class_logits: (Q, K + 1); mask_logits: (Q, h, w); query_scores: (Q,).
    """
    check_shares(threshold=threshold, overlap_mask_area_threshold=overlap_mask_area_threshold)
    probabilities = softmax(class_logits)
    labels, scores = probabilities.argmax(1), probabilities.max(1)
    taking_part = (labels != class_logits.shape[1] - 1) & (scores > threshold)
    if query_scores is not None:
        scores = scores * query_scores
    queries = np.flatnonzero(taking_part)
    fused = np.isin(labels, sorted(stuff))
    if suppress_duplicates and len(queries):
        kept = _distinct(mask_logits[queries], scores[queries], fused[queries], geometry, mask_threshold)
        queries = queries[kept]
    if not len(queries):
        return np.zeros(geometry.output, dtype=np.int32), []
    level, count = logit_of(mask_threshold), len(queries)
    own, won = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    painted_map = np.empty(geometry.output, dtype=np.int32)  # 0 = not painted, k + 1 = query k
    for rows, band in geometry.resizer(mask_logits[queries]).bands():
        inside = band >= level
        own += inside.sum((1, 2))
        winner = (sigmoid(band) * scores[queries, None, None]).argmax(0)
        won += np.bincount(winner.ravel(), minlength=count)
        painted_map[rows] = (winner + 1) * np.take_along_axis(inside, winner[None], 0)[0]
    areas = np.bincount(painted_map.ravel(), minlength=count + 1)[1:]
    ids, segments = np.zeros(count + 1, dtype=np.int32), list[dict[str, Any]]()
    of_class: dict[int, dict[str, Any]] = {}
    for place, query in enumerate(queries.tolist()):
        label, is_stuff = int(labels[query]), bool(fused[query])
        visible = won[place] / max(own[place], 1) >= overlap_mask_area_threshold
        if not areas[place] or not visible or (areas[place] < min_segment_area and not is_stuff):
            continue
        segment = of_class.get(label) if is_stuff else None
        if segment is None:
            segment = {
                "id": len(segments) + 1,
                "label_id": label,
                "was_fused": is_stuff,
                "score": float(scores[query]),
                "area": 0,
            }
            segments.append(segment)
            if is_stuff:
                of_class[label] = segment
        segment["area"] += int(areas[place])
        ids[place + 1] = segment["id"]
    return ids[painted_map], segments


def warn_if_full(class_logits: np.ndarray, threshold: float, segments: int) -> None:
    """Warns where nearly every query found something: there may be more objects than queries. Shape: (Q, K + 1)."""
    number = len(class_logits)
    if not number or 4 * segments < number:
        return
    probabilities = softmax(class_logits)
    taken = (probabilities.argmax(1) < class_logits.shape[1] - 1) & (probabilities.max(1) > threshold)
    if taken.sum() >= FULL * number:
        warnings.warn(
            f"{taken.sum()} of the model's {number} queries found something, so there may be more objects than these "
            f"{segments} segments. Cut the image into parts; a model with queries from pixels can be exported with a "
            "higher max_queries.",
            stacklevel=3,
        )


def instances(
    class_logits: np.ndarray,
    mask_logits: np.ndarray,
    geometry: Geometry,
    *,
    threshold: float,
    mask_threshold: float,
    num_instances: int,
    stuff: set[int],
    suppress_duplicates: bool = False,
    min_segment_area: int = 0,
    query_scores: np.ndarray | None = None,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Scored masks of things, best first, which may overlap; see `hfseg.postprocess.instance_segmentation`.

    Returns:
        Masks (N, H, W) bool and `{"id", "label_id", "was_fused", "score", "area"}` of each.

    Shape:
        class_logits: (Q, K + 1); mask_logits: (Q, h, w); query_scores: (Q,).
    """
    check_shares(threshold=threshold)
    count = class_logits.shape[1] - 1
    pairs = softmax(class_logits)[:, :-1].ravel()
    best = np.argsort(-pairs, kind="stable")[:num_instances]
    class_scores, queries, labels = pairs[best], best // count, best % count
    chosen = ~np.isin(labels, sorted(stuff))
    if query_scores is None:
        chosen &= class_scores >= threshold
    if suppress_duplicates and chosen.any():
        used, inverse = np.unique(queries[chosen], return_inverse=True)
        quality = np.zeros(len(used), dtype=np.float32)
        np.maximum.at(quality, inverse, class_scores[chosen])
        if query_scores is not None:
            quality = quality * query_scores[used]
        exempt = np.zeros(len(used), dtype=bool)
        chosen[chosen] = _distinct(mask_logits[used], quality, exempt, geometry, mask_threshold)[inverse]
    used, inverse = np.unique(queries[chosen], return_inverse=True)
    level = logit_of(mask_threshold)
    masks = np.zeros((len(used), *geometry.output), dtype=bool)
    total = np.zeros(len(used))
    if len(used):
        for rows, band in geometry.resizer(mask_logits[used]).bands():
            masks[:, rows] = band > level
            total += (sigmoid(band) * masks[:, rows]).sum((1, 2), dtype=np.float64)
    areas = masks.sum((1, 2))
    scores = class_scores[chosen] * (total / (areas + EPSILON)).astype(np.float32)[inverse]
    if query_scores is not None:
        scores = scores * query_scores[queries[chosen]]
    order = np.argsort(-scores, kind="stable")
    order = order[(scores[order] >= threshold) & (areas[inverse[order]] >= min_segment_area)]
    segments = [
        {
            "id": place,
            "label_id": int(labels[chosen][row]),
            "was_fused": False,
            "score": float(scores[row]),
            "area": int(areas[inverse[row]]),
        }
        for place, row in enumerate(order.tolist(), start=1)
    ]
    return masks[inverse[order]], segments


def boxes(
    logits: np.ndarray, placed: np.ndarray, geometry: Geometry, threshold: float, num_detections: int = 300
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N,), classes (N,) and boxes (N, 4) in pixels of the result; see `hfseg.postprocess.detect_boxes`.

    Shape:
        logits: (Q, K), one sigmoid each; placed: (Q, 4), center and size as shares of the padded input.
    """
    check_shares(threshold=threshold)
    flat = sigmoid(logits).ravel()
    best = np.argsort(-flat, kind="stable")[:num_detections]
    best = best[flat[best] >= threshold]
    chosen = placed[best // logits.shape[1]].astype(np.float32)
    center, half = chosen[:, :2], chosen[:, 2:] / 2
    scale = np.tile(np.divide(geometry.padded[::-1], geometry.inside[::-1]), 2).astype(np.float32)
    shares = np.clip(np.concatenate((center - half, center + half), 1) * scale, 0, 1)
    return flat[best], best % logits.shape[1], shares * np.tile(np.asarray(geometry.output[::-1], np.float32), 2)


def thresholded(logits: np.ndarray, level: float, geometry: Geometry) -> np.ndarray:
    """Masks of logits above a level at output size. Shape: (N, h, w) -> (N, H, W) bool."""
    masks = np.zeros((len(logits), *geometry.output), dtype=bool)
    if len(logits):
        for rows, band in geometry.resizer(logits).bands():
            masks[:, rows] = band > level
    return masks
