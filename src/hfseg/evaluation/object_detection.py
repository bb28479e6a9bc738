# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation of detectors on labeled images: COCO's average precision of boxes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.ops import box_iou
from tqdm import tqdm

from ..metrics.mask_ap import MaskAP
from ..results.boxes import draw_boxes
from ..results.drawing import side_by_side
from .base import Outcome, TaskEvaluator, gathered
from .comparison import TITLES
from .labels import LabelMatch, match_labels
from .prediction import Sample, predict_samples
from .report import Shown
from .segmentation import CocoInstances, instances_beside, own_instances

__all__ = ["AVERAGES", "ObjectDetectionEvaluator", "evaluate_object_detection", "object_detection_overlays"]

NUM_DETECTIONS = 100  # COCO looks at no more
SHOWN_SCORE = 0.5  # of boxes that are drawn
SAME_OBJECT = 0.5  # IoU with a true box whose color a box has
KEYS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_100")
AVERAGES = {
    "box_ap": "COCO box AP: mean over IoU thresholds 0.50 to 0.95 in steps of 0.05 and over thing classes in the truth",
    "box_ap50": "as box_ap at IoU 0.50",
    "box_ap75": "as box_ap at IoU 0.75",
    "box_ap_small": "as box_ap; objects below 32 x 32 pixels",
    "box_ap_medium": "as box_ap; objects of 32 x 32 to 96 x 96 pixels",
    "box_ap_large": "as box_ap; objects above 96 x 96 pixels",
    "box_ar_100": "COCO box recall at 100 detections per image, mean over IoU thresholds and thing classes",
}


def detections(sample: Sample, image_processor: Any, match: LabelMatch) -> list[dict[str, Any]]:
    """Boxes of one image in the dataset's classes, as `MaskAP` takes them: (x, y, width, height) in pixels."""
    (found,) = image_processor.post_process_object_detection(
        sample.outputs,
        threshold=0.0,
        target_sizes=[sample.size],
        image_sizes=[sample.inner_size],
        num_detections=NUM_DETECTIONS,
    )
    entries = []
    for score, label, box in zip(found["scores"].tolist(), found["labels"].tolist(), found["boxes"].tolist()):
        if match.to_dataset[label] >= 0:
            left, top, right, bottom = box
            entry = {"category_id": match.to_dataset[label], "score": score}
            entries.append({**entry, "bbox": [left, top, right - left, bottom - top]})
    return entries


def true_boxes(example: Mapping[str, Any], stuff: frozenset[int]) -> list[dict[str, Any]]:
    """Frames of the things of an example, as `draw_boxes` takes them."""
    ids, drawn = np.asarray(example["segmentation"]), []
    for segment in example["segments_info"]:
        rows, columns = np.nonzero(ids == segment["id"])
        if int(segment["category_id"]) not in stuff and len(rows):
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            drawn.append({"box": [float(side) for side in box], "label_id": int(segment["category_id"])})
    return drawn


def box_metric(dataset: Any) -> MaskAP:
    """COCO's AP of boxes of a dataset's things."""
    names = {int(key): str(name) for key, name in dataset.id2label.items()}
    return MaskAP(names, iou_type="bbox", stuff_class_ids=frozenset(map(int, dataset.stuff_class_ids)))


def numbers_of(measured: Mapping[str, Any]) -> dict[str, float | None]:
    """COCO's figures under the keys of boxes; None where nothing of the kind occurs."""
    return {f"box_{name}": measured[name] if measured[name] >= 0 else None for name in KEYS}


def check_things(dataset: Any) -> None:
    """Checks that a dataset has boxes.

    Raises:
        ValueError: It has no segments, or stuff only.
    """
    if "segmentation" not in dataset[0]:
        raise ValueError("Box AP needs labels with segments; the dataset has class maps or none.")
    if set(dataset.stuff_class_ids) >= set(dataset.id2label):
        raise ValueError("Box AP is of things; all classes of the dataset are stuff.")


def evaluate_object_detection(
    model: nn.Module, image_processor: Any, dataset: Any, batch_size: int = 1, *, rank: int = 0, ranks: int = 1
) -> dict[str, float]:
    """Measures a detector that has the dataset's classes: what training does between epochs.

    Args:
        model: In evaluation mode.
        image_processor: Its image processor.
        dataset: Examples in the universal schema, with `id2label` and `stuff_class_ids`.
        batch_size: Images per forward pass.
        rank, ranks: This process and how many share the images; all of them return the whole set's numbers.

    Returns:
        Percent, as `AVERAGES` explains; those that nothing was there for are left out.

    Raises:
        ValueError: The dataset has no boxes.
    """
    check_things(dataset)
    metric, match = box_metric(dataset), LabelMatch.identity(len(dataset.id2label))
    truth = instances_beside(dataset) or own_instances
    count = len(dataset)
    batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)][rank::ranks]
    for sample in predict_samples(model, image_processor, dataset, batches=batches):
        metric.add(prediction=detections(sample, image_processor, match), reference=truth(sample.example))
    states = gathered(metric.state_dict(), ranks)
    metric.reset()
    for state in states:
        metric.merge_state(state)
    return {name: value for name, value in numbers_of(metric.compute()).items() if value is not None}


