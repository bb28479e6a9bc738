# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables of referents, masks, slices and pairs come back as their readers give them, from parquet and from streams."""

import numpy as np
import pytest

import hfseg
from data.layout_folders import decathlon
from hfseg.data import load_table
from hfseg.data.readers.medical_layouts import load_medical
from hfseg.data.readers.schema_tables import SCHEMAS, schema_of
from hfseg.data.readers.table_folders import load_side
from hfseg.data.specs import open_dataset

REFERRING = "referring-shapes:num_scenes=4,image_size=40"
PAIRS = "shapes:num_scenes=5,image_size=32"


def written(table, tmp_path):
    (tmp_path / "rows").mkdir()
    table.to_parquet(str(tmp_path / "rows/train-0.parquet"))
    return tmp_path / "rows"


def test_referents(tmp_path):
    folder = written(hfseg.load_dataset(REFERRING, "train"), tmp_path)
    table, reader = load_table(folder, "train"), open_dataset(REFERRING, "train")
    assert table.kind == "referring" and not hasattr(table, "id2label")
    stream = load_table(folder, "train", streaming=True)
    streamed = [stream.example(row) for row in stream.shard(0)]
    for k in range(4):
        for item in (table[k], streamed[k]):
            for name, value in reader[k].items():
                np.testing.assert_array_equal(item[name], value)
        assert table.sample_id(k) == reader.sample_id(k)
    with pytest.raises(IndexError, match="sample 4 of 4"):
        table[4]


def test_slices_stay_with_their_person(tmp_path):
    pytest.importorskip("nibabel")
    decathlon(tmp_path / "scans")
    folder = written(hfseg.load_dataset(str(tmp_path / "scans")), tmp_path)
    reader = load_medical(tmp_path / "scans", "decathlon", foreground_share=0.0)
    table = load_table(folder, "train")
    assert table.kind == "medical" and table.id2label == reader.id2label and len(table) == len(reader)
    for k in (0, 7):
        for name, value in reader[k].items():
            np.testing.assert_allclose(table[k][name], value) if name == "image" else np.testing.assert_array_equal(
                table[k][name], value
            )
    sides = [load_side(folder, split) for split in ("train", "validation")]
    people = [set(side.table["patient_id"]) for side in sides]
    assert len(people[0]) == 4 and len(people[1]) == 1 and not people[0] & people[1]
    nameless = table.table.remove_columns("classes")
    nameless.info.description = ""
    with pytest.raises(ValueError, match="does not carry class names"):
        SCHEMAS["medical"](nameless)


def test_pairs_are_shown_by_others_of_their_task(tmp_path):
    tasks = ["depth_estimation", "edge_detection"]
    folder = written(hfseg.load_dataset(PAIRS, "train", kind="in-context", tasks=tasks), tmp_path)
    table, scenes = load_table(folder, "train"), open_dataset(PAIRS, "train", kind="in-context")
    for k in range(len(table)):
        item = table[k]
        assert item["task"] == tasks[k % 2] and len(item["examples"]) == 2
        np.testing.assert_array_equal(item["query"], scenes[k // 2]["image"])
        for given, target in item["examples"]:
            assert not np.array_equal(given, item["query"]) and target.shape == given.shape
    sides = [load_side(folder, split) for split in ("train", "validation")]
    assert [len(side) for side in sides] == [8, 2]
    with pytest.raises(ValueError, match="one pair of depth_estimation only"):
        sides[1][0]
    with pytest.raises(ValueError, match="cannot be streamed"):
        load_table(folder, "train", streaming=True)


def test_labels_of_another_size_are_named(tmp_path):
    from PIL import Image

    table = hfseg.load_dataset(REFERRING, "train")
    features = table.features
    changed = table.map(lambda row: {"mask": Image.fromarray(np.zeros((3, 3), np.uint8))}, features=features)
    with pytest.raises(ValueError, match=r"sample train-0-1: image has size \(40, 40\).* mask \(3, 3\)"):
        SCHEMAS["referring"](changed)[1]


def test_schemas_go_by_columns(tmp_path):
    assert schema_of(hfseg.load_dataset("shapes:num_scenes=1")) is None
    assert schema_of(hfseg.load_dataset(REFERRING)) == "referring"
    assert set(SCHEMAS) == {"referring", "promptable", "medical", "in-context"}
