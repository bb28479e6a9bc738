# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Local data sets: folders of pictures with label maps, and COCO annotation files.

`load_folder(path, split)` recognizes the layouts of other tools (`hfseg.data.readers.layouts`) and four of its own
(`<split>` is train, val, ...; pictures: jpg, png, webp, bmp, tif):

* semantic: `images/<split>/NAME.jpg` and `labels/<split>/NAME.png` (or `masks/`), one class index per pixel;
* instance: `images/<split>/NAME.jpg` and `instances/<split>/NAME.png`, an object id per pixel, 0 = background;
* COCO instances: a json with polygons or run-length masks: `annotations/instances_<split>.json`, `images/<split>/`;
* COCO panoptic: a json and a folder of RGB-coded PNGs: `annotations/panoptic_<split>.json`,
  `annotations/panoptic_<split>/`, `images/<split>/`.

The first two may carry `classes.json`: a list of names, or `{"names": [...], "ignore_index": ..., "palette_rgb":
[...]}`. Without `<split>` folders, `<split>.txt` files list the names of a split; without those a seeded fifth is the
validation split. What needs no pixels is checked when the folder is opened; pictures are read when asked for.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...files.listing import list_files
from .classes import SemanticReader, read_classes, say_what_is_empty, scan_classes, settle_binary
from .coco import coco_files, load_coco_file
from .images import read_map
from .layouts import Layout, describe, find_layout
from .samples import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    Classes,
    FolderDataset,
    Sample,
    check_sizes,
    divide,
    listing,
    read_json,
    same_split,
)
from .schema import DEFAULT_IGNORE_INDEX, compact_ids, segments_from_map

__all__ = [
    "IMAGE_SUFFIXES",
    "Classes",
    "FolderDataset",
    "Sample",
    "SemanticReader",
    "check_sizes",
    "list_splits",
    "listing",
    "load_coco_file",
    "load_folder",
    "read_json",
    "same_split",
]

logger = logging.getLogger(__name__)

_LAYOUTS = (
    "legal layouts are: images/<split>/NAME.jpg with labels/<split>/NAME.png (semantic; labels/ may be called masks/), "
    "images/<split>/NAME.jpg with instances/<split>/NAME.png (instances), annotations/instances_<split>.json or "
    "annotations/panoptic_<split>.json with images/<split>/ (COCO), each also without <split> folders"
)


# ---------------------------------------------------------------------------------------------------------------------
# Folders of pictures and label maps
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
    """Pictures with their label maps.

    Raises:
        ValueError: Without pictures or labels, or if a picture has no label.
    """
    images = _files(image_folder, IMAGE_SUFFIXES)
    if not images:
        raise ValueError(f"{image_folder} holds no picture ({', '.join(IMAGE_SUFFIXES)}); {_LAYOUTS}")
    if not label_folder.is_dir():
        raise FileNotFoundError(
            f"{label_folder} does not exist, but {image_folder} has {len(images)} pictures; {_LAYOUTS}"
        )
    labels = _files(label_folder, (".png",))
    missing = [name for name in images if name not in labels]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(images)} pictures in {image_folder} have no label in {label_folder}: "
            f"{listing(missing)}; add NAME.png for each of them, or move these pictures elsewhere"
        )
    spare = [name for name in labels if name not in images]
    if spare:
        logger.warning("%d labels in %s have no picture and are left out: %s", len(spare), label_folder, listing(spare))
    return [Sample(name, path, labels[name]) for name, path in images.items()]


def _split_folders(folder: Path) -> list[str]:
    """Names of the sub-folders that are splits: known names, holding pictures."""
    known = {name for names in SPLIT_NAMES.values() for name in names}
    return sorted(
        child.name
        for child in folder.iterdir()
        if child.is_dir() and re.sub(r"(19|20)\d\d$", "", child.name.lower()) in known
    )


