# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cityscapes as it is published: train ids from label ids, and segments from instance ids."""

import numpy as np
import pytest

from hfseg.data import load_official
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
    assert by_class(dataset[0]) == {24000: 0, 24001: 0, 26003: 2, 33012: 7}
    assert list(dataset.id2label.values()) == "person rider car truck bus train motorcycle bicycle".split()