def object_detection_overlays(model: nn.Module, image_processor: Any, dataset: Any, count: int = 3) -> list[Any]:
    """Draws image, true boxes and predicted boxes side by side for the first images, as PIL images."""
    match, drawn = LabelMatch.identity(len(dataset.id2label)), []
    for sample in predict_samples(
        model, image_processor, dataset, batches=[[index] for index in range(min(count, len(dataset)))]
    ):
        drawn.append(_shown(sample, image_processor, match, dataset))
    return drawn


def _shown(sample: Sample, image_processor: Any, match: LabelMatch, dataset: Any) -> Image.Image:
    image = Image.fromarray(np.asarray(sample.example["image"])).convert("RGB")
    names = {int(key): str(name) for key, name in dataset.id2label.items()}
    found = []
    for entry in detections(sample, image_processor, match):
        if entry["score"] >= SHOWN_SCORE:
            left, top, width, height = entry["bbox"]
            box = [left, top, left + width, top + height]
            found.append({"box": box, "label_id": entry["category_id"], "score": entry["score"]})
    truth = true_boxes(sample.example, frozenset(map(int, dataset.stuff_class_ids)))
    number_boxes(truth, found)
    drawn = [draw_boxes(image, boxes, names, color_by="instance") for boxes in (truth, found)]
    return side_by_side([image, *drawn], TITLES)


def number_boxes(truth: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Numbers the colors: the best box on an object (IoU of 0.5 or more) has the color of the true one."""
    for number, entry in enumerate(truth):
        entry["color_number"] = number
    sides = [torch.tensor([entry["box"] for entry in side]).reshape(-1, 4) for side in (found, truth)]
    overlaps, free, following = box_iou(*sides), set(range(len(truth))), len(truth)
    for entry, row in zip(found, overlaps.tolist()):
        partner = max(free, key=row.__getitem__, default=None)
        if partner is not None and row[partner] >= SAME_OBJECT:
            free.remove(partner)
            entry["color_number"] = partner
        else:
            entry["color_number"], following = following, following + 1


class ObjectDetectionEvaluator(TaskEvaluator):
    """Detectors, on any dataset with segments. Options: `match_labels` ("id", "name"), where the classes differ from
    the dataset's, and `instance_annotations`, a COCO json that is the ground truth ("none": the dataset's segments).
    """

    options_of_task: ClassVar[Mapping[str, Any]] = {"match_labels": None, "instance_annotations": None}

    def prepare(self) -> None:
        """Matches labels and finds the ground truth."""
        check_things(self.dataset)
        names = self.loaded.model.config.id2label
        self.match = match_labels(names, self.dataset.id2label, self.options.match_labels)
        self.truth = self._truth()

    def _truth(self) -> Callable[[Mapping[str, Any]], Any]:
        file = self.options.instance_annotations
        category_ids = getattr(self.dataset, "original_category_ids", None)
        path = Path(getattr(self.dataset, "path", None) or "")
        if file is None and getattr(self.dataset, "kind", "") == "instance" and path.suffix == ".json":
            file = path
        if file is None:
            return instances_beside(self.dataset) or own_instances
        if str(file) == "none":
            return own_instances
        if not category_ids:
            raise ValueError("instance_annotations belongs to a COCO dataset, whose categories have ids.")
        return CocoInstances(Path(file), {int(category): int(label) for label, category in category_ids.items()})

    def measure(self, rank: int, ranks: int) -> Outcome:
        """Evaluates; batches are those of one process, whatever the number of processes, so numbers agree."""
        size, count = self.options.batch_size, self.count
        batches: Sequence[range] = [range(start, min(start + size, count)) for start in range(0, count, size)]
        own, metric = batches[rank::ranks], box_metric(self.dataset)
        processor = self.loaded.image_processor
        counted: list[int] = []
        with tqdm(total=sum(map(len, own)), unit="image", disable=None if rank == 0 else True) as progress:
            for sample in predict_samples(
                self.loaded.model, processor, self.dataset, batches=own, num_workers=self.options.num_workers
            ):
                found = detections(sample, processor, self.match)
                metric.add(prediction=found, reference=self.truth(sample.example))
                counted.append(sample.index)
                progress.update()
        indices = [index for part in gathered(counted, ranks) for index in part]
        states = gathered(metric.state_dict(), ranks)
        metric.reset()
        for state in states:
            metric.merge_state(state)
        # Ties between scores are settled by the order of the images, which is the dataset's.
        merged = metric.state_dict()
        order = sorted(range(len(indices)), key=indices.__getitem__)
        metric.load_state_dict({**merged, "images": [merged["images"][place] for place in order]})
        measured = metric.compute()
        truth = str(self.truth.file) if isinstance(self.truth, CocoInstances) else "the dataset's segments"
        return Outcome(
            metrics=numbers_of(measured),
            number_of_images=len(indices),
            averages=AVERAGES,
            headline=("box_ap", "box_ap50", "box_ap75"),
            per_class=[{"name": name, "box_ap": value} for name, value in measured["per_class"].items()],
            record={"ground_truth": truth, "num_detections": NUM_DETECTIONS},
            facts={"ground truth": truth},
            curves=measured["curves"],
        )

    def draw(self, count: int) -> dict[str, list[Shown]]:
        """Draws image, true boxes and predicted boxes of the first images."""
        shown, batches = [], [[index] for index in range(min(count, self.count))]
        processor = self.loaded.image_processor
        for sample in predict_samples(self.loaded.model, processor, self.dataset, batches=batches):
            image = _shown(sample, processor, self.match, self.dataset)
            shown.append(Shown(f"{sample.index}", image, f"{sample.index:02d}"))
        return {"The first images": shown}
