# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO annotation files: instances with polygons or run lengths, and panoptic segments with RGB-coded id maps.

What can be read is read: a byte order mark, numbers written as text, Windows' backslashes, file names in another
Unicode form. Everything else ends in a `ValueError` that names the file and the entry.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from ...files.images import DEFAULT_MAX_PIXELS
from ...results.run_lengths import decode_segmentation, draws_nothing
from .images import image_size, read_rgb_ids, upright_size
from .samples import (
    FolderDataset,
    Sample,
    check_sizes,
    check_unique,
    listing,
    read_json,
    relative_key,
    say_what_is_nothing,
)
from .schema import DEFAULT_IGNORE_INDEX, segments_from_map

__all__ = [
    "check_inside",
    "coco_files",
    "find_file",
    "load_coco_file",
    "read_coco",
    "read_coco_masks",
    "sample_keys",
]

logger = logging.getLogger(__name__)

_LOOKED_AT = 20_000


# ---------------------------------------------------------------------------------------------------------------------
# Reading the json
# ---------------------------------------------------------------------------------------------------------------------


def _whole(value: Any) -> int | None:
    """A whole number, also one written as text or as a float; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    if isinstance(value, str) and len(value.strip()) < 20:
        try:
            return int(value.strip())
        except ValueError:
            return None
    return None


def _identity(entry: Mapping[str, Any], key: str, where: str) -> Any:
    """An id: a whole number, or other text."""
    value = entry.get(key)
    number = _whole(value)
    if number is not None:
        return number
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{where} has {'no ' + key if value is None else f'the {key} {value!r}'}; give a number")


def _number(entry: Mapping[str, Any], key: str, where: str) -> int:
    number = _whole(entry.get(key))
    if number is None:
        given = entry.get(key)
        raise ValueError(f"{where} has {'no ' + key if given is None else f'the {key} {given!r}'}; give a whole number")
    return number


def _entries(content: Mapping[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    entries = content[key]
    if not isinstance(entries, list):
        raise ValueError(f"{file}: {key} is a {type(entries).__name__}; it must be a list of objects")
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{file}: entry {position} of {key} is {str(entry)[:40]!r}; it must be an object")
    return entries


def _flag(entry: Mapping[str, Any], key: str, default: int, where: str) -> int:
    value = entry.get(key, default)
    if value is None or isinstance(value, bool):
        return int(bool(default if value is None else value))
    number = _whole(value)
    if number not in (0, 1):
        raise ValueError(f"{where} has the {key} {value!r}; it must be 0 or 1")
    return number


def read_coco(file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Images, annotations and categories of a COCO json, checked, with ids and sizes as numbers.

    Annotations of panoptic files keep their `segments_info`, checked too.

    Raises:
        ValueError: The json is damaged, is no COCO annotation file, lacks a field, or contradicts itself; the message
            names the file and the entry.
    """
    content = read_json(file)
    given = content if isinstance(content, dict) else {}
    missing = [key for key in ("images", "annotations", "categories") if key not in given]
    if missing:
        raise ValueError(
            f"{file} lacks {', '.join(missing)}; a COCO annotation file has images, annotations, categories"
        )
    images, annotations, categories = (_entries(content, key, file) for key in ("images", "annotations", "categories"))
    if not images or not annotations or not categories:
        raise ValueError(
            f"{file} has {len(images)} images, {len(annotations)} annotations and {len(categories)} categories; each "
            "must be at least one (a test file without annotations cannot be used)"
        )
    images = [_image(entry, f"{file}, entry {position} of images") for position, entry in enumerate(images)]
    categories = [_category(entry, position, file) for position, entry in enumerate(categories)]
    _check_own_ids("image", images, file)
    _check_own_ids("category", categories, file)
    panoptic = "segments_info" in annotations[0]
    read = [_annotation(entry, position, file, panoptic) for position, entry in enumerate(annotations)]
    known = {image["id"] for image in images}
    for entry in read:
        if entry["image_id"] not in known:
            raise ValueError(
                f"{file}: annotation {entry['where']} names image {entry['image_id']}, which is not among the images"
            )
    read = _without_copies(read, file)
    _check_categories(read, panoptic, categories, file)
    return images, read, categories


