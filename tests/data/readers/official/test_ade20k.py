# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""ADE20K as it is published: 150 classes, the challenge's instances, files that others prepare, the full set."""

import json

import numpy as np
import pytest

from hfseg.data import load_official
from hfseg.files.label_names import ADE20K_THINGS
from official_files import SIZE, by_class, label, photo, rows_of, write


@pytest.fixture
def ade20k(tmp_path):
    photo(tmp_path / "images/training/ADE_train_00000001.jpg")
    label(tmp_path / "annotations/training/ADE_train_00000001.png", rows_of(0, 1, 8, 150))
    objects = np.zeros((*SIZE, 3))
    objects[2, :3] = (1, 4, 0)  # class 1 of 100 = bed, which is 8 of 150
    objects[3] = (100, 5, 0)  # class 100 of 100 = 150 of 150
    label(tmp_path / "annotations_instance/training/ADE_train_00000001.png", objects)
    return tmp_path


def test_ade20k_semantic(ade20k):
    dataset = load_official("ade20k_semantic", ade20k)
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(255, 0, 7, 149))
    assert (dataset.id2label[0], dataset.id2label[7], dataset.id2label[149]) == ("wall", "bed", "flag")
    assert len(dataset.id2label) == 150 and dataset.ignore_index == 255


def test_ade20k_panoptic_and_instance_of_the_original_maps(ade20k):
    dataset = load_official("ade20k_panoptic", ade20k)
    item = dataset[0]
    assert len(dataset.stuff_class_ids) == 50 and 0 in dataset.stuff_class_ids and 7 not in dataset.stuff_class_ids
    expected = rows_of(0, 1, 0, 1005)
    expected[2, :3] = 1004
    np.testing.assert_array_equal(item["segmentation"], expected)
    assert by_class(item) == {1: 0, 1004: 7, 1005: 149}
    instance = load_official("ade20k_instance", ade20k)
    assert by_class(instance[0]) == {1004: 0, 1005: 99} and instance.id2label[0] == "bed"
    assert len(instance.id2label) == len(ADE20K_THINGS) == 100


def test_ade20k_prepared_files_come_first(ade20k):
    ids = rows_of(0, 3, 3, 9)
    label(ade20k / "ade20k_panoptic_train/ADE_train_00000001.png", np.stack([ids, ids * 0, ids * 0], axis=-1))
    segments = [{"id": 3, "category_id": 0, "iscrowd": 0}, {"id": 9, "category_id": 7, "iscrowd": 0}]
    name = "ADE_train_00000001"
    content = {
        "images": [{"id": name, "file_name": f"{name}.jpg", "height": 4, "width": 6}],
        "annotations": [{"image_id": name, "file_name": f"{name}.png", "segments_info": segments}],
        "categories": [{"id": k, "name": f"c{k}", "isthing": int(k in ADE20K_THINGS)} for k in range(150)],
    }
    write(ade20k / "ade20k_panoptic_train.json", json.dumps(content))
    dataset = load_official("ade20k_panoptic", ade20k)
    assert by_class(dataset[0]) == {3: 0, 9: 7} and len(dataset.stuff_class_ids) == 50


def test_ade20k_full(tmp_path):
    photo(tmp_path / "images_detectron2/validation/v.jpg")
    label(tmp_path / "annotations_detectron2/validation/v.tif", rows_of(0, 7, 846, 65535), np.uint16)
    dataset = load_official("ade20k_full", tmp_path, "val")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 7, 846, 65535))
    assert len(set(dataset.id2label.values())) == 847 and dataset.ignore_index == 65535
    assert (dataset.id2label[0], dataset.id2label[7]) == ("wall", "bed")
