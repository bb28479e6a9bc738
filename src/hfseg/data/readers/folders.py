# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Local data sets: folders of pictures with label maps, and COCO annotation files.

`load_folder(path, split)` recognises four layouts (`<split>` is train, val, ...; pictures: jpg, png, webp, bmp, tif):

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
import functools
import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...files.images import open_image
from .coco import coco_files, load_coco_file
from .images import read_map
from .samples import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    Classes,
    FolderDataset,
    Sample,
    check_sizes,
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
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.suffix.lower() not in suffixes or any(part.startswith(".") for part in relative.parts):
            continue
        key = relative.with_suffix("").as_posix()
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


def _held_out(names: Sequence[str], fraction: float, seed: int) -> set[str]:
    """A seeded share of the names. A name's rank depends on the name and the seed alone, so that adding files later
    moves few samples between the splits."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return set(ranked[: max(round(fraction * len(names)), 1)])


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
        samples = [sample for name in chosen for sample in _pairs(images / name, labels / name)]
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

    if len(samples) < 2:
        raise ValueError(f"{images} holds one picture, which cannot be split; use split=None, or add pictures")
    held_out = _held_out([sample.name for sample in samples], validation_fraction, seed)
    note = f"{validation_fraction:.0%} held out for validation by seed {seed}"
    if same_split("train", split):
        return [sample for sample in samples if sample.name not in held_out], note
    if same_split("validation", split):
        return [sample for sample in samples if sample.name in held_out], note
    raise ValueError(
        f"split {split!r} does not exist: {images} has no split folders, so that there are only train and validation "
        f"({note})"
    )


def _split_of_list(stem: str) -> bool:
    return any(stem.lower() in names for names in SPLIT_NAMES.values())


def _read_classes(path: Path) -> Classes | None:
    """`classes.json` of a folder, None if there is none.

    A void class that is one of the names is left out; if that opens a gap, the classes after it move down by one.
    """
    file = path / "classes.json"
    if not file.is_file():
        return None
    content = read_json(file)
    wanted = 'a list of names, {"0": name, ...} or {"names": [...], "ignore_index": number}'
    palette, ignore = None, DEFAULT_IGNORE_INDEX
    if isinstance(content, dict) and "names" in content:
        names, ignore, palette = content["names"], content.get("ignore_index", ignore), content.get("palette_rgb")
    else:
        names = content
    if isinstance(names, dict) and all(str(key).isdigit() for key in names):
        by_value = {int(key): name for key, name in sorted(names.items(), key=lambda item: int(item[0]))}
    elif isinstance(names, list):
        by_value = dict(enumerate(names))
    else:
        raise ValueError(f"{file} is not understood; give {wanted}")
    if ignore is None:
        ignore = DEFAULT_IGNORE_INDEX
    if not isinstance(ignore, int) or not all(isinstance(name, str) for name in by_value.values()):
        raise ValueError(f"{file}: names must be text and ignore_index a whole number; give {wanted}")
    kept = [value for value in by_value if value != ignore]
    if not kept:
        raise ValueError(f"{file} names no class besides the ignore index {ignore}; give {wanted}")
    void = ignore if ignore >= len(kept) else DEFAULT_IGNORE_INDEX
    value_to_class = {value: class_id for class_id, value in enumerate(kept)} | {ignore: void}
    colours = None
    if palette is not None:
        colours = {
            (int(red), int(green), int(blue)): value
            for value, (red, green, blue) in enumerate(palette)
            if value in value_to_class
        }
    return Classes({k: by_value[value] for k, value in enumerate(kept)}, void, value_to_class, colours)


def _read_semantic_map(path: Path, colours: dict[tuple[int, int, int], int] | None) -> np.ndarray:
    """Label values of a map; an RGB map is read through the palette of `classes.json`.

    Shape:
        (H, W), int32.
    """
    if colours is None:
        return read_map(path)
    image = open_image(path)
    if len(image.getbands()) < 3:
        return read_map(path)
    pixels = np.asarray(image.convert("RGB"), dtype=np.int32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]  # (H, W)
    unique, index_map = compact_ids(codes)
    values = []
    for code in unique.tolist():
        colour = (code >> 16, code >> 8 & 255, code & 255)
        if colour not in colours:
            raise ValueError(
                f"{path} holds the colour {colour}, which is not in palette_rgb of classes.json; correct the label or "
                "the palette"
            )
        values.append(colours[colour])
    return np.array(values, dtype=np.int32)[index_map]


@dataclasses.dataclass(frozen=True)
class SemanticReader:
    """Class map of a label file; values that are no class are an error."""

    classes: Classes
    read_values: Callable[[Path], np.ndarray] | None = None  # of a label file; None: a PNG, maybe in palette colours

    def __call__(self, sample: Sample) -> dict[str, Any]:
        if self.read_values is not None:
            values = self.read_values(sample.label)
        else:
            values = _read_semantic_map(sample.label, self.classes.colours)
        table = self._table
        if values.min() >= 0 and values.max() < len(table):
            classes = table.take(values)
            if classes.min() >= 0:
                return {"segmentation_map": classes}
        wrong = [value for value in np.unique(values).tolist() if value not in self.classes.value_to_class]
        raise ValueError(
            f"{sample.label} holds the label value(s) {wrong[:8]}; legal are the "
            f"{len(self.classes.id2label)} classes ({listing(sorted(self.classes.value_to_class), 12)}, void "
            "included); correct the label"
            + ("" if self.read_values is not None else ", name the class in classes.json, or set its ignore_index")
        )

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """Class of every label value, -1 for values that are none; a file cannot hold negative ones."""
        of_value = {value: class_id for value, class_id in self.classes.value_to_class.items() if value >= 0}
        table = np.full(max(of_value) + 1, -1, dtype=np.int32)
        table[list(of_value)] = list(of_value.values())
        return table


@dataclasses.dataclass(frozen=True)
class _InstanceReader:
    def __call__(self, sample: Sample) -> dict[str, Any]:
        segmentation = read_map(sample.label)
        present, _ = compact_ids(segmentation)
        if present[0] < 0:
            raise ValueError(f"{sample.label} holds the negative id {present[0]}; ids are 0 (background) to 65535")
        segments = segments_from_map(segmentation, dict.fromkeys(present.tolist(), 0))
        return {"segmentation": segmentation, "segments_info": segments}


def _scan_classes(samples: Sequence[Sample]) -> Classes:
    """Classes of labels without `classes.json`: the values that occur, 255 void."""
    values: set[int] = set()
    for sample in samples:
        values.update(compact_ids(read_map(sample.label))[0].tolist())
    classes = sorted(values - {DEFAULT_IGNORE_INDEX})
    if not classes:
        raise ValueError(f"the {len(samples)} labels hold nothing but void ({DEFAULT_IGNORE_INDEX}); check the labels")
    if classes[0] < 0 or classes[-1] >= 1000:
        raise ValueError(
            f"the labels hold values from {classes[0]} to {classes[-1]}, which do not look like class ids; add "
            "classes.json, or put object ids into instances/ instead of labels/"
        )
    highest = classes[-1]
    void = DEFAULT_IGNORE_INDEX
    id2label = {value: f"class_{value}" for value in range(highest + 1) if value != void}
    if highest > void:
        raise ValueError(
            f"the labels hold values above {void} (up to {highest}); add classes.json to say which is void"
        )
    return Classes(id2label, void, {value: value for value in id2label} | {void: void})


def _load_maps(
    path: Path, label_folder: str, split: str | None, validation_fraction: float, seed: int
) -> FolderDataset:
    if not (path / "images").is_dir():
        raise FileNotFoundError(f"{path / 'images'} does not exist, but {path / label_folder} does; {_LAYOUTS}")
    samples, note = _choose_split(path, label_folder, split, validation_fraction, seed)
    check_sizes(samples)
    classes = _read_classes(path)
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
    if classes is None:  # over all splits, so that every split has the same classes
        classes = _scan_classes(_choose_split(path, label_folder, None, validation_fraction, seed)[0])
    stuff = tuple(classes.id2label)
    reader = SemanticReader(classes)
    return FolderDataset("semantic", path, split, note, samples, reader, classes.id2label, stuff, classes.ignore_index)


# ---------------------------------------------------------------------------------------------------------------------
# Entry
# ---------------------------------------------------------------------------------------------------------------------


def _label_folder(path: Path) -> str | None:
    return next((name for name in ("labels", "masks", "instances") if (path / name).is_dir()), None)


def list_splits(path: str | Path) -> list[str]:
    """Names of the splits that `load_folder` would find in a folder.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`.
    """
    path = Path(path)
    if path.is_file():
        return []
    _require_layout(path)
    if _label_folder(path) is None:
        return sorted(coco_files(path))
    folders = _split_folders(path / "images") if (path / "images").is_dir() else []
    lists = sorted(file.stem for file in path.glob("*.txt") if _split_of_list(file.stem))
    return folders or lists or ["train", "validation"]


def _require_layout(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a folder or a COCO json file: {_LAYOUTS}")
    if path.is_dir() and _label_folder(path) is None and not coco_files(path):
        inside = sorted(child.name + ("/" if child.is_dir() else "") for child in path.iterdir())
        raise ValueError(
            f"{path} is not a data set that can be read: it holds {listing(inside) or 'nothing'}, but no labels/, "
            f"masks/, instances/ or annotations/*.json; {_LAYOUTS}"
        )


def load_folder(
    path: str | Path,
    split: str | None = None,
    *,
    image_folder: str | Path | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    stretch_contrast: bool = False,
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

    Raises:
        FileNotFoundError: If the folder, its pictures or its labels are missing.
        ValueError: If the layout is not known, a picture has no label, sizes differ, a split does not exist, or a json
            is damaged. Label values outside the classes are reported, with the file, when the sample is read.
    """
    dataset = _open_folder(Path(path), split, image_folder, validation_fraction, seed)
    dataset.stretch_contrast = stretch_contrast
    return dataset


def _open_folder(
    path: Path, split: str | None, image_folder: str | Path | None, validation_fraction: float, seed: int
) -> FolderDataset:
    """Recognises the layout and opens it."""
    if not 0 < validation_fraction < 1:
        raise ValueError(f"validation_fraction {validation_fraction} must lie between 0 and 1")
    _require_layout(path)
    images = Path(image_folder) if image_folder is not None else None
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise ValueError(f"{path} is not a COCO json file; give a folder or a .json: {_LAYOUTS}")
        if split is not None and not same_split(path.stem.split("_", 1)[-1], split):
            raise ValueError(f"{path} is a single annotation file, so split {split!r} cannot be chosen; omit split")
        return load_coco_file(path, split, "the file itself", images)
    label_folder = _label_folder(path)
    if label_folder is not None:
        return _load_maps(path, label_folder, split, validation_fraction, seed)

    files = coco_files(path)
    chosen = list(files) if split is None else [name for name in files if same_split(name, split)]
    if not chosen:
        raise ValueError(f"split {split!r} is not in {path}; the splits of its annotation files are {', '.join(files)}")
    if len(chosen) > 1:
        raise ValueError(f"{path} has the splits {', '.join(sorted(chosen))}; give split= to choose one")
    return load_coco_file(files[chosen[0]][0], split, f"file {files[chosen[0]][0].name}", images)
