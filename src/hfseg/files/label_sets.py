# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Recognizing a published label set by the names of its classes, and telling its things from its stuff."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .label_names import (
    ADE20K,
    ADE20K_THINGS,
    CITYSCAPES,
    CITYSCAPES_STUFF,
    COCO_PANOPTIC,
    COCO_PANOPTIC_THINGS,
    MAPILLARY_VISTAS,
    MAPILLARY_VISTAS_STUFF,
)

# Share of the names that must be known: published configurations spell a few classes in their own way.
_KNOWN_SHARE = 0.9


@dataclass(frozen=True)
class LabelSet:
    """A recognized label set.

    Attributes:
        name: For people, for example `"COCO panoptic"`.
        stuff_class_ids: Ids whose segments are not counted one by one, in the order asked about.
    """

    name: str
    stuff_class_ids: tuple[int, ...]


def _plain(name: str) -> str:
    """First synonym, in lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]+", " ", name.split(",")[0].casefold()).strip()


def _is_thing(names: list[str], stuff: set[int]) -> dict[str, bool]:
    """Maps plain names to whether the class is a thing; where two names become one, the first decides."""
    table: dict[str, bool] = {}
    for index, name in enumerate(names):
        table.setdefault(_plain(name), index not in stuff)
    return table


# Number of classes of the whole set and of its things -> what the names must be.
_SETS: list[tuple[str, list[str], set[int]]] = [
    ("COCO", COCO_PANOPTIC, set(range(COCO_PANOPTIC_THINGS, len(COCO_PANOPTIC)))),
    ("ADE20K", ADE20K, set(range(len(ADE20K))) - set(ADE20K_THINGS)),
    ("Cityscapes", CITYSCAPES, set(CITYSCAPES_STUFF)),
    ("Mapillary Vistas", MAPILLARY_VISTAS, set(MAPILLARY_VISTAS_STUFF)),
]


def recognize_label_set(id2label: Mapping[int, str]) -> LabelSet | None:
    """Recognizes COCO, ADE20K, Cityscapes or Mapillary Vistas, whole or its things alone, by the names of the classes.

    Args:
        id2label: Names by class id, in any order of the classes.

    Returns:
        The set with the ids of its stuff classes (none for a set of things), or None where the number of classes or
        more than a tenth of the names are others.
    """
    names = {int(index): _plain(str(name)) for index, name in id2label.items()}
    for title, known, stuff in _SETS:
        table = _is_thing(known, stuff)
        if len(names) not in (len(known), len(known) - len(stuff)):
            continue
        if sum(name in table for name in names.values()) < _KNOWN_SHARE * len(names):
            continue
        if len(names) == len(known):
            # A name spelled otherwise is taken for the class at its place in the published order.
            things = {i: table.get(name, i not in stuff) for i, name in names.items()}
            return LabelSet(f"{title}, {len(known)} classes", tuple(i for i, thing in things.items() if not thing))
        if all(table.get(name, True) for name in names.values()):
            return LabelSet(f"{title}, {len(names)} classes of things", ())
    return None


__all__ = ["LabelSet", "recognize_label_set"]
