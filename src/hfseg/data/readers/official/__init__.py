# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Public datasets, read from the folders in which their authors publish them.

`load_official(name, root, split)` checks the layout, says what is missing, and returns a `FolderDataset`. The layouts
are described in the modules of the families; `official_names()` lists the names.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
from pathlib import Path

from ..samples import FolderDataset

__all__ = ["DATA_ROOT_VARIABLE", "OFFICIAL", "OfficialSpec", "default_root", "load_official", "official_names"]

DATA_ROOT_VARIABLE = "HFSEG_DATASETS"


@dataclasses.dataclass(frozen=True)
class OfficialSpec:
    """Where a dataset is read, and what it is called on disk.

    Attributes:
        reader: `module:function` below this package; the function takes (root, split).
        folder: Usual name of its folder.
        splits: Splits that have labels.
        about: One line for listings.
    """

    reader: str
    folder: str
    splits: tuple[str, ...]
    about: str


_TWO = ("train", "validation")
OFFICIAL = {
    "coco_panoptic": OfficialSpec("coco:load_panoptic", "coco", _TWO, "COCO 2017 panoptic, 80 things + 53 stuff"),
    "coco_instance": OfficialSpec("coco:load_instance", "coco", _TWO, "COCO 2017 instances, 80 classes"),
    "coco_stuff": OfficialSpec("coco:load_stuff", "coco", _TWO, "COCO-Stuff 164k, semantic, 171 classes"),
    "coco_captions": OfficialSpec("coco:load_captions", "coco", _TWO, "COCO 2017, one sample per caption"),
    "cityscapes_semantic": OfficialSpec("cityscapes:load_semantic", "cityscapes", _TWO, "gtFine, 19 classes"),
    "cityscapes_panoptic": OfficialSpec("cityscapes:load_panoptic", "cityscapes", _TWO, "gtFine, 8 things + 11 stuff"),
    "cityscapes_instance": OfficialSpec("cityscapes:load_instance", "cityscapes", _TWO, "gtFine, 8 things"),
    "ade20k_semantic": OfficialSpec("ade20k:load_semantic", "ADEChallengeData2016", _TWO, "ADE20K, 150 classes"),
    "ade20k_panoptic": OfficialSpec("ade20k:load_panoptic", "ADEChallengeData2016", _TWO, "ADE20K, 100 things + 50"),
    "ade20k_instance": OfficialSpec("ade20k:load_instance", "ADEChallengeData2016", _TWO, "ADE20K, 100 things"),
    "ade20k_full": OfficialSpec("ade20k:load_full", "ADE20K_2021_17_01", _TWO, "ADE20K, 847 classes"),
    "pascal_voc": OfficialSpec(
        "pascal:load_voc", "VOCdevkit/VOC2012", (*_TWO, "trainval", "trainaug"), "VOC 2012, 21 classes; trainaug: + SBD"
    ),
    "pascal_voc_instance": OfficialSpec(
        "pascal:load_voc_instance", "VOCdevkit/VOC2012", (*_TWO, "trainval", "trainaug"), "VOC 2012 objects, 20 classes"
    ),
    "pascal_context_59": OfficialSpec(
        "pascal:load_context_59", "VOCdevkit/VOC2010", _TWO, "Pascal Context, 59 classes"
    ),
    "pascal_context_459": OfficialSpec("pascal:load_context_459", "VOCdevkit/VOC2010", _TWO, "Pascal Context, all"),
    "open_images": OfficialSpec("open_images:load_instance", "open-images", (*_TWO, "test"), "Open Images, masks"),
    "camvid": OfficialSpec("camvid:load_semantic", "camvid", (*_TWO, "test"), "CamVid, 11 classes"),
}


def official_names() -> list[str]:
    """Names that `load_official` knows."""
    return list(OFFICIAL)


def default_root(name: str) -> Path:
    """Folder of a dataset where none is given: its usual name below `$HFSEG_DATASETS`, or below `datasets/`."""
    return Path(os.environ.get(DATA_ROOT_VARIABLE, "datasets")) / OFFICIAL[name].folder


def load_official(name: str, root: str | Path | None = None, split: str = "train") -> FolderDataset:
    """Dataset of a public collection, with its folders checked; images and labels are read when asked for.

    Args:
        name: One of `official_names()`.
        root: Its folder; None: its usual name below `$HFSEG_DATASETS` (else below `datasets/`).
        split: "train", "validation" (or "val") and, where the dataset has them, "trainval", "trainaug", "test".

    Raises:
        FileNotFoundError: If folders or files are missing: all of them are named, with what was found beside them.
        ValueError: If the name or split is unknown, an annotation file is damaged or contradicts itself, sizes differ,
            or nothing usable is left. Damage of single images shows when the sample is read; see
            `hfseg.data.readers.reading.TolerantDataset`.
    """
    if name not in OFFICIAL:
        near = difflib.get_close_matches(name, OFFICIAL, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"dataset {name!r} is not known; {hint}legal names are {', '.join(OFFICIAL)}")
    spec = OFFICIAL[name]
    split = {"val": "validation", "valid": "validation"}.get(split, split)
    if split not in spec.splits:
        raise ValueError(f"{name} has no labeled split {split!r}; must be one of {', '.join(spec.splits)}")
    folder = default_root(name) if root is None else Path(root)
    if not folder.is_dir():
        given = f" (from ${DATA_ROOT_VARIABLE} or the working directory, as root was not given)" if root is None else ""
        raise FileNotFoundError(f"the folder of {name} does not exist: {folder}{given}; give root=")
    module, _, function = spec.reader.partition(":")
    return getattr(importlib.import_module(f".{module}", __name__), function)(folder, split)
