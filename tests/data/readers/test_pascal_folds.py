# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Folds of Pascal-5i, on small folders in VOC's layout."""

import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.in_context import find_task, make_pair
from hfseg.data.readers.pascal_folds import PascalDetectionSource, PascalFoldSource, read_voc_boxes
from hfseg.evaluation.in_context import open_data
from hfseg.results.visual_formats import FORMATS

DRAW = np.random.default_rng(0)


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(value).save(path)


def photo(height=20, width=30):
    return DRAW.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def voc(tmp_path):
    """Classes 6 and 7 (second fold) and 1; image `two` has two objects of class 6."""
    base = tmp_path / "VOC2012"
    content = {
        "one": [(6, 1)],
        "two": [(6, 1), (6, 2)],
        "three": [(6, 1), (7, 2)],
        "four": [(7, 1), (1, 2)],
        "five": [(1, 1)],
    }
    for name, objects in content.items():
        save(base / f"JPEGImages/{name}.jpg", photo())
        labels, numbers = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
        for place, (label, number) in enumerate(objects):
            labels[2:8, 3 + 12 * place : 10 + 12 * place] = label
            numbers[2:8, 3 + 12 * place : 10 + 12 * place] = number
        labels[10] = numbers[10] = 255  # the border is void
        save(base / f"SegmentationClass/{name}.png", labels)
        save(base / f"SegmentationObject/{name}.png", numbers)
    (base / "ImageSets/Segmentation").mkdir(parents=True)
    (base / "ImageSets/Segmentation/val.txt").write_text("\n".join(content))
    return tmp_path


def test_pascal_folds(voc):
    source = PascalFoldSource(voc, fold=1)
    assert sorted(source.items) == [("four", 7), ("one", 6), ("three", 6), ("three", 7), ("two", 6)]
    one = source.items.index(("one", 6))
    assert [source.items[place] for place in source.partners(one)] == [("two", 6), ("three", 6)]
    record = source[source.items.index(("three", 7))]
    given, target = make_pair(find_task("foreground_segmentation"), record, DRAW)
    mask = np.zeros((20, 30), bool)
    mask[2:8, 15:22] = True
    assert np.array_equal(FORMATS["mask"].decode(target), mask) and given.shape == (20, 30, 3)
    with pytest.raises(ValueError, match="no fold 4"):
        PascalFoldSource(voc, fold=4)
    with pytest.raises(ValueError, match="fewer than two"):
        PascalFoldSource(voc, fold=2)


def annotation(objects, size=(30, 20)) -> str:
    entries = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for name, (a, b, c, d) in objects
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{entries}</annotation>"


@pytest.fixture
def voc_boxes(tmp_path):
    """Fold 1 has bus (6) and car (7); `two` has two objects, `large` covers more than a fifth."""
    base = tmp_path / "VOC2012"
    content = {
        "val": {
            "bus1": [("bus", (4, 3, 10, 8))],
            "two": [("bus", (4, 3, 10, 8)), ("person", (16, 3, 22, 8))],
            "large": [("car", (1, 1, 20, 12))],
            "car1": [("car", (6, 5, 9, 9))],
            "person": [("person", (4, 3, 10, 8))],
        },
        "train": {"bus2": [("bus", (2, 2, 9, 9))], "car2": [("car", (3, 3, 5, 9))], "bus3": [("bus", (1, 1, 4, 4))]},
    }
    for split, images in content.items():
        for name, objects in images.items():
            save(base / f"JPEGImages/{name}.jpg", photo())
            (base / "Annotations").mkdir(exist_ok=True)
            (base / f"Annotations/{name}.xml").write_text(annotation(objects))
        (base / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (base / f"ImageSets/Main/{split}.txt").write_text("\n".join(images))
    return tmp_path


def test_detection_by_the_protocol_of_mae_vqgan(voc_boxes):
    source = PascalDetectionSource(voc_boxes, fold=1, number=5)
    assert [source.items[i][0] for i in range(len(source))] == ["bus1", "car1", "bus1", "car1", "bus1"]
    assert [source.items[place][0] for place in source.partners(0)] == ["bus2", "bus3"]
    assert [source.items[place][0] for place in source.partners(1)] == ["car2"]
    record = source[0]
    assert record["segments_info"][0]["bbox"] == [3, 2, 7, 6] and record["segmentation"].sum() == 42
    given, target = make_pair(find_task("single_object_detection"), record, DRAW)
    assert FORMATS["detection"].decode(target) == (3, 2, 7, 6) and given.shape == (20, 30, 3)
    assert len(PascalDetectionSource(voc_boxes, fold=1)) == 1000
    opened = open_data(f"pascal-5i:{voc_boxes},fold=1", (32, 32), None, 0, task="single_object_detection")
    assert isinstance(opened, PascalDetectionSource)
    with pytest.raises(ValueError, match="no image of the validation list"):
        PascalDetectionSource(voc_boxes, fold=0)


@pytest.mark.parametrize(
    "text", ["<annotation>", "<annotation/>", annotation([("ufo", (1, 1, 2, 2))]), "<!DOCTYPE a><annotation/>"]
)
def test_damaged_boxes_are_named(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.xml"):
        read_voc_boxes(tmp_path / "a.xml")
