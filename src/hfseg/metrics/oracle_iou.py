# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class-agnostic quality of prompted masks: the IoU that a perfect choice among the predicted masks would reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import evaluate
import numpy as np

from ..results.run_lengths import decode_run_lengths
from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["OracleIoU"]

MATCHINGS = ("pool", "paired")
# Predicted masks compared at a time: bounds the memory of a grid of prompts (1600 masks and more per image).
_CHUNK = 64

_DESCRIPTION = """
Oracle IoU of class-agnostic masks. For every true mask the best IoU over the predicted masks it is compared with; the
result is the plain mean over all true masks of the whole set (not a mean over images). Crowd segments are left out.
"""
_INPUTS = """
Args:
    predictions: per image, with matching "pool" (1-point: masks of a grid of points) any number of masks, all compared
        with every true mask: (M, H, W), a list of masks or COCO run lengths, or {"segmentation", "segments_info"}.
        With matching "paired" (1-box: one prompt per true mask) one entry per true mask, in the same order: (N, H, W),
        or (N, C, H, W) where a model gives C candidates per prompt, or a list of such entries.
    references: per image N masks in the same forms, or {"segmentation": (H, W) ids, "segments_info": [...]} in the
        universal schema.
Returns, in percent:
    oracle_iou (mean over true masks of the best IoU), first_iou (paired only: mean IoU of the first candidate, what a
    user without an oracle gets), recall_50 and recall_75 (share of true masks whose best IoU is above 0.5, 0.75),
    num_masks, num_images.
"""


def _masks(side: str, masks: Any) -> np.ndarray:
    """Boolean masks (N, H, W) of one side."""
    if isinstance(masks, Mapping) and "segments_info" in masks:
        if hasattr(masks, "binary_masks"):  # instances of a SegmentationResult may overlap
            return np.asarray(masks.binary_masks())
        segmentation = to_numpy(masks["segmentation"])
        ids = [int(s["id"]) for s in masks["segments_info"] if not s.get("iscrowd", 0)]
        return segmentation[None] == np.asarray(ids, dtype=np.int64)[:, None, None]
    if isinstance(masks, (list, tuple)):
        drawn = [decode_run_lengths(m) if isinstance(m, Mapping) else to_numpy(m).astype(bool) for m in masks]
        if len({mask.shape for mask in drawn}) > 1:
            raise ValueError(f"{side} masks have different shapes, {sorted({mask.shape for mask in drawn})}")
        return np.stack(drawn) if drawn else np.zeros((0, 0, 0), dtype=bool)
    array = to_numpy(masks)
    if array.ndim not in (3, 4):
        raise ValueError(f"{side} has shape {array.shape}; give masks (N, H, W), or (N, C, H, W) with candidates")
    return array if array.dtype == bool else array != 0


def _iou(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """IoU of every true with every predicted mask.

    Shape: (N, P) and (M, P) bool -> (N, M) float64.
    """
    true_pixels = true.astype(np.float32)
    # float32 counts exactly up to 2 ** 24 pixels; larger images are counted in float64.
    if true.shape[1] > 1 << 24:
        true_pixels = true_pixels.astype(np.float64)
    parts = []
    for start in range(0, len(predicted), _CHUNK):
        part = predicted[start : start + _CHUNK]
        overlap = (true_pixels @ part.T.astype(true_pixels.dtype)).astype(np.float64)
        union = true.sum(1)[:, None] + part.sum(1)[None] - overlap
        parts.append(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(true), 0))


