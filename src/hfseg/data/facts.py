# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a folder of somebody's own holds, as far as choices of a training follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..volumes import read_volume
from .readers.folders import load_folder
from .readers.medical import MedicalSlices
from .readers.medical_layouts import WITH_LABELS, checked_cases, own_labels
from .readers.reading import OnError, TolerantDataset
from .readers.samples import read_json
from .readers.table_folders import load_side
from .specs import medical_layout

__all__ = ["Facts", "described_modality", "facts_of"]

LOOKED_AT = ((1 << 20, 160), (1 << 22, 64))  # images, taken evenly, by the pixels of the first
FEWEST_LOOKED_AT = 24
VOLUMES_LOOKED_AT = 6
DARK = 96  # an image whose brightest hundredth is darker than this cannot be seen by eye
DARK_SHARE = 0.1
HU_OF_AIR = -200  # only CT has values below


@dataclass(frozen=True)
class Facts:
    """Of a folder; sizes are of the images as they are on the disk.

    Attributes:
        kind: "objects" (things, perhaps with stuff), "classes" (one per pixel) or "volumes".
        images: For training; volumes of "volumes".
        held_out: For validation.
        names: Of the classes.
        stuff: Number of classes without objects.
        height, width: Median, in pixels; of volumes the median slice.
        objects: Per image: the number that nine of ten images do not exceed, and the largest.
        sides: Square roots of the objects' areas in pixels: of a tenth, half and nine tenths of them.
        dark: Whether a tenth of the images needs its contrast stretched.
        modality: Of volumes, CT or MR.
    """

    kind: str
    images: int
    held_out: int
    names: tuple[str, ...]
    stuff: int = 0
    height: int = 0
    width: int = 0
    objects: tuple[int, int] = (0, 0)
    sides: tuple[float, float, float] = (0.0, 0.0, 0.0)
    dark: bool = False
    modality: str = ""


def facts_of(folder: str, on_error: OnError = "stop") -> Facts:
    """Looks at a folder of images and labels, or of volumes.

    Args:
        folder: A folder, or a table's id on the Hub.
        on_error: At an unreadable image: "stop", or "skip" it.

    Raises:
        FileNotFoundError, ValueError: As its reader; there is no label to learn from.
    """
    layout = medical_layout(Path(folder))
    if layout is not None:
        return _of_volumes(Path(folder), layout)
    train, held_out = (_side(folder, split) for split in ("train", "validation"))
    train = TolerantDataset(train, on_error)
    names = tuple(getattr(train, "id2label", {}).values())
    stuff = set(getattr(train, "stuff_class_ids", ()))
    facts = Facts("classes", len(train), len(held_out), names, stuff=len(stuff))
    samples = [train[0]]
    if not {"segmentation", "segmentation_map"} & set(samples[0]):
        raise ValueError(
            f"{folder} holds no masks of images ({', '.join(sorted(samples[0]))}): name a recipe (hfseg list recipes)."
        )
    pixels = int(np.prod(np.asarray(samples[0]["image"]).shape[:2]))
    number = next((number for most, number in LOOKED_AT if pixels <= most), FEWEST_LOOKED_AT)
    chosen = np.unique(np.linspace(0, len(train) - 1, min(len(train), number)).round().astype(int))
    return _of_samples(facts, samples + [train[int(index)] for index in chosen[1:]], stuff)


def _side(folder: str, split: str) -> Any:
    """A folder's split, or that of a table of the Hub."""
    return load_folder(folder, split, hold_out=True) if Path(folder).exists() else load_side(folder, split)


def _of_samples(facts: Facts, samples: list[Mapping[str, Any]], stuff: set[int]) -> Facts:
    """Sizes of images and objects, their number, and whether images are dark."""
    sizes, counts, sides, dark = [], [], [], []
    for sample in samples:
        image = np.asarray(sample["image"])
        sizes.append(image.shape[:2])
        dark.append(image.dtype == np.uint8 and np.quantile(image[::4, ::4], 0.99) < DARK)
        if "segments_info" not in sample:
            continue
        things = [one["id"] for one in sample["segments_info"] if one["category_id"] not in stuff]
        areas = np.bincount(np.asarray(sample["segmentation"]).ravel().clip(0))
        found = [int(areas[number]) for number in things if number < len(areas) and areas[number]]
        counts.append(len(found))
        sides += [area**0.5 for area in found]
    height, width = (int(np.median([size[axis] for size in sizes])) for axis in (0, 1))
    facts = replace(facts, height=height, width=width, dark=float(np.mean(dark)) >= DARK_SHARE)
    if not sides:
        return facts
    spread = np.quantile(sides, (0.1, 0.5, 0.9))
    most = (int(np.ceil(np.quantile(counts, 0.9))), max(counts))
    return replace(facts, kind="objects", objects=most, sides=(float(spread[0]), float(spread[1]), float(spread[2])))


def _of_volumes(folder: Path, layout: str) -> Facts:
    """Number of cases, size of the slices and modality; class names, or numbers where nothing gives names."""
    sides = ("train", "val") if layout in ("pairs", "xray") else ("train:0/5", "val:0/5")
    cases = [checked_cases(folder, layout, side, "MR") for side in sides]
    few = [case for case in cases[0] if case.mask is not None][:VOLUMES_LOOKED_AT]
    if not few:
        raise ValueError(f"{folder} has no volume with a mask to learn from.")
    first = few[0].image if isinstance(few[0].image, str) else few[0].image[0]
    volume = read_volume(first)  # DICOM says what it is
    seen = volume.modality or ("CT" if float(np.min(volume.voxels)) < HU_OF_AIR else "MR")
    modality = described_modality(folder) if layout in WITH_LABELS else seen
    if layout in WITH_LABELS:
        names = tuple(own_labels(folder, layout).values())
    else:
        masks = [str(case.mask) for side in cases for case in side if case.mask is not None]
        labels = {int(value) for mask in masks for value in np.unique(read_volume(mask).voxels)}
        labels = {0, 1} if labels == {0, 255} else labels - {255}  # black and white, or void
        names = ("background", *(f"label_{number}" for number in range(1, max(labels, default=0) + 1)))
        if (folder / "classes.json").is_file():
            names = tuple(str(name) for name in read_json(folder / "classes.json"))
        if len(names) < 2:
            raise ValueError(f"The masks of {folder} hold nothing but 0: there is nothing to learn.")
    slices = MedicalSlices(
        [replace(case, modality=modality) for case in few], dict(enumerate(names)), check_values=False
    )
    shapes = [np.asarray(slices[index]["image"]).shape[-2:] for index in range(0, len(slices), 16)]
    height, width = (int(np.median([shape[axis] for shape in shapes])) for axis in (0, 1))
    return Facts("volumes", len(cases[0]), len(cases[1]), names, 0, height, width, modality=modality)


def described_modality(folder: Path) -> str:
    """CT or MR, as `dataset.json` says under either of nnU-Net's names."""
    content = read_json(folder / "dataset.json")
    named = content.get("channel_names") or content.get("modality") or {}
    first = named.get("0", "") if isinstance(named, Mapping) else named
    return "CT" if str(first).strip().upper() == "CT" else "MR"
