# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO's average precision of instance masks and boxes, by pycocotools' overlaps and rules (extra `coco`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from ..results.run_lengths import canonical_all, counts_of_runs, decode_segmentation, mask_runs
from ..results.runs import runs_of_ids
from .coco_matching import (
    AREA_RANGES,
    MAX_DETECTIONS,
    THRESHOLDS,
    Detections,
    best_first,
    count_positives,
    match_detections,
    precision_and_recall,
)
from .streaming import StreamingMetric, metric_info, to_numpy

__all__ = ["MaskAP"]

logger = logging.getLogger(__name__)

AREAS_AT_ONCE = 128
_PRECISIONS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
_RECALLS = ("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")

_DESCRIPTION = """
COCO average precision and recall: mean over ten IoU thresholds (0.50 to 0.95), over classes that occur in the ground
truth, precision at 101 recall levels, at most 100 detections per image and class. The figures are those of pycocotools.
"""
_INPUTS = """
Args:
    predictions: per image either {"segmentation": (H, W) ids, "segments_info": [{"id", "label_id" or "category_id",
        "score"}]} as post_process_instance_segmentation returns them, or a list of {"segmentation": mask (H, W), RLE or
        polygons, "category_id", "score"} (with iou_type "bbox": "bbox").
    references: per image either {"segmentation": (H, W) ids, "segments_info": [...]} in the universal schema, or
        {"height", "width", "annotations": [{"segmentation", "category_id", "iscrowd", "area" (optional)}]}.
Returns, in percent (-1 where nothing of the kind occurs, as in pycocotools):
    ap, ap50, ap75, ap_small, ap_medium, ap_large, ar_1, ar_10, ar_100, ar_small, ar_medium, ar_large, per_class {name:
    ap}, curves {name: precision at the 101 recalls, mean over classes}, num_images.
"""


def _mask_tools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError("MaskAP needs pycocotools; install it with: pip install 'hfseg[coco]'") from error
    return mask


def _run_lengths(masks: Sequence[Any], size: Sequence[int]) -> list[dict[str, Any]]:
    """Masks as pycocotools takes them, after the checks that it lacks: it reads beyond what is damaged."""
    height, width = (int(side) for side in size)
    encoded: list[Any] = []
    for mask in masks:
        if not isinstance(mask, Mapping):
            drawn = decode_segmentation(mask, size) if isinstance(mask, list) else to_numpy(mask) != 0
            if drawn.ndim != 2:
                raise ValueError(f"A mask must be (H, W), got the shape {drawn.shape}.")
            mask = {"size": [*drawn.shape], "counts": counts_of_runs(*mask_runs(drawn), drawn.size)}
        encoded.append(mask)
    return canonical_all(encoded, (height, width))


