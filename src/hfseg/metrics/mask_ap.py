# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO's average precision of instance masks and boxes, computed by pycocotools (extra `coco`)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate

from ..results.run_lengths import canonical_run_lengths, decode_segmentation, encode_run_lengths
from .streaming import StreamingMetric, metric_info, to_numpy

__all__ = ["MaskAP"]

_PRECISIONS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
_RECALLS = ("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")

_DESCRIPTION = """
COCO average precision and recall: mean over ten IoU thresholds (0.50 to 0.95), over classes that occur in the ground
truth, precision at 101 recall levels, at most 100 detections per image. Computed by pycocotools.
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
    ap}, num_images.
"""


def _mask_tools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError("MaskAP needs pycocotools; install it with: pip install 'hfseg[coco]'") from error
    return mask


def _checked(segmentation: Any, size: Sequence[int]) -> dict[str, Any]:
    """A mask as pycocotools takes it, after the checks that it lacks: it reads beyond what is damaged."""
    if isinstance(segmentation, Mapping):
        return canonical_run_lengths(segmentation, size)
    if isinstance(segmentation, list):
        return canonical_run_lengths(encode_run_lengths(decode_segmentation(segmentation, size), True), size)
    return canonical_run_lengths(encode_run_lengths(to_numpy(segmentation) != 0, True), size)


class MaskAP(StreamingMetric):
    """The twelve COCO figures for masks (`iou_type="segm"`) or boxes (`"bbox"`).

    Every image is kept as run-length masks until `compute`: AP needs all scores at once, so unlike the other metrics'
    the state grows with the set. Crowd annotations neither count as missed nor make a detection false.

    Args:
        id2label: Name of every class id; annotations of other classes are an error.
        iou_type: "segm" or "bbox".
        stuff_class_ids: Classes left out on both sides (AP is defined for things only).

    Raises:
        ImportError: Without pycocotools.
        ValueError: On an unknown class, a prediction without a score, or maps of different sizes.
    """

    shares = frozenset((*_PRECISIONS, *_RECALLS))

    def __init__(
        self, id2label: Mapping[int, str], iou_type: str = "segm", stuff_class_ids: Any = (), **kwargs: Any
    ) -> None:
        if iou_type not in ("segm", "bbox"):
            raise ValueError(f"iou_type {iou_type!r} is unknown; use 'segm' or 'bbox'")
        _mask_tools()
        self.id2label = {int(class_id): str(name) for class_id, name in sorted(id2label.items())}
        self.iou_type = iou_type
        self.stuff_class_ids = frozenset(stuff_class_ids)
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            _DESCRIPTION,
            _INPUTS,
            datasets.List({"category_id": datasets.Value("int64")}),
            citation="Lin et al., Microsoft COCO: common objects in context, ECCV 2014, arXiv:1405.0312",
        )

    def _initial_state(self) -> dict[str, Any]:
        return {"images": []}

    def _merge(self, state: Mapping[str, Any]) -> None:
        self._state["images"] = [*self._state["images"], *state["images"]]

    def _entries(self, side: str, example: Any) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
        """Annotations of one side in COCO's form, and the size of the image where the input tells it."""
        if isinstance(example, Mapping) and "segments_info" in example:
            segmentation = to_numpy(example["segmentation"])
            given = [
                {**segment, "segmentation": segmentation == segment["id"], "area": None}
                for segment in example["segments_info"]
            ]
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
        tools = _mask_tools()
        for entry in [*true_entries, *predicted_entries]:
            if "segmentation" in entry:
                entry["segmentation"] = _checked(entry["segmentation"], true_size)
                entry.setdefault("area", float(tools.area(entry["segmentation"])))
                entry.setdefault("bbox", tools.toBbox(entry["segmentation"]).tolist())
            elif self.iou_type == "segm":
                raise ValueError("an entry has no 'segmentation', which iou_type 'segm' compares")
            else:
                entry.setdefault("area", entry["bbox"][2] * entry["bbox"][3])
        self._state["images"].append((tuple(true_size), true_entries, predicted_entries))

    def _result(self) -> dict[str, Any]:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        detections: list[dict[str, Any]] = []
        for image_id, (size, true_entries, predicted_entries) in enumerate(self._state["images"], start=1):
            images.append({"id": image_id, "height": size[0], "width": size[1]})
            for entry in true_entries:
                annotations.append({**entry, "image_id": image_id, "id": len(annotations) + 1})
            for entry in predicted_entries:
                detections.append({**entry, "image_id": image_id, "id": len(detections) + 1, "iscrowd": 0})
                if self.iou_type == "bbox":  # COCO's loader takes the area of the box for box results
                    detections[-1]["area"] = entry["bbox"][2] * entry["bbox"][3]
        categories = [
            {"id": class_id, "name": name}
            for class_id, name in self.id2label.items()
            if class_id not in self.stuff_class_ids
        ]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            truth, found = COCO(), COCO()
            truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
            found.dataset = {"images": images, "annotations": detections, "categories": categories}
            truth.createIndex()
            found.createIndex()
            evaluation = COCOeval(truth, found, self.iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        result: dict[str, Any] = {
            name: float(value) for name, value in zip((*_PRECISIONS, *_RECALLS), evaluation.stats)
        }
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (thresholds, recalls, classes): all areas, 100 each
        result["per_class"] = {}
        for position, category in enumerate(categories):
            values = precision[:, :, position]
            values = values[values > -1]
            result["per_class"][category["name"]] = float(values.mean()) if values.size else None
        result["num_images"] = self._num_images
        return result
