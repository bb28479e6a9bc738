# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Panoptic quality (Kirillov et al., "Panoptic segmentation", CVPR 2019), with the rules of COCO's evaluation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import datasets
import evaluate
import numpy as np

from ..data.readers.schema import compact_ids
from .streaming import StreamingMetric, dense, metric_info, to_numpy

__all__ = ["PanopticQuality"]

_DESCRIPTION = """
Panoptic quality PQ = SQ x RQ. A predicted and a true segment of one class match if their IoU is above 0.5 (at most one
match is possible); per class, over all images, PQ = sum of matched IoUs / (TP + FP/2 + FN/2), SQ = mean matched IoU,
RQ = TP / (TP + FP/2 + FN/2). The figures are plain means over the classes that occur (TP + FP + FN > 0), over all, over
thing and over stuff classes.
"""
_INPUTS = """
Args:
    predictions: per image {"segmentation": (H, W) map of segment ids, "segments_info": [{"id", "category_id" or
        "label_id"}]}, as post_process_panoptic_segmentation returns them; ids <= 0 are void.
    references: per image {"segmentation": (H, W), "segments_info": [{"id", "category_id", "iscrowd"}]}; id 0 is void.
Returns, in percent:
    pq, sq, rq, num_classes and the same with the endings _things and _stuff; per_class {name: {pq, sq, rq, tp, fp, fn}}
    (None where a class does not occur); num_images.
"""


