# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Readers -> `datasets` tables -> parquet -> back: the same images, ids, classes and names."""

import json

import datasets
import numpy as np
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from PIL import Image

from hfseg.data import TableDataset, load_folder, load_official, load_table, to_datasets
from hfseg.data.collators.collation import UniversalCollator
from hfseg.data.readers.promptable import masks_of
from hfseg.evaluation.segmentation import SegmentationMetrics


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


@pytest.fixture
def cityscapes(tmp_path):
    """Three images with random segments of known label ids."""
    random = np.random.default_rng(0)
    for k in range(3):
        name = f"ulm/ulm_{k:06d}_000019"
        save(tmp_path / f"leftImg8bit/train/{name}_leftImg8bit.png", random.integers(0, 255, (8, 12, 3), np.uint8))
        ids = random.choice(np.array([7, 26, 26000, 26001, 33000, 4], dtype=np.uint16), (8, 12))
        save(tmp_path / f"gtFine/train/{name}_gtFine_instanceIds.png", ids)
        save(
            tmp_path / f"gtFine/train/{name}_gtFine_labelIds.png",
            np.where(ids > 999, ids // 1000, ids).astype(np.uint8),
        )
    return tmp_path


def same(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, right[key])
        else:
            assert value == right[key]


@pytest.mark.parametrize("name", ["cityscapes_panoptic", "cityscapes_semantic"])
def test_parquet_round_trip(cityscapes, tmp_path, name):
    reader = load_official(name, cityscapes)
    table = reader.to_datasets()
    assert isinstance(table, datasets.Dataset) and len(table) == 3
    for k in range(3):
        same(TableDataset(table)[k], reader[k])
    assert TableDataset(table).stuff_class_ids == reader.stuff_class_ids
    table.to_parquet(str(tmp_path / "t.parquet"))
    back = load_table(tmp_path / "t.parquet")
    assert back.id2label == reader.id2label and back.ignore_index == 255
    for k in range(3):
        same(back[k], reader[k])
        assert back.sample_id(k) == reader.sample_id(k)
    table.save_to_disk(str(tmp_path / "disk"))
    disk = load_table(tmp_path / "disk")
    assert disk.id2label == reader.id2label and disk.stuff_class_ids == reader.stuff_class_ids


def test_columns_are_those_of_the_design(cityscapes):
    panoptic = load_official("cityscapes_panoptic", cityscapes).to_datasets()
    assert set(panoptic.column_names) == {"image", "image_id", "segmentation", "segments_info"}
    assert panoptic[0]["segmentation"].mode == "I;16"
    # the table itself, without our reader, is what the collator takes
    examples = [panoptic[k] for k in range(2)]
    batch = UniversalCollator(num_labels=19)(examples)
    reader = load_official("cityscapes_panoptic", cityscapes)
    expected = UniversalCollator(num_labels=19)([reader[k] for k in range(2)])
    torch.testing.assert_close(batch["pixel_values"], expected["pixel_values"])
    for key in ("mask_labels", "class_labels"):
        for left, right in zip(batch[key], expected[key]):
            assert torch.equal(left, right)
    semantic = load_official("cityscapes_semantic", cityscapes).to_datasets()
    row = semantic[0]
    present = set(np.unique(np.asarray(row["segmentation_map"]))) - {255}
    assert set(row["classes"]) == present and semantic.features["classes"].feature.names[13] == "car"


def test_streaming(cityscapes):
    reader = load_official("cityscapes_panoptic", cityscapes)
    stream = reader.to_datasets(streaming=True)
    assert isinstance(stream, datasets.IterableDataset) and stream.num_shards == 3
    rows = list(stream)
    assert [row["image_id"] for row in rows] == reader.names
    np.testing.assert_array_equal(np.asarray(rows[1]["segmentation"]), reader[1]["segmentation"])
    second = list(split_dataset_by_node(stream, rank=1, world_size=3))
    assert [row["image_id"] for row in second] == reader.names[1:2]


def test_images_keep_their_bytes_and_large_ids_fit(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the label was drawn on the image as stored
    save(tmp_path / "train2017/1.jpg", image, exif=exif)
    save(tmp_path / "train2017/2.jpg", image)
    ids = np.zeros((8, 12, 3), np.uint8)
    ids[:4], ids[4:6] = (0, 0, 2), (1, 0, 2)  # 131072, 131073
    for k in (1, 2):
        save(tmp_path / f"panoptic_train2017/{k}.png", ids)
    segments = [{"id": 131072, "category_id": 1}, {"id": 131073, "category_id": 2}]
    content = {
        "images": [{"id": k, "file_name": f"{k}.jpg", "height": 8, "width": 12} for k in (1, 2)],
        "annotations": [{"image_id": k, "file_name": f"{k}.png", "segments_info": segments} for k in (1, 2)],
        "categories": [{"id": 1, "name": "a", "isthing": 1}, {"id": 2, "name": "b", "isthing": 0}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/panoptic_train2017.json").write_text(json.dumps(content))
    reader = load_official("coco_panoptic", tmp_path)
    table = reader.to_datasets()
    raw = table.cast_column("image", datasets.Image(decode=False))
    assert raw[1]["image"]["bytes"] == (tmp_path / "train2017/2.jpg").read_bytes()
    for k in range(2):
        item = TableDataset(table)[k]
        np.testing.assert_array_equal(item["image"], reader[k]["image"])
        np.testing.assert_array_equal(item["segmentation"], np.repeat([1, 1, 1, 1, 2, 2, 0, 0], 12).reshape(8, 12))
        assert [(s["id"], s["category_id"]) for s in item["segments_info"]] == [(1, 0), (2, 1)]


def test_captions(tmp_path):
    save(tmp_path / "val2017/7.jpg", np.zeros((4, 4, 3), np.uint8))
    content = {
        "images": [{"id": 7, "file_name": "7.jpg"}],
        "annotations": [{"image_id": 7, "caption": text} for text in ("a", "b")],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/captions_val2017.json").write_text(json.dumps(content))
    table = load_official("coco_captions", tmp_path, "val").to_datasets()
    assert table["text"][:] == ["a", "b"] and TableDataset(table)[1]["text"] == "b"


def test_faults(cityscapes, tmp_path):
    reader = load_official("cityscapes_semantic", cityscapes)
    table = reader.to_datasets()
    path = reader.files(1)[0]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=path.name):  # not the cached table, which is of other files
        reader.to_datasets()
    assert to_datasets(reader, on_error="skip")["image_id"][:] == [reader.names[0], reader.names[2]]
    with pytest.raises(ValueError, match="got 'ignore'"):
        to_datasets(reader, on_error="ignore")
    with pytest.raises(ValueError, match="it needs image and segmentation"):
        TableDataset(table.remove_columns(["segmentation_map"]))
    plain = table.remove_columns(["classes"])
    plain.info.description = ""
    with pytest.raises(ValueError, match="does not carry class names"):
        TableDataset(plain)
    assert TableDataset(plain, id2label={0: "road"}).stuff_class_ids == (0,)
    datasets.DatasetDict(train=table).save_to_disk(str(tmp_path / "dict"))
    assert len(load_table(tmp_path / "dict")) == 3
    with pytest.raises(ValueError, match="no split 'val'; it has train"):
        load_table(tmp_path / "dict", "val")


@pytest.fixture
def overlapping(tmp_path):
    """COCO instances: a square that covers a part of another one, in polygons and run lengths, and a crowd."""
    save(tmp_path / "images/val/one.png", np.zeros((20, 30, 3), np.uint8))
    save(tmp_path / "images/val/none.png", np.zeros((20, 30, 3), np.uint8))
    crowd = {"size": [20, 30], "counts": [400, 200]}
    annotations = [
        {"segmentation": [[0, 0, 12, 0, 12, 12, 0, 12]], "area": 144.5, "category_id": 7},
        {"segmentation": [[6, 6, 16, 6, 16, 16, 6, 16]], "category_id": 9},
        {"segmentation": crowd, "area": 200, "category_id": 9, "iscrowd": 1},
    ]
    content = {
        "images": [
            {"id": k, "file_name": f"{name}.png", "height": 20, "width": 30} for k, name in ((1, "one"), (2, "none"))
        ],
        "annotations": [{"id": k + 1, "image_id": 1, "iscrowd": 0, **entry} for k, entry in enumerate(annotations)],
        "categories": [{"id": 7, "name": "a"}, {"id": 9, "name": "b"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_val.json").write_text(json.dumps(content))
    return load_folder(tmp_path, "val")


def test_overlapping_masks_stay_whole_in_tables(overlapping, tmp_path):
    table = overlapping.to_datasets()
    table.to_parquet(str(tmp_path / "t.parquet"))
    for dataset in (TableDataset(table), load_table(tmp_path / "t.parquet")):
        (one,) = (dataset[k] for k in range(2) if dataset.sample_id(k) == "one")
        (none,) = (dataset[k] for k in range(2) if dataset.sample_id(k) == "none")
        assert none["instances"]["annotations"] == [] and len(masks_of(none)) == 0
        assert masks_of(one).sum((1, 2)).tolist() == [144, 100]  # of the id map 108 and 100
        own = one["instances"]
        assert (own["height"], own["width"]) == (20, 30)
        found = [(entry["category_id"], entry["iscrowd"], entry["area"]) for entry in own["annotations"]]
        assert found == [(0, 0, 144.5), (1, 0, 100), (1, 1, 200)]


def test_a_perfect_answer_scores_the_same_by_file_and_by_table(overlapping):
    pytest.importorskip("pycocotools.mask")
    for dataset in (overlapping, TableDataset(overlapping.to_datasets())):
        metrics = SegmentationMetrics(dataset, ("instance",))
        for index in range(2):
            whole = masks_of(dataset[index])
            found = [{"segmentation": mask, "category_id": k, "score": 0.9} for k, mask in enumerate(whole)]
            metrics.add(index, dataset[index], {"instance": found, "semantic": np.zeros((20, 30), int)})
        assert metrics.compute()[0]["ap"] == pytest.approx(100)


def test_a_column_of_that_name_that_is_not_ours(cityscapes):
    table = load_official("cityscapes_panoptic", cityscapes).to_datasets()
    for cells in ([3, 4, 5], [["person"], [], ["car"]]):
        dataset = TableDataset(table.add_column("instances", cells))
        assert not any("instances" in dataset[k] for k in range(3))
