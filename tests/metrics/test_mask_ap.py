# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mask AP on cases with a closed form; every input format gives the same figures."""

import numpy as np
import pytest

from hfseg.metrics.mask_ap import MaskAP

mask_tools = pytest.importorskip("pycocotools.mask")

LABELS = {1: "cat", 2: "dog", 3: "sky"}


def rectangle(top, left, height, width, size=(100, 100)):
    mask = np.zeros(size, dtype=np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def reference(*entries):
    return {"height": 100, "width": 100, "annotations": list(entries)}


def test_one_shifted_mask():
    """IoU 16/24 = 0.667: a match at the thresholds 0.50 to 0.65, that is at 4 of 10; AP75 is 0."""
    truth = reference({"segmentation": rectangle(0, 0, 10, 20), "category_id": 1})
    found = [{"segmentation": rectangle(0, 4, 10, 20), "category_id": 1, "score": 0.9}]
    result = MaskAP(LABELS).compute(predictions=[found], references=[truth])
    assert result["ap"] == pytest.approx(40) and result["ap50"] == pytest.approx(100) and result["ap75"] == 0
    assert result["per_class"] == {"cat": pytest.approx(40), "dog": None, "sky": None}


def test_a_better_scored_false_positive_halves_the_precision():
    truth = reference({"segmentation": rectangle(0, 0, 10, 10), "category_id": 2})
    found = [
        {"segmentation": rectangle(0, 0, 10, 10), "category_id": 2, "score": 0.5},
        {"segmentation": rectangle(50, 50, 10, 10), "category_id": 2, "score": 0.9},
    ]
    assert MaskAP(LABELS).compute(predictions=[found], references=[truth])["ap"] == pytest.approx(50)
    found[0]["score"] = 0.95
    assert MaskAP(LABELS).compute(predictions=[found], references=[truth])["ap"] == pytest.approx(100)


def test_a_detection_in_a_crowd_is_not_false():
    truth = reference(
        {"segmentation": rectangle(0, 0, 10, 10), "category_id": 1},
        {"segmentation": rectangle(40, 0, 50, 90), "category_id": 1, "iscrowd": 1},
    )
    found = [
        {"segmentation": rectangle(50, 10, 10, 10), "category_id": 1, "score": 0.9},
        {"segmentation": rectangle(0, 0, 10, 10), "category_id": 1, "score": 0.5},
    ]
    assert MaskAP(LABELS).compute(predictions=[found], references=[truth])["ap"] == pytest.approx(100)


def test_id_maps_run_lengths_polygons_and_states_agree():
    segmentation = np.zeros((100, 100), dtype=np.int32)
    segmentation[0:10, 0:20], segmentation[30:60, 10:30], segmentation[70:] = 1, 2, 3
    moved = np.roll(segmentation, 2, axis=1)
    moved[70:] = 3
    categories, scores = {1: 1, 2: 2, 3: 3}, {1: 0.8, 2: 0.6, 3: 0.9}
    maps_truth = {
        "segmentation": segmentation,
        "segments_info": [{"id": k, "category_id": c} for k, c in categories.items()],
    }
    maps_found = {
        "segmentation": moved,
        "segments_info": [{"id": k, "label_id": c, "score": scores[k]} for k, c in categories.items()],
    }
    polygon = {1: [[0, 0, 20, 0, 20, 10, 0, 10]], 2: [[10, 30, 30, 30, 30, 60, 10, 60]]}
    truth = reference(*({"segmentation": polygon[k], "category_id": categories[k]} for k in polygon))
    run_lengths = [
        {
            "segmentation": mask_tools.encode(np.asfortranarray(np.uint8(moved == k))),
            "category_id": k,
            "score": scores[k],
        }
        for k in (1, 2)
    ]
    make = lambda: MaskAP(LABELS, stuff_class_ids=[3])  # noqa: E731
    from_maps = make().compute(predictions=[maps_found], references=[maps_truth])
    assert 30 < from_maps["ap"] < 95 and list(from_maps["per_class"]) == ["cat", "dog"]
    assert make().compute(predictions=[run_lengths], references=[truth]) == from_maps
    first, second = make(), make()
    first.add(prediction=maps_found, reference=maps_truth)
    second.add(prediction=run_lengths, reference=truth)
    first.merge_state(second.state_dict())
    merged = first.compute()
    assert merged["ap"] == pytest.approx(from_maps["ap"]) and merged["num_images"] == 2


def test_boxes():
    truth = reference({"bbox": [0, 0, 20, 10], "category_id": 1})
    found = [{"bbox": [4, 0, 20, 10], "category_id": 1, "score": 0.9}]
    assert MaskAP(LABELS, iou_type="bbox").compute(predictions=[found], references=[truth])["ap"] == pytest.approx(40)


def test_errors():
    truth = reference({"segmentation": rectangle(0, 0, 10, 20), "category_id": 1})
    mask = rectangle(0, 0, 10, 20)
    metric = MaskAP(LABELS)
    with pytest.raises(ValueError, match="score"):
        metric.add(prediction=[{"segmentation": mask, "category_id": 1}], reference=truth)
    with pytest.raises(ValueError, match=r"class 5.*\[1, 2, 3\]"):
        metric.add(prediction=[{"segmentation": mask, "category_id": 5, "score": 1}], reference=truth)
    with pytest.raises(ValueError, match="'segm' or 'bbox'"):
        MaskAP(LABELS, iou_type="masks")
    with pytest.raises(ValueError, match=r"\(5, 5\).*\(100, 100\)"):
        metric.add(prediction={"segmentation": np.zeros((5, 5)), "segments_info": []}, reference=truth)


@pytest.mark.parametrize("count", [255, 256, 700])
def test_more_masks_than_fit_into_8_bits(count):
    """pycocotools' own areas end in an OverflowError from 256 masks on."""
    places = [(4 * (k // 25), 4 * (k % 25)) for k in range(count)]
    size = (4 * 28, 100)
    masks = [rectangle(top, left, 1 + k % 3, 3, size) for k, (top, left) in enumerate(places)]
    metric = MaskAP(LABELS)
    true = [{"category_id": 1, "segmentation": mask, "iscrowd": 0} for mask in masks]
    found = [{"category_id": 1, "segmentation": mask, "score": 0.5} for mask in masks[:90]]
    metric.add(prediction=found, reference={"height": size[0], "width": size[1], "annotations": true})
    assert metric.compute()["ar_100"] == pytest.approx(100 * 90 / count)


def test_more_objects_than_coco_counts_are_told(caplog):
    """Every one of 120 objects is found, and AP cannot say so; once."""
    ids = np.arange(120, dtype=np.int32).reshape(10, 12).repeat(2, 0).repeat(2, 1) + 1
    segments = [{"id": number, "category_id": 0, "score": 0.9} for number in range(1, 121)]
    metric = MaskAP({0: "cell"})
    for _ in range(2):
        metric.add(prediction={"segmentation": ids, "segments_info": segments},
                   reference={"segmentation": ids, "segments_info": segments})  # fmt: skip
    assert 80 < metric.compute()["ap"] < 84  # 100 of 120
    assert len(caplog.records) == 1 and "120 objects of one class" in caplog.text and "best 100" in caplog.text