def _category(entry: Mapping[str, Any], position: int, file: Path) -> dict[str, Any]:
    category_id = _identity(entry, "id", f"{file}, entry {position} of categories")
    name = entry.get("name")
    if not isinstance(name, (str, int)) or isinstance(name, bool) or name == "":
        raise ValueError(f"{file}: category {category_id} has no name; give every category a name")
    return {**entry, "id": category_id, "name": str(name)}


def _check_own_ids(what: str, entries: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Refuses entries that share an id."""
    repeated = [key for key, count in Counter(entry["id"] for entry in entries).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{file}: the {what} id(s) {listing(repeated)} occur more than once; give every {what} its own id"
        )


def _check_categories(
    annotations: Sequence[Mapping[str, Any]], panoptic: bool, categories: Sequence[Mapping[str, Any]], file: Path
) -> None:
    """Refuses annotations of categories that are not there."""
    used = [segment for entry in annotations for segment in entry["segments_info"]] if panoptic else annotations
    unknown = sorted({item["category_id"] for item in used} - {one["id"] for one in categories}, key=str)
    if unknown:
        raise ValueError(f"{file}: annotations use the category id(s) {listing(unknown)}, which categories do not list")


def read_coco_masks(file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Images and annotations of a COCO json of masks without names, which needs neither categories nor sizes.

    Raises:
        ValueError: As `read_coco`.
    """
    content = read_json(file)
    missing = [key for key in ("images", "annotations") if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{file} is no COCO instance file: it lacks {', '.join(missing)}")
    images = []
    for position, entry in enumerate(_entries(content, "images", file)):
        where = f"{file}, entry {position} of images"
        if {"height", "width"} <= set(entry):
            images.append(_image(entry, where))
            continue
        if not isinstance(entry.get("file_name"), str) or not entry["file_name"].strip():
            raise ValueError(f"{where} has no file_name")
        images.append({**entry, "id": _identity(entry, "id", where)})
    check_unique([image["id"] for image in images], "image id", file)
    known = {image["id"] for image in images}
    read = []
    for position, entry in enumerate(_entries(content, "annotations", file)):
        read.append(_annotation({"category_id": 0, **entry}, position, file, False))
        if read[-1]["image_id"] not in known:
            where = read[-1]["where"]
            raise ValueError(f"{file}: annotation {where} names image {read[-1]['image_id']}, which is not among them")
    return images, _without_copies(read, file)


def _without_copies(annotations: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """Annotations without those that repeat another, id and all.

    Raises:
        ValueError: Two different annotations have one id.
    """
    first: dict[Any, dict[str, Any]] = {}
    kept, copies = [], []
    for entry in annotations:
        if entry.get("id") is None:
            kept.append(entry)
            continue
        number = _whole(entry["id"])
        other = first.setdefault(entry["where"] if number is None else number, entry)
        if other is entry:
            kept.append(entry)
        elif {**other, "id": 0, "where": 0} == {**entry, "id": 0, "where": 0}:
            copies.append(entry["where"])
        else:
            raise ValueError(
                f"{file}: the annotation id {entry['where']!r} belongs to more than one annotation, and they differ; "
                "give every annotation its own id"
            )
    if copies:
        logger.warning(
            "%s: %d annotations repeat another, id and all, and are left out: %s", file, len(copies), listing(copies)
        )
    return kept


def _image(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    image_id = _identity(entry, "id", where)
    where = f"{where} (id {image_id})"
    name = entry.get("file_name")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError(f"{where} has {'no file_name' if name is None else f'the file_name {name!r}'}")
    height, width = (_number(entry, side, where) for side in ("height", "width"))
    if height < 1 or width < 1 or height * width > DEFAULT_MAX_PIXELS:
        raise ValueError(
            f"{where} states the size {height} x {width} (height x width); an image has 1 to {DEFAULT_MAX_PIXELS} "
            "pixels"
        )
    return {**entry, "id": image_id, "file_name": name, "height": height, "width": width}


def _annotation(entry: Mapping[str, Any], position: int, file: Path, panoptic: bool) -> dict[str, Any]:
    named = entry.get("id") if isinstance(entry.get("id"), (int, str)) else f"number {position}"
    where = f"{file}, annotation {named}"
    read = {**entry, "where": named, "image_id": _identity(entry, "image_id", where)}
    if not panoptic:
        read["category_id"] = _identity(entry, "category_id", where)
        read["iscrowd"] = _flag(entry, "iscrowd", 0, where)
        return read
    segments = entry.get("segments_info")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise ValueError(f"{where} has no list of segments_info, as the others of this panoptic file do")
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        raise ValueError(f"{where} has no file_name, the PNG of its id map")
    read["segments_info"] = [
        {
            **segment,
            "id": _number(segment, "id", f"{where}, segment {place}"),
            "category_id": _identity(segment, "category_id", f"{where}, segment {place}"),
            "iscrowd": _flag(segment, "iscrowd", 0, f"{where}, segment {place}"),
        }
        for place, segment in enumerate(segments)
    ]
    repeated = [key for key, count in Counter(segment["id"] for segment in read["segments_info"]).items() if count > 1]
    if repeated:
        raise ValueError(f"{where} gives the segment id(s) {listing(repeated)} twice; give every segment its own")
    return read


# ---------------------------------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------------------------------


def _check_size(sample: Sample, file: Path) -> None:
    """Compares the stated size with the image's header, before a mask is drawn."""
    stored = image_size(sample.image)
    if sample.size not in (stored, upright_size(sample.image)):
        raise ValueError(
            f"{file} states the size {sample.size} (height, width) for {sample.image}, whose size is {stored}; correct "
            "the annotation file or replace the image"
        )


@dataclasses.dataclass(frozen=True)
class _CocoInstanceReader:
    """Id map of COCO instances, smaller over larger, crowds below all; and the instances with their own masks."""

    own_masks: ClassVar[bool] = True
    file: Path
    class_of: dict[Any, int]

    def __call__(self, sample: Sample) -> dict[str, Any]:
        _check_size(sample, self.file)
        masks = []
        for annotation in sample.annotations:
            try:
                mask = decode_segmentation(annotation.get("segmentation"), sample.size)
            except ValueError as error:
                raise ValueError(f"{self.file}, annotation {annotation['where']}: {error}") from error
            if not mask.any():
                say_what_is_nothing(self.file, [f"annotation {annotation['where']} of {sample.image}"], 1)
            masks.append((annotation["iscrowd"], int(mask.sum()), mask, self.class_of[annotation["category_id"]]))
        masks.sort(key=lambda item: (item[0], -item[1]))  # stable: equal areas in the order of the file
        segmentation = np.zeros(sample.size, dtype=np.int32)
        numbered = list(enumerate(masks, start=1))
        for segment_id, (_, _, mask, _) in sorted(numbered, key=lambda item: -item[1][0]):  # crowds first
            segmentation[mask] = segment_id
        classes = {segment_id: class_id for segment_id, (*_, class_id) in numbered}
        crowd = {segment_id for segment_id, (iscrowd, *_) in numbered if iscrowd}
        return {
            "segmentation": segmentation,
            "segments_info": segments_from_map(segmentation, classes, crowd),
            "instances": {
                "height": sample.size[0],
                "width": sample.size[1],
                "annotations": [
                    {
                        **{key: annotation[key] for key in ("segmentation", "area", "iscrowd") if key in annotation},
                        "category_id": self.class_of[annotation["category_id"]],
                    }
                    for annotation in sample.annotations
                ],
            },
        }


@dataclasses.dataclass(frozen=True)
class _CocoPanopticReader:
    file: Path
    class_of: dict[Any, int]

    def __call__(self, sample: Sample) -> dict[str, Any]:
        _check_size(sample, self.file)
        segmentation = read_rgb_ids(sample.label)
        classes = {segment["id"]: self.class_of[segment["category_id"]] for segment in sample.annotations}
        crowd = {segment["id"] for segment in sample.annotations if segment["iscrowd"]}
        try:
            segments = segments_from_map(segmentation, classes, crowd)
        except ValueError as error:
            raise ValueError(f"{sample.label} and {self.file} do not agree: {error}") from error
        return {"segmentation": segmentation, "segments_info": segments}


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------

_ROBOFLOW = "_annotations.coco.json"


def coco_files(path: Path) -> dict[str, list[Path]]:
    """Annotation files of a COCO folder by split; panoptic before instances.

    Besides COCO's own names: `<split>/_annotations.coco.json` (Roboflow), and `result.json` with `images/` (Label
    Studio), whose split is called "all".
    """
    folder = path / "annotations" if (path / "annotations").is_dir() else path
    found: dict[str, list[Path]] = {}
    for kind in ("panoptic", "instances"):
        for file in sorted(folder.glob(f"{kind}_*.json")):
            found.setdefault(file.stem.split("_", 1)[1], []).append(file)
    for file in sorted(path.glob(f"*/{_ROBOFLOW}")):
        found.setdefault(file.parent.name, []).append(file)
    if not found:
        single = next((path / name for name in (_ROBOFLOW, "result.json") if (path / name).is_file()), None)
        if single is not None:
            found["all"] = [single]
    return found


def _spellings(name: str) -> Iterable[str]:
    """A file name as it stands, with `/` for Windows' `\\`, and in both Unicode forms."""
    for slashed in dict.fromkeys((name, name.replace("\\", "/"))):
        yield from dict.fromkeys(
            (slashed, unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed))
        )


def find_file(folder: Path, name: str) -> Path | None:
    """File of a name in any spelling, None if there is none."""
    return next((folder / spelled for spelled in _spellings(name) if (folder / spelled).is_file()), None)


CORRECT = "correct the name"  # the remedy where nothing outside can be allowed


def check_inside(
    name: str, folder: Path, root: Path, file: Path, remedy: str = "allow it with allow_outside=True"
) -> None:
    """Refuses names that lead out of the dataset's folder; links inside it may lead where they want.

    Args:
        name: As the file has it.
        folder: To which it is relative.
        root: The dataset's folder.
        file: That names it, for the message.
        remedy: What to do besides moving the file inside.

    Raises:
        ValueError: It leads out of `root`.
    """
    plain = name.replace("\\", "/")
    target = os.path.normpath(os.path.join(os.path.abspath(folder), plain))
    inside = os.path.abspath(root)
    windows = len(plain) > 1 and plain[1] == ":"
    if plain.startswith("/") or windows or os.path.commonpath([target, inside]) != inside:
        raise ValueError(
            f"{file} names the file {name!r}, which is outside of the dataset's folder {root}; move it inside, or "
            f"{remedy}"
        )


def _find_folder(candidates: Sequence[Path], names: Sequence[str], what: str) -> Path:
    """The first candidate folder that holds one of the first files."""
    for folder in candidates:
        if any(find_file(folder, name) is not None for name in names[:20]):
            return folder
    raise FileNotFoundError(
        f"the {len(names)} {what} were not found: {names[0]} is in none of {', '.join(str(c) for c in candidates)}; "
        "put the files there, or give image_folder="
    )


def _without_roboflow_root(
    categories: list[dict[str, Any]], annotations: Sequence[Mapping[str, Any]], file: Path
) -> list[dict[str, Any]]:
    """Roboflow lists the project itself as a first category, which nothing belongs to."""
    first = categories[0]
    others = categories[1:]
    if (
        file.name == _ROBOFLOW
        and others
        and str(first.get("supercategory")) == "none"
        and all(str(category.get("supercategory")) == first["name"] for category in others)
        and all(annotation["category_id"] != first["id"] for annotation in annotations)
    ):
        return others
    return categories


def _image_files(
    file: Path, images: list[dict[str, Any]], root: Path, image_folder: Path | None, allow_outside: bool
) -> dict[Any, Path | None]:
    """Finds the file of every image, by id; see `load_coco_file`."""
    ending = file.stem.split("_", 1)[1] if "_" in file.stem.strip("_") else file.stem
    candidates = [image_folder] if image_folder is not None else [
        root / "images" / ending,
        root / ending,
        root / "images",
        root / "input_images",
        file.parent / "images",
        root,
    ]  # fmt: skip
    names = [image["file_name"] for image in images]
    folder = _find_folder(candidates, names, f"images of {file}")
    if not allow_outside:
        for name in names:
            check_inside(name, folder, image_folder or root, file)
    files = {image["id"]: find_file(folder, image["file_name"]) for image in images}
    absent = [image["file_name"] for image in images if files[image["id"]] is None]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(images)} images of {file} are not in {folder}: {listing(absent)}; add them, or "
            "remove their entries"
        )
    return files


def _panoptic_samples(
    file: Path,
    images: list[dict[str, Any]],
    by_image: dict[Any, list[dict[str, Any]]],
    paths: dict[Any, Path],
    keys: dict[Any, str],
    root: Path,
    allow_outside: bool,
) -> list[Sample]:
    """Puts images and id maps together; see `load_coco_file`.

    Args:
        file: The json.
        images: Its images.
        by_image: Annotations by image id.
        paths: Image files by image id.
        keys: Names of samples by image id.
        root: Folder of the dataset.
        allow_outside: Whether names of maps may lead out of it.
    """
    names = [entry["file_name"] for image in images for entry in by_image[image["id"]]]
    maps = _find_folder([file.with_suffix(""), root / file.stem, file.parent], names, f"id maps of {file}")
    if not allow_outside:
        for name in names:
            check_inside(name, maps, root, file)
    samples = []
    for image in images:
        entries = by_image[image["id"]]
        if len(entries) != 1:
            raise ValueError(
                f"{file}: image {image['file_name']} has {len(entries)} panoptic annotations; it needs exactly one"
            )
        label = find_file(maps, entries[0]["file_name"])
        if label is None:
            raise FileNotFoundError(
                f"{maps / entries[0]['file_name']} does not exist; it is the id map of {image['file_name']} in {file}"
            )
        segments, size = tuple(entries[0]["segments_info"]), (image["height"], image["width"])
        samples.append(Sample(keys[image["id"]], paths[image["id"]], label, segments, size))
    return samples


def load_coco_file(
    file: Path, split: str | None, note: str, image_folder: Path | None, *, allow_outside: bool = False
) -> FolderDataset:
    """Dataset of one COCO json with instances or panoptic segments.

    Args:
        file: The json.
        split: Name of the split, for messages.
        note: How the split came about.
        image_folder: Where the images are; None looks at the usual places beside the json.
        allow_outside: Whether `file_name` may lead out of the dataset's folder.

    Raises:
        FileNotFoundError: Images or id maps are missing.
        ValueError: As `read_coco`, or a file name that leads out of the folder.
    """
    images, annotations, categories = read_coco(file)
    panoptic = "segments_info" in annotations[0]
    categories = sorted(categories, key=lambda category: (isinstance(category["id"], str), category["id"]))
    if not panoptic:
        categories = _without_roboflow_root(categories, annotations, file)
    check_unique([category["name"] for category in categories], "category name", file)
    class_of = {category["id"]: class_id for class_id, category in enumerate(categories)}
    id2label = {class_id: category["name"] for class_id, category in enumerate(categories)}
    by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)

    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    files = _image_files(file, images, root, image_folder, allow_outside)
    keys = sample_keys(images)

    paths = {key: path for key, path in files.items() if path is not None}
    if panoptic:
        samples = _panoptic_samples(file, images, by_image, paths, keys, root, allow_outside)
        check_sizes(samples, unreadable_stops=False)
        stuff = tuple(class_of[c["id"]] for c in categories if not _flag(c, "isthing", 1, f"{file}, {c['name']}"))
        reader: Any = _CocoPanopticReader(file, class_of)
    else:
        samples = [
            Sample(keys[one["id"]], paths[one["id"]], file, tuple(by_image[one["id"]]), (one["height"], one["width"]))
            for one in images
        ]
        _say_what_is_nothing(file, samples)
        stuff = ()
        reader = _CocoInstanceReader(file, class_of)
    return FolderDataset(
        "panoptic" if panoptic else "instance",
        file,
        split,
        note,
        samples,
        reader,
        id2label,
        stuff,
        DEFAULT_IGNORE_INDEX,
        {class_id: category_id for category_id, class_id in class_of.items()},
    )


def _say_what_is_nothing(file: Path, samples: Sequence[Sample]) -> None:
    """Looks at up to 20,000 annotations, spread over the samples, for those that cover no pixel."""
    total = sum(len(sample.annotations) for sample in samples)
    looked_at, empty = 0, []
    for sample in samples[:: total // _LOOKED_AT + 1]:
        looked_at += len(sample.annotations)
        empty += [
            f"annotation {annotation['where']} of {sample.image}"
            for annotation in sample.annotations
            if annotation.get("segmentation") and draws_nothing(annotation["segmentation"], sample.size)
        ]
    say_what_is_nothing(file, empty, looked_at)


def sample_keys(images: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """Name of every image: its path without ending; with it where two differ in that only, else with the id."""
    paths = {image["id"]: PurePosixPath(image["file_name"].replace("\\", "/")) for image in images}
    keys = {image_id: relative_key(path) for image_id, path in paths.items()}
    for longer in (lambda image_id: paths[image_id].as_posix(), lambda image_id: f"{paths[image_id]}#{image_id}"):
        count = Counter(keys.values())
        keys = {image_id: longer(image_id) if count[key] > 1 else key for image_id, key in keys.items()}
    return keys
