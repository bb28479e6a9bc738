# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Open Images (V5 and later), object masks.

    SPLIT-annotations-object-segmentation.csv       one line per mask: MaskPath, ImageID, LabelName, ...
    class-descriptions-boxable.csv                  (or oidv7-...) LabelName, name
    classes-segmentation.txt                        the LabelNames that have masks
    SPLIT-annotations-human-imagelabels-boxable.csv (or without -boxable; optional)  ImageID, LabelName, ...
    SPLIT/ or images/SPLIT/                         IMAGEID.jpg
    SPLIT-masks/ or masks/SPLIT/ or masks/          MaskPath, also in a folder per archive (`train-masks-0/`, `0/`)

SPLIT is train, validation or test. The first three files may lie in `annotations/`.

Masks were drawn at other sizes than the images have; they are brought to the image's size (label under each pixel
center), as long as the aspect ratios agree within 2 %. Images without masks are not part of the dataset. Whether a
mask covers a group of objects is not in these files.

Labels are partial: an object without a mask may be of a class that nobody looked for. With the file of image labels
every sample has `verified_classes`, the classes whose presence or absence somebody verified; training can then leave
the others out (`known_classes` of `UniversalCollator`).
"""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....files.listing import list_files
from ..images import image_size, read_map, upright_size
from ..reading import listing
from ..samples import FolderDataset, Sample
from ..schema import DEFAULT_IGNORE_INDEX, segments_from_map
from .layout import first_existing, require

__all__ = ["load_instance"]

logger = logging.getLogger(__name__)

_ASPECT_TOLERANCE = 0.02


def _alternatives(*names: str) -> str:
    return " or ".join(f"{folder}{name}" for name in names for folder in ("", "annotations/"))


def _path(root: Path, alternatives: str) -> Path:
    return first_existing([root / one for one in alternatives.split(" or ")])


def _rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.reader(lines) if row]


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mask at another size, by the value under each new pixel's center."""
    rows = ((np.arange(size[0]) + 0.5) * (mask.shape[0] / size[0])).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * (mask.shape[1] / size[1])).astype(np.int64)
    return mask[rows[:, None], columns]


@dataclasses.dataclass(frozen=True)
class _MaskReader:
    """Id map of the masks of an image: smaller ones lie over larger ones."""

    verified: dict[str, tuple[int, ...]] | None = None

    def __call__(self, sample: Sample) -> dict[str, Any]:
        size, upright = image_size(sample.image), upright_size(sample.image)
        masks = []
        for position, annotation in enumerate(sample.annotations):
            mask = read_map(annotation["mask"]) > 0
            aspect = (mask.shape[1] / mask.shape[0]) / (size[1] / size[0])
            if position == 0 and abs(aspect - 1) > _ASPECT_TOLERANCE and upright != size:  # turned by EXIF
                size, aspect = upright, (mask.shape[1] / mask.shape[0]) / (upright[1] / upright[0])
            if abs(aspect - 1) > _ASPECT_TOLERANCE:
                raise ValueError(
                    f"mask {annotation['mask']} has size {mask.shape} (height, width), which does not fit its image "
                    f"{sample.image} of {size}; the aspect ratios differ by a factor of {aspect:.2f}"
                )
            mask = _resized(mask, size)
            masks.append((int(mask.sum()), mask, annotation["class"]))
        masks.sort(key=lambda item: -item[0])  # stable: equal areas in the order of the file
        segmentation = np.zeros(size, dtype=np.int32)
        for segment_id, (_, mask, _) in enumerate(masks, start=1):
            segmentation[mask] = segment_id
        classes = {segment_id: class_id for segment_id, (_, _, class_id) in enumerate(masks, start=1)}
        target = {"segmentation": segmentation, "segments_info": segments_from_map(segmentation, classes)}
        if self.verified is not None:
            target["verified_classes"] = sorted({*self.verified.get(sample.name, ()), *classes.values()})
        return target


def _mask_files(folders: list[Path]) -> dict[str, Path]:
    return {path.name: path for folder in folders if folder.is_dir() for path in list_files(folder, (".png",))}


def _verified(root: Path, split: str, class_of: dict[str, int]) -> dict[str, tuple[int, ...]] | None:
    """Classes verified to be there or not, per image; None without the file."""
    names = (f"{split}-annotations-human-imagelabels{ending}.csv" for ending in ("-boxable", ""))
    files = [path for path in map(lambda name: _path_or_none(root, name), names) if path is not None]
    if not files:
        return None
    found: dict[str, set[int]] = {}
    for file in files:
        header, *rows = _rows(file) or [[]]
        if not {"ImageID", "LabelName"} <= set(header):
            raise ValueError(f"{file} lacks the columns ImageID and LabelName; its first line is {','.join(header)!r}")
        image_at, label_at = header.index("ImageID"), header.index("LabelName")
        for row in rows:
            if len(row) > max(image_at, label_at) and row[label_at] in class_of:
                found.setdefault(row[image_at], set()).add(class_of[row[label_at]])
    return {name: tuple(sorted(classes)) for name, classes in found.items()}