def _of_map(segmentation: np.ndarray, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Run lengths of segments of an id map."""
    size, runs = [*segmentation.shape], runs_of_ids(segmentation, ids)
    return [{"size": size, "counts": counts_of_runs(*own, segmentation.size)} for own in runs]


class MaskAP(StreamingMetric):
    """The twelve COCO figures for masks (`iou_type="segm"`) or boxes (`"bbox"`).

    Images are matched as they come; of each detection class, score and outcome are kept until `compute` (48 bytes and
    less), because AP ranks all of them together, so that unlike the other metrics' the state grows with the set. Crowd
    annotations neither count as missed nor make a detection false.

    Args:
        id2label: Name of every class id; annotations of other classes are an error.
        iou_type: "segm" or "bbox".
        stuff_class_ids: Classes left out on both sides (AP is defined for things only).

    Raises:
        ImportError: Without pycocotools.
        ValueError: On an unknown class, a prediction without a score, or maps of different sizes.
    """

    shares = frozenset((*_PRECISIONS, *_RECALLS, "curves"))

    def __init__(
        self, id2label: Mapping[int, str], iou_type: str = "segm", stuff_class_ids: Any = (), **kwargs: Any
    ) -> None:
        if iou_type not in ("segm", "bbox"):
            raise ValueError(f"iou_type {iou_type!r} is unknown; use 'segm' or 'bbox'")
        _mask_tools()
        self.id2label = {int(class_id): str(name) for class_id, name in sorted(id2label.items())}
        self.iou_type = iou_type
        self.stuff_class_ids = frozenset(stuff_class_ids)
        things = [class_id for class_id in self.id2label if class_id not in self.stuff_class_ids]
        self._told = False  # that COCO's limit of detections is felt
        self._position = {class_id: position for position, class_id in enumerate(things)}
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            _DESCRIPTION,
            _INPUTS,
            datasets.List({"category_id": datasets.Value("int64")}),
            citation="Lin et al., Microsoft COCO: common objects in context, ECCV 2014, arXiv:1405.0312",
        )

    def _initial_state(self) -> dict[str, Any]:
        return {"images": [], "positives": np.zeros((len(self._position), len(AREA_RANGES)), dtype=np.int64)}

    def _merge(self, state: Mapping[str, Any]) -> None:
        self._state["images"] = [*self._state["images"], *state["images"]]
        self._state["positives"] = self._state["positives"] + state["positives"]

    def _entries(self, side: str, example: Any) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
        """Annotations of one side in COCO's form, and the size of the image where the input tells it."""
        if isinstance(example, Mapping) and "segments_info" in example:
            segmentation = to_numpy(example["segmentation"])
            if segmentation.ndim != 2:
                raise ValueError(f"{side} segmentation has shape {segmentation.shape}; give a map of ids (H, W)")
            segments = example["segments_info"]
            masks = _of_map(segmentation, [int(segment["id"]) for segment in segments])
            given = [{**segment, "segmentation": mask, "area": None} for segment, mask in zip(segments, masks)]
            size = segmentation.shape
        elif isinstance(example, Mapping) and "annotations" in example:
            given, size = example["annotations"], (int(example["height"]), int(example["width"]))
        else:
            given, size = example, None
        entries = []
        for item in given:
            category = int(item["category_id"] if "category_id" in item else item["label_id"])
            if category not in self.id2label:
                raise ValueError(
                    f"{side} has class {category}; must be one of the ids of id2label, {list(self.id2label)}"
                )
            if category in self.stuff_class_ids:
                continue
            entry: dict[str, Any] = {"category_id": category}
            if side == "prediction":
                if item.get("score") is None:
                    raise ValueError("a predicted segment has no 'score'; AP ranks predictions by it")
                entry["score"] = float(item["score"])
            else:
                entry["iscrowd"] = int(item.get("iscrowd", 0) or 0)
            mask = item.get("segmentation")
            if mask is not None:
                entry["segmentation"] = mask
            if item.get("area") is not None:
                entry["area"] = float(item["area"])
            if item.get("bbox") is not None:
                entry["bbox"] = [float(value) for value in item["bbox"]]
            entries.append(entry)
        return entries, size

    def _update(self, prediction: Any, reference: Any) -> None:
        true_entries, true_size = self._entries("reference", reference)
        predicted_entries, predicted_size = self._entries("prediction", prediction)
        if true_size is None:
            raise ValueError("a reference must tell the image size: give 'height', 'width' and 'annotations'")
        if predicted_size is not None and tuple(predicted_size) != tuple(true_size):
            raise ValueError(
                f"prediction has size {tuple(predicted_size)} and reference {tuple(true_size)} (height, width); resize "
                "the prediction to the reference before adding it"
            )
        self._complete([*true_entries, *predicted_entries], true_size)
        self._state["images"].append(self._matched(true_entries, predicted_entries))

    def _complete(self, entries: list[dict[str, Any]], size: Sequence[int]) -> None:
        """Checks masks, and adds areas and boxes where they are missing."""
        tools = _mask_tools()
        masked = [entry for entry in entries if "segmentation" in entry]
        if len(masked) < len(entries) and self.iou_type == "segm":
            raise ValueError("an entry has no 'segmentation', which iou_type 'segm' compares")
        checked = _run_lengths([entry["segmentation"] for entry in masked], size)
        # pycocotools 2.0.11 counts the masks of `area` in 8 bits.
        portions = [checked[start : start + AREAS_AT_ONCE] for start in range(0, len(checked), AREAS_AT_ONCE)]
        areas = [area for portion in portions for area in tools.area(portion)]
        boxes = tools.toBbox(checked) if checked else []
        for entry, mask, area, box in zip(masked, checked, areas, boxes):
            entry["segmentation"] = mask
            entry.setdefault("area", float(area))
            entry.setdefault("bbox", box)
        for entry in entries:
            entry.setdefault("area", entry["bbox"][2] * entry["bbox"][3])

    def _matched(self, true_entries: list[dict[str, Any]], predicted_entries: list[dict[str, Any]]) -> Detections:
        """Outcomes of an image's detections, class by class."""
        by_class: dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
        for side, entries in enumerate((true_entries, predicted_entries)):
            for entry in entries:
                by_class.setdefault(self._position[entry["category_id"]], ([], []))[side].append(entry)
        field = "segmentation" if self.iou_type == "segm" else "bbox"
        parts = []
        for position, (true, found) in sorted(by_class.items()):
            is_crowd = np.array([bool(entry["iscrowd"]) for entry in true], dtype=bool)
            areas = np.array([entry["area"] for entry in true], dtype=np.float64)
            self._state["positives"][position] += count_positives(areas, is_crowd)
            if len(true) > MAX_DETECTIONS[-1] and not self._told:
                self._told = True
                logger.warning(
                    f"An image has {len(true)} objects of one class. Average precision counts the best "
                    f"{MAX_DETECTIONS[-1]} detections per image and class, as COCO does, and cannot reach 100 here; "
                    "panoptic quality counts all."
                )
            order = best_first([entry["score"] for entry in found])
            if not len(order):
                continue
            best = [found[index] for index in order]
            overlaps = np.zeros((len(best), 0))
            if true:
                sides = ([entry[field] for entry in entries] for entries in (best, true))
                overlaps = np.asarray(_mask_tools().iou(*sides, is_crowd.astype(int).tolist()))
            if self.iou_type == "bbox":  # COCO's loader takes the area of the box for box results
                detected = [entry["bbox"][2] * entry["bbox"][3] for entry in best]
            else:
                detected = [entry["area"] for entry in best]
            outcomes = match_detections(overlaps, np.array(detected, dtype=np.float64), areas, is_crowd)
            scores = np.array([entry["score"] for entry in best], dtype=np.float64)
            ranks = np.arange(len(best), dtype=np.int32)
            parts.append(Detections(np.full(len(best), position, dtype=np.int32), scores, ranks, outcomes))
        return Detections.joined(parts)

    def _result(self) -> dict[str, Any]:
        found = Detections.joined(self._state["images"])
        precision, recall = precision_and_recall(found, self._state["positives"])

        def mean(values: np.ndarray) -> float:
            values = values[values > -1]
            return float(np.mean(values)) if len(values) else -1.0

        at = {value: int(np.abs(THRESHOLDS - value).argmin()) for value in (0.5, 0.75)}
        result: dict[str, Any] = {"ap": mean(precision[..., 0])}
        result |= {name: mean(precision[at[value], ..., 0]) for name, value in (("ap50", 0.5), ("ap75", 0.75))}
        result |= {name: mean(precision[..., place]) for place, name in enumerate(_PRECISIONS[3:], start=1)}
        last = len(MAX_DETECTIONS) - 1
        result |= {name: mean(recall[..., 0, index]) for index, name in enumerate(_RECALLS[:3])}
        result |= {name: mean(recall[..., place, last]) for place, name in enumerate(_RECALLS[3:], start=1)}
        of_class = {class_id: mean(precision[:, :, place, 0]) for class_id, place in self._position.items()}
        result["per_class"] = {self.id2label[key]: None if value < 0 else value for key, value in of_class.items()}
        result["curves"] = self._curves(precision[..., 0], at)
        result["num_images"] = self._num_images
        return result

    def _curves(self, precision: np.ndarray, at: Mapping[float, int]) -> dict[str, list[float]]:
        """Precision by recall, mean over the classes that occur; the mean of a curve is the AP of its name.

        Shape:
            precision: (T, 101, K), -1 for classes that do not occur.
        """
        occurring = precision[..., (precision > -1).all((0, 1))]
        if not occurring.shape[-1]:
            return {}
        by_recall = occurring.mean(-1)  # (T, 101)
        curves = {"IoU 0.50": by_recall[at[0.5]], "IoU 0.75": by_recall[at[0.75]], "IoU 0.50:0.95": by_recall.mean(0)}
        return {name: values.tolist() for name, values in curves.items()}
