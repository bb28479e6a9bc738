# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.load_dataset`: every specification gives its reader's samples, with class names in the columns."""

import json
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import hfseg
from data.layout_folders import CLASS_MAPS, INSTANCES, VOLUMES, coco_2017
from hfseg.data.arrow import kind_of, splits_of
from hfseg.data.collators.collation import UniversalCollator
from hfseg.data.readers.folders import list_splits
from hfseg.data.specs import open_dataset
from hfseg.results.run_lengths import decode_run_lengths, encode_run_lengths


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def names_in(features):
    """Class names that columns carry, wherever they are."""
    if isinstance(features, datasets.ClassLabel):
        return features.names
    inner = features.values() if isinstance(features, dict) else [getattr(features, "feature", None)]
    return next((names for entry in inner if entry is not None and (names := names_in(entry))), None)


def same_as_reader(row, item):
    np.testing.assert_array_equal(np.asarray(row["image"].convert("RGB")), np.asarray(item["image"]))
    for name in ("segmentation_map", "segmentation", "mask"):
        if name in item:
            np.testing.assert_array_equal(np.asarray(row[name]), item[name])


def folder_kinds():
    return [fill for fill in (*INSTANCES, *CLASS_MAPS) if "table" not in fill.__name__]


@pytest.mark.parametrize("fill", folder_kinds(), ids=lambda fill: fill.__name__)
def test_every_layout_of_folders(fill, tmp_path):
    fill(tmp_path / "photos")
    spec = str(tmp_path / "photos")
    splits = splits_of(spec)
    assert list(splits) == list_splits(tmp_path / "photos")
    split = list(splits)[-1]
    table, reader = hfseg.load_dataset(spec, split), open_dataset(spec, split)
    assert isinstance(table, datasets.Dataset) and len(table) == len(reader) > 0
    for row, item in zip(table, (reader[k] for k in range(len(reader)))):
        same_as_reader(row, item)
        assert row["image_id"] == item["image_id"]
    assert names_in(table.features) == list(reader.id2label.values())
    stream = hfseg.load_dataset(spec, split, streaming=True)
    assert isinstance(stream, datasets.IterableDataset) and stream.features == table.features
    assert [row["image_id"] for row in stream] == table["image_id"][:]


@pytest.mark.parametrize("fill", [fill for fill in CLASS_MAPS if "table" in fill.__name__], ids=lambda f: f.__name__)
def test_tables_are_given_as_they_are(fill, tmp_path):
    fill(tmp_path / "rows")
    for streaming in (False, True):
        table = hfseg.load_dataset(str(tmp_path / "rows"), "train", streaming=streaming)
        assert isinstance(table, datasets.IterableDataset if streaming else datasets.Dataset)
        row = next(iter(table))
        assert isinstance(row["image"], Image.Image) and len(list(table)) > 0


def test_a_stream_of_a_table_names_the_split_that_there_is_not(tmp_path):
    next(fill for fill in CLASS_MAPS if fill.__name__ == "table_of_parquet")(tmp_path / "rows")
    with pytest.raises(ValueError, match=r"split 'test' is not in .*; the splits there are train, validation"):
        hfseg.load_dataset(str(tmp_path / "rows"), "test", streaming=True)


