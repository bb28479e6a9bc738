# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cityscapes as it is published: train ids from label ids, and segments from instance ids."""

import numpy as np
import pytest

from hfseg.data import load_official
from hfseg.evaluation.segmentation import SegmentationMetrics
from official_files import by_class, label, photo

# The evaluated label ids by cityscapesscripts' table, and train ids 0 to 18.
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


@pytest.fixture
def cityscapes(tmp_path):
    name = "ulm_000000_000019"
    photo(tmp_path / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png", (34, 6))
    every = np.repeat(np.arange(34)[:, None], 6, axis=1)
    label(tmp_path / f"gtFine/val/ulm/{name}_gtFine_labelIds.png", every)
    ids = np.zeros((34, 6), dtype=np.uint16)
    for row, value in enumerate((7, 4, 24, 24000, 24001, 26003, 29000, 33012, 26, 10)):
        ids[row] = value
    label(tmp_path / f"gtFine/val/ulm/{name}_gtFine_instanceIds.png", ids, np.uint16)
    return tmp_path


def test_cityscapes_semantic(cityscapes):
    dataset = load_official("cityscapes_semantic", cityscapes, "validation")
    expected = [LABEL_IDS.index(value) if value in LABEL_IDS else 255 for value in range(34)]
    assert dataset[0]["segmentation_map"][:, 0].tolist() == expected
    assert dataset.names == ["ulm_000000_000019"] and dataset.id2label[18] == "bicycle"
    assert dataset.stuff_class_ids == tuple(range(11))


def test_cityscapes_panoptic_and_instance(cityscapes):
    dataset = load_official("cityscapes_panoptic", cityscapes, "val")
    item = dataset[0]
    # not evaluated (static, caravan, rail track) -> void; things without a number are crowds
    assert item["segmentation"][:10, 0].tolist() == [7, 0, 24, 24000, 24001, 26003, 0, 33012, 26, 0]
    assert by_class(item) == {7: 0, 24: 11, 26: 13, 24000: 11, 24001: 11, 26003: 13, 33012: 18}
    assert {s["id"] for s in item["segments_info"] if s["iscrowd"]} == {24, 26}
    assert dataset.stuff_class_ids == tuple(range(11))
    assert dataset.ap_rules == "cityscapes"
    dataset = load_official("cityscapes_instance", cityscapes, "val")
    item = dataset[0]
    assert by_class(item) == {24000: 0, 24001: 0, 26003: 2, 33012: 7}
    assert not any(segment["iscrowd"] for segment in item["segments_info"])
    # What AP needs beside it: crowds, and what is void; road (7) is neither.
    known = item["ap_segments"]
    assert by_class(known) == {24: 0, 26: 2, 24000: 0, 24001: 0, 26003: 2, 33012: 7}
    assert {s["id"] for s in known["segments_info"] if s["iscrowd"]} == {24, 26}
    assert known["void"][:, 0].nonzero()[0].tolist() == [1, 6, *range(9, 34)]
    assert list(dataset.id2label.values()) == "person rider car truck bus train motorcycle bicycle".split()


def test_ap_of_instances_is_ap_of_the_panoptic_labels(tmp_path):
    """Detections on crowds, void and background, whatever dataset the things come from."""
    pytest.importorskip("pycocotools.mask")
    name, draw = "ulm_000000_000019", np.random.default_rng(0)
    ids = np.full((60, 80), 7, dtype=np.uint16)
    areas = {24000: np.s_[:20, :20], 26001: np.s_[30:50, :30], 24: np.s_[:30, 30:50], 4: np.s_[30:, 40:60]}
    for value, area in areas.items():
        ids[area] = value
    photo(tmp_path / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png", ids.shape)
    label(tmp_path / f"gtFine/val/ulm/{name}_gtFine_instanceIds.png", ids, np.uint16)
    masks = [ids == 24000, ids == 26001, ids == 24, ids == 4, np.zeros(ids.shape, bool)]
    masks[4][30:50, 62:78] = True  # road
    masks[0] = masks[0] & (draw.random(ids.shape) < 0.8)
    found, figures = [(masks[0], 11, 0.5), *((mask, 11, 0.9) for mask in masks[2:]), (masks[1], 13, 0.4)], []
    for kind, first in (("panoptic", 0), ("instance", 11)):
        dataset = load_official(f"cityscapes_{kind}", tmp_path, "val")
        metrics = SegmentationMetrics(dataset, ("instance",))
        predictions = [
            {"segmentation": mask, "category_id": class_id - first, "score": score} for mask, class_id, score in found
        ]
        metrics.add(0, dataset[0], {"instance": predictions, "semantic": np.zeros(ids.shape, dtype=int)})
        figures.append(metrics.metrics["cityscapes_ap"].compute())
    # Persons: road alone is false and comes first, so recall 0, 1 has precision 0, 1/2; found at 0.50 to 0.75 or so.
    steps = (np.arange(0.5, 1, 0.05) < (masks[0].sum() / 400)).sum()
    assert figures[0]["per_class"]["person"] == pytest.approx(25 * steps / 10) and 0 < steps < 10
    assert figures[0]["per_class"]["car"] == 100
    assert figures[1] == {
        **figures[0],
        "per_class": {name: figures[0]["per_class"][name] for name in dataset.id2label.values()},
    }
