# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CamVid, 11 classes: the folders of the SegNet tutorial, or `images/` and `labels/` with `classes.json`.

{train,val,test}/*.png                      images
{train,val,test}annot/*.png                 classes 0 to 10; 11 is void
"""

from __future__ import annotations

from pathlib import Path

from ....files.label_names import CAMVID
from ..maps import label_folder_of, load_maps
from ..samples import FolderDataset, HeldOut
from .layout import class_table, photos, require, samples_of, semantic_dataset

__all__ = ["load_semantic"]


def load_semantic(root: Path, split: str) -> FolderDataset:
    """The 11 classes of the SegNet split; `images/` and `labels/` are read as in every folder."""
    if (root / "images").is_dir():
        return load_maps(root, label_folder_of(root) or "labels", split, HeldOut())
    folder = {"validation": "val"}.get(split, split)
    wanted = {folder: "images, or images/ with labels/", f"{folder}annot": "class maps"}
    require(root, wanted, f"CamVid ({split})")
    labels = root / f"{folder}annot"
    samples = samples_of(photos(root / folder).items(), lambda name: labels / f"{name}.png", f"CamVid {split}")
    return semantic_dataset(root, split, samples, class_table(CAMVID, void=(11, 255)), f"folder {folder}")
