# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CamVid: classes 0 to 10, void as 255, and the folder that others prepare."""

import json

import numpy as np

from hfseg.data import load_official
from official_files import label, photo, rows_of, write


def test_camvid(tmp_path):
    photo(tmp_path / "test/Seq05VD_f00000.png")
    label(tmp_path / "testannot/Seq05VD_f00000.png", rows_of(0, 8, 10, 11))
    dataset = load_official("camvid", tmp_path, "test")
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], rows_of(0, 8, 10, 255))
    assert (dataset.id2label[0], dataset.id2label[8], len(dataset.id2label)) == ("Sky", "Car", 11)
    folder = tmp_path / "folder"
    photo(folder / "images/train/a.jpg")
    label(folder / "labels/train/a.png", rows_of(0, 1, 1, 2))
    write(folder / "classes.json", json.dumps({"names": ["Sky", "Car", "Void"], "ignore_index": 2}))
    assert load_official("camvid", folder).id2label == {0: "Sky", 1: "Car"}
