# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Known sets of classes are recognized by their names."""

from hfseg.files.label_names import ADE20K, ADE20K_THINGS, CITYSCAPES, COCO_PANOPTIC, MAPILLARY_VISTAS
from hfseg.files.label_sets import recognize_label_set


def names_of(labels: list[str]) -> dict[int, str]:
    return dict(enumerate(labels))


def test_stuff_follows_from_the_names_whatever_their_order():
    assert recognize_label_set(names_of(COCO_PANOPTIC)).stuff_class_ids == tuple(range(80, 133))
    assert recognize_label_set(names_of(COCO_PANOPTIC[:80])).stuff_class_ids == ()
    assert recognize_label_set(names_of(CITYSCAPES)).stuff_class_ids == tuple(range(11))
    assert recognize_label_set(names_of(CITYSCAPES[::-1])).stuff_class_ids == tuple(range(8, 19))
    assert recognize_label_set(names_of(CITYSCAPES[11:])).stuff_class_ids == ()
    ade = recognize_label_set(names_of([name.split(",")[0].title() for name in ADE20K]))
    assert set(range(150)) - set(ade.stuff_class_ids) == set(ADE20K_THINGS)
    mapillary = recognize_label_set(names_of(MAPILLARY_VISTAS)).stuff_class_ids
    assert len(MAPILLARY_VISTAS) == 65 and len(mapillary) == 28
    assert {MAPILLARY_VISTAS[i] for i in mapillary} >= {
        "Road",
        "Sky",
        "Pothole",
        "Ego Vehicle",
        "Lane Marking - General",
    }
    assert {MAPILLARY_VISTAS[i] for i in mapillary}.isdisjoint({"Person", "Car", "Crosswalk - Plain", "Pole"})


def test_other_classes_are_no_known_set():
    assert recognize_label_set({i: f"LABEL_{i}" for i in range(133)}) is None
    assert recognize_label_set(names_of(CITYSCAPES[:18])) is None
    assert recognize_label_set({}) is None
    # Nineteen others of COCO's names are not Cityscapes.
    assert recognize_label_set(names_of(COCO_PANOPTIC[:19])) is None
