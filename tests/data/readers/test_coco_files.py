# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO files of instances and of panoptic maps: they come back as written, and each fault is named."""

import json

import numpy as np
import pytest

from hfseg.data.readers.folders import list_splits, load_folder
from hfseg.data.readers.schema import semantic_map
from hfseg.data.synthetic.shapes import CATEGORIES
from scene_folders import SIZE, save, scene


@pytest.fixture
def flat(tmp_path):
    for index in range(10):
        save(tmp_path / "images" / f"s{index}.png", scene(index).image)
        save(tmp_path / "masks" / f"s{index}.png", scene(index).semantic_map().astype(np.uint8))
    return tmp_path


def coco_instances(folder, annotations, split="train2017"):
    save(folder / "images" / split / "a.png", scene(0).image)
    save(folder / "images" / split / "b.png", scene(1).image)
    images = [{"id": k, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]} for k, n in ((5, "a"), (9, "b"))]
    content = {
        "images": images,
        "annotations": [{"id": k, "image_id": 5, "iscrowd": 0, **a} for k, a in enumerate(annotations)],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    file = folder / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def run_length(mask):
    """COCO's uncompressed code: run lengths column by column, beginning with zeros."""
    flat = mask.T.ravel().astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    edges = [0, *changes, flat.size]
    return {"size": list(mask.shape), "counts": np.diff(edges).tolist()}


def test_coco_instances(tmp_path):
    blob = np.zeros(SIZE, bool)
    blob[0:3, 0:2], blob[20:22, 30:40] = True, True
    file = coco_instances(
        tmp_path,
        [
            {"category_id": 18, "segmentation": [[12, 12, 16, 12, 16, 15, 12, 15]]},  # small, in front of the next
            {"category_id": 3, "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]]},
            {"category_id": 3, "segmentation": run_length(blob)},
            {"category_id": 18, "segmentation": run_length(~blob), "iscrowd": 1},
        ],
    )
    dataset = load_folder(tmp_path, "train")
    assert dataset.kind == "instance" and dataset.id2label == {0: "car", 1: "dog"} and dataset.names == ["a", "b"]
    assert dataset.original_category_ids == {0: 3, 1: 18} and dataset.stuff_class_ids == ()
    example = dataset[0]
    expected = np.full(SIZE, 255)
    expected[10:20, 10:30], expected[12:15, 12:16], expected[blob] = 0, 1, 0
    np.testing.assert_array_equal(semantic_map(example["segmentation"], example["segments_info"]), expected)
    assert sorted(s["area"] for s in example["segments_info"] if not s["iscrowd"]) == [12, 26, 188]
    assert [s["iscrowd"] for s in example["segments_info"]] == [0, 0, 0, 1]  # void, not background
    assert dataset[1]["segments_info"] == []
    assert load_folder(file).names == ["a", "b"] and list_splits(tmp_path) == ["train2017"]


def test_coco_compressed_run_lengths(tmp_path):
    mask_tools = pytest.importorskip("pycocotools.mask")
    blob = np.zeros(SIZE, bool)
    blob[5:9, 2:20] = True
    code = mask_tools.encode(np.asfortranarray(blob.astype(np.uint8)))
    code["counts"] = code["counts"].decode()
    coco_instances(tmp_path, [{"category_id": 18, "segmentation": code}])
    np.testing.assert_array_equal(load_folder(tmp_path, "train")[0]["segmentation"], blob)


def test_polygons_without_pycocotools_agree_with_it(tmp_path, monkeypatch):
    pytest.importorskip("pycocotools")
    triangle = [[3.5, 2.5, 33.5, 8.5, 12.5, 28.5]]
    coco_instances(tmp_path, [{"category_id": 18, "segmentation": triangle}])
    exact = load_folder(tmp_path, "train")[0]["segmentation"] > 0
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    plain = load_folder(tmp_path, "train")[0]["segmentation"] > 0
    assert (exact & plain).sum() / (exact | plain).sum() > 0.9


@pytest.fixture
def panoptic(tmp_path):
    item = scene(2)
    ids = item.segmentation * 70001 % 16777216
    save(tmp_path / "images/val2017/p.jpg", item.image)
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    save(tmp_path / "annotations/panoptic_val2017/p.png", rgb)
    content = {
        "images": [{"id": 1, "file_name": "p.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [
            {
                "image_id": 1,
                "file_name": "p.png",
                "segments_info": [
                    {
                        **s,
                        "id": s["id"] * 70001 % 16777216,
                        "category_id": s["category_id"] + 100,
                        "iscrowd": int(k == 0),
                    }
                    for k, s in enumerate(item.segments_info)
                ],
            }
        ],
        "categories": [{**c, "id": c["id"] + 100} for c in CATEGORIES],
    }
    file = tmp_path / "annotations/panoptic_val2017.json"
    file.write_text(json.dumps(content))
    return tmp_path, file, content


def test_coco_panoptic(panoptic):
    folder, file, _ = panoptic
    dataset = load_folder(folder, "validation")
    assert dataset.kind == "panoptic" and dataset.stuff_class_ids == (6, 7, 8, 9)
    assert dataset.id2label == {c["id"]: c["name"] for c in CATEGORIES}
    example, item = dataset[0], scene(2)
    np.testing.assert_array_equal(example["segmentation"], item.segmentation * 70001 % 16777216)
    assert [s["area"] for s in example["segments_info"]] == [s["area"] for s in item.segments_info]
    assert [s["category_id"] for s in example["segments_info"]] == [s["category_id"] for s in item.segments_info]
    assert [s["iscrowd"] for s in example["segments_info"]] == [1] + [0] * (len(item.segments_info) - 1)
    assert len(load_folder(file)) == 1


def fails(error, words, *arguments, **options):
    with pytest.raises(error) as caught:
        load_folder(*arguments, **options)
    message = str(caught.value)
    assert all(word in message for word in words), message


def test_damaged_coco_files(tmp_path):
    polygon = [[1, 1, 9, 1, 9, 9]]
    file = coco_instances(tmp_path, [{"category_id": 18, "segmentation": polygon}])
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    fails(ValueError, [file.name, "not complete JSON", "cut"], tmp_path, "train")
    content = json.loads(whole)
    file.write_text(json.dumps({k: v for k, v in content.items() if k != "categories"}))
    fails(ValueError, [file.name, "categories"], file)
    file.write_text(json.dumps({**content, "annotations": []}))
    fails(ValueError, [file.name, "0 annotations"], file)
    file.write_text("[]")
    fails(ValueError, [file.name, "images, annotations, categories"], file)
    for change, words in (
        ({"image_id": 6}, ["image 6"]),
        ({"category_id": 4}, ["category id(s) 4"]),
    ):
        file.write_text(json.dumps({**content, "annotations": [{**content["annotations"][0], **change}]}))
        fails(ValueError, words, file)
    for shape, words in (
        ([[1, 1, 2, 2]], "polygon of 4"),
        ({"size": [2, 2], "counts": [4]}, "2 x 2 pixels, but the image has 32 x 40"),
        ({"size": [32, 40], "counts": [3]}, "add up to 3"),
        ([], "box"),
    ):
        file.write_text(json.dumps({**content, "annotations": [{**content["annotations"][0], "segmentation": shape}]}))
        with pytest.raises(ValueError, match=words):
            load_folder(file)[0]
    file.write_text(whole)
    (tmp_path / "images/train2017/b.png").unlink()
    fails(FileNotFoundError, ["1 of 2", "b.png"], file)
    (tmp_path / "images/train2017/a.png").unlink()
    fails(FileNotFoundError, ["a.png", "image_folder="], file)
    fails(ValueError, ["'test'", "train2017"], tmp_path, "test")
    coco_instances(tmp_path, [{"category_id": 18, "segmentation": polygon}], split="val2017")
    fails(ValueError, ["split=", "train2017, val2017"], tmp_path)


def test_panoptic_files_that_do_not_agree(panoptic):
    folder, file, content = panoptic
    entry = content["annotations"][0]
    file.write_text(json.dumps({**content, "annotations": [{**entry, "segments_info": entry["segments_info"][1:]}]}))
    with pytest.raises(ValueError, match=r"p.png and .*panoptic_val2017.json do not agree"):
        load_folder(folder, "val")[0]
    (folder / "annotations/panoptic_val2017/p.png").unlink()
    fails(FileNotFoundError, ["p.png", "id maps"], folder, "val")
