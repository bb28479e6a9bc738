# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching of detections and annotations by COCO's rules, and precision and recall from the outcomes.

The rules are those of pycocotools' `COCOeval`, and so are the twelve figures: from the best score down, a detection
takes the free annotation of its class with the largest IoU, those that count before those that do not (crowds, and
areas outside of the range); of equal ones the last. All ranges of areas and all thresholds are matched at once.

Shape legend: A ranges of areas, T thresholds, D detections and G annotations of one image and class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["AREA_RANGES", "MAX_DETECTIONS", "Detections", "count_positives", "match_detections", "precision_and_recall"]

# Params.setDetParams of pycocotools.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]], dtype=np.float64)
MAX_DETECTIONS = (1, 10, 100)
FALSE, TRUE, IGNORED = 0, 1, 2


class Detections(NamedTuple):
    """What became of detections, best first within each image and class.

    Attributes:
        classes: Position of the class, `(D,)`.
        scores: `(D,)`, float64.
        ranks: Position within image and class, `(D,)`.
        outcomes: FALSE, TRUE or IGNORED, `(A, T, D)`, uint8.
    """

    classes: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    outcomes: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Detections"]) -> "Detections":
        """Several one after the other."""
        if not parts:
            nothing = np.zeros((len(AREA_RANGES), len(THRESHOLDS), 0), dtype=np.uint8)
            return cls(np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int32), nothing)
        return cls(*(np.concatenate(values, axis=-1) for values in zip(*parts)))


def best_first(scores: Sequence[float]) -> np.ndarray:
    """Order of the detections of an image and class that take part."""
    return np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")[: MAX_DETECTIONS[-1]]


def _outside(areas: np.ndarray) -> np.ndarray:
    """Whether areas lie outside of each range. Shape: (N,) -> (A, N)."""
    return (areas < AREA_RANGES[:, :1]) | (areas > AREA_RANGES[:, 1:])


def count_positives(areas: np.ndarray, is_crowd: np.ndarray) -> np.ndarray:
    """Annotations that count in each range. Shape: (G,), (G,) bool -> (A,), int64."""
    return (~(_outside(areas) | is_crowd)).sum(axis=1)


def match_detections(
    overlaps: np.ndarray, detected_areas: np.ndarray, areas: np.ndarray, is_crowd: np.ndarray
) -> np.ndarray:
    """Outcomes of the detections of one image and class.

    Args:
        overlaps: IoU of each detection, best first, with each annotation; of a crowd the share of the detection in it.
        detected_areas: Of the detections.
        areas: Of the annotations.
        is_crowd: Whether an annotation is a crowd.

    Shape:
        overlaps (D, G); detected_areas (D,); areas, is_crowd (G,); output (A, T, D), uint8.
    """
    num_detections, num_true = len(detected_areas), len(areas)
    outcomes = np.empty((len(AREA_RANGES), len(THRESHOLDS), num_detections), dtype=np.uint8)
    unmatched = np.where(_outside(detected_areas), IGNORED, FALSE)  # (A, D)
    outcomes[:] = unmatched[:, None]
    # Below the lowest threshold nothing matches.
    reached = overlaps >= THRESHOLDS[0] if num_true else np.zeros((num_detections, 0), dtype=bool)
    candidates = np.flatnonzero(reached.any(axis=1))
    if not len(candidates):
        return outcomes
    ignored = (_outside(areas) | is_crowd)[:, ::-1]  # (A, G), from the last: the first maximum is then the last one
    backward, crowd = overlaps[:, ::-1], is_crowd[::-1]
    limits = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]  # (T, 1)
    free = np.ones((len(AREA_RANGES), len(THRESHOLDS), num_true), dtype=bool)
    ranges, steps = np.ogrid[: len(AREA_RANGES), : len(THRESHOLDS)]
    for index in candidates:
        # Annotations that count come first, whatever their IoU (at most 1).
        value = np.where(ignored, backward[index], backward[index] + 2)[:, None]  # (A, 1, G)
        value = np.where(free & (backward[index] >= limits), value, -1.0)  # (A, T, G)
        best = value.argmax(axis=2)  # (A, T)
        found = value[ranges, steps, best] >= 0
        outcome = np.where(ignored[ranges, best], IGNORED, TRUE)
        outcomes[:, :, index] = np.where(found, outcome, unmatched[:, None, index])
        free[ranges, steps, best] &= ~found | crowd[best]
    return outcomes


def precision_and_recall(found: Detections, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision at 101 recalls with at most 100 detections, and recall; -1 where nothing of the kind occurs.

    Args:
        found: Detections of all images, in the order of the images.
        positives: Annotations that count, by class and range.

    Shape:
        positives (K, A); output (T, 101, K, A) and (T, K, A, 3), float64.
    """
    num_classes, num_ranges = positives.shape
    precision = -np.ones((len(THRESHOLDS), len(RECALLS), num_classes, num_ranges))
    recall = -np.ones((len(THRESHOLDS), num_classes, num_ranges, len(MAX_DETECTIONS)))
    by_class = np.argsort(found.classes, kind="stable")
    bounds = np.searchsorted(found.classes[by_class], np.arange(num_classes + 1))
    for position in range(num_classes):
        own = by_class[bounds[position] : bounds[position + 1]]
        own = own[np.argsort(-found.scores[own], kind="stable")]
        for area in np.flatnonzero(positives[position]):
            outcomes, total = found.outcomes[area][:, own], positives[position, area]
            for index, limit in enumerate(MAX_DETECTIONS):
                kept = outcomes[:, found.ranks[own] < limit]
                true = np.cumsum(kept == TRUE, axis=1).astype(np.float64)  # (T, D)
                recall[:, position, area, index] = true[:, -1] / total if kept.shape[1] else 0
                if index == len(MAX_DETECTIONS) - 1:
                    false = np.cumsum(kept == FALSE, axis=1).astype(np.float64)
                    precision[:, :, position, area] = _at_recalls(true, false, total)
    return precision, recall


def _at_recalls(true: np.ndarray, false: np.ndarray, total: int) -> np.ndarray:
    """Largest precision at or beyond each recall. Shape: running counts (T, D) -> (T, 101)."""
    result = np.zeros((len(true), len(RECALLS)))
    values = true / (false + true + np.spacing(1))
    values = np.maximum.accumulate(values[:, ::-1], axis=1)[:, ::-1]
    for row, (recalls, precisions) in enumerate(zip(true / total, values)):
        places = np.searchsorted(recalls, RECALLS, side="left")
        reached = places < len(precisions)
        result[row, reached] = precisions[places[reached]]
    return result
