# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cityscapes, fine annotation, from the two archives as they are; nothing needs to be generated.

leftImg8bit/{train,val}/CITY/CITY_*_*_leftImg8bit.png
gtFine/{train,val}/CITY/CITY_*_*_gtFine_labelIds.png        class ids 0 to 33
gtFine/{train,val}/CITY/CITY_*_*_gtFine_instanceIds.png     class id, or 1000 * class id + number of the object
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ....files.label_names import CITYSCAPES, CITYSCAPES_LABEL_IDS, CITYSCAPES_STUFF
from ..images import read_map
from ..samples import Classes, FolderDataset, Sample
from ..schema import DEFAULT_IGNORE_INDEX, compact_ids, segments_from_map
from .layout import photos, require, samples_of, semantic_dataset

__all__ = ["load_instance", "load_panoptic", "load_semantic"]

_LARGEST_LABEL_ID = 33
_THINGS = [class_id for class_id in range(len(CITYSCAPES)) if class_id not in CITYSCAPES_STUFF]


def _samples(root: Path, split: str, ending: str) -> list[Sample]:
    folder = {"train": "train", "validation": "val"}[split]
    wanted = {f"leftImg8bit/{folder}": "images", f"gtFine/{folder}": "fine labels"}
    require(root, wanted, f"Cityscapes ({split})")
    labels = root / "gtFine" / folder
    images = photos(root / "leftImg8bit" / folder, "_leftImg8bit")
    samples = samples_of(
        images.items(), lambda name: labels / f"{name}_gtFine_{ending}.png", f"Cityscapes {split} ({ending})"
    )
    return [dataclasses.replace(sample, name=Path(sample.name).name) for sample in samples]


def load_semantic(root: Path, split: str) -> FolderDataset:
    """19 classes ("train ids") from `labelIds`; the 15 other label ids are void."""
    of_label = {label_id: class_id for class_id, label_id in enumerate(CITYSCAPES_LABEL_IDS)}
    table = {label_id: of_label.get(label_id, DEFAULT_IGNORE_INDEX) for label_id in range(_LARGEST_LABEL_ID + 1)}
    classes = Classes(dict(enumerate(CITYSCAPES)), DEFAULT_IGNORE_INDEX, table)
    samples = _samples(root, split, "labelIds")
    return semantic_dataset(root, split, samples, classes, "gtFine labelIds", stuff=CITYSCAPES_STUFF)


@dataclasses.dataclass(frozen=True)
class _InstanceIdReader:
    """Segments of an `instanceIds` map by the rules of cityscapesscripts' panoptic preparation.

    Segment ids stay the values of the map. Label ids that are not evaluated are void; an area of a thing class without
    object numbers is a crowd. An instance dataset (`things_only`) has neither: its pixels of no segment are background.
    What Cityscapes' AP needs to know of them is beside it, in `ap_segments`.
    """

    class_of_label: dict[int, int]
    thing_labels: frozenset[int]
    things_only: bool

    def __call__(self, sample: Sample) -> dict[str, Any]:
        values = read_map(sample.label)
        ids, index_map = compact_ids(values)
        kept = np.zeros(len(ids), dtype=np.int32)
        void = np.zeros(len(ids), dtype=bool)
        classes: dict[int, int] = {}
        crowd_ids: set[int] = set()
        for position, value in enumerate(ids.tolist()):
            label_id = value // 1000 if value >= 1000 else value
            if not 0 <= label_id <= _LARGEST_LABEL_ID:
                raise ValueError(
                    f"{sample.label} holds the value {value}, whose label id {label_id} is not in 0 to "
                    f"{_LARGEST_LABEL_ID}; this is not an instanceIds map of Cityscapes"
                )
            void[position] = label_id not in CITYSCAPES_LABEL_IDS
            if label_id not in self.class_of_label:
                continue
            kept[position] = value
            classes[value] = self.class_of_label[label_id]
            if value < 1000 and label_id in self.thing_labels:
                crowd_ids.add(value)
        segmentation = kept[index_map]  # (H, W)
        every = {"segmentation": segmentation, "segments_info": segments_from_map(segmentation, classes, crowd_ids)}
        if not self.things_only:
            return every
        objects = np.where(np.isin(kept, list(crowd_ids)), 0, kept)[index_map]
        info = [segment for segment in every["segments_info"] if not segment["iscrowd"]]
        return {"segmentation": objects, "segments_info": info, "ap_segments": {**every, "void": void[index_map]}}


def load_panoptic(root: Path, split: str) -> FolderDataset:
    """19 classes with 8 things, from `instanceIds`; segment ids and crowds as cityscapesscripts writes them."""
    class_of = {label_id: class_id for class_id, label_id in enumerate(CITYSCAPES_LABEL_IDS)}
    things = frozenset(CITYSCAPES_LABEL_IDS[class_id] for class_id in _THINGS)
    reader = _InstanceIdReader(class_of, things, things_only=False)
    names, stuff = dict(enumerate(CITYSCAPES)), tuple(CITYSCAPES_STUFF)
    samples = _samples(root, split, "instanceIds")
    dataset = FolderDataset(
        "panoptic", root, split, "gtFine instanceIds", samples, reader, names, stuff, DEFAULT_IGNORE_INDEX
    )
    dataset.ap_rules = "cityscapes"
    return dataset


def load_instance(root: Path, split: str) -> FolderDataset:
    """The 8 things as classes 0 to 7, from `instanceIds`; everything else is background.

    An item also has `ap_segments`: the same map with its crowds, and where it is void.
    """
    labels = [CITYSCAPES_LABEL_IDS[class_id] for class_id in _THINGS]
    class_of = {label_id: class_id for class_id, label_id in enumerate(labels)}
    reader = _InstanceIdReader(class_of, frozenset(labels), things_only=True)
    names = {position: CITYSCAPES[class_id] for position, class_id in enumerate(_THINGS)}
    samples = _samples(root, split, "instanceIds")
    dataset = FolderDataset(
        "instance", root, split, "gtFine instanceIds", samples, reader, names, (), DEFAULT_IGNORE_INDEX
    )
    dataset.ap_rules = "cityscapes"
    return dataset
