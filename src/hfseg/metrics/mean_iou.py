# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mean intersection over union of semantic segmentation, from one confusion matrix over the whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import evaluate
import numpy as np

from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["MeanIoU"]

# Pairs of values that are counted in one table.
LARGEST_TABLE = 1 << 22

_DESCRIPTION = """
Mean intersection over union (mIoU). All labeled pixels of all images are counted in ONE confusion matrix; the IoU of a
class is TP / (TP + FP + FN) in pixels of the whole set, and mIoU is the plain mean over the classes that occur in the
ground truth. (A mean over images, or over classes that are absent, is another quantity.)
"""
_INPUTS = """
Args:
    predictions: class map (H, W) of every image. A pixel with the ignore index counts as "no class": a miss.
    references: class map (H, W) of every image; pixels with the ignore index are left out altogether.
Returns, in percent:
    mean_iou, mean_accuracy (mean over the classes that occur in the ground truth), pixel_accuracy (over labeled
    pixels), frequency_weighted_iou (IoU weighted by the share of labeled pixels), per_class {name: {iou, accuracy,
    pixels}} (iou is None for a class that occurs in neither map, accuracy is None without ground truth), num_classes
    (classes in the mean), num_images.
"""


class MeanIoU(StreamingMetric):
    """Mean IoU, pixel accuracy and frequency-weighted IoU over a whole set of semantic maps.

    Rules (those of Pascal VOC and Cityscapes):

    * one confusion matrix over all images; the IoU of class c is `TP / (TP + FP + FN)`;
    * pixels whose reference is `ignore_index` count nowhere, not even as false positives;
    * `mean_iou` averages over the classes with at least one reference pixel. A class that is only predicted lowers the
      IoU of the classes it was taken for, but has no IoU in the mean.

    Args:
        id2label: Name of every class id; ids must be 0 .. C-1.
        ignore_index: Reference value of unlabeled pixels.

    Raises:
        ValueError: On maps of different sizes, and on values that are neither a class id nor the ignore index.
    """

    shares = frozenset(
        (
            "mean_iou",
            "mean_accuracy",
            "pixel_accuracy",
            "frequency_weighted_iou",
            "iou",
            "accuracy",
        )
    )

    def __init__(self, id2label: Mapping[int, str], ignore_index: int = 255, **kwargs: Any) -> None:
        self.id2label = {int(class_id): str(name) for class_id, name in id2label.items()}
        if sorted(self.id2label) != list(range(len(self.id2label))) or not self.id2label:
            raise ValueError(f"id2label must number the classes 0 .. C-1, but has the ids {sorted(self.id2label)}")
        if ignore_index in self.id2label:
            raise ValueError(
                f"ignore_index {ignore_index} is also the class {self.id2label[ignore_index]!r}; leave the void class "
                "out of id2label"
            )
        self.ignore_index = ignore_index
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(_DESCRIPTION, _INPUTS, dense("int64"))

    def _initial_state(self) -> dict[str, Any]:
        # Rows: reference class. Columns: predicted class, the last one "no class".
        size = len(self.id2label)
        return {"confusion": np.zeros((size, size + 1), dtype=np.int64)}

    def _update(self, prediction: Any, reference: Any) -> None:
        prediction, reference = to_numpy(prediction), to_numpy(reference)
        if prediction.shape != reference.shape:
            raise ValueError(
                f"prediction has shape {prediction.shape} and reference {reference.shape}; resize the prediction to "
                "the reference before adding it"
            )
        if reference.size:
            self._state["confusion"] += self._confusion(reference, prediction)

    def _confusion(self, reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Pixels by class of reference and prediction, the last column "no class". Shape: (C, C + 1), int64."""
        size, ignored = len(self.id2label), self.ignore_index
        if not (np.issubdtype(reference.dtype, np.integer) and np.issubdtype(prediction.dtype, np.integer)):
            reference, prediction = reference.astype(np.int64), prediction.astype(np.int64)
        low, predicted_low = int(reference.min()), int(prediction.min())
        rows, columns = int(reference.max()) - low + 1, int(prediction.max()) - predicted_low + 1
        if rows * columns > max(LARGEST_TABLE, (size + 1) ** 2):  # such as an ignore index far from the classes
            labeled = reference != ignored
            self._refuse(reference[labeled], prediction[labeled])
            reference = np.where(labeled, reference, size)
            prediction = np.where(labeled & (prediction != ignored), prediction, size)
            low, predicted_low, rows, columns, ignored = 0, 0, size + 1, size + 1, size
        # All pairs of values are counted, legal or not: one pass over the pixels.
        pairs = reference.astype(np.int64)
        pairs -= low
        pairs *= columns
        np.add(pairs, prediction, out=pairs, casting="unsafe")
        pairs -= predicted_low
        table = np.bincount(pairs.ravel(), minlength=rows * columns).reshape(rows, columns)
        if low <= ignored < low + rows:
            table[ignored - low] = 0
        row, column = np.nonzero(table)
        true, predicted = row + low, column + predicted_low
        predicted = np.where(predicted == ignored, size, predicted)
        if ((true < 0) | (true >= size)).any() or ((predicted < 0) | (predicted > size)).any():
            self._refuse(true, predicted)
        confusion = np.zeros((size, size + 1), dtype=np.int64)
        np.add.at(confusion, (true, predicted), table[row, column])
        return confusion

    def _refuse(self, reference: np.ndarray, prediction: np.ndarray) -> None:
        """Raises a ValueError for values that are no class."""
        size = len(self.id2label)
        prediction = np.where(prediction == self.ignore_index, size, prediction)
        for name, values, highest in (("reference", reference, size - 1), ("prediction", prediction, size)):
            wrong = sorted(set(values[(values < 0) | (values > highest)].tolist()))[:5]
            if wrong:
                raise ValueError(
                    f"{name} holds the value(s) {wrong}; must be the class ids 0 to {size - 1} and the ignore index "
                    f"{self.ignore_index}"
                )

    def _result(self) -> dict[str, Any]:
        confusion = self._state["confusion"]
        correct = np.diagonal(confusion).astype(np.float64)
        actual = confusion.sum(axis=1).astype(np.float64)
        predicted = confusion.sum(axis=0)[:-1]
        union = actual + predicted - correct
        present = actual > 0
        iou = np.divide(correct, union, out=np.zeros_like(correct), where=union > 0)
        accuracy = np.divide(correct, actual, out=np.zeros_like(correct), where=present)
        pixels = actual.sum()
        return {
            "mean_iou": float(iou[present].mean()) if present.any() else 0.0,
            "mean_accuracy": float(accuracy[present].mean()) if present.any() else 0.0,
            "pixel_accuracy": float(correct.sum() / pixels) if pixels else 0.0,
            "frequency_weighted_iou": float((actual * iou).sum() / pixels) if pixels else 0.0,
            "per_class": {
                name: {
                    "iou": float(iou[class_id]) if union[class_id] else None,
                    "accuracy": float(accuracy[class_id]) if present[class_id] else None,
                    "pixels": int(actual[class_id]),
                }
                for class_id, name in sorted(self.id2label.items())
            },
            "num_classes": int(present.sum()),
            "num_images": self._num_images,
        }
