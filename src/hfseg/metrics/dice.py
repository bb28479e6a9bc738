# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Dice similarity of medical segmentations, per case (volume or image) and class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import evaluate
import numpy as np

from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["Dice"]

_DESCRIPTION = """
Dice similarity coefficient (DSC), 2 |P and G| / (|P| + |G|), of every foreground class in every case, a case being a
whole volume (3-D, in its own voxels) or a whole image (2-D). The mean is taken over cases per class, then over classes.
"""
_INPUTS = """
Args:
    predictions: class map (Z, Y, X) or (H, W) of every case, at the case's own size.
    references: likewise, the truth; the ignore index is left out.
Returns:
    dice (mean of the classes' means), mean_image_iou (likewise), per_class {name: {dice, iou, num_cases, both_empty,
    reference_empty, prediction_empty}}, num_cases. Values are percent; None where no case counts.
"""


class Dice(StreamingMetric):
    """Dice and IoU per case and class.

    Empty masks: with both empty the case has no value for the class (`empty="skip"`) or counts 1 (`empty="one"`); with
    exactly one empty the value is 0. (MONAI's `DiceMetric` leaves out every case whose truth is empty, false positives
    and all.) How many cases each rule met is part of the result.

    Args:
        id2label: Name of every class id 0 .. K-1; 0 is background and not measured.
        ignore_index: Reference value of voxels without annotation; left out.
        empty: `skip` or `one`, see above.

    Raises:
        ValueError: Maps of different shape, or values that are neither a class nor the ignore index.
    """

    shares = frozenset(
        (
            "dice",
            "mean_image_iou",
            "iou",
        )
    )

    def __init__(
        self, id2label: Mapping[int, str], ignore_index: int = 255, empty: str = "skip", **kwargs: Any
    ) -> None:
        self.id2label = {int(class_id): str(name) for class_id, name in id2label.items()}
        if sorted(self.id2label) != list(range(len(self.id2label))) or len(self.id2label) < 2:
            raise ValueError(f"id2label must number background and classes 0 .. K-1, not {sorted(self.id2label)}.")
        if empty not in ("skip", "one"):
            raise ValueError(f"empty is {empty!r}; must be one of 'skip' and 'one'.")
        self.ignore_index, self.empty = ignore_index, empty
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(_DESCRIPTION, _INPUTS, dense("int64"))

    def _initial_state(self) -> dict[str, Any]:
        # Per case: voxels of prediction, reference and both, for every class.
        return {"counts": []}

    def _update(self, prediction: Any, reference: Any) -> None:
        prediction, reference = to_numpy(prediction), to_numpy(reference)
        if prediction.shape != reference.shape:
            raise ValueError(
                f"prediction has shape {prediction.shape} and reference {reference.shape}; compare at the case's size"
            )
        size = len(self.id2label)
        labeled = reference != self.ignore_index
        prediction, reference = prediction[labeled].astype(np.int64), reference[labeled].astype(np.int64)
        for name, values in (("prediction", prediction), ("reference", reference)):
            if values.size and (values.min() < 0 or values.max() >= size):
                wrong = sorted(set(values[(values < 0) | (values >= size)].tolist()))[:5]
                raise ValueError(
                    f"{name} holds the value(s) {wrong}; must be 0 to {size - 1}, in references {self.ignore_index}"
                )
        both = np.bincount(reference[prediction == reference], minlength=size)
        counts = np.stack([np.bincount(prediction, minlength=size), np.bincount(reference, minlength=size), both])
        self._state["counts"].append(counts)

    def _result(self) -> dict[str, Any]:
        counts = np.stack(self._state["counts"]).astype(np.float64)  # (cases, 3, K)
        predicted, actual, both = counts[:, 0], counts[:, 1], counts[:, 2]
        total, union = predicted + actual, predicted + actual - both
        nothing = 1.0 if self.empty == "one" else np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            dice = np.where(total > 0, 2 * both / total, nothing)
            iou = np.where(total > 0, both / union, nothing)
        per_class = {}
        for class_id, name in sorted(self.id2label.items())[1:]:
            counted = ~np.isnan(dice[:, class_id])
            per_class[name] = {
                "dice": float(dice[counted, class_id].mean()) if counted.any() else None,
                "iou": float(iou[counted, class_id].mean()) if counted.any() else None,
                "num_cases": int(counted.sum()),
                "both_empty": int((total[:, class_id] == 0).sum()),
                "reference_empty": int(((actual[:, class_id] == 0) & (predicted[:, class_id] > 0)).sum()),
                "prediction_empty": int(((actual[:, class_id] > 0) & (predicted[:, class_id] == 0)).sum()),
            }
        means = [entry["dice"] for entry in per_class.values() if entry["dice"] is not None]
        overlaps = [entry["iou"] for entry in per_class.values() if entry["iou"] is not None]
        return {
            "dice": float(np.mean(means)) if means else None,
            "mean_image_iou": float(np.mean(overlaps)) if overlaps else None,
            "per_class": per_class,
            "num_cases": self._num_images,
        }
