# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""ADE20K: the scene parsing benchmark (150 classes) and the full dataset (847 classes).

Scene parsing, `ADEChallengeData2016/`:

    images/{training,validation}/ADE_*.jpg
    annotations/{training,validation}/ADE_*.png                 class + 1; 0 is "other", which is void
    annotations_instance/{training,validation}/ADE_*.png        red: class of 100, counted from 1; green: object
    ade20k_{panoptic,instance}_{train,val}.json, ade20k_panoptic_{train,val}/       prepared as for Mask2Former

Panoptic and instance truth are taken from the prepared files where they are, else from the original maps by the same
rules (stuff from `annotations`, objects of `annotations_instance` over it, the rest void).

Full dataset, `ADE20K_2021_17_01/`, prepared as for Mask2Former:

    images_detectron2/{training,validation}/*.jpg
    annotations_detectron2/{training,validation}/*.tif          16 bits, class of 847; 65535 is void
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ....files.label_names import ADE20K, ADE20K_FULL, ADE20K_THINGS
from ..coco import load_coco_file
from ..images import open_label, read_map
from ..samples import FolderDataset, Sample
from ..schema import DEFAULT_IGNORE_INDEX, compact_ids, segments_from_map
from .layout import class_table, photos, require, samples_of, semantic_dataset

__all__ = ["load_full", "load_instance", "load_panoptic", "load_semantic"]

_FOLDERS = {"train": "training", "validation": "validation"}
_ENDINGS = {"train": "train", "validation": "val"}
_STUFF = tuple(class_id for class_id in range(len(ADE20K)) if class_id not in ADE20K_THINGS)
_FIRST_OBJECT_ID = 1000


def load_semantic(root: Path, split: str) -> FolderDataset:
    """150 classes; label 0 ("other") becomes 255, label n becomes class n - 1."""
    folder = _FOLDERS[split]
    wanted = {f"images/{folder}": "images", f"annotations/{folder}": "class maps"}
    require(root, wanted, f"ADE20K scene parsing ({split})")
    labels = root / "annotations" / folder
    images = photos(root / "images" / folder)
    samples = samples_of(images.items(), lambda name: labels / f"{name}.png", f"ADE20K {split}")
    return semantic_dataset(root, split, samples, class_table(ADE20K, first=1, void=(0,)), "annotations", stuff=_STUFF)


def load_full(root: Path, split: str) -> FolderDataset:
    """847 classes of the full dataset, as prepared for Mask2Former; 65535 is void and is the ignore index."""
    folder = _FOLDERS[split]
    wanted = {
        f"images_detectron2/{folder}": "images",
        f"annotations_detectron2/{folder}": "16-bit class maps, by Mask2Former's preparation of ADE20K full",
    }
    require(root, wanted, f"ADE20K full ({split})")
    labels = root / "annotations_detectron2" / folder
    images = photos(root / "images_detectron2" / folder)
    samples = samples_of(images.items(), lambda name: labels / f"{name}.tif", f"ADE20K full {split}")
    return semantic_dataset(root, split, samples, class_table(ADE20K_FULL, void=(65535,)), "annotations_detectron2")


def _read_objects(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Class (of 100, from 1) and number of the object of every pixel; 0 is none.

    Shape:
        (H, W), (H, W), int32.
    """
    image = open_label(path)
    if len(image.getbands()) < 3:
        raise ValueError(
            f"{path} has mode {image.mode!r}; an instance map of ADE20K is RGB: red is class, green object"
        )
    channels = np.asarray(image, dtype=np.int32)
    return channels[..., 0], channels[..., 1]


@dataclasses.dataclass(frozen=True)
class _ObjectReader:
    """Segments from the original maps: objects over stuff (if `class_maps` is given) or alone.

    Stuff of class c is segment c + 1, object n is segment 1000 + n.
    """

    class_maps: Path | None
    classes: tuple[int, ...]  # class id of the n-th of the 100 things

    def __call__(self, sample: Sample) -> dict[str, Any]:
        classes_of_100, objects = _read_objects(sample.label)
        segmentation = np.zeros(objects.shape, dtype=np.int32)
        categories: dict[int, int] = {}
        if self.class_maps is not None:
            stuff_file = self.class_maps / sample.label.name
            values = read_map(stuff_file)
            if values.shape != objects.shape:
                raise ValueError(
                    f"{stuff_file} has size {values.shape} (height, width) but {sample.label} {objects.shape}; make "
                    "them equal"
                )
            present, index_map = compact_ids(values)
            if present[0] < 0 or present[-1] > len(ADE20K):
                raise ValueError(f"{stuff_file} holds {present[-1]}; must be 0 (other) to {len(ADE20K)}")
            kept = np.array([value if value - 1 in _STUFF else 0 for value in present.tolist()], dtype=np.int32)
            segmentation = kept[index_map]  # (H, W)
            categories = {value: value - 1 for value in kept.tolist() if value}
        for number in compact_ids(objects)[0].tolist():
            if number == 0:
                continue
            mask = objects == number
            classes = np.unique(classes_of_100[mask])
            if len(classes) != 1 or not 1 <= classes[0] <= len(self.classes):
                raise ValueError(
                    f"{sample.label}: object {number} has the class(es) {classes.tolist()}; it must have one of 1 to "
                    f"{len(self.classes)}"
                )
            segmentation[mask] = _FIRST_OBJECT_ID + number
            categories[_FIRST_OBJECT_ID + number] = self.classes[int(classes[0]) - 1]
        return {"segmentation": segmentation, "segments_info": segments_from_map(segmentation, categories)}


def _load_objects(root: Path, split: str, kind: str) -> FolderDataset:
    folder = _FOLDERS[split]
    prepared = f"ade20k_{kind}_{_ENDINGS[split]}"
    wanted = {f"images/{folder}": "images"}
    if (root / f"{prepared}.json").is_file():
        if kind == "panoptic":
            wanted[prepared] = "id maps"
        require(root, wanted, f"ADE20K {kind} ({split})")
        return load_coco_file(root / f"{prepared}.json", split, f"file {prepared}.json", root / "images" / folder)
    wanted[f"{prepared}.json or annotations_instance/{folder}"] = "prepared truth, or the original instance maps"
    if kind == "panoptic":
        wanted[f"annotations/{folder}"] = "class maps"
    require(root, wanted, f"ADE20K {kind} ({split})")
    labels = root / "annotations_instance" / folder
    images = photos(root / "images" / folder)
    samples = samples_of(images.items(), lambda name: labels / f"{name}.png", f"ADE20K {kind} {split}")
    if kind == "panoptic":
        names, stuff = dict(enumerate(ADE20K)), _STUFF
        reader = _ObjectReader(root / "annotations" / folder, tuple(ADE20K_THINGS))
    else:
        names = {position: ADE20K[class_id] for position, class_id in enumerate(ADE20K_THINGS)}
        stuff, reader = (), _ObjectReader(None, tuple(range(len(ADE20K_THINGS))))
    note = "annotations_instance"
    return FolderDataset(kind, root, split, note, samples, reader, names, stuff, DEFAULT_IGNORE_INDEX)


def load_panoptic(root: Path, split: str) -> FolderDataset:
    """150 classes, of which 100 are things."""
    return _load_objects(root, split, "panoptic")


def load_instance(root: Path, split: str) -> FolderDataset:
    """The 100 things as classes 0 to 99, in the order of the 150 classes."""
    return _load_objects(root, split, "instance")