def _path_or_none(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / "annotations" / name) if path.is_file()), None)


def _masks_by_image(
    file: Path, class_of: Mapping[str, int], available: Mapping[str, Path], found: Mapping[str, Path], classes: str
) -> tuple[dict[str, list[dict[str, Any]]], set[str], list[str]]:
    """Reads the CSV of masks.

    Args:
        file: The CSV.
        class_of: Class of each label.
        available: Image files by id.
        found: Mask files by name.
        classes: Name of the file of labels, for messages.

    Returns:
        Masks and classes by image; images that are not there; masks that are not there though their image is.
    """
    header, *rows = _rows(file) or [[]]
    lacking = [column for column in ("MaskPath", "ImageID", "LabelName") if column not in header]
    if lacking:
        raise ValueError(f"{file} lacks the column(s) {', '.join(lacking)}; its first line is {','.join(header)!r}")
    mask_at, image_at, label_at = (header.index(column) for column in ("MaskPath", "ImageID", "LabelName"))
    by_image: dict[str, list[dict[str, Any]]] = {}
    absent: set[str] = set()
    missing: list[str] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        if len(row) <= max(mask_at, image_at, label_at):
            raise ValueError(f"{file}, line {number} has {len(row)} of {len(header)} columns; it may be cut short")
        mask_name, image_id, label = row[mask_at], row[image_at], row[label_at]
        if label not in class_of:
            raise ValueError(f"{file}, line {number}: class {label!r} is not in {classes}")
        if mask_name in seen:
            raise ValueError(f"{file}, line {number}: mask {mask_name} occurs more than once; keep one line")
        seen.add(mask_name)
        if image_id not in available:
            absent.add(image_id)
        elif mask_name not in found:
            missing.append(mask_name)
        else:
            entry = {"mask": str(found[mask_name]), "class": class_of[label]}
            by_image.setdefault(image_id, []).append(entry)
    return by_image, absent, missing


def load_instance(root: Path, split: str) -> FolderDataset:
    """Object masks; the classes are those of `classes-segmentation.txt`, in its order.

    Downloads of a part are common: images of the CSV that are not there are left out and counted (a warning); a
    image that is there needs all its masks.

    Raises:
        FileNotFoundError: If files or masks are missing.
        ValueError: If the CSV lacks a column, names an unknown class or a mask twice, or no image of it is there.
    """
    annotations = _alternatives(f"{split}-annotations-object-segmentation.csv")
    descriptions = _alternatives("class-descriptions-boxable.csv", "oidv7-class-descriptions-boxable.csv")
    segmentable = _alternatives("classes-segmentation.txt")
    masks = f"{split}-masks or masks/{split} or masks"
    wanted = {
        annotations: "masks and classes",
        descriptions: "names of the classes",
        segmentable: "classes that have masks",
        f"images/{split} or {split}": "images",
        masks: "mask PNGs",
    }
    require(root, wanted, f"Open Images ({split})")

    name_of = {row[0]: row[1] for row in _rows(_path(root, descriptions)) if len(row) > 1}
    labels = [line.strip() for line in _path(root, segmentable).read_text(encoding="utf-8").split() if line.strip()]
    class_of = {label: class_id for class_id, label in enumerate(labels)}
    unnamed = [label for label in labels if label not in name_of]
    if unnamed:
        raise ValueError(f"{_path(root, descriptions)} does not name the class(es) {listing(unnamed)}")

    file = _path(root, annotations)
    folder = first_existing([root / "images" / split, root / split])
    available = {path.stem: path for path in folder.glob("*.jpg")}
    found = _mask_files([root / one for one in masks.split(" or ")])
    by_image, absent, missing = _masks_by_image(file, class_of, available, found, _path(root, segmentable).name)
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} masks of images in {folder} are in none of {masks}: {listing(missing)}; unpack all "
            f"mask archives of {split}"
        )
    if not by_image:
        raise ValueError(
            f"none of the {len(absent)} images of {file} is among the {len(available)} in {folder}: 0 usable samples"
        )
    if absent:
        logger.warning("%d images of %s are not in %s and are left out", len(absent), file.name, folder)
    samples = [
        Sample(name, available[name], Path(by_image[name][0]["mask"]), tuple(by_image[name])) for name in by_image
    ]
    names = {class_id: name_of[label] for label, class_id in class_of.items()}
    return FolderDataset(
        "instance",
        root,
        split,
        f"file {file.name}",
        samples,
        _MaskReader(_verified(root, split, class_of)),
        names,
        (),
        DEFAULT_IGNORE_INDEX,
    )