class OracleIoU(StreamingMetric):
    """Mean over all true masks of the best IoU among the predicted masks (1-point and 1-box IoU).

    Args:
        matching: "pool": every true mask is compared with all predictions of its image, as 1-point IoU over a grid of
            points. "paired": prediction i answers the prompt (box or point) made from true mask i, as 1-box IoU.

    Rules: an image without true masks adds nothing; a true mask without any prediction counts as 0; true masks without
    a pixel are left out.

    Raises:
        ValueError: On masks of different sizes, another matching, or (paired) another number of predictions.
    """

    shares = frozenset(
        (
            "oracle_iou",
            "first_iou",
            "recall_50",
            "recall_75",
        )
    )

    def __init__(self, matching: str = "pool", **kwargs: Any) -> None:
        if matching not in MATCHINGS:
            raise ValueError(f"matching {matching!r} is unknown; use {' or '.join(map(repr, MATCHINGS))}")
        self.matching = matching
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(_DESCRIPTION, _INPUTS, dense("bool", 3))

    def _initial_state(self) -> dict[str, Any]:
        # Sums of: best IoU, IoU of the first candidate, best > 0.5, best > 0.75; number of true masks.
        return {"sums": np.zeros(4, dtype=np.float64), "masks": np.zeros(1, dtype=np.int64)}

    def _update(self, prediction: Any, reference: Any) -> None:
        true = _masks("reference", reference)
        if true.ndim == 4:
            raise ValueError(f"reference has shape {true.shape}; give one mask per object, (N, H, W)")
        if isinstance(prediction, (list, tuple)) and self.matching == "paired" and len(prediction):
            inner = [
                _masks("prediction", [entry] if isinstance(entry, Mapping) else entry) for entry in _lifted(prediction)
            ]
            if len({entry.shape for entry in inner}) > 1:
                raise ValueError(f"predictions have different shapes, {sorted({entry.shape for entry in inner})}")
            predicted = np.stack(inner)  # (N, C, H, W)
        else:
            predicted = _masks("prediction", prediction)
            if predicted.ndim == 3 and self.matching == "paired":
                predicted = predicted[:, None]
        if predicted.ndim == 4 and self.matching == "pool":
            predicted = predicted.reshape(-1, *predicted.shape[-2:])
        if self.matching == "paired" and len(predicted) != len(true):
            raise ValueError(
                f"{len(predicted)} predictions for {len(true)} true masks; matching 'paired' needs one per true mask"
            )
        if len(true) == 0:
            return
        if predicted.size and predicted.shape[-2:] != true.shape[-2:]:
            raise ValueError(
                f"predicted masks are {predicted.shape[-2:]} and true ones {true.shape[-2:]} (height, width); resize "
                "the predictions to the reference before adding them"
            )
        flat = true.reshape(len(true), -1)
        occurs = flat.any(axis=1)
        if self.matching == "paired":
            values = np.stack(
                [_iou(flat[i : i + 1], predicted[i].reshape(predicted.shape[1], -1))[0] for i in range(len(flat))]
            )
        else:
            values = _iou(flat, predicted.reshape(len(predicted), flat.shape[1]))
        values = values[occurs]  # (N, candidates)
        best = values.max(axis=1, initial=0.0)
        first = values[:, 0] if values.shape[1] else best
        self._state["sums"] += [best.sum(), first.sum(), (best > 0.5).sum(), (best > 0.75).sum()]
        self._state["masks"] += int(occurs.sum())

    def _result(self) -> dict[str, Any]:
        count = int(self._state["masks"][0])
        means = self._state["sums"] / max(count, 1)
        result: dict[str, Any] = {"oracle_iou": float(means[0])}
        if self.matching == "paired":
            result["first_iou"] = float(means[1])
        result |= {"recall_50": float(means[2]), "recall_75": float(means[3])}
        return {**result, "num_masks": count, "num_images": self._num_images}


def _lifted(entries: Any) -> list[Any]:
    """Entries of a paired prediction, each as a stack of candidates."""
    lifted: list[Any] = []
    for entry in entries:
        if isinstance(entry, (Mapping, list, tuple)):
            lifted.append(entry)
        else:
            array = to_numpy(entry)
            lifted.append(array[None] if array.ndim == 2 else array)
    return lifted