class PanopticQuality(StreamingMetric):
    """PQ, SQ and RQ over all, thing and stuff classes and per class, following COCO's panoptic evaluation.

    Rules:

    * void pixels of the reference do not count towards the union of a pair;
    * a crowd segment is never matched and never missed; an unmatched prediction that lies by more than half in void and
      crowd of its own class is no false positive;
    * a listed segment without a pixel is no segment (COCO's tool stops there); several crowd segments of one class in
      an image count together (COCO has at most one).

    Args:
        id2label: Name of every class id; the ids may be any integers.
        stuff_class_ids: The ids that are stuff; the others are things.
        unlabeled_is_void: True: pixels without a segment in the reference are unknown and excuse predictions, as in
            COCO. False: they are known background, as in instance datasets, and count like another class.

    Raises:
        ValueError: On maps of different sizes, an id in a map that `segments_info` does not list, or an unknown class.
    """

    shares = frozenset(name + group for name in ("pq", "sq", "rq") for group in ("", "_things", "_stuff"))

    def __init__(
        self,
        id2label: Mapping[int, str],
        stuff_class_ids: Collection[int] = (),
        unlabeled_is_void: bool = True,
        **kwargs: Any,
    ) -> None:
        self.id2label = {int(class_id): str(name) for class_id, name in sorted(id2label.items())}
        if not self.id2label:
            raise ValueError("id2label is empty; give the name of every class id")
        unknown = sorted(set(stuff_class_ids) - set(self.id2label))
        if unknown:
            raise ValueError(f"stuff_class_ids {unknown} are not in id2label, whose ids are {list(self.id2label)}")
        self.stuff_class_ids = frozenset(stuff_class_ids)
        self.unlabeled_is_void = unlabeled_is_void
        self._position = {class_id: position for position, class_id in enumerate(self.id2label)}
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        segment = {"id": datasets.Value("int64"), "category_id": datasets.Value("int64")}
        pixels = dense("int64")
        return metric_info(
            _DESCRIPTION,
            _INPUTS,
            {"segmentation": pixels, "segments_info": datasets.List(segment)},
            {
                "segmentation": pixels,
                "segments_info": datasets.List({**segment, "iscrowd": datasets.Value("int8")}),
            },
            citation="Kirillov et al., Panoptic segmentation, CVPR 2019, arXiv:1801.00868",
        )

    def _initial_state(self) -> dict[str, Any]:
        size = len(self.id2label)
        return {
            "iou": np.zeros(size, dtype=np.float64),
            "tp": np.zeros(size, dtype=np.int64),
            "fp": np.zeros(size, dtype=np.int64),
            "fn": np.zeros(size, dtype=np.int64),
        }

    def _read(self, side: str, example: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compact form of one side: map of positions (0 = void); class and crowd flag of every position.

        Shape:
            (H, W), (N+1,), (N+1,)
        """
        try:
            segmentation, segments_info = to_numpy(example["segmentation"]), example["segments_info"]
        except (TypeError, KeyError, IndexError) as error:
            raise ValueError(
                f"{side} must be a dictionary with 'segmentation' and 'segments_info', not {type(example).__name__}"
            ) from error
        if segmentation.ndim != 2:
            raise ValueError(f"{side} segmentation has shape {segmentation.shape}; give a map of ids (height, width)")
        if segmentation.size and segmentation.min() < 0:
            segmentation = np.maximum(segmentation, 0)
        ids, positions = compact_ids(segmentation)
        class_positions, crowd = {0: -1}, set()
        for segment in segments_info:
            category = int(segment["category_id"] if "category_id" in segment else segment["label_id"])
            if category not in self._position:
                raise ValueError(
                    f"{side} segment {segment['id']} has class {category}; must be one of the ids of id2label, "
                    f"{list(self.id2label)}"
                )
            class_positions[int(segment["id"])] = self._position[category]
            if segment.get("iscrowd", 0):
                crowd.add(int(segment["id"]))
        unlisted = [segment_id for segment_id in ids.tolist() if segment_id not in class_positions]
        if unlisted:
            raise ValueError(
                f"{side} segmentation holds the id(s) {unlisted[:5]} that segments_info does not list; list them or "
                "set their pixels to 0 (void)"
            )
        if ids[0] != 0:  # keep position 0 for void
            ids, positions = np.concatenate([[0], ids]), positions + 1
        class_of = np.array([class_positions[segment_id] for segment_id in ids.tolist()])
        is_crowd = np.array([segment_id in crowd for segment_id in ids.tolist()])
        return positions, class_of, is_crowd

    def _update(self, prediction: Any, reference: Any) -> None:
        predicted_map, predicted_class, _ = self._read("prediction", prediction)
        true_map, true_class, is_crowd = self._read("reference", reference)
        if predicted_map.shape != true_map.shape:
            raise ValueError(
                f"prediction has size {predicted_map.shape} and reference {true_map.shape} (height, width); resize the "
                "prediction to the reference before adding it"
            )
        num_true, num_predicted = len(true_class), len(predicted_class)
        pairs = true_map * np.int64(num_predicted)
        pairs += predicted_map
        intersection = np.bincount(pairs.ravel(), minlength=num_true * num_predicted).reshape(num_true, num_predicted)
        true_area, predicted_area = intersection.sum(axis=1), intersection.sum(axis=0)
        in_void = intersection[0] if self.unlabeled_is_void else np.zeros_like(intersection[0])
        union = true_area[:, None] + predicted_area[None] - intersection - in_void[None]

        comparable = true_class[:, None] == predicted_class[None]
        comparable[0] = comparable[:, 0] = False
        comparable[is_crowd] = False
        matched = comparable & (2 * intersection > union)  # IoU > 0.5, in integers
        true_positions, predicted_positions = np.nonzero(matched)
        overlaps = intersection[matched] / union[matched]

        missed = ~matched.any(axis=1) & ~is_crowd
        missed[0] = False
        crowd_of_class = (is_crowd[:, None] & (true_class[:, None] == predicted_class[None])) * intersection
        excused = 2 * (in_void + crowd_of_class.sum(axis=0)) > predicted_area
        wrong = ~matched.any(axis=0) & ~excused
        wrong[0] = False

        np.add.at(self._state["iou"], true_class[true_positions], overlaps)
        np.add.at(self._state["tp"], predicted_class[predicted_positions], 1)
        np.add.at(self._state["fn"], true_class[missed], 1)
        np.add.at(self._state["fp"], predicted_class[wrong], 1)

    def _result(self) -> dict[str, Any]:
        iou, tp, fp, fn = (self._state[name] for name in ("iou", "tp", "fp", "fn"))
        denominator = tp + 0.5 * fp + 0.5 * fn
        present = denominator > 0
        zeros = np.zeros(len(tp), dtype=np.float64)
        pq = np.divide(iou, denominator, out=zeros.copy(), where=present)
        rq = np.divide(tp, denominator, out=zeros.copy(), where=present)
        sq = np.divide(iou, tp, out=zeros.copy(), where=tp > 0)

        is_stuff = np.array([class_id in self.stuff_class_ids for class_id in self.id2label])
        result: dict[str, Any] = {}
        for ending, group in (("", present), ("_things", present & ~is_stuff), ("_stuff", present & is_stuff)):
            for name, values in (("pq", pq), ("sq", sq), ("rq", rq)):
                result[name + ending] = float(values[group].mean()) if group.any() else 0.0
            result["num_classes" + ending] = int(group.sum())
        result["per_class"] = {
            name: {
                "pq": float(pq[k]) if present[k] else None,
                "sq": float(sq[k]) if present[k] else None,
                "rq": float(rq[k]) if present[k] else None,
                "tp": int(tp[k]),
                "fp": int(fp[k]),
                "fn": int(fn[k]),
            }
            for k, name in enumerate(self.id2label.values())
        }
        result["num_images"] = self._num_images
        return result
