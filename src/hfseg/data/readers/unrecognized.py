# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A name for folders that cannot be read as images with labels, and what to do with them."""

from __future__ import annotations

from pathlib import Path

from ...files.listing import list_files, list_folders
from .layouts import IMAGE_FOLDERS, find_layout, is_split
from .samples import IMAGE_SUFFIXES, listing

__all__ = ["describe"]


def describe(path: Path) -> str:
    """What a folder that cannot be read looks like, with what to do; empty if it looks like nothing known."""
    return _other_format(path) or _other_folder(path)


def _other_format(path: Path) -> str:
    """Names the format of a folder that other readers take, or none; empty if its files say nothing."""
    children = {child.name for child in path.iterdir()}
    suffixes = {child.suffix.lower() for child in path.iterdir() if child.is_file()}
    volumes = (".nii", ".nii.gz", ".mhd", ".mha", ".dcm")
    if "Annotations" in children and "JPEGImages" in children:
        return "it looks like Pascal VOC for detection (boxes in XML); segmentation needs SegmentationClass/"
    if ".tar" in suffixes:
        return "it looks like tar shards (SA-1B or WebDataset), which the readers promptable and image-text take"
    if ".parquet" in suffixes or "dataset_info.json" in children or "dataset_dict.json" in children:
        return "it looks like a table of the library datasets; read it with data.name=table"
    if any(name.lower().endswith(volumes) for name in children):
        return "it looks like medical volumes; read them with data.name=medical and a layout"
    if any((path / name).is_dir() for name in ("imagesTr", "labelsTr")):
        return "it looks like an nnU-Net or Decathlon folder without dataset.json"
    jsons = [child.name for child in path.iterdir() if child.is_file() and child.suffix.lower() == ".json"]
    return f"it holds {listing(jsons)}: a COCO json is given by its own path" if jsons else ""


def _other_folder(path: Path) -> str:
    """Says whether a folder lies above a dataset, or holds images without labels; empty if neither."""
    folders = list_folders(path)
    known = [folder.name for folder in folders if _recognized(folder)]
    if known:
        return f"{listing(known)} inside can be read: give that path"
    if folders and all(list_files(folder, IMAGE_SUFFIXES) for folder in folders):
        of_splits = all(is_split(folder.name) for folder in folders)
        if not of_splits and not {folder.name for folder in folders} <= set(IMAGE_FOLDERS):
            return "it looks like images sorted into one folder per class (image classification), without masks"
        return "it looks like images without labels"
    here = any(child.is_file() and child.suffix.lower() in IMAGE_SUFFIXES for child in path.iterdir())
    return "it looks like images without labels" if here else ""


def _recognized(folder: Path) -> bool:
    try:
        return find_layout(folder) is not None
    except (OSError, ValueError):
        return True
