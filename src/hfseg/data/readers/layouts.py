# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Layouts of other tools, read as they are.

| layout | files | kind |
|---|---|---|
| Cityscapes | `leftImg8bit/`, `gtFine/` | semantic |
| Pascal VOC | `JPEGImages/`, `SegmentationClass/`, `ImageSets/Segmentation/*.txt` | semantic |
| ADE20K | `images/{training,validation}/`, `annotations/{training,validation}/` | semantic |
| mmsegmentation | `img_dir/<split>/`, `ann_dir/<split>/` | semantic |
| split first | `<split>/images/`, `<split>/masks/` (or `labels/`, `annotations/`) | semantic |
| masks beside images | `NAME.jpg`, `NAME_mask.png`; Roboflow adds `_classes.csv` | semantic |
| YOLO segmentation | `data.yaml`, `labels/<split>/NAME.txt` or `<split>/labels/NAME.txt` | instance |
| labelme | `NAME.jpg`, `NAME.json` | instance |
| nnU-Net raw (2-D) | `dataset.json`, `imagesTr/NAME_0000.png`, `labelsTr/NAME.png` | semantic |

Without splits of their own a seeded share is held out, as for every folder. Class names come from the layout's own
file, from `classes.json`, or are `class_0`, `class_1`, ...
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...files.label_names import PASCAL_VOC
from ...files.listing import list_files, list_folders
from ...results.run_lengths import decode_segmentation, draw_polygons, draws_nothing
from .classes import SemanticReader, read_classes, say_what_is_empty, scan_classes, settle_binary
from .images import image_size, upright_size
from .official import load_official
from .samples import (
    IMAGE_SUFFIXES,
    LOSSY_SUFFIXES,
    MASK_SUFFIXES,
    SPLIT_NAMES,
    Classes,
    FolderDataset,
    HeldOut,
    Sample,
    check_sizes,
    check_unique,
    divide,
    listing,
    matching_splits,
    read_json,
    refuse_lossy,
    same_split,
    say_what_is_nothing,
)
from .schema import DEFAULT_IGNORE_INDEX, segments_from_map

__all__ = ["Layout", "find_layout", "is_split", "nnunet_labels"]

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "ann", "gt", "segmentations")
MASK_ENDINGS = ("_mask", "_label", "_labels", "_seg", "_segmentation", "_gt", "-mask", "_labelTrainIds")
_LOOKED_AT = 500  # samples whose annotations are looked at when a dataset is opened
_ALL = "all"  # the only split of a layout that has none


@dataclasses.dataclass(frozen=True)
class Layout:
    """A recognized layout.

    Attributes:
        name: In words.
        splits: Its splits, empty if it has none.
        open: Makes the dataset from (split or None, what is held out).
    """

    name: str
    splits: tuple[str, ...]
    open: Callable[[str | None, HeldOut], FolderDataset]


def find_layout(path: Path) -> Layout | None:
    """Recognizes the layout of a folder; None for one of another kind.

    Raises:
        FileNotFoundError, ValueError: The layout is recognized, and something of it is missing or damaged.
    """
    for find in (_cityscapes, _voc, _yolo, _nnunet, _mmseg, _ade20k, _split_first, _labelme, _masks_beside):
        layout = find(path)
        if layout is not None:
            return layout
    inner = list_folders(path)
    if len(inner) == 1 and not any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir()):
        return find_layout(inner[0])
    return None


def is_split(name: str) -> bool:
    """Says whether a folder's or file's name is that of a split."""
    plain = re.sub(r"(19|20)\d\d$", "", name.lower())
    return any(plain in names for names in SPLIT_NAMES.values())


def _split_folders(path: Path) -> list[Path]:
    return [folder for folder in list_folders(path) if is_split(folder.name)]