def test_a_stream_of_one_split_by_two_names(tmp_path):
    """The very name goes first; `val` beside `valid` is not a choice that is made in silence."""
    for name, count in (("val", 1), ("validation", 2)):
        rows = datasets.Dataset.from_dict({"image_id": [str(row) for row in range(count)]})
        rows.to_parquet(str(tmp_path / "data" / f"{name}-00000-of-00001.parquet"))
    card = {"configs": [{"config_name": "default", "data_files": [
        {"split": name, "path": f"data/{name}-*.parquet"} for name in ("val", "validation")]}]}  # fmt: skip
    (tmp_path / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    for name, count in (("val", 1), ("validation", 2)):
        assert len(list(hfseg.load_dataset(f"table:{tmp_path}", name, streaming=True))) == count
    with pytest.raises(ValueError, match="ambiguous"):
        hfseg.load_dataset(f"table:{tmp_path}", "dev", streaming=True)


@pytest.mark.parametrize("name", ["coco_instance", "cityscapes_semantic", "pascal_voc", "ade20k_semantic"])
def test_official_layouts(name, tmp_path):
    fills = {"coco_instance": coco_2017, **{fill.__name__: fill for fill in CLASS_MAPS}}
    fills[name.removesuffix("_semantic")](tmp_path)
    if name == "coco_instance":  # the official layout has the official classes
        for file in (tmp_path / "annotations").glob("*.json"):
            file.write_text(file.read_text().replace('"name": "cell"', '"name": "person"'))
    spec = f"{name}:{tmp_path}"
    assert list(splits_of(spec)) == ["train", "validation"]
    table, reader = hfseg.load_dataset(spec, "val"), open_dataset(spec, "val")
    same_as_reader(table[0], reader[0])
    assert names_in(table.features) == list(reader.id2label.values())


@pytest.mark.parametrize("fill", VOLUMES, ids=lambda fill: fill.__name__)
def test_volumes_are_slices_with_names(fill, tmp_path):
    pytest.importorskip("nibabel")
    fill(tmp_path)
    assert kind_of(str(tmp_path)) == "medical" and splits_of(str(tmp_path), kind="medical") == {"train": None}
    table = hfseg.load_dataset(str(tmp_path))
    assert len(table) == 5 * 6  # each slice once, though half hold nothing
    assert names_in(table.features) == ["background", "organ"]
    full = [row for row in table if row["classes"] == [0, 1]]
    assert len(full) == 5 * 3 and all(np.asarray(row["mask"]).sum() == 12 * 12 for row in full)
    assert full[0]["spacing"] == [1.0, 1.0] and np.asarray(full[0]["image"]).shape == (3, 32, 32)


def test_slices_with_foreground_are_not_repeated(tmp_path):
    """Training repeats them where they are rare; a table has every slice once."""
    nibabel = pytest.importorskip("nibabel")
    VOLUMES[-1](tmp_path)
    for file in (tmp_path / "labelsTr").glob("*.nii.gz"):
        volume = nibabel.load(file)
        labels = np.asarray(volume.dataobj).copy()
        (axis,) = (k for k in range(3) if labels.shape[k] == 6)
        held = np.nonzero(labels.any(tuple(k for k in range(3) if k != axis)))[0]
        np.moveaxis(labels, axis, 0)[held[1:]] = 0
        nibabel.save(nibabel.Nifti1Image(labels, volume.affine), file)
    table = hfseg.load_dataset(str(tmp_path))
    assert len(table) == 5 * 6 and sum(row["classes"] == [0, 1] for row in table) == 5


def test_scenes_of_every_kind():
    table = hfseg.load_dataset("shapes:num_scenes=2,image_size=40", "test")
    reader = open_dataset("shapes:num_scenes=2,image_size=40", "test")
    for k in range(2):
        same_as_reader(table[k], reader[k])
        assert [s["category_id"] for s in table[k]["segments_info"]] == [
            s["category_id"] for s in reader[k]["segments_info"]
        ]
    batches = [UniversalCollator(num_labels=10)([source[k] for k in range(2)]) for source in (table, reader)]
    assert torch.equal(batches[0]["pixel_values"], batches[1]["pixel_values"])
    referring = hfseg.load_dataset("shapes:num_scenes=2", kind="referring")
    assert kind_of("referring-shapes") == "referring" and set(referring.column_names) >= {"mask", "expressions"}
    same_as_reader(referring[1], open_dataset("shapes:num_scenes=2", kind="referring")[1])
    assert list(splits_of("shapes")) == ["train", "validation", "test"]
    assert splits_of("shapes", ["train:0/5"]) == {"train": "train:0/5"}


def test_in_context_tasks(tmp_path):
    tasks = ["depth_estimation", "edge_detection"]
    table = hfseg.load_dataset("shapes:num_scenes=2,image_size=32", kind="in-context", tasks=tasks)
    assert [row["task"] for row in table] == tasks * 2 and table[0]["input"].size == (32, 32)
    scene = open_dataset("shapes:num_scenes=2,image_size=32", kind="in-context")[0]
    np.testing.assert_array_equal(np.asarray(table[0]["input"]), scene["image"])
    np.testing.assert_array_equal(np.asarray(table[1]["target"])[..., 0] > 127, scene["edges"])
    for k in range(2):
        Image.fromarray(scene["image"]).save(tmp_path / f"{k}.png")
    assert kind_of(f"images:{tmp_path}") == "in-context"
    restored = hfseg.load_dataset(f"images:{tmp_path}", tasks=["colorization"])
    np.testing.assert_array_equal(np.asarray(restored[0]["target"]), scene["image"])
    with pytest.raises(ValueError, match="depth_estimation"):
        hfseg.load_dataset(f"images:{tmp_path}", tasks=["depth_estimation"])
    clips = hfseg.load_dataset(
        "shapes:num_scenes=1,image_size=32,num_frames=2", kind="in-context", tasks=["optical_flow"]
    )
    assert len(clips[0]["input"]) == len(clips[0]["target"]) == 2
    with pytest.raises(ValueError, match="only in-context sources have tasks"):
        hfseg.load_dataset("shapes:num_scenes=1", tasks=tasks)


def test_masks_without_names(tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[2:9, 3:20] = True
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "sa_1.jpg")
    annotations = [{"segmentation": encode_run_lengths(one, compressed=True)} for one in (mask, ~mask)]
    (tmp_path / "sa_1.json").write_text(json.dumps({"annotations": annotations}))
    table = hfseg.load_dataset(f"segment-anything:{tmp_path}")
    raw = table.cast_column("image", datasets.Image(decode=False))
    assert raw[0]["image"]["bytes"] == (tmp_path / "sa_1.jpg").read_bytes()
    for drawn, expected in zip(table[0]["masks"], (mask, ~mask)):
        np.testing.assert_array_equal(decode_run_lengths(drawn), expected)


def test_referring_files(tmp_path):
    Image.fromarray(np.full((8, 9, 3), 90, np.uint8)).save(tmp_path / "a.jpg")
    mask = np.zeros((8, 9), np.uint8)
    mask[:4] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    entry = {"image": "a.jpg", "mask": "m.png", "expressions": ["top", "upper half"]}
    (tmp_path / "own.jsonl").write_text(json.dumps(entry))
    for kind in (None, "referring"):
        row = hfseg.load_dataset(str(tmp_path / "own.jsonl"), kind=kind)[0]
        assert row["expressions"] == entry["expressions"]
        np.testing.assert_array_equal(np.asarray(row["mask"]), mask)
    entry["expressions"] = ["above"]
    (tmp_path / "own.jsonl").write_text(json.dumps(entry))
    Image.fromarray(255 - mask).save(tmp_path / "m.png")
    os.utime(tmp_path / "m.png", (1, 1))
    changed = hfseg.load_dataset(str(tmp_path / "own.jsonl"))[0]  # not the cached table of before
    assert changed["expressions"] == ["above"]
    np.testing.assert_array_equal(np.asarray(changed["mask"]), 255 - mask)


def test_a_stream_fills_neither_memory_nor_disk(tmp_path):
    """100,000 scenes are opened at once, and only those that are asked for are made."""
    stream = hfseg.load_dataset("shapes:num_scenes=100000,image_size=32", "train", streaming=True)
    assert stream.num_shards == 64
    rows = [row for row, _ in zip(stream, range(20))]
    assert [row["image_id"] for row in rows] == [f"train-0-{k}" for k in range(20)]
    late = next(iter(stream.shard(num_shards=64, index=63)))
    assert late["image_id"] == f"train-0-{100000 * 63 // 64}"
    assert not list(Path(tmp_path / "cache").rglob("*.arrow"))


def test_damage_is_named_or_left_out(tmp_path):
    coco_2017(tmp_path)
    file = tmp_path / "val2017/1.jpg"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1\.jpg"):
        hfseg.load_dataset(str(tmp_path), "val")
    assert hfseg.load_dataset(str(tmp_path), "val", on_error="skip")["image_id"][:] == ["0", "2"]