def _choose_split(
    path: Path, label_folder: str, split: str | None, validation_fraction: float, seed: int
) -> tuple[list[Sample], str]:
    """Samples of a split of a folder, and how the split came about."""
    images, labels = path / "images", path / label_folder
    folders = _split_folders(images)
    if folders:
        if split is None:
            chosen = folders
        else:
            chosen = [name for name in folders if same_split(name, split)]
            if not chosen:
                raise ValueError(f"split {split!r} is not in {images}; the splits there are {', '.join(folders)}")
        of_split = {name: _pairs(images / name, labels / name) for name in chosen}
        names = [sample.name for samples in of_split.values() for sample in samples]
        samples = [
            dataclasses.replace(sample, name=f"{name}/{sample.name}") if len(set(names)) < len(names) else sample
            for name, samples in of_split.items()
            for sample in samples
        ]
        return samples, f"folder {', '.join(chosen)}"

    samples = _pairs(images, labels)
    if split is None:
        return samples, "all samples"
    lists = {file.stem: file for file in sorted(path.glob("*.txt")) if _split_of_list(file.stem)}
    if lists:
        chosen = [name for name in lists if same_split(name, split)]
        if not chosen:
            raise ValueError(f"split {split!r} has no list in {path}; the lists there are {', '.join(lists)}.txt")
        by_name = {sample.name: sample for sample in samples}
        wanted = [
            Path(line.strip()).with_suffix("").as_posix()
            if Path(line.strip()).suffix.lower() in IMAGE_SUFFIXES
            else line.strip()
            for line in lists[chosen[0]].read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        unknown = [name for name in wanted if name not in by_name]
        if unknown:
            raise ValueError(f"{lists[chosen[0]]} names pictures that are not in {images}: {listing(unknown)}")
        return [by_name[name] for name in wanted], f"list {lists[chosen[0]].name}"

    return divide(samples, split, validation_fraction, seed, images)


def _split_of_list(stem: str) -> bool:
    return any(stem.lower() in names for names in SPLIT_NAMES.values())


@dataclasses.dataclass(frozen=True)
class _InstanceReader:
    def __call__(self, sample: Sample) -> dict[str, Any]:
        segmentation = read_map(sample.label)
        present, _ = compact_ids(segmentation)
        if present[0] < 0:
            raise ValueError(f"{sample.label} holds the negative id {present[0]}; ids are 0 (background) to 65535")
        segments = segments_from_map(segmentation, dict.fromkeys(present.tolist(), 0))
        return {"segmentation": segmentation, "segments_info": segments}


def _load_maps(
    path: Path, label_folder: str, split: str | None, validation_fraction: float, seed: int
) -> FolderDataset:
    if not (path / "images").is_dir():
        raise FileNotFoundError(f"{path / 'images'} does not exist, but {path / label_folder} does; {_LAYOUTS}")
    samples, note = _choose_split(path, label_folder, split, validation_fraction, seed)
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
    everything = _choose_split(path, label_folder, None, validation_fraction, seed)[0]
    # Over all splits, so that every split has the same classes.
    classes = scan_classes(everything) if classes is None else settle_binary(classes, everything)
    say_what_is_empty(samples, classes, split is None or same_split("train", split), str(path))
    stuff = tuple(classes.id2label)
    reader = SemanticReader(classes)
    return FolderDataset("semantic", path, split, note, samples, reader, classes.id2label, stuff, classes.ignore_index)


# ---------------------------------------------------------------------------------------------------------------------
# Entry
# ---------------------------------------------------------------------------------------------------------------------


def _label_folder(path: Path) -> str | None:
    """Name of the folder of labels in our own layouts."""
    if not (path / "images").is_dir() and any((path / name).is_dir() for name in ("image", "imgs", "img")):
        return None  # of another layout
    for name in ("labels", "masks", "instances"):
        folder = path / name
        if folder.is_dir():
            foreign = name == "labels" and any((path / file).is_file() for file in ("data.yaml", "dataset.yaml"))
            if not foreign or list_files(folder, (".png",)):
                return name
    return None


def list_splits(path: str | Path) -> list[str]:
    """Names of the splits that `load_folder` would find in a folder.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`.
    """
    path = Path(path)
    if path.is_file():
        return []
    layout = _require_layout(path)
    if layout is not None:
        return list(layout.splits) or ["train", "validation"]
    if _label_folder(path) is None:
        found = sorted(coco_files(path))
        return ["train", "validation"] if len(found) == 1 and not _split_of_list(found[0]) else found
    folders = _split_folders(path / "images") if (path / "images").is_dir() else []
    lists = sorted(file.stem for file in path.glob("*.txt") if _split_of_list(file.stem))
    return folders or lists or ["train", "validation"]


def _require_layout(path: Path) -> Layout | None:
    """Layout of another tool; None for our own and COCO.

    Raises:
        FileNotFoundError, ValueError: There is nothing that can be read; says what it looks like.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a folder or a COCO json file: {_LAYOUTS}")
    if not path.is_dir() or _label_folder(path) is not None or coco_files(path):
        return None
    layout = find_layout(path)
    if layout is None:
        inside = sorted(child.name + ("/" if child.is_dir() else "") for child in path.iterdir())
        guess = describe(path)
        raise ValueError(
            f"{path} is not a data set that can be read: it holds {listing(inside) or 'nothing'}, but no labels/, "
            f"masks/, instances/ or annotations/*.json; {guess + '; ' if guess else ''}{_LAYOUTS}"
        )
    return layout


def load_folder(
    path: str | Path,
    split: str | None = None,
    *,
    image_folder: str | Path | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    stretch_contrast: bool = False,
    allow_outside: bool = False,
) -> FolderDataset:
    """Data set of a local folder or COCO json, with its layout recognised and checked; pictures are read lazily.

    Args:
        path: Folder in one of the layouts of this module, or a COCO json file.
        split: "train", "validation" (also found as val, valid, dev) or another name; None for all samples (of a COCO
            folder with several annotation files one must be chosen). Folders without splits are divided
            by `validation_fraction` and `seed`.
        image_folder: Where the pictures of a COCO json are, if not at the usual place beside it.
        validation_fraction: Share held out where the folder does not say.
        seed: Seed of that division, which depends on the file names and the seed alone.
        stretch_contrast: True brings every picture to the full range of intensities, as very dark microscopy needs
            (`hfseg.data.readers.images.stretch_contrast`); do the same to pictures that the trained model is shown.
        allow_outside: Whether the file names of a COCO json may lead out of its folder.

    Raises:
        FileNotFoundError: If the folder, its pictures or its labels are missing.
        ValueError: If the layout is not known, a picture has no label, sizes differ, a split does not exist, or a json
            is damaged. Label values outside the classes are reported, with the file, when the sample is read.
    """
    dataset = _open_folder(Path(path), split, image_folder, validation_fraction, seed, allow_outside)
    dataset.stretch_contrast = stretch_contrast
    return dataset


def _open_folder(
    path: Path,
    split: str | None,
    image_folder: str | Path | None,
    validation_fraction: float,
    seed: int,
    allow_outside: bool,
) -> FolderDataset:
    """Recognises the layout and opens it."""
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction {validation_fraction} must lie between 0 and 1")
    layout = _require_layout(path)
    if layout is not None:
        return layout.open(split, validation_fraction, seed)
    images = Path(image_folder) if image_folder is not None else None
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise ValueError(f"{path} is not a COCO json file; give a folder or a .json: {_LAYOUTS}")
        if split is not None and not same_split(path.stem.split("_", 1)[-1], split):
            raise ValueError(f"{path} is a single annotation file, so split {split!r} cannot be chosen; omit split")
        return load_coco_file(path, split, "the file itself", images, allow_outside=allow_outside)
    label_folder = _label_folder(path)
    if label_folder is not None:
        return _load_maps(path, label_folder, split, validation_fraction, seed)

    files = coco_files(path)
    chosen = list(files) if split is None else [name for name in files if same_split(name, split)]
    if not chosen and len(files) == 1 and not _split_of_list(next(iter(files))):
        # One file that is no split (CVAT's "default", Label Studio's "result"): divided like a folder without splits.
        (file,) = next(iter(files.values()))
        dataset = load_coco_file(file, split, "", images, allow_outside=allow_outside)
        assert split is not None
        return dataset.restricted(*divide(dataset.samples, split, validation_fraction, seed, file))
    if not chosen:
        raise ValueError(f"split {split!r} is not in {path}; the splits of its annotation files are {', '.join(files)}")
    if len(chosen) > 1:
        raise ValueError(f"{path} has the splits {', '.join(sorted(chosen))}; give split= to choose one")
    first = files[chosen[0]][0]
    return load_coco_file(first, split, f"file {first.name}", images, allow_outside=allow_outside)
