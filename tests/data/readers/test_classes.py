# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Classes of label maps: forms of `classes.json`, void classes, and files that are damaged."""

import json

import numpy as np
import pytest

from hfseg.data.readers.folders import load_folder
from scene_folders import SIZE, expected_map, save


def test_void_class_in_the_middle_moves_the_classes_after_it(semantic):
    names = ["circle", "void", *(f"c{k}" for k in range(2, 11))]
    (semantic / "classes.json").write_text(json.dumps({"names": names, "ignore_index": 1}))
    dataset = load_folder(semantic, "train")
    assert dataset.ignore_index == 255 and dataset.id2label[1] == "c2" and len(dataset.id2label) == 10
    original = expected_map(1)
    moved = np.where(original == 1, 255, np.where(original > 1, original - 1, original))
    assert (original == 1).any()
    np.testing.assert_array_equal(dataset[1]["segmentation_map"], moved)


NAMES = [f"name {k}" for k in range(11)]


@pytest.mark.parametrize("content", [NAMES, dict(enumerate(NAMES)), {"names": NAMES}])
def test_forms_of_the_class_file(semantic, content):
    (semantic / "classes.json").write_text(json.dumps(content))
    dataset = load_folder(semantic)
    assert len(dataset.id2label) == 11 and dataset.ignore_index == 255
    np.testing.assert_array_equal(dataset[0]["segmentation_map"], expected_map(0))


def test_no_class_file(semantic):
    (semantic / "classes.json").unlink()
    dataset = load_folder(semantic, "val")
    assert dataset.id2label == {k: f"class_{k}" for k in range(11)}


def fails(error, words, *arguments, **options):
    with pytest.raises(error) as caught:
        load_folder(*arguments, **options)
    message = str(caught.value)
    assert all(word in message for word in words), message


def test_label_value_outside_the_classes(semantic):
    save(semantic / "labels/train/s2.png", np.full(SIZE, 77, np.uint8))
    with pytest.raises(ValueError, match=r"s2.png holds the label value\(s\) \[77\]; must be one of the 10 classes"):
        load_folder(semantic, "train")[2]


@pytest.mark.parametrize(
    "text, words",
    [
        ('["a", ', ["classes.json", "line 1", "copy it again"]),
        ('{"name": "a"}', ["classes.json", "list of names"]),
        ('{"names": ["a"], "ignore_index": 0}', ["classes.json", "no class"]),
        ('{"names": [1, 2]}', ["classes.json", "text"]),
    ],
)
def test_damaged_class_file(semantic, text, words):
    (semantic / "classes.json").write_text(text)
    fails(ValueError, words, semantic)


def test_negative_ignore_index(tmp_path):
    """-1 as the void class, which no file can hold, takes no class away."""
    save(tmp_path / "images" / "a.png", np.zeros((2, 3, 3), np.uint8))
    save(tmp_path / "labels" / "a.png", np.array([[0, 1, 2], [2, 1, 0]], np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps({"names": ["x", "y", "z"], "ignore_index": -1}))
    dataset = load_folder(tmp_path)
    assert dataset[0]["segmentation_map"].tolist() == [[0, 1, 2], [2, 1, 0]] and len(dataset.id2label) == 3
