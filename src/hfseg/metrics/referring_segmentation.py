# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Intersection over union of referring segmentation: mean, overall, and precision at thresholds."""

from __future__ import annotations

from typing import Any

import evaluate
import numpy as np

from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["ReferringSegmentation"]

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
# Of the official code; keeps an empty union from dividing by zero.
_EPSILON = 1e-6

_DESCRIPTION = """
Referring segmentation: how well the mask of each expression covers its referent. `miou` averages the IoU of samples
(a sample is one expression), every sample weighing the same; `oiou` divides the intersections of all samples by
their unions, so that large objects weigh more. Papers call either of them IoU.
"""
_INPUTS = """
Args:
    predictions: mask (H, W) of every expression; any value but 0 is inside.
    references: mask (H, W) of every referent, at the image's size; any value but 0 is inside.
Returns, in percent:
    miou, oiou, precision@0.5 ... precision@0.9 (share of samples whose IoU is above the threshold),
    num_samples (with a referent); and, if there are samples whose reference is empty, num_without_referent and
    without_referent_accuracy (share of them whose prediction is empty, too). Those count in no other figure.
"""


class ReferringSegmentation(StreamingMetric):
    """Mean IoU, overall IoU and precision at IoU 0.5 to 0.9 over expressions.

    The IoU of a sample is `|P and R| / (|P or R| + 1e-6)`, as the authors of CRIS compute it. "Above" is strict.

    Raises:
        ValueError: On masks of different sizes.
    """

    shares = frozenset(("miou", "oiou", "without_referent_accuracy", *(f"precision@{value}" for value in THRESHOLDS)))

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            _DESCRIPTION,
            _INPUTS,
            dense("uint8"),
            citation="Wang et al., CRIS: CLIP-driven referring image segmentation, CVPR 2022, arXiv:2111.15174",
        )

    def _initial_state(self) -> dict[str, Any]:
        return {
            "iou": np.zeros(1),
            "pixels": np.zeros(2, dtype=np.int64),  # intersection, union
            "above": np.zeros(len(THRESHOLDS), dtype=np.int64),
            "without": np.zeros(2, dtype=np.int64),  # samples without a referent, those predicted empty
        }

    def _update(self, prediction: Any, reference: Any) -> None:
        prediction, reference = to_numpy(prediction) != 0, to_numpy(reference) != 0
        if prediction.shape != reference.shape:
            raise ValueError(
                f"prediction has shape {prediction.shape} and reference {reference.shape}; bring the prediction to the "
                "reference's size before adding it"
            )
        if not reference.any():
            self._state["without"] += np.array([1, not prediction.any()])
            return
        intersection = int(np.count_nonzero(prediction & reference))
        union = int(np.count_nonzero(prediction | reference))
        iou = intersection / (union + _EPSILON)
        self._state["iou"] += iou
        self._state["pixels"] += np.array([intersection, union])
        self._state["above"] += iou > np.array(THRESHOLDS)

    def _result(self) -> dict[str, Any]:
        without, right = self._state["without"].tolist()
        count = self._num_images - without
        result: dict[str, Any] = {"num_samples": count}
        if count:
            intersection, union = self._state["pixels"].tolist()
            result["miou"] = float(self._state["iou"][0] / count)
            result["oiou"] = intersection / union
            for threshold, above in zip(THRESHOLDS, self._state["above"].tolist()):
                result[f"precision@{threshold}"] = above / count
        if without:
            result |= {"num_without_referent": without, "without_referent_accuracy": right / without}
        return result
