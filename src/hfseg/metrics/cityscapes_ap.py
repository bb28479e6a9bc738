# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cityscapes' average precision of instance masks, whose rules are not COCO's (extra `coco` for overlaps of masks)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import datasets
import evaluate
import numpy as np

from .mask_ap import MaskAP, _mask_tools, _run_lengths
from .streaming import metric_info, to_numpy

__all__ = ["CityscapesAP"]

# As the official scripts write them: 0.6000000000000001 and its like decide ties of overlaps with few pixels.
OVERLAPS = np.arange(0.5, 1.0, 0.05)
FALSE, TRUE, IGNORED = 0, 1, 2

_DESCRIPTION = """
Cityscapes' average precision: mean over ten IoU thresholds (0.50 to 0.95) and over thing classes that occur in the
ground truth of the area below precision by recall. Figures are those of the official scripts.
"""
_INPUTS = """
Args:
    predictions: per image a list of {"segmentation": mask (H, W), RLE or polygons, "category_id", "score"}, or
        {"segmentation": (H, W) ids, "segments_info": [{"id", "label_id" or "category_id", "score"}]}.
    references: per image {"segmentation": (H, W) ids, "segments_info": [{"id", "category_id", "iscrowd"}]}, stuff
        among them: pixels of no segment are void, or those of "void" (H, W) where it is given.
Returns, in percent (None where nothing occurs):
    ap, ap50, per_class {name: ap}, num_images.
"""


class _Outcomes(NamedTuple):
    """What became of an image's detections: classes `(D,)`, scores `(D,)`, outcomes at every overlap `(T, D)`."""

    classes: np.ndarray
    scores: np.ndarray
    outcomes: np.ndarray


class CityscapesAP(MaskAP):
    """AP and AP50 by the rules of cityscapesscripts' `evalInstanceLevelSemanticLabeling`.

    What differs from COCO's AP: no limit of detections; an overlap must exceed its threshold; of several detections
    that fit one object the best counts as found, the others as false; objects below 100 pixels do not count; a
    detection without object is left out when the share of its pixels on void, crowds and small objects exceeds the
    threshold of overlap; detections of equal scores count together; precision is integrated by trapezoids from
    recall 0 with precision 1, not smoothed and sampled.

    Unlike the official scripts, where an object of a class that is not evaluated (caravan, trailer) is not void
    though an area without object numbers is, all of it is void here, as in the panoptic labels.

    Args:
        id2label: Name of every class id; annotations of other classes are an error.
        stuff_class_ids: Classes left out on both sides.
        min_pixels: Size below which an object does not count.

    Raises:
        ImportError: Without pycocotools.
        ValueError: On an unknown class, a prediction without a score, a reference that is no map of segments, or maps
            of different sizes.
    """

    shares = frozenset(("ap", "ap50"))

    def __init__(
        self, id2label: Mapping[int, str], stuff_class_ids: Any = (), min_pixels: int = 100, **kwargs: Any
    ) -> None:
        self.min_pixels = int(min_pixels)
        super().__init__(id2label, stuff_class_ids=stuff_class_ids, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            _DESCRIPTION,
            _INPUTS,
            datasets.List({"category_id": datasets.Value("int64")}),
            citation="Cordts et al., The Cityscapes dataset, CVPR 2016, arXiv:1604.01685",
        )

    def _initial_state(self) -> dict[str, Any]:
        return {"images": [], "positives": np.zeros(len(self._position), dtype=np.int64)}

    def _update(self, prediction: Any, reference: Any) -> None:
        if not (isinstance(reference, Mapping) and "segments_info" in reference):
            raise ValueError(
                "a reference must be a map of segments, which says what is void; give 'segmentation' and "
                "'segments_info'"
            )
        true_entries, size = self._entries("reference", reference)
        predicted_entries, predicted_size = self._entries("prediction", prediction)
        assert size is not None
        if predicted_size is not None and tuple(predicted_size) != tuple(size):
            raise ValueError(
                f"prediction has size {tuple(predicted_size)} and reference {tuple(size)} (height, width); resize the "
                "prediction to the reference before adding it"
            )
        self._complete([*true_entries, *predicted_entries], size)
        (void,) = _run_lengths([_void_pixels(reference, size)], size)
        self._state["images"].append(self._outcomes(true_entries, predicted_entries, void))

    def _outcomes(self, true_entries: list[Any], predicted_entries: list[Any], void: Mapping[str, Any]) -> _Outcomes:
        """Outcomes of an image's detections at every overlap; counts its objects."""
        parts = []
        for class_id, position in self._position.items():
            true = [entry for entry in true_entries if entry["category_id"] == class_id]
            found = [entry for entry in predicted_entries if entry["category_id"] == class_id and entry["area"] > 0]
            sizes = np.array([entry["area"] for entry in true], dtype=np.float64)  # (G,)
            crowd = np.array([bool(entry["iscrowd"]) for entry in true], dtype=bool)
            small = sizes < self.min_pixels
            self._state["positives"][position] += int((~crowd & ~small).sum())
            if not found:
                continue
            areas = np.array([entry["area"] for entry in found], dtype=np.float64)  # (D,)
            masks = [entry["segmentation"] for entry in found]
            # As crowds: the share of the detection that lies in each.
            shares = np.asarray(
                _mask_tools().iou(masks, [*(entry["segmentation"] for entry in true), void], [1] * (len(true) + 1))
            )
            shared = np.rint(shares * areas[:, None])  # pixels, (D, G + 1)
            common, on_void = shared[:, :-1], shared[:, -1]
            overlaps = common / (sizes + areas[:, None] - common)  # (D, G)
            ignored = (on_void + (common * (crowd.astype(int) + small)).sum(1)) / areas  # (D,)
            scores = np.array([entry["score"] for entry in found], dtype=np.float64)
            outcomes = _match(overlaps, ignored, crowd | small, scores)
            parts.append(_Outcomes(np.full(len(found), position, dtype=np.int32), scores, outcomes))
        return _joined(parts)

    def _result(self) -> dict[str, Any]:
        found, positives = _joined(self._state["images"]), self._state["positives"]
        precision = np.full((len(positives), len(OVERLAPS)), np.nan)
        for position in np.flatnonzero(positives):
            own = found.classes == position
            for index, outcomes in enumerate(found.outcomes[:, own]):
                precision[position, index] = _area(found.scores[own], outcomes, int(positives[position]))
        occurring = precision[positives > 0]
        of_class = dict(zip(self._position, precision.mean(1)))
        return {
            "ap": float(occurring.mean()) if len(occurring) else None,
            "ap50": float(occurring[:, 0].mean()) if len(occurring) else None,
            "per_class": {self.id2label[key]: None if np.isnan(ap) else float(ap) for key, ap in of_class.items()},
            "num_images": self._num_images,
        }


