# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO as it is published: panoptic, instances with captions, and COCO-Stuff, with their official ids."""

import json
import pickle

import numpy as np
import pytest

from hfseg.data import load_official
from hfseg.files.label_names import COCO_PANOPTIC
from official_files import SIZE, by_class, label, photo, rows_of, write


@pytest.fixture
def coco(tmp_path):
    """Two training images; categories with the real ids of person (1), toothbrush (90), banner (92), rug-merged."""
    for name in ("000000000009", "000000000025"):
        photo(tmp_path / "train2017" / f"{name}.jpg")
    ids = rows_of(0, 1, 70000, 70001)
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)
    label(tmp_path / "annotations/panoptic_train2017/000000000009.png", rgb)
    label(tmp_path / "annotations/panoptic_train2017/000000000025.png", rgb)
    images = [
        {"id": int(n), "file_name": f"{n}.jpg", "height": 4, "width": 6} for n in ("000000000009", "000000000025")
    ]
    categories = [
        {"id": 92, "name": "banner", "isthing": 0},
        {"id": 1, "name": "person", "isthing": 1},
        {"id": 90, "name": "toothbrush", "isthing": 1},
    ]
    segments = [
        {"id": 1, "category_id": 90, "iscrowd": 0},
        {"id": 70000, "category_id": 92, "iscrowd": 0},
        {"id": 70001, "category_id": 1, "iscrowd": 1},
    ]
    annotations = [
        {"image_id": image["id"], "file_name": image["file_name"].replace("jpg", "png"), "segments_info": segments}
        for image in images
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write(tmp_path / "annotations/panoptic_train2017.json", json.dumps(content))
    square = [0.0, 0.0, 3.0, 0.0, 3.0, 2.0, 0.0, 2.0]
    objects = [
        {"id": 1, "image_id": 9, "category_id": 90, "iscrowd": 0, "segmentation": [square]},
        {"id": 2, "image_id": 9, "category_id": 1, "iscrowd": 1, "segmentation": {"size": [4, 6], "counts": [0, 24]}},
    ]
    things = [category for category in categories if category["isthing"]]
    content = {"images": images, "annotations": objects, "categories": things}
    write(tmp_path / "annotations/instances_train2017.json", json.dumps(content))
    captions = [{"id": k, "image_id": i, "caption": f"text {k}"} for k, i in enumerate((25, 9, 25))]
    write(tmp_path / "annotations/captions_train2017.json", json.dumps({"images": images, "annotations": captions}))
    return tmp_path


def test_names_of_captioned_images_stay_inside(coco):
    file = coco / "annotations/captions_train2017.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "../../elsewhere.jpg"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="outside of the dataset's folder"):
        load_official("coco_captions", coco)


def test_coco_panoptic(coco):
    dataset = load_official("coco_panoptic", coco)
    assert dataset.id2label == {0: "person", 1: "toothbrush", 2: "banner"} and dataset.stuff_class_ids == (2,)
    item = dataset[0]
    np.testing.assert_array_equal(item["segmentation"], rows_of(0, 1, 70000, 70001))
    assert by_class(item) == {1: 1, 70000: 2, 70001: 0}
    assert [segment["iscrowd"] for segment in item["segments_info"]] == [0, 0, 1]
    assert item["image_id"] == dataset.sample_id(0) == "000000000009" and item["image"].shape == (4, 6, 3)
    assert item["segments_info"][0]["area"] == 6 and item["segments_info"][0]["bbox"] == [0, 1, 6, 1]
    (coco / "annotations/panoptic_train2017").rename(coco / "panoptic_train2017")  # the other usual place
    assert by_class(load_official("coco_panoptic", coco)[1]) == by_class(item)
    assert len(pickle.loads(pickle.dumps(dataset))) == 2


def test_coco_instance_and_captions(coco):
    dataset = load_official("coco_instance", coco)
    assert dataset.kind == "instance" and dataset.id2label == {0: "person", 1: "toothbrush"}
    item = dataset[0]
    expected = np.full(SIZE, 2)  # the crowd, below everything
    expected[:2, :3] = 1
    np.testing.assert_array_equal(item["segmentation"], expected)
    assert [segment["iscrowd"] for segment in item["segments_info"]] == [0, 1] and dataset[1]["segments_info"] == []
    captions = load_official("coco_captions", coco)
    assert [(item["image_id"][-2:], item["text"]) for item in (captions[k] for k in range(3))] == [
        ("09", "text 1"),
        ("25", "text 0"),
        ("25", "text 2"),
    ]


def test_coco_stuff(tmp_path):
    photo(tmp_path / "images/val2017/a.jpg")
    # original ids - 1: person, stop sign (13, after the unused 12), wood (182), unlabeled
    label(tmp_path / "stuffthingmaps/val2017/a.png", rows_of(0, 12, 181, 255))
    dataset = load_official("coco_stuff", tmp_path, "val")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 11, 170, 255))
    assert len(dataset.id2label) == 171 and dataset.stuff_class_ids == tuple(range(80, 171))
    assert [dataset.id2label[k] for k in (0, 11, 79, 80, 170)] == [
        "person",
        "stop sign",
        "toothbrush",
        "banner",
        "wood",
    ]
    assert [dataset.id2label[k] for k in range(80)] == COCO_PANOPTIC[:80]
    label(tmp_path / "stuffthingmaps/val2017/a.png", rows_of(0, 11, 0, 0))  # street sign: never labeled
    with pytest.raises(ValueError, match=r"a\.png holds the label value\(s\) \[11\]; must be one of the 171 classes"):
        dataset[0]
