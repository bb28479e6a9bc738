# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Our own layouts of images with label maps: `images/` beside `labels/`, `masks/` or `instances/`."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...files.listing import list_files
from .classes import SemanticReader, read_classes, say_what_is_empty, scan_classes, settle_binary
from .images import read_map
from .samples import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    SPLIT_NAMES,
    FolderDataset,
    HeldOut,
    Sample,
    check_sizes,
    divide,
    listing,
    matching_splits,
    refuse_lossy,
    relative_key,
    same_split,
)
from .schema import DEFAULT_IGNORE_INDEX, compact_ids, segments_from_map

__all__ = ["LAYOUTS", "label_folder_of", "load_maps", "split_folders", "split_of_list"]

logger = logging.getLogger(__name__)

LAYOUTS = (
    "legal layouts are: images/<split>/NAME.jpg with labels/<split>/NAME.png (semantic; labels/ may be called masks/), "
    "images/<split>/NAME.jpg with instances/<split>/NAME.png (instances), annotations/instances_<split>.json or "
    "annotations/panoptic_<split>.json with images/<split>/ (COCO), each also without <split> folders"
)


# ---------------------------------------------------------------------------------------------------------------------
# Folders of images and label maps
# ---------------------------------------------------------------------------------------------------------------------


def _files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Files below a folder by their relative path without suffix, sorted."""
    found: dict[str, Path] = {}
    for path in list_files(folder, suffixes):
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            raise ValueError(f"{found[key]} and {path} have the same name; keep one of them")
        found[key] = path
    return found


def _pairs(image_folder: Path, label_folder: Path) -> list[Sample]:
    """Images with their label maps.

    Raises:
        ValueError: Without images or labels, or if an image has no label.
    """
    images = _files(image_folder, IMAGE_SUFFIXES)
    if not images:
        raise ValueError(f"{image_folder} holds no image ({', '.join(IMAGE_SUFFIXES)}); {LAYOUTS}")
    if not label_folder.is_dir():
        raise FileNotFoundError(
            f"{label_folder} does not exist, but {image_folder} has {len(images)} images; {LAYOUTS}"
        )
    labels = _files(label_folder, MASK_SUFFIXES)
    missing = [name for name in images if name not in labels]
    if not labels and list_files(label_folder, (".txt",)):
        raise ValueError(
            f"{label_folder} holds text files and no label map: it looks like YOLO without its data.yaml. Put "
            "one beside images/, with names: [class of 0, class of 1, ...]"
        )
    if missing:
        refuse_lossy(label_folder, missing)
        raise ValueError(
            f"{len(missing)} of {len(images)} images in {image_folder} have no label in {label_folder}: "
            f"{listing(missing)}; add NAME.png for each of them, or move these images elsewhere"
        )
    spare = [name for name in labels if name not in images]
    if spare:
        logger.warning("%d labels in %s have no image and are left out: %s", len(spare), label_folder, listing(spare))
    return [Sample(name, path, labels[name]) for name, path in images.items()]


def split_folders(folder: Path) -> list[str]:
    """Names of the sub-folders that are splits: known names, holding images."""
    known = {name for names in SPLIT_NAMES.values() for name in names}
    return sorted(
        child.name
        for child in folder.iterdir()
        if child.is_dir() and re.sub(r"(19|20)\d\d$", "", child.name.lower()) in known
    )


def _choose_split(path: Path, label_folder: str, split: str | None, held: HeldOut) -> tuple[list[Sample], str]:
    """Samples of a split of a folder, and how the split came about."""
    images, labels = path / "images", path / label_folder
    folders = split_folders(images)
    alone = held.from_train(folders, split)
    if alone is not None and split is not None:
        return divide(_pairs(images / alone, labels / alone), split, held.fraction, held.seed, images / alone)
    if folders:
        chosen = folders if split is None else matching_splits(folders, split, images)
        if not chosen:
            raise ValueError(f"split {split!r} is not in {images}; the splits there are {', '.join(folders)}")
        return _of_folders(images, labels, chosen), f"folder {', '.join(chosen)}"
    samples = _pairs(images, labels)
    if split is None:
        return samples, "all samples"
    lists = {file.stem: file for file in sorted(path.glob("*.txt")) if split_of_list(file.stem)}
    if not lists:
        return divide(samples, split, held.fraction, held.seed, images)
    named = matching_splits(lists, split, path)
    if not named:
        raise ValueError(f"split {split!r} has no list in {path}; the lists there are {', '.join(lists)}.txt")
    file = lists[named[0]]
    return _of_list(file, samples, images), f"list {file.name}"


def _of_folders(images: Path, labels: Path, names: Sequence[str]) -> list[Sample]:
    """Samples of split folders; where two have the same name, the folder's goes before it."""
    of_split = {name: _pairs(images / name, labels / name) for name in names}
    given = [sample.name for samples in of_split.values() for sample in samples]
    repeat = len(set(given)) < len(given)
    return [
        dataclasses.replace(sample, name=f"{name}/{sample.name}") if repeat else sample
        for name, samples in of_split.items()
        for sample in samples
    ]


