# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Metrics against figures of the original tools, to the printed digit; the files are not part of this project.

HFSEG_REFERENCE_RESULTS names a folder with `coco_ap/` (100 images of COCO val2014, the COCO API's fake results, and the
figures its authors print), `panoptic_sample/` (panopticapi's sample, predictions, and what panopticapi computes),
`bsds_covering/` (eight BSDS500 test images with the coverings of the evaluation files shipped with the data) and
`surface_distance/` (six pairs of hippocampus labels with what MONAI computes).
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfseg.metrics import Dice, MaskAP, PanopticQuality, SegmentationCovering, SurfaceDistance, surface_distances

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
    colors = np.asarray(Image.open(file).convert("RGB")).astype(np.int64)
    return colors @ np.array([1, 256, 65536])


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
            assert round(measured[name + ending] / 100, 8) == values[name], (group, name)
        assert measured[f"num_classes{ending}"] == values["n"]


def test_segmentation_covering():
    folder = Path(str(FOLDER), "bsds_covering")
    pooled, single, published = SegmentationCovering(), SegmentationCovering(), []
    for case in read("bsds_covering", "expected.json"):
        found = np.asarray(Image.open(folder / "predicted" / f"{case['id']}.png"))
        people = [np.asarray(Image.open(file)) for file in sorted((folder / "segments").glob(f"{case['id']}_*.png"))]
        assert len(people) >= 4 and len(np.unique(found)) == case["predicted_segments"]
        single.add(prediction=found, reference=people)
        measured = single.compute()["covering"] / 100
        # the shipped files print sums with six digits, so the quotients are good to one unit of the sixth
        assert measured == pytest.approx(case["published_covering"], abs=1e-6), case["id"]
        pooled.add(prediction=found, reference=people)
        published.append(case["published_covering"])
    assert pooled.compute()["mean_covering"] == pytest.approx(100 * np.mean(published), abs=1e-4)


def test_surface_distances_and_dice():
    names = {0: "background", 1: "anterior", 2: "posterior"}
    cases = read("surface_distance", "expected.json")["cases"]
    assert len({tuple(case["spacing_mm"]) for case in cases}) > 1  # millimeters, not voxels
    for case in cases:
        with np.load(Path(str(FOLDER), "surface_distance", case["file"])) as volumes:
            maps = {"prediction": volumes["pred"], "reference": volumes["gt"]}
        surface, dice = SurfaceDistance(names, tolerance=1.0), Dice(names)
        surface.add(**maps, spacing=case["spacing_mm"])
        dice.add(**maps)
        measured, overlap = surface.compute()["per_class"], dice.compute()["per_class"]
        expected = {"assd": "assd_symmetric", "hd95": "hd95", "hd": "hd", "nsd": "nsd_1mm"}
        for index, label in enumerate(case["labels"]):
            for ours, theirs in expected.items():
                # MONAI's distances are float32, and so is its place between the two values beside a percentile
                close = pytest.approx(case["monai"][theirs][index], abs=5e-6 if ours == "hd95" else 1e-6)
                share = 100 if ours == "nsd" else 1
                assert measured[names[label]][ours] / share == close, (case["file"], ours)
            assert overlap[names[label]]["dice"] == pytest.approx(100 * case["monai"]["dice"][index], abs=1e-4)
            there, _ = surface_distances(*(maps[side] == label for side in maps), case["spacing_mm"])
            assert there.mean() == pytest.approx(case["monai"]["asd_pred_to_gt"][index], abs=1e-6)
