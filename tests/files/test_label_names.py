# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Lists of class names: their published numbers, no name twice where there is none twice, stuff and things."""

import pytest

from hfseg.files import label_names
from hfseg.files.label_names import known_labels


@pytest.mark.parametrize(
    "name, count, first, last",
    [
        ("COCO_PANOPTIC", 133, "person", "rug-merged"),
        ("CITYSCAPES", 19, "road", "bicycle"),
        ("ADE20K", 150, "wall", "flag"),
        ("PASCAL_VOC", 21, "background", "tvmonitor"),
        ("PASCAL_CONTEXT_59", 59, "aeroplane", "wood"),
        ("CAMVID", 11, "Sky", "Bicyclist"),
        ("MAPILLARY_VISTAS", 65, "Bird", "Ego Vehicle"),
    ],
)
def test_numbers_are_the_published_ones(name, count, first, last):
    names = getattr(label_names, name)
    assert (len(names), names[0], names[-1]) == (count, first, last)
    assert len(set(names)) == count and all(text == text.strip() and text for text in names)


def test_things_and_stuff():
    assert label_names.COCO_PANOPTIC_THINGS == 80 and label_names.COCO_PANOPTIC[79:81] == ["toothbrush", "banner"]
    things = set(range(19)) - set(label_names.CITYSCAPES_STUFF)
    assert [label_names.CITYSCAPES[number] for number in sorted(things)] == [
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ]  # fmt: skip
    assert len(label_names.ADE20K_THINGS) == 100 and len(set(label_names.ADE20K_THINGS)) == 100
    assert len(label_names.MAPILLARY_VISTAS_STUFF) == 65 - 37
    assert label_names.PASCAL_CONTEXT_59_IDS == sorted(set(label_names.PASCAL_CONTEXT_59_IDS))
    assert len(label_names.PASCAL_CONTEXT_59_IDS) == 59


def test_label_sets_are_guessed_by_their_size():
    names, stuff = known_labels(133)
    assert names[0] == "person" and stuff == list(range(80, 133))
    names, stuff = known_labels(19)
    assert names[18] == "bicycle" and stuff == list(range(11))
    assert known_labels(3) == ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, None)
