# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Parquet shards: rows in order, shards by size, classes counted."""

from collections import Counter

import datasets
import pytest

from data.layout_folders import coco_2017, table_of_parquet
from hfseg.data.parquet import write_parquet
from hfseg.data.specs import open_dataset


def test_shards_by_size_and_counts(tmp_path):
    coco_2017(tmp_path / "photos")
    written = write_parquet(str(tmp_path / "photos"), tmp_path / "out", max_shard_size=1_000)
    names = sorted(file.name for file in (tmp_path / "out/data").iterdir())
    assert names == [f"{s}2017-0000{k}-of-00003.parquet" for s in ("train", "val") for k in range(3)]
    assert written.rows == {"train2017": 3, "val2017": 3} and written.counts_objects
    assert written.samples_of_class["val2017"] == {0: 3} and written.class_names == {0: "cell"}
    table = datasets.load_dataset("parquet", data_files=str(tmp_path / "out/data/val*.parquet"), split="train")
    assert table["image_id"][:] == ["0", "1", "2"] and table.features == written.features
    one = write_parquet(str(tmp_path / "photos"), tmp_path / "one", ["val2017"])
    assert [file.name for file in (tmp_path / "one/data").iterdir()] == ["val2017-00000-of-00001.parquet"]
    assert len(one.shown) == 3 and one.bytes["val2017"] > 10_000


def test_objects_of_a_class_are_counted_one_by_one(tmp_path):
    spec = "shapes:num_scenes=12,image_size=64"
    written = write_parquet(spec, tmp_path, ["test"], kind="segmentation")
    scenes = open_dataset(spec, "test")
    of_scenes = [[segment["category_id"] for segment in scenes[k]["segments_info"]] for k in range(12)]
    assert any(len(set(one)) < len(one) for one in of_scenes)
    assert written.samples_of_class["test"] == Counter(label for one in of_scenes for label in one)
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_refused(tmp_path):
    table_of_parquet(tmp_path / "rows")
    with pytest.raises(ValueError, match="is a table already"):
        write_parquet(str(tmp_path / "rows"), tmp_path / "out")
    with pytest.raises(ValueError, match="got 'ignore'"):
        write_parquet("shapes", tmp_path / "out", on_error="ignore")
    coco_2017(tmp_path / "photos")
    for file in (tmp_path / "photos/val2017").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="val2017 has no sample that can be read"):
        write_parquet(str(tmp_path / "photos"), tmp_path / "out", ["val2017"], on_error="skip")
