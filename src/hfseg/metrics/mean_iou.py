# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mean intersection over union of semantic segmentation, from one confusion matrix over the whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import evaluate
import numpy as np

from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["MeanIoU"]

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
        size = len(self.id2label)
        labeled = reference != self.ignore_index
        reference = reference[labeled].astype(np.int64)
        prediction = prediction[labeled].astype(np.int64)
        prediction = np.where(prediction == self.ignore_index, size, prediction)
        for name, values, highest in (("reference", reference, size - 1), ("prediction", prediction, size)):
            if values.size and (values.min() < 0 or values.max() > highest):
                wrong = sorted(set(values[(values < 0) | (values > highest)].tolist()))[:5]
                raise ValueError(
                    f"{name} holds the value(s) {wrong}; must be the class ids 0 to {size - 1} and the ignore index "
                    f"{self.ignore_index}"
                )
        pairs = np.bincount(reference * (size + 1) + prediction, minlength=size * (size + 1))
        self._state["confusion"] += pairs.reshape(size, size + 1)

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
