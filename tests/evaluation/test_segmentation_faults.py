# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Perfect predictions score 1.00: crowds, overlapping instances, shared stems, masks without names."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.folders import load_folder
from hfseg.data.readers.promptable import CocoMasks, SegmentAnythingData, draw_mask, masks_of, stream_shards
from hfseg.evaluation.segmentation import SegmentationMetrics
from hfseg.metrics.oracle_iou import OracleIoU
from hfseg.results.run_lengths import decode_segmentation, encode_run_lengths

H, W = 40, 60
OUTER = [5, 5, 45, 5, 45, 35, 5, 35]
INNER = [15, 10, 30, 10, 30, 25, 15, 25]


def coco(root, annotations, names=("a.png",)):
    images = [{"id": k, "file_name": name, "height": H, "width": W} for k, name in enumerate(names)]
    given = [
        {"id": 10 * k + n, "image_id": k, "category_id": 1, "iscrowd": 0, **annotation}
        for k in range(len(names))
        for n, annotation in enumerate(annotations)
    ]
    content = {"images": images, "annotations": given, "categories": [{"id": 1, "name": "cell"}]}
    (root / "annotations").mkdir()
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    for name in names:
        (root / "images/train" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (W, H)).save(root / "images/train" / name)
    return load_folder(root, "train")


def instances(masks):
    return [
        {"segmentation": encode_run_lengths(mask, True), "category_id": 0, "score": 0.9 - 0.01 * k}
        for k, mask in enumerate(masks)
    ]


def drawn(*polygons):
    return [decode_segmentation([polygon], (H, W)) for polygon in polygons]


def test_a08_a_detection_inside_a_crowd_is_no_mistake(tmp_path):
    crowd = np.zeros((H, W), dtype=bool)
    crowd[:, 46:] = True
    dataset = coco(tmp_path, [{"segmentation": [OUTER]}, {"segmentation": encode_run_lengths(crowd), "iscrowd": 1}])
    (mask,) = drawn(OUTER)
    segmentation = np.where(mask, 1, 0)
    segmentation[5:20, 48:58] = 2  # inside the crowd
    info = [{"id": k, "label_id": 0, "score": 0.9} for k in (1, 2)]
    metrics = SegmentationMetrics(dataset, ["panoptic"])
    metrics.add(0, dataset[0], {"panoptic": {"segmentation": segmentation, "segments_info": info}})
    assert metrics.metrics["semantic"].compute()["mean_iou"] == 100
    assert metrics.metrics["panoptic"].compute()["pq"] == 100


def test_a09_nested_perfect_masks_score_one_everywhere(tmp_path):
    """The truth of AP is the instances' own masks, in training as in `evaluate`."""
    pytest.importorskip("pycocotools")
    dataset = coco(tmp_path, [{"segmentation": [OUTER]}, {"segmentation": [INNER]}])
    metrics = SegmentationMetrics(dataset, ["instance"])
    metrics.add(0, dataset[0], {"instance": instances(drawn(OUTER, INNER))})
    assert metrics.compute()[0]["ap"] == pytest.approx(100)


def test_a04_equal_stems_in_two_folders_score_one(tmp_path):
    pytest.importorskip("pycocotools")
    from hfseg.evaluation.segmentation import CocoInstances

    dataset = coco(tmp_path, [{"segmentation": [OUTER]}], ("s1/0001.png", "s2/0001.png"))
    truth = CocoInstances(tmp_path / "annotations/instances_train.json", {1: 0})
    metrics = SegmentationMetrics(dataset, ["instance"], instance_truth=truth)
    for index in range(2):
        metrics.add(index, dataset[index], {"instance": instances(drawn(OUTER))})
    assert metrics.compute()[0]["ap"] == pytest.approx(100)


def test_a06_damaged_masks_do_not_reach_pycocotools(tmp_path):
    pytest.importorskip("pycocotools")
    from hfseg.metrics.mask_ap import MaskAP

    metric = MaskAP({0: "cell"})
    encoded = instances(drawn(OUTER))[0]
    for broken in ({"size": [H, W], "counts": "05"}, {"size": [10**9, 10**9], "counts": "05"}, [[1, 1, 1e9, 1, 5, 5]]):
        reference = {"height": H, "width": W, "annotations": [{**encoded, "segmentation": broken}]}
        with pytest.raises(ValueError, match=r"add up|10000|coordinate"):
            metric.add(prediction=[encoded], reference=reference)


def test_a05_a_metric_over_no_pixels_is_not_a_number(tmp_path):
    class Dataset:
        id2label, stuff_class_ids, ignore_index = {0: "a", 1: "b"}, (0, 1), 255

    metrics = SegmentationMetrics(Dataset(), ["semantic"])
    void = np.full((H, W), 255)
    metrics.add(0, {"segmentation_map": void}, {"semantic": np.zeros((H, W), dtype=np.int64)})
    assert metrics.compute()[0]["mean_iou"] is None


# ------------------------------------------------------------------------------------------------ masks without names


def test_promptable_polygons_have_no_border():
    square = [10, 10, 20, 10, 20, 20, 10, 20]
    assert draw_mask({"polygons": [square], "size": [30, 30]}).sum() == 100


def test_promptable_perfect_masks_score_one(tmp_path):
    """By both routes: own masks, and a reader of instances that may overlap."""
    dataset = coco(tmp_path, [{"segmentation": [OUTER]}, {"segmentation": [INNER]}])
    masks = np.stack(drawn(OUTER, INNER))
    raw = CocoMasks(tmp_path / "annotations/instances_train.json", tmp_path / "images/train")[0]
    for example in (raw, dataset[0]):
        truth = masks_of(example)
        metric = OracleIoU()
        metric.add(prediction=masks, reference=truth)
        assert metric.compute()["oracle_iou"] == 100


def test_a04_tar_shards_with_equal_names_in_two_folders(tmp_path):
    square = np.zeros((8, 8), dtype=bool)
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for suffix in (".jpg", ".json"):  # all images first: with names alone they would be mixed up
            for folder, level in (("a", 0), ("b", 255)):
                square[:] = False
                square[: 2 if folder == "a" else 5] = True
                buffer = io.BytesIO()
                Image.new("RGB", (8, 8), (level,) * 3).save(buffer, "JPEG")
                text = json.dumps({"annotations": [{"segmentation": encode_run_lengths(square, True)}]})
                content = buffer.getvalue() if suffix == ".jpg" else text.encode()
                info = tarfile.TarInfo(f"{folder}/0001{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    indexed = SegmentAnythingData(tmp_path / "s.tar")
    for examples in (list(stream_shards(tmp_path)), [indexed[0], indexed[1]]):
        assert [example["image_id"] for example in examples] == ["a/0001", "b/0001"]
        seen = [
            (np.asarray(example["image"]).mean() > 100, draw_mask(example["masks"][0]).sum()) for example in examples
        ]
        assert seen == [(False, 16), (True, 40)]
