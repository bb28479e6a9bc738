# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Average precision against pycocotools' own evaluation, figure by figure, on random scenes of borderline cases."""

import contextlib
import io

import numpy as np
import pytest

from hfseg.metrics.coco_matching import match_detections
from hfseg.metrics.mask_ap import MaskAP

pytest.importorskip("pycocotools")
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

LABELS = {3: "a", 5: "b", 8: "c", 9: "never"}
SIZE = (150, 200)


def blob(rng: np.random.Generator, near: np.ndarray | None = None) -> np.ndarray:
    """Draws a rectangle, or one that overlaps another by a share that thresholds tell apart."""
    mask = np.zeros(SIZE, dtype=np.uint8)
    if near is not None and near.any():
        y, x = np.nonzero(near)
        top, left, height, width = y.min(), x.min(), np.ptp(y) + 1, np.ptp(x) + 1
        top, left = top + rng.integers(0, height // 4 + 2), left + rng.integers(0, width // 4 + 2)
    else:
        top, left = rng.integers(0, SIZE[0]), rng.integers(0, SIZE[1])
        height, width = rng.integers(0, 40, 2) if rng.random() < 0.6 else rng.integers(30, 140, 2)
    mask[top : top + height, left : left + width] = 1
    return mask


def scene(rng: np.random.Generator) -> tuple[list[dict], list[dict]]:
    """Annotations, some of them crowds or copies, and detections near and far, with scores that repeat."""
    annotations = [
        {"mask": blob(rng), "category_id": int(rng.choice([3, 5, 8])), "iscrowd": int(rng.random() < 0.15)}
        for _ in range(rng.integers(0, 12))
    ]
    annotations += [dict(item) for item in annotations[:2]]
    found = []
    for _ in range(rng.integers(0, 30)):
        origin = annotations[rng.integers(len(annotations))] if annotations and rng.random() < 0.8 else None
        label = origin["category_id"] if origin is not None and rng.random() < 0.9 else int(rng.choice([3, 5, 8, 9]))
        mask = blob(rng, None if origin is None else origin["mask"])
        found.append({"mask": mask, "category_id": label, "score": float(rng.integers(0, 12)) / 12})
    if rng.random() < 0.2:  # more than count
        found += [{"mask": blob(rng), "category_id": 3, "score": float(rng.random())} for _ in range(120)]
    return annotations, found


def coco(images: list[tuple[list[dict], list[dict]]], iou_type: str) -> COCOeval:
    """pycocotools' evaluation: the twelve figures are its `stats`."""
    sides: list[list[dict]] = [[], []]
    for image_id, scene_sides in enumerate(images, start=1):
        for side, entries in zip(sides, scene_sides):
            for entry in entries:
                encoded = mask_tools.encode(np.asfortranarray(entry["mask"]))
                box = mask_tools.toBbox(encoded)
                area = float(mask_tools.area(encoded))
                if iou_type == "bbox" and side is sides[1]:
                    area = float(box[2] * box[3])
                own = {key: value for key, value in entry.items() if key != "mask"}
                own |= {"segmentation": encoded, "area": area, "bbox": box.tolist(), "iscrowd": entry.get("iscrowd", 0)}
                side.append({**own, "image_id": image_id, "id": len(side) + 1})
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = []
        for side in sides:
            dataset = COCO()
            listed = [{"id": index + 1, "height": SIZE[0], "width": SIZE[1]} for index in range(len(images))]
            categories = [{"id": key, "name": name} for key, name in LABELS.items()]
            dataset.dataset = {"images": listed, "annotations": side, "categories": categories}
            dataset.createIndex()
            loaded.append(dataset)
        evaluation = COCOeval(*loaded, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(4))
def test_all_figures_are_pycocotools(seed, iou_type):
    rng = np.random.default_rng(seed)
    images = [scene(rng) for _ in range(8)]
    if iou_type == "bbox":  # pycocotools divides 0 by 0 where both boxes are empty
        images = [tuple([e for e in entries if e["mask"].any()] for entries in image) for image in images]
    metric = MaskAP(LABELS, iou_type)
    for annotations, found in images:
        sides = [
            [{**{k: v for k, v in e.items() if k != "mask"}, "segmentation": e["mask"]} for e in entries]
            for entries in (annotations, found)
        ]
        metric.add(prediction=sides[1], reference={"height": SIZE[0], "width": SIZE[1], "annotations": sides[0]})
    result = metric.compute()
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    names += ("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large")
    evaluation = coco(images, iou_type)
    expected = evaluation.stats
    assert expected[0] > 0.05
    for name, value in zip(names, expected):
        assert result[name] == (pytest.approx(100 * value, rel=1e-14) if value >= 0 else -1), name
    assert result["per_class"]["never"] is None
    # Thresholds, recalls, classes, ranges of areas, numbers of detections; the class that never occurs has -1.
    precision = evaluation.eval["precision"][:, :, [0, 1, 2], 0, 2].mean(-1)
    assert (evaluation.eval["precision"][:, :, 3] == -1).all() and len(result["curves"]) == 3
    for name, points in (("IoU 0.50", precision[0]), ("IoU 0.75", precision[5]), ("IoU 0.50:0.95", precision.mean(0))):
        assert result["curves"][name] == pytest.approx(100 * points, rel=1e-12)
    assert np.mean(result["curves"]["IoU 0.50:0.95"]) == pytest.approx(result["ap"])


def test_of_equal_overlaps_the_last_annotation_is_taken():
    areas, crowd = np.full(2, 5000.0), np.zeros(2, dtype=bool)
    overlaps = np.array([[0.8, 0.8], [0.5, 0.9]])
    outcomes = match_detections(overlaps, np.full(2, 5000.0), areas, crowd)
    # The second detection's annotation is gone; at 0.5 it takes the other.
    assert outcomes[0, 0].tolist() == [1, 1] and outcomes[0, 1].tolist() == [1, 0]
    # Of annotations that do not count, a match is neither true nor false.
    assert match_detections(overlaps, np.full(2, 5000.0), areas, ~crowd)[0, 0].tolist() == [2, 2]
