# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Metrics against figures of the original tools, to the printed digit; the files are not part of this project.

HFSEG_REFERENCE_RESULTS names a folder with `coco_ap/` (100 images of COCO val2014, the COCO API's fake results, and the
figures its authors print) and `panoptic_sample/` (panopticapi's sample, predictions, and what panopticapi computes).
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg.metrics import MaskAP, PanopticQuality

FOLDER = os.environ.get("HFSEG_REFERENCE_RESULTS")
pytestmark = pytest.mark.skipif(not FOLDER, reason="HFSEG_REFERENCE_RESULTS is not set")


def read(*parts: str):
    return json.loads(Path(str(FOLDER), *parts).read_text())


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_coco_ap(kind):
    pytest.importorskip("pycocotools")
    truth = read("coco_ap", "instances_val2014_100.json")
    found = read("coco_ap", f"instances_val2014_fake{kind}100_results.json")
    metric = MaskAP({entry["id"]: entry["name"] for entry in truth["categories"]}, iou_type=kind)
    for image in truth["images"]:
        annotations = [entry for entry in truth["annotations"] if entry["image_id"] == image["id"]]
        metric.add(
            prediction=[entry for entry in found if entry["image_id"] == image["id"]],
            reference={"height": image["height"], "width": image["width"], "annotations": annotations},
        )
    measured = metric.compute()
    for name, value in read("coco_ap", "expected.json")[kind].items():
        assert round(measured[name.lower()], 3) == value, name


def segment_ids(file: Path) -> np.ndarray:
    colours = np.asarray(Image.open(file).convert("RGB")).astype(np.int64)
    return colours @ np.array([1, 256, 65536])


@pytest.mark.parametrize("prediction", ["shift", "merge_same_class"])
def test_panoptic_quality(prediction):
    folder = Path(str(FOLDER), "panoptic_sample")
    categories = read("panoptic_sample", "panoptic_coco_categories.json")
    stuff = [entry["id"] for entry in categories if not entry["isthing"]]
    metric = PanopticQuality({entry["id"]: entry["name"] for entry in categories}, stuff)
    truth = read("panoptic_sample", "panoptic_examples.json")["annotations"]
    found = read("panoptic_sample", "predictions", prediction, "predictions.json")["annotations"]
    for expected, entry in zip(truth, found):
        assert expected["image_id"] == entry["image_id"]
        metric.add(
            prediction={
                "segmentation": segment_ids(folder / "predictions" / prediction / "png" / entry["file_name"]),
                "segments_info": entry["segments_info"],
            },
            reference={
                "segmentation": segment_ids(folder / "panoptic_examples" / expected["file_name"]),
                "segments_info": expected["segments_info"],
            },
        )
    measured = metric.compute()
    for group, values in read("panoptic_sample", "predictions", prediction, "expected.json").items():
        ending = {"All": "", "Things": "_things", "Stuff": "_stuff"}[group]
        for name in ("pq", "sq", "rq"):
            assert round(measured[name + ending], 8) == values[name], (group, name)
        assert measured[f"num_classes{ending}"] == values["n"]
