# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Local datasets: folders of images with label maps, and COCO annotation files.

`load_folder(path, split)` recognizes the layouts of other tools (`hfseg.data.readers.layouts`) and four of its own
(`<split>` is train, val, ...; images: jpg, png, webp, bmp, tif):

* semantic: `images/<split>/NAME.jpg` and `labels/<split>/NAME.png` (or `masks/`), one class index per pixel;
* instance: `images/<split>/NAME.jpg` and `instances/<split>/NAME.png`, an object id per pixel, 0 = background;
* COCO instances: a json with polygons or run-length masks: `annotations/instances_<split>.json`, `images/<split>/`;
* COCO panoptic: a json and a folder of RGB-coded PNGs: `annotations/panoptic_<split>.json`,
  `annotations/panoptic_<split>/`, `images/<split>/`.

The first two may carry `classes.json`: a list of names, or `{"names": [...], "ignore_index": ..., "palette_rgb":
[...]}`. Without `<split>` folders, `<split>.txt` files list the names of a split; without those a seeded fifth is the
validation split. What needs no pixels is checked when the folder is opened; images are read when asked for.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from .classes import SemanticReader
from .coco import coco_files, load_coco_file
from .layouts import Layout, find_layout
from .maps import LAYOUTS, label_folder_of, load_maps, split_folders, split_of_list
from .samples import (
    IMAGE_SUFFIXES,
    Classes,
    FolderDataset,
    HeldOut,
    Sample,
    check_sizes,
    divide,
    listing,
    matching_splits,
    read_json,
    same_split,
)
from .unrecognized import describe

__all__ = [
    "IMAGE_SUFFIXES",
    "Classes",
    "FolderDataset",
    "Sample",
    "SemanticReader",
    "check_sizes",
    "is_table",
    "list_splits",
    "listing",
    "load_coco_file",
    "load_folder",
    "read_json",
    "same_split",
]

logger = logging.getLogger(__name__)

# ---------------------------------------------------------------------------------------------------------------------
# Entry
# ---------------------------------------------------------------------------------------------------------------------


def list_splits(path: str | Path) -> list[str]:
    """Names of the splits that `load_folder` would find in a folder.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`.
    """
    path = Path(path)
    if path.is_file():
        return []
    if is_table(path):
        from .table_folders import table_splits

        return list(table_splits(path)) or ["train", "validation"]
    layout = _require_layout(path)
    if layout is not None:
        return list(layout.splits) or ["train", "validation"]
    if label_folder_of(path) is None:
        found = sorted(coco_files(path))
        return ["train", "validation"] if len(found) == 1 and not split_of_list(found[0]) else found
    folders = split_folders(path / "images") if (path / "images").is_dir() else []
    lists = sorted(file.stem for file in path.glob("*.txt") if split_of_list(file.stem))
    return folders or lists or ["train", "validation"]


def is_table(path: Path) -> bool:
    """Says whether a path is a table of `datasets`: `save_to_disk`, a parquet file, or a folder of them."""
    if path.is_file():
        return path.suffix == ".parquet"
    if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return True
    return path.is_dir() and any(any(folder.glob("*.parquet")) for folder in (path, path / "data"))


def _require_layout(path: Path) -> Layout | None:
    """Layout of another tool; None for our own and COCO.

    Raises:
        FileNotFoundError, ValueError: There is nothing that can be read; says what it looks like.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a folder or a COCO json file: {LAYOUTS}")
    if not path.is_dir() or label_folder_of(path) is not None or coco_files(path):
        return None
    layout = find_layout(path)
    if layout is None:
        inside = sorted(child.name + ("/" if child.is_dir() else "") for child in path.iterdir())
        guess = describe(path)
        raise ValueError(
            f"{path} is not a dataset that can be read: it holds {listing(inside) or 'nothing'}, but no labels/, "
            f"masks/, instances/ or annotations/*.json; {guess + '; ' if guess else ''}{LAYOUTS}"
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
    hold_out: bool = False,
) -> Any:
    """Dataset of a local folder or COCO json, with its layout recognized and checked; images are read lazily.

    Args:
        path: Folder in one of the layouts of this module, or a COCO json file.
        split: "train", "validation" (also found as val, valid, dev) or another name; None for all samples (of a COCO
            folder with several annotation files one must be chosen). Folders without splits are divided
            by `validation_fraction` and `seed`.
        image_folder: Where the images of a COCO json are, if not at the usual place beside it.
        validation_fraction: Share held out where the folder does not say.
        seed: Seed of that division, which depends on the file names and the seed alone.
        stretch_contrast: True brings every image to the full range of intensities, as very dark microscopy needs
            (`hfseg.data.readers.images.stretch_contrast`); do the same to images that the trained model is shown.
        allow_outside: Whether the file names of a COCO json may lead out of its folder.
        hold_out: Whether `validation_fraction` of the training split is held out where there is no split for
            validation; else such a folder has no validation.

    Returns:
        A `FolderDataset`; of a table of `datasets` (parquet files, a folder of `save_to_disk`) a `TableDataset`.

    Raises:
        FileNotFoundError: If the folder, its images or its labels are missing.
        ValueError: If the layout is not known, an image has no label, sizes differ, a split does not exist, or a json
            is damaged. Label values outside the classes are reported, with the file, when the sample is read.
    """
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction {validation_fraction} must lie between 0 and 1")
    held = HeldOut(validation_fraction, seed, hold_out)
    if is_table(Path(path)):
        from .table_folders import load_table_folder

        dataset: Any = load_table_folder(Path(path), split, held)
    else:
        dataset = _open_folder(Path(path), split, image_folder, held, allow_outside)
    dataset.stretch_contrast = stretch_contrast
    return dataset


def _open_folder(
    path: Path,
    split: str | None,
    image_folder: str | Path | None,
    held: HeldOut,
    allow_outside: bool,
) -> FolderDataset:
    """Recognizes the layout and opens it."""
    layout = _require_layout(path)
    if layout is not None:
        return layout.open(split, held)
    images = Path(image_folder) if image_folder is not None else None
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise ValueError(f"{path} is not a COCO json file; give a folder or a .json: {LAYOUTS}")
        if split is not None and not same_split(path.stem.split("_", 1)[-1], split):
            raise ValueError(f"{path} is a single annotation file, so split {split!r} cannot be chosen; omit split")
        return load_coco_file(path, split, "the file itself", images, allow_outside=allow_outside)
    label_folder = label_folder_of(path)
    if label_folder is not None:
        return load_maps(path, label_folder, split, held)

    files = coco_files(path)
    alone = held.from_train(files, split)
    chosen = list(files) if split is None else matching_splits(files, split, path)
    if alone is not None or (not chosen and len(files) == 1 and not split_of_list(next(iter(files)))):
        # One file that is no split (CVAT's "default", Label Studio's "result"): divided like a folder without splits.
        file = files[alone or next(iter(files))][0]
        dataset = load_coco_file(file, split, "", images, allow_outside=allow_outside)
        assert split is not None
        return dataset.restricted(*divide(dataset.samples, split, held.fraction, held.seed, file))
    if not chosen:
        raise ValueError(f"split {split!r} is not in {path}; the splits of its annotation files are {', '.join(files)}")
    if len(chosen) > 1:
        raise ValueError(f"{path} has the splits {', '.join(sorted(chosen))}; give split= to choose one")
    first = files[chosen[0]][0]
    return load_coco_file(first, split, f"file {first.name}", images, allow_outside=allow_outside)