def _of_list(file: Path, samples: Sequence[Sample], images: Path) -> list[Sample]:
    """Samples that a text file names, one a line, with or without the ending of an image."""
    by_name = {sample.name: sample for sample in samples}
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    names = [relative_key(Path(line)) for line in lines if line]
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(f"{file} names images that are not in {images}: {listing(unknown)}")
    return [by_name[name] for name in names]


def split_of_list(stem: str) -> bool:
    plain = re.sub(r"(19|20)\d\d$", "", stem.lower())
    return any(plain in names for names in SPLIT_NAMES.values())


@dataclasses.dataclass(frozen=True)
class _InstanceReader:
    def __call__(self, sample: Sample) -> dict[str, Any]:
        segmentation = read_map(sample.label)
        present, _ = compact_ids(segmentation)
        if present[0] < 0:
            raise ValueError(f"{sample.label} holds the negative id {present[0]}; ids are 0 (background) to 65535")
        segments = segments_from_map(segmentation, dict.fromkeys(present.tolist(), 0))
        return {"segmentation": segmentation, "segments_info": segments}


def _labels_of_all_splits(folder: Path, samples: list[Sample]) -> list[Sample]:
    """Samples of a split, and the labels of the others, whose images need not be complete."""
    own = {sample.label for sample in samples}
    return [*samples, *(Sample(file.stem, file, file) for file in list_files(folder, MASK_SUFFIXES) if file not in own)]


def load_maps(path: Path, label_folder: str, split: str | None, held: HeldOut) -> FolderDataset:
    if not (path / "images").is_dir():
        raise FileNotFoundError(f"{path / 'images'} does not exist, but {path / label_folder} does; {LAYOUTS}")
    samples, note = _choose_split(path, label_folder, split, held)
    check_sizes(samples)
    classes = read_classes(path)
    if label_folder == "instances":
        names = list(classes.id2label.values()) if classes else ["object"]
        if len(names) != 1:
            raise ValueError(
                f"{path / 'classes.json'} names {len(names)} classes, but maps of object ids tell one class only; name "
                "one, or use a COCO json for several classes"
            )
        return FolderDataset(
            "instance", path, split, note, samples, _InstanceReader(), {0: names[0]}, (), DEFAULT_IGNORE_INDEX
        )
    # Over all splits, so that every split has the same classes.
    if classes is None:
        classes = scan_classes(_choose_split(path, label_folder, None, held)[0])
    else:
        classes = settle_binary(classes, _labels_of_all_splits(path / label_folder, samples))
    say_what_is_empty(samples, classes, split is None or same_split("train", split), str(path))
    stuff = tuple(classes.id2label)
    reader = SemanticReader(classes)
    return FolderDataset("semantic", path, split, note, samples, reader, classes.id2label, stuff, classes.ignore_index)


def label_folder_of(path: Path) -> str | None:
    """Name of the folder of labels in our own layouts."""
    if not (path / "images").is_dir() and any((path / name).is_dir() for name in ("image", "imgs", "img")):
        return None  # of another layout
    for name in ("labels", "masks", "instances"):
        folder = path / name
        if folder.is_dir():
            foreign = name == "labels" and any((path / file).is_file() for file in ("data.yaml", "dataset.yaml"))
            if not foreign or list_files(folder, MASK_SUFFIXES):
                return name
    return None