def _void_pixels(reference: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    if reference.get("void") is None:
        listed = [int(segment["id"]) for segment in reference["segments_info"]]
        return ~np.isin(to_numpy(reference["segmentation"]), listed)
    void = to_numpy(reference["void"])
    if void.shape != tuple(size) or void.dtype != bool:
        raise ValueError(
            f"a reference's 'void' must be a boolean mask of the segmentation's size {tuple(size)}, not "
            f"{void.dtype} of shape {void.shape}"
        )
    return void


def _joined(parts: list[_Outcomes]) -> _Outcomes:
    if not parts:
        return _Outcomes(np.zeros(0, np.int32), np.zeros(0), np.zeros((len(OVERLAPS), 0), np.uint8))
    return _Outcomes(*(np.concatenate(values, axis=-1) for values in zip(*parts)))


def _match(overlaps: np.ndarray, ignored: np.ndarray, left_out: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Outcomes of the detections of one image and class.

    Args:
        overlaps: IoU of each detection with each object.
        ignored: Share of each detection on what is ignored; above 1 where a crowd is also small.
        left_out: Whether an object does not count.
        scores: Of the detections.

    Shape:
        overlaps (D, G); ignored, scores (D,); left_out (G,); output (T, D), uint8.
    """
    reached = overlaps > OVERLAPS[:, None, None]  # (T, D, G); of one detection at most one, as objects are disjoint
    outcomes = np.where(ignored > OVERLAPS[:, None], IGNORED, FALSE).astype(np.uint8)
    outcomes[reached.any(2)] = IGNORED  # with an object that does not count; others follow
    best_first = np.argsort(-scores, kind="stable")
    for object_index in np.flatnonzero(~left_out):
        for step, fits in enumerate(reached[:, :, object_index]):
            order = best_first[fits[best_first]]
            outcomes[step, order[1:]] = FALSE
            outcomes[step, order[:1]] = TRUE
    return outcomes


def _area(scores: np.ndarray, outcomes: np.ndarray, positives: int) -> float:
    """Area below precision by recall, by trapezoids between the scores that occur and (recall 0, precision 1)."""
    counted = outcomes != IGNORED
    values, places = np.unique(scores[counted], return_inverse=True)
    true = np.bincount(places, outcomes[counted] == TRUE, minlength=len(values))
    total = np.bincount(places, minlength=len(values))
    true, total = np.cumsum(true[::-1]), np.cumsum(total[::-1])  # at and above each score, best first
    recall = np.concatenate([[0.0], true / positives])
    precision = np.concatenate([[1.0], true / np.maximum(total, 1)])
    return float(((precision[1:] + precision[:-1]) / 2 * np.diff(recall)).sum())
