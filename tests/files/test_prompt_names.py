# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Words to ask for: every public label set in plain words, none empty, nothing left of how classes were made."""

import re

import pytest

from hfseg.files import label_names
from hfseg.files.prompt_names import prompt_names

SETS = (
    "COCO_PANOPTIC", "COCO_STUFF", "ADE20K", "ADE20K_FULL", "PASCAL_VOC", "PASCAL_CONTEXT_59", "CITYSCAPES", "CAMVID",
    "MAPILLARY_VISTAS",
)  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_every_class_has_plain_words(name):
    labels = getattr(label_names, name)
    table = prompt_names(dict(enumerate(labels)))
    assert list(table) == list(dict.fromkeys(labels))
    for names in table.values():
        assert names and len(set(names)) == len(names)
        assert not any(re.search(r"merged|[-_()A-Z]|\bother\b|\bstuff\b|^$|^ | $|  ", word) for word in names), names


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("sky-other-merged", ["sky"]),
        ("wall-brick", ["brick wall"]),
        ("floor-wood", ["wood floor"]),
        ("wall-other-merged", ["wall"]),
        ("window-blind", ["window blind", "blinds"]),
        ("desk-stuff", ["desk"]),
        ("Traffic Sign (Front)", ["traffic sign"]),
        ("Crosswalk - Plain", ["crosswalk", "zebra crossing"]),
        ("tvmonitor", ["tv", "computer monitor"]),
        ("person", ["person", "man", "woman", "child"]),
        ("armchair, easy chair", ["armchair", "easy chair"]),
    ],
)
def test_labels_by_hand(label, names):
    assert prompt_names({0: label}) == {label: names}


def test_classes_of_a_set_are_asked_for_apart():
    """No two classes of COCO panoptic or Cityscapes are asked for by the same words alone."""
    for name in ("COCO_PANOPTIC", "CITYSCAPES", "PASCAL_VOC"):
        table = prompt_names(dict(enumerate(getattr(label_names, name))))
        asked = [tuple(names) for names in table.values()]
        assert len(set(asked)) == len(asked)


def test_names_of_others_stay_their_own():
    assert prompt_names({0: "grass", 1: "circle", 2: "ring"}) == {}
    assert prompt_names({}) == {}
