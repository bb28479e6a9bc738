# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Faults of official folders: each is named with its file, what was expected and what was found."""

import json

import numpy as np
import pytest
from PIL import Image

from hfseg.data import load_official

SIZE = (4, 6)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.fixture
def coco(tmp_path):
    for k in (1, 2):
        save(tmp_path / f"train2017/{k}.jpg", np.zeros((*SIZE, 3)))
        save(tmp_path / f"panoptic_train2017/{k}.png", np.full((*SIZE, 3), (k, 0, 0)))
    images = [{"id": k, "file_name": f"{k}.jpg", "height": 4, "width": 6} for k in (1, 2)]
    annotations = [
        {"image_id": k, "file_name": f"{k}.png", "segments_info": [{"id": k, "category_id": 5, "iscrowd": 0}]}
        for k in (1, 2)
    ]
    captions = [{"id": k, "image_id": k, "caption": "c"} for k in (1, 2)]
    contents = {
        "panoptic": {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "a"}]},
        "captions": {"images": images, "annotations": captions},
    }
    (tmp_path / "annotations").mkdir()
    for kind, content in contents.items():
        (tmp_path / f"annotations/{kind}_train2017.json").write_text(json.dumps(content))
    return tmp_path


def change(root, kind, edit):
    path = root / f"annotations/{kind}_train2017.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["panoptic", "captions"])
def test_truncated_json(coco, kind):
    truncate(coco / f"annotations/{kind}_train2017.json")
    with pytest.raises(ValueError, match=rf"{kind}_train2017\.json is not complete JSON \(line 1.*cut short"):
        load_official(f"coco_{kind}", coco)


@pytest.mark.parametrize("kind", ["panoptic", "captions"])
def test_duplicate_image_ids(coco, kind):
    change(coco, kind, lambda content: content["images"].append(content["images"][0]))
    with pytest.raises(ValueError, match=r"image id\(s\) 1 occur more than once"):
        load_official(f"coco_{kind}", coco)


@pytest.mark.parametrize("kind", ["panoptic", "captions"])
def test_annotation_of_an_unknown_image(coco, kind):
    change(coco, kind, lambda content: content["annotations"][0].update(image_id=77))
    with pytest.raises(ValueError, match="names image 77"):
        load_official(f"coco_{kind}", coco)


def test_category_that_is_not_listed(coco):
    change(coco, "panoptic", lambda content: content["annotations"][1]["segments_info"][0].update(category_id=9))
    with pytest.raises(ValueError, match=r"category id\(s\) 9, which categories do not list"):
        load_official("coco_panoptic", coco)


def test_map_and_json_disagree(coco):
    save(coco / "panoptic_train2017/2.png", np.full((*SIZE, 3), (8, 0, 0)))
    with pytest.raises(ValueError, match=r"2\.png and .*panoptic_train2017\.json do not agree.*segment id 8"):
        load_official("coco_panoptic", coco)[1]


@pytest.mark.parametrize("kind", ["panoptic", "captions"])
def test_no_annotation_left(coco, kind):
    change(coco, kind, lambda content: content["annotations"].clear())
    with pytest.raises(ValueError, match=r"0 annotations|0 usable samples"):
        load_official(f"coco_{kind}", coco)


def test_missing_json_and_images(coco):
    with pytest.raises(FileNotFoundError, match=r"missing are annotations/instances_train2017\.json \(polygons"):
        load_official("coco_instance", coco)
    (coco / "train2017/2.jpg").unlink()
    for kind in ("panoptic", "captions"):
        with pytest.raises(FileNotFoundError, match=r"1 (of 2 )?images of .*2\.jpg"):
            load_official(f"coco_{kind}", coco)


def test_other_files_in_the_place_of_labels(tmp_path):
    name = "ulm_000000_000019"
    save(tmp_path / f"leftImg8bit/train/ulm/{name}_leftImg8bit.png", np.zeros((*SIZE, 3)))
    path = tmp_path / f"gtFine/train/ulm/{name}_gtFine_instanceIds.png"
    save(path, np.full(SIZE, 200))
    with pytest.raises(ValueError, match=r"instanceIds\.png holds the value 200.*not in 0 to 33"):
        load_official("cityscapes_panoptic", tmp_path)[0]
    save(tmp_path / "images/training/a.jpg", np.zeros((*SIZE, 3)))
    save(tmp_path / "annotations_instance/training/a.png", np.ones(SIZE))
    with pytest.raises(ValueError, match="an instance map of ADE20K is RGB"):
        load_official("ade20k_instance", tmp_path)[0]
    save(tmp_path / "annotations_instance/training/a.png", np.full((*SIZE, 3), 101))
    with pytest.raises(ValueError, match=r"object 101 has the class\(es\) \[101\]; it must have one of 1 to 100"):
        load_official("ade20k_instance", tmp_path)[0]


def test_faulty_lists(tmp_path):
    for part in ("JPEGImages", "SegmentationClass"):
        (tmp_path / part).mkdir()
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"missing are ImageSets/Segmentation/train\.txt \(names of train\)"):
        load_official("pascal_voc", tmp_path)
    (lists / "train.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"train\.txt names no image: 0 usable samples"):
        load_official("pascal_voc", tmp_path)
    (lists / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(ValueError, match=r"train\.txt names a more than once"):
        load_official("pascal_voc", tmp_path)
    (lists / "train.txt").write_text("a\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images of Pascal VOC 2012 \(train\) are missing"):
        load_official("pascal_voc", tmp_path)
