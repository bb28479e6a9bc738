# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Covering of regions that several people drew: how well the best predicted region fits each of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import evaluate
import numpy as np

from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["SegmentationCovering"]

_DESCRIPTION = """
Covering of human regions by predicted ones (Arbelaez et al., TPAMI 2011, section 3.2, the figure that BSDS500 reports).
Every region of every person counts with its number of pixels times its best IoU with any predicted region; `covering`
divides the sum over all regions of all people and all images by the sum of their pixels (large images count more),
`mean_covering` is the mean of the images' own quotients. Id 0 is no region, on either side.
"""
_INPUTS = """
Args:
    predictions: per image a map of region ids (H, W), {"segmentation": map}, or regions (M, H, W) bool, which may
        overlap.
    references: per image a map of region ids, or a list of maps, one per person.
Returns, in percent:
    covering (pooled over all regions), mean_covering (mean over images), num_regions, num_maps, num_images.
"""


def _id_map(side: str, entry: Any) -> np.ndarray:
    """Region ids (H, W) as whole numbers."""
    ids = to_numpy(entry["segmentation"] if isinstance(entry, Mapping) else entry)
    if ids.ndim != 2 or ids.dtype.kind not in "iub":
        raise ValueError(f"{side} is {ids.dtype} of shape {ids.shape}; give region ids (H, W) as whole numbers")
    return ids


def _overlaps(reference: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that every true region shares with every predicted one, and the predicted regions' own.

    Shape:
        reference: (H, W) indices 0 .. N (0: none); prediction: (H, W) indices 0 .. M, or (M, H, W) bool.
        Outputs: (N, M), (M,).
    """
    count = int(reference.max(initial=0)) + 1
    if prediction.ndim == 3:
        shared = np.stack([np.bincount(reference[mask], minlength=count) for mask in prediction], axis=1)
        return shared[1:], shared.sum(0)
    columns = int(prediction.max(initial=0)) + 1
    table = np.bincount((reference.astype(np.int64) * columns + prediction).ravel(), minlength=count * columns)
    table = table.reshape(count, columns)
    return table[1:, 1:], table.sum(0)[1:]


class SegmentationCovering(StreamingMetric):
    """Covering of the regions of one or several people, pooled over a dataset.

    Raises:
        ValueError: On maps of different sizes, or an image without any true map.
    """

    shares = frozenset(
        (
            "covering",
            "mean_covering",
        )
    )

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(_DESCRIPTION, _INPUTS, dense("int64"), dense("int64", 3))

    def _initial_state(self) -> dict[str, Any]:
        # Sums of: pixels times best IoU, pixels, the images' own quotients; counts of regions, maps, images with any.
        return {"sums": np.zeros(3, dtype=np.float64), "counts": np.zeros(3, dtype=np.int64)}

    def _update(self, prediction: Any, reference: Any) -> None:
        predicted = prediction if isinstance(prediction, Mapping) else to_numpy(prediction)
        if not isinstance(predicted, Mapping) and predicted.ndim == 3:
            if predicted.dtype != bool:
                raise ValueError(f"prediction is {predicted.dtype} of shape {predicted.shape}; give masks as bool")
        else:
            ids = _id_map("prediction", predicted)
            names, index = np.unique(ids, return_inverse=True)
            predicted = index.reshape(ids.shape) + (0 if 0 in names else 1)  # (H, W), 0 none
            if (names < 0).any():
                raise ValueError(f"prediction has the region id {names.min()}; ids are 0 (none) and above")
        people = list(reference) if isinstance(reference, (list, tuple)) else [reference]
        if people and np.ndim(people[0]) == 1:  # a map as nested lists
            people = [np.asarray(reference)]
        if not people:
            raise ValueError("an image has no true map; give at least one person's regions")
        covered = pixels = 0.0
        regions = 0
        for person in people:
            ids = _id_map("reference", person)
            if ids.shape != predicted.shape[-2:]:
                raise ValueError(
                    f"prediction is {predicted.shape[-2:]} and reference {ids.shape} (height, width); compare at the "
                    "image's own size"
                )
            names, index = np.unique(ids, return_inverse=True)
            if (names < 0).any():
                raise ValueError(f"reference has the region id {names.min()}; ids are 0 (none) and above")
            true = index.reshape(ids.shape) + (0 if 0 in names else 1)
            sizes = np.bincount(true.ravel())[1:]  # (N,)
            if predicted.size:
                shared, own = _overlaps(true, predicted)
                union = sizes[:, None] + own[None] - shared  # (N, M)
                best = (shared / np.maximum(union, 1)).max(axis=1, initial=0.0)  # (N,)
            else:
                best = np.zeros(len(sizes))
            covered, pixels, regions = covered + sizes @ best, pixels + sizes.sum(), regions + len(sizes)
        self._state["sums"] += [covered, pixels, covered / pixels if pixels else 0.0]
        self._state["counts"] += [regions, len(people), int(pixels > 0)]

    def _result(self) -> dict[str, Any]:
        covered, pixels, quotients = self._state["sums"].tolist()
        regions, maps, images = self._state["counts"].tolist()
        return {
            "covering": covered / pixels if pixels else 0.0,
            "mean_covering": quotients / images if images else 0.0,
            "num_regions": regions,
            "num_maps": maps,
            "num_images": self._num_images,
        }