def _choose(
    samples: Mapping[str, list[Sample]], split: str | None, held: HeldOut, where: Path
) -> tuple[list[Sample], str]:
    """Samples of a split, and how it came about."""
    fraction, seed = held.fraction, held.seed
    if split is None:
        prefixed = len(samples) > 1
        return [
            dataclasses.replace(sample, name=f"{name}/{sample.name}") if prefixed else sample
            for name, members in samples.items()
            for sample in members
        ], "all samples"
    if set(samples) == {_ALL}:
        return divide(samples[_ALL], split, fraction, seed, where)
    alone = held.from_train(samples, split)
    if alone is not None:
        return divide(samples[alone], split, fraction, seed, where / alone)
    chosen = matching_splits(samples, split, where)
    if not chosen:
        raise ValueError(f"split {split!r} is not in {where}; the splits there are {', '.join(samples)}")
    return [sample for name in chosen for sample in samples[name]], f"split {', '.join(chosen)} of the layout"


def _semantic(path: Path, name: str, samples: Mapping[str, list[Sample]], classes: Classes | None = None) -> Layout:
    """A layout of class maps; classes are those given, of `classes.json`, or the values that occur."""
    if not any(samples.values()):
        raise ValueError(f"{path} looks like {name}, but holds no image with a label")

    def load(split: str | None, held: HeldOut) -> FolderDataset:
        chosen, note = _choose(samples, split, held, path)
        check_sizes(chosen)
        everything = [sample for members in samples.values() for sample in members]
        known = classes or read_classes(path)
        known = scan_classes(everything) if known is None else settle_binary(known, everything)
        say_what_is_empty(chosen, known, split is None or same_split("train", split), str(path))
        return FolderDataset(
            "semantic",
            path,
            split,
            f"{name}: {note}",
            chosen,
            SemanticReader(known),
            known.id2label,
            tuple(known.id2label),
            known.ignore_index,
        )

    return Layout(name, tuple(key for key in samples if key != _ALL), load)


