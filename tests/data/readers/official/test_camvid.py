# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CamVid: classes 0 to 10, void as 255, and the folder that others prepare."""

import json

import numpy as np
from PIL import Image

from hfseg.data import load_official

SIZE = (4, 6)


def photo(path, size=SIZE, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(path)


def label(path, values, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=dtype)).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows_of(*values):
    """A map of SIZE whose rows hold these values."""
    return np.repeat(np.array(values)[:, None], SIZE[1], axis=1)


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