def _instances(path: Path, name: str, samples: Mapping[str, list[Sample]], names: Sequence[str], reader: Any) -> Layout:
    def load(split: str | None, held: HeldOut) -> FolderDataset:
        chosen, note = _choose(samples, split, held, path)
        looked_at, empty = 0, []
        for sample in chosen[:: len(chosen) // _LOOKED_AT + 1]:
            try:
                held_there = reader.segmentations(sample)
            except (OSError, ValueError, TypeError):
                continue  # said when the sample is read
            looked_at += len(held_there)
            empty += [where for where, segmentation, size in held_there if draws_nothing(segmentation, size)]
        say_what_is_nothing(path, empty, looked_at)
        id2label = dict(enumerate(names))
        note = f"{name}: {note}"
        return FolderDataset("instance", path, split, note, chosen, reader, id2label, (), DEFAULT_IGNORE_INDEX)

    return Layout(name, tuple(key for key in samples if key != _ALL), load)


def _paired(images: Path, masks: Path, what: str, image_ending: str = "", mask_ending: str = "") -> list[Sample]:
    """Images and masks of one name, at any depth."""
    found = _by_key(images, IMAGE_SUFFIXES, image_ending)
    labels = _by_key(masks, MASK_SUFFIXES, mask_ending)
    missing = [key for key in found if key not in labels]
    if found and not any(key in labels for key in found) and not mask_ending:  # NAME_mask.png in a folder of their own
        ending = next((e for e in MASK_ENDINGS if f"{next(iter(found))}{e}" in labels), None)
        if ending is not None:
            return _paired(images, masks, what, image_ending, ending)
    if missing:
        for ending in (mask_ending,) if mask_ending else ("", *MASK_ENDINGS):
            refuse_lossy(masks, missing, ending)
        raise ValueError(
            f"{what}: {len(missing)} of {len(found)} images in {images} have no mask in {masks}: {listing(missing)}; "
            "add NAME.png for each of them, or move these images elsewhere"
        )
    return [Sample(key, file, labels[key]) for key, file in found.items()]


def _by_key(folder: Path, suffixes: Sequence[str], ending: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in list_files(folder, suffixes):
        key = file.relative_to(folder).with_suffix("").as_posix()
        if not key.endswith(ending):
            continue
        other = found.setdefault(key.removesuffix(ending), file)
        if other != file:
            raise ValueError(f"{other} and {file} have the same name; keep one of them")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Class maps
# ---------------------------------------------------------------------------------------------------------------------


def _official(path: Path, name: str, dataset: str, splits: tuple[str, ...]) -> Layout:
    def load(split: str | None, held: HeldOut) -> FolderDataset:
        if split is None:
            raise ValueError(f"{path} looks like {name} and has the splits {', '.join(splits)}; give split=")
        return load_official(dataset, path, split)

    return Layout(name, splits, load)


def _cityscapes(path: Path) -> Layout | None:
    if not ((path / "leftImg8bit").is_dir() and (path / "gtFine").is_dir()):
        return None
    return _official(path, "Cityscapes", "cityscapes_semantic", ("train", "validation"))


def _ade20k(path: Path) -> Layout | None:
    images, labels = path / "images", path / "annotations"
    if not (images.is_dir() and labels.is_dir()) or not any((labels / s.name).is_dir() for s in _split_folders(images)):
        return None
    if (images / "training").is_dir() and not (path / "classes.json").is_file():
        return _official(path, "ADE20K", "ade20k_semantic", ("train", "validation"))
    return _semantic(
        path,
        "images/<split> with annotations/<split>",
        {s.name: _paired(s, labels / s.name, "class maps") for s in _split_folders(images)},
    )


def _mmseg(path: Path) -> Layout | None:
    images, labels = path / "img_dir", path / "ann_dir"
    if not (images.is_dir() and labels.is_dir()):
        return None
    folders = _split_folders(images)
    samples = {s.name: _paired(s, labels / s.name, "mmsegmentation") for s in folders}
    return _semantic(path, "mmsegmentation", samples or {_ALL: _paired(images, labels, "mmsegmentation")})


def _voc(path: Path) -> Layout | None:
    masks = next((path / n for n in ("SegmentationClass", "SegmentationClassPNG") if (path / n).is_dir()), None)
    if masks is None or not (path / "JPEGImages").is_dir():
        return None
    images, labels = _by_key(path / "JPEGImages", IMAGE_SUFFIXES, ""), _by_key(masks, MASK_SUFFIXES, "")
    samples: dict[str, list[Sample]] = {}
    for file in sorted((path / "ImageSets" / "Segmentation").glob("*.txt")):
        if not is_split(file.stem):
            continue
        names = [line.split()[0] for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        lost = [name for name in names if name not in images or name not in labels]
        if lost:
            raise FileNotFoundError(f"{file} names {len(lost)} samples without image or class map: {listing(lost)}")
        samples[file.stem] = [Sample(name, images[name], labels[name]) for name in names]
    if not samples:
        samples[_ALL] = [Sample(name, images[name], label) for name, label in labels.items() if name in images]
    return _semantic(path, "Pascal VOC", samples, _voc_classes(path))


def _voc_classes(path: Path) -> Classes | None:
    """Classes of CVAT's `labelmap.txt`, labelme's `class_names.txt`, or VOC; None where `classes.json` has them."""
    if (path / "classes.json").is_file():
        return None
    labelmap, class_names = path / "labelmap.txt", path / "class_names.txt"
    if labelmap.is_file():
        names: list[str] = []
        colors: dict[tuple[int, int, int], int] = {}
        for line in labelmap.read_text(encoding="utf-8-sig").splitlines():
            parts = line.split("#")[0].strip().split(":")
            if len(parts) < 2 or not parts[0]:
                continue
            try:
                red, green, blue = (int(value) for value in parts[1].split(","))
            except ValueError as error:
                raise ValueError(f"{labelmap}: the line {line!r} is not name:red,green,blue:parts:actions") from error
            colors[red, green, blue] = len(names)
            names.append(parts[0])
        if not names:
            raise ValueError(f"{labelmap} names no class")
        check_unique(names, "class name", labelmap)
        table = {value: value for value in range(len(names))}
        return Classes(dict(enumerate(names)), DEFAULT_IGNORE_INDEX, table | {255: 255}, colors, True)
    if class_names.is_file():
        names = [line.strip() for line in class_names.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        names = [name for name in names if name != "__ignore__"]
        check_unique(names, "class name", class_names)
        table = {value: value for value in range(len(names))}
        return Classes(dict(enumerate(names)), DEFAULT_IGNORE_INDEX, table | {255: 255}, None, True)
    table = {value: value for value in range(len(PASCAL_VOC))}
    return Classes(dict(enumerate(PASCAL_VOC)), DEFAULT_IGNORE_INDEX, table | {255: 255}, None, True)


def _split_first(path: Path) -> Layout | None:
    samples = {}
    for folder in _split_folders(path):
        images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
        masks = next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)
        if images is not None and masks is not None and list_files(masks, (*MASK_SUFFIXES, *LOSSY_SUFFIXES)):
            samples[folder.name] = _paired(images, masks, "split folders")
    if not samples:  # image/ with mask/ and other spellings; images/ with masks/ is our own
        images = next((path / name for name in IMAGE_FOLDERS if (path / name).is_dir()), None)
        masks = next((path / name for name in MASK_FOLDERS if (path / name).is_dir()), None)
        if images is None or masks is None or not list_files(masks, (*MASK_SUFFIXES, *LOSSY_SUFFIXES)):
            return None
        samples[_ALL] = _paired(images, masks, "images and masks")
    return _semantic(path, "split folders with images and masks", samples)


def _masks_beside(path: Path) -> Layout | None:
    folders = _split_folders(path)
    samples = {folder.name: _beside(folder) for folder in folders}
    samples = {name: members for name, members in samples.items() if members}
    if not samples:
        samples = {_ALL: _beside(path)}
    if not any(samples.values()):
        return None
    table = next((f / "_classes.csv" for f in (*folders, path) if (f / "_classes.csv").is_file()), None)
    name = "NAME.jpg with NAME_mask.png" if table is None else "Roboflow masks with _classes.csv"
    return _semantic(path, name, samples, None if table is None else _roboflow_classes(table))


def _beside(folder: Path) -> list[Sample]:
    """Images of a folder that have a mask beside them."""
    files: dict[str, Path] = {}
    doubled: dict[str, Path] = {}
    for file in list_files(folder, sorted({*IMAGE_SUFFIXES, *MASK_SUFFIXES})):
        key = file.relative_to(folder).with_suffix("").as_posix()
        if files.setdefault(key, file) != file:
            doubled[key] = file
    masks: dict[str, Path] = {}
    lossy: list[tuple[str, str]] = []
    for ending in MASK_ENDINGS:
        for key, file in files.items():
            if not key.endswith(ending) or key.removesuffix(ending) not in files:
                continue
            if file.suffix.lower() in MASK_SUFFIXES:
                masks.setdefault(key.removesuffix(ending), file)
            else:
                lossy.append((key.removesuffix(ending), ending))
    for key, ending in lossy:
        if key not in masks:
            refuse_lossy(folder, [key], ending)
    if not masks:
        return []
    for key, file in doubled.items():
        if key in masks or files[key] in masks.values():
            raise ValueError(f"{files[key]} and {file} have the same name; keep one of them")
    taken = set(masks.values())
    bare = [key for key, file in files.items() if key not in masks and file not in taken]
    if bare:
        raise ValueError(f"{len(bare)} images in {folder} have no NAME_mask.png beside them: {listing(bare)}")
    return [Sample(key, files[key], mask) for key, mask in masks.items()]


def _roboflow_classes(file: Path) -> Classes:
    """Classes of Roboflow's table: pixel value and name."""
    with file.open(newline="", encoding="utf-8-sig") as handle:
        rows = [row for row in csv.reader(handle) if len(row) >= 2 and row[0].strip().isdigit()]
    names = {int(row[0]): row[1].strip() for row in rows}
    check_unique([int(row[0]) for row in rows], "pixel value", file)
    check_unique(names.values(), "class name", file)
    if not names or sorted(names) != list(range(len(names))):
        raise ValueError(f"{file} must list the pixel values 0, 1, 2, ... with a name each, not {sorted(names)}")
    return Classes(names, DEFAULT_IGNORE_INDEX, {value: value for value in names} | {255: 255})


def _nnunet(path: Path) -> Layout | None:
    file = path / "dataset.json"
    if not (file.is_file() and (path / "imagesTr").is_dir() and (path / "labelsTr").is_dir()):
        return None
    content = read_json(file, unique_keys=True)
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise ValueError(f"{file} has no labels; nnU-Net's has labels with a number each")
    images = list_files(path / "imagesTr", IMAGE_SUFFIXES)
    if not images:

        def refuse(split: str | None, held: HeldOut) -> FolderDataset:
            raise ValueError(
                f"{path} looks like an nnU-Net or Decathlon folder of volumes, which recipes of images do not read: "
                "train with a recipe of volumes (those with data.name: medical), or read it by hfseg.data.load_medical"
            )

        return Layout("nnU-Net volumes", (), refuse)
    several = sorted({file.stem[-5:] for file in images if re.search(r"_\d{4}$", file.stem)} - {"_0000"})
    if several:
        raise ValueError(
            f"{path} has {1 + len(several)} channels in files of their own; only color or gray images are read"
        )
    samples = _paired(path / "imagesTr", path / "labelsTr", "nnU-Net", "_0000")
    names = nnunet_labels(content, file)
    table = {value: class_id for class_id, value in enumerate(v for v in names if names[v] != "ignore")}
    ignored = [value for value, name in names.items() if name == "ignore"]
    classes = Classes(
        {class_id: names[value] for value, class_id in table.items()},
        DEFAULT_IGNORE_INDEX,
        table | dict.fromkeys([*ignored, 255], 255),
        None,
        bool(ignored),
    )
    return _semantic(path, "nnU-Net", {_ALL: samples}, classes)


def nnunet_labels(content: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Names of label values in nnU-Net's `dataset.json`: version 1 goes from number to name, version 2 back."""
    pairs: list[tuple[int, str]] = []
    for key, value in content["labels"].items():
        if str(key).isdigit():
            pairs.append((int(key), str(value)))
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs.append((value, str(key)))
        else:
            raise ValueError(f"{file}: label {key!r} has the value {value!r}; regions of several values are not read")
    check_unique([value for value, _ in pairs], "label value", file)
    check_unique([name for _, name in pairs], "class name", file)
    return dict(sorted(pairs))


# ---------------------------------------------------------------------------------------------------------------------
# Outlines
# ---------------------------------------------------------------------------------------------------------------------


def _drawn(size: tuple[int, int], shapes: Sequence[tuple[Any, int]]) -> dict[str, Any]:
    """Item of instances from polygons, smaller over larger, with the instances' own masks."""
    masks = [(int(mask.sum()), mask, class_id) for mask, class_id in shapes]
    masks.sort(key=lambda item: -item[0])
    segmentation = np.zeros(size, dtype=np.int32)
    for segment_id, (_, mask, _) in enumerate(masks, start=1):
        segmentation[mask] = segment_id
    classes = {segment_id: class_id for segment_id, (_, _, class_id) in enumerate(masks, start=1)}
    annotations = [{"segmentation": mask, "category_id": class_id, "iscrowd": 0} for _, mask, class_id in masks]
    return {
        "segmentation": segmentation,
        "segments_info": segments_from_map(segmentation, classes),
        "instances": {"height": size[0], "width": size[1], "annotations": annotations},
    }


@dataclasses.dataclass(frozen=True)
class _YoloReader:
    """Instances of a YOLO segmentation file: a class and an outline in shares of width and height per line.

    As YOLO itself does, shares are taken of the image turned upright by its EXIF orientation.
    """

    own_masks: ClassVar[bool] = True
    num_labels: int

    def __call__(self, sample: Sample) -> dict[str, Any]:
        size = upright_size(sample.image)
        shapes = []
        for where, outline, class_id in self._outlines(sample, size):
            try:
                shapes.append((draw_polygons([outline], size), class_id))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        return _drawn(size, shapes)

    def segmentations(self, sample: Sample) -> list[tuple[str, Any, tuple[int, int]]]:
        """Place, segmentation and size of what a sample holds."""
        size = upright_size(sample.image)
        return [(where, [outline], size) for where, outline, _ in self._outlines(sample, size)]

    def _outlines(self, sample: Sample, size: tuple[int, int]) -> list[tuple[str, list[float], int]]:
        found = []
        text = sample.label.read_text(encoding="utf-8-sig") if sample.label.is_file() else ""  # none: no object
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            where = f"{sample.label}, line {number}"
            if not words:
                continue
            if len(words) == 5:
                raise ValueError(
                    f"{where} is a box (YOLO detection); segmentation needs outlines, class x y x y x y ..."
                )
            try:
                class_id, values = int(words[0]), [float(word) for word in words[1:]]
            except ValueError as error:
                raise ValueError(f"{where} is not a class and numbers: {line[:60]!r}") from error
            if not 0 <= class_id < self.num_labels:
                raise ValueError(f"{where} has the class {class_id}; data.yaml names 0 to {self.num_labels - 1}")
            found.append((where, [value * size[1 - place % 2] for place, value in enumerate(values)], class_id))
        return found


def _yolo(path: Path) -> Layout | None:
    file = next((path / name for name in ("data.yaml", "data.yml", "dataset.yaml") if (path / name).is_file()), None)
    if file is None:
        return None
    content = _read_yaml(file)
    names = _yolo_names(content, file)
    samples = {}
    for split in ("train", "val", "test"):
        folder = _yolo_images(path, split, content)
        members = [] if folder is None else _yolo_samples(folder)
        if members:
            samples[split] = members
    if not samples:
        raise FileNotFoundError(f"{file} looks like YOLO, but its folders of images were not found below {path}")
    if set(samples) == {"train"}:  # a copy without validation: held out, like everywhere
        samples = {_ALL: samples["train"]}
    return _instances(path, "YOLO segmentation", samples, names, _YoloReader(len(names)))


def _read_yaml(file: Path) -> Any:
    """Content of a YAML file, in which no key is given twice: the last would count."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8-sig")
        content = yaml.safe_load(text)
        nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is no YAML: {' '.join(str(error).split())[:200]}") from error
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode) and id(node) not in seen:
            seen.add(id(node))
            check_unique([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)], "key", file)
            nodes += [value for _, value in node.value]
    return content


def _yolo_names(content: Any, file: Path) -> list[str]:
    """Class names of `data.yaml`: a list, or an object from 0, 1, ... to names."""
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{file} has no list of names; YOLO's data.yaml names the classes 0, 1, 2, ...")
    check_unique(map(str, names), "class name", file)
    return [str(name) for name in names]


def _yolo_images(path: Path, split: str, content: Mapping[str, Any]) -> Path | None:
    """Folder of a split's images: where `data.yaml` says, which is often said of another machine, or a usual place."""
    folders = [path / split / "images", path / "images" / split]
    folders += [path / "valid" / "images", path / "images" / "valid"] if split == "val" else []
    given = content.get(split)
    if isinstance(given, str):
        below = str(content.get("path") or "")
        folders = [path / below / given, path / given, path / given.removeprefix("../"), *folders]
    return next((one for one in folders if one.is_dir()), None)


def _yolo_samples(folder: Path) -> list[Sample]:
    """Images of a folder with their text files, which are in the same place below `labels`, or beside them."""
    parts = list(folder.parts)
    at = len(parts) - 1 - parts[::-1].index("images") if "images" in parts else None
    labels = Path(*parts[:at], "labels", *parts[at + 1 :]) if at is not None else folder
    members = []
    for image in list_files(folder, IMAGE_SUFFIXES):
        relative = image.relative_to(folder).with_suffix("")
        members.append(Sample(relative.as_posix(), image, labels / relative.parent / f"{relative.name}.txt"))
    if members and not any(member.label.is_file() for member in members):
        raise FileNotFoundError(f"none of the {len(members)} images in {folder} has a label NAME.txt in {labels}")
    return members


@dataclasses.dataclass(frozen=True)
class _LabelmeReader:
    own_masks: ClassVar[bool] = True
    class_of: dict[str, int]

    def __call__(self, sample: Sample) -> dict[str, Any]:
        content = _labelme_json(sample.label)
        size = self._size(sample, content)
        groups: dict[Any, tuple[np.ndarray, int]] = {}
        for number, shape in enumerate(content["shapes"]):
            where = f"{sample.label}, shape {number}"
            try:
                mask = decode_segmentation([_outline(shape)], size)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{where}: {error}") from error
            class_id = self.class_of[str(shape.get("label"))]
            group = shape.get("group_id")
            key = (number, None) if group is None else (group, class_id)
            groups[key] = (groups[key][0] | mask if key in groups else mask, class_id)
        return _drawn(size, list(groups.values()))

    def segmentations(self, sample: Sample) -> list[tuple[str, Any, tuple[int, int]]]:
        """Place, segmentation and size of what a sample holds."""
        content = _labelme_json(sample.label)
        size = self._size(sample, content)
        shapes = enumerate(content["shapes"])
        return [(f"shape {number} of {sample.label}", [_outline(shape)], size) for number, shape in shapes]

    def _size(self, sample: Sample, content: Mapping[str, Any]) -> tuple[int, int]:
        """Size of the image as the annotator saw it: upright, as labelme shows it, unless the file says otherwise."""
        upright, stored = upright_size(sample.image), image_size(sample.image)
        stated = (content.get("imageHeight"), content.get("imageWidth"))
        if None in stated or stated == upright:
            return upright
        if stated == stored:
            return stored
        raise ValueError(f"{sample.label} is for an image of {stated} (height, width); {sample.image} has {upright}")


def _outline(shape: Mapping[str, Any]) -> list[float]:
    """Outline of a labelme shape in pixels."""
    points = np.array(shape.get("points"), dtype=np.float64)
    kind = shape.get("shape_type", "polygon")
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"its points are {str(shape.get('points'))[:60]}; give [[x, y], ...]")
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    elif kind == "circle" and len(points) == 2:
        radius, angles = np.linalg.norm(points[1] - points[0]), np.arange(64) * 2 * np.pi / 64
        points = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif kind != "polygon":
        raise ValueError(f"shapes of the type {kind!r} have no area; only polygon, rectangle and circle are read")
    return points.ravel().tolist()


def _labelme_json(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError(f"{file} is no labelme file: it has no list of shapes")
    if not all(isinstance(shape, dict) for shape in content["shapes"]):
        raise ValueError(f"{file}: every shape must be an object")
    return content


def _labelme(path: Path) -> Layout | None:
    files = [file for file in list_files(path, (".json",)) if file.name not in ("classes.json", "dataset.json")]
    if not files or not _looks_like_labelme(files[0]):
        return None
    samples: dict[str, list[Sample]] = {}
    names = set()
    for file in files:
        content = _labelme_json(file)
        names |= {str(shape.get("label")) for shape in content["shapes"]}
        image = next((file.with_suffix(s) for s in IMAGE_SUFFIXES if file.with_suffix(s).is_file()), None)
        if image is None and isinstance(content.get("imagePath"), str):
            given = file.parent / Path(content["imagePath"].replace("\\", "/")).name
            image = given if given.is_file() else None
        if image is None:
            raise FileNotFoundError(f"the image of {file} is not beside it (imagePath {content.get('imagePath')!r})")
        relative = file.relative_to(path)
        split = relative.parts[0] if len(relative.parts) > 1 and is_split(relative.parts[0]) else _ALL
        key = (relative if split == _ALL else relative.relative_to(split)).with_suffix("").as_posix()
        samples.setdefault(split, []).append(Sample(key, image, file))
    if _ALL in samples and len(samples) > 1:
        samples = {_ALL: [sample for members in samples.values() for sample in members]}
    classes = sorted(names - {"__ignore__"})
    if not classes:
        raise ValueError(f"{path} looks like labelme, but its {len(files)} files hold no shape")
    reader = _LabelmeReader({name: class_id for class_id, name in enumerate(classes)})
    return _instances(path, "labelme", samples, classes, reader)


def _looks_like_labelme(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8-sig") as handle:
            start = handle.read(1 << 20)
    except (OSError, UnicodeDecodeError):
        return False
    return '"shapes"' in start
