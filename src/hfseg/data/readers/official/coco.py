# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""COCO 2017 and COCO-Stuff 164k.

annotations/{panoptic,instances,captions}_{train,val}2017.json
annotations/panoptic_{train,val}2017/ or panoptic_{train,val}2017/      RGB-coded id maps
stuffthingmaps/{train,val}2017/ or annotations/{train,val}2017/         class maps of COCO-Stuff
{train,val}2017/ or images/{train,val}2017/                             images
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from ....files.label_names import COCO_PANOPTIC_THINGS, COCO_STUFF, COCO_STUFF_MISSING_IDS
from ..coco import CORRECT, check_inside, load_coco_file
from ..reading import listing
from ..samples import Classes, FolderDataset, Sample, read_json, relative_key
from ..schema import DEFAULT_IGNORE_INDEX
from .layout import first_existing, photos, require, samples_of, semantic_dataset

__all__ = ["load_captions", "load_instance", "load_panoptic", "load_stuff"]


def _year(split: str) -> str:
    return {"train": "train2017", "validation": "val2017"}[split]


def _images_of(root: Path, split: str) -> Path:
    return first_existing([root / _year(split), root / "images" / _year(split)])


def _load(root: Path, split: str, kind: str, what: str, more: dict[str, str]) -> FolderDataset:
    ending = _year(split)
    file = f"annotations/{kind}_{ending}.json"
    wanted = {file: what, f"{ending} or images/{ending}": "images"}
    require(root, wanted | more, f"COCO 2017 ({kind}, {split})")
    return load_coco_file(root / file, split, f"file {kind}_{ending}.json", _images_of(root, split))


def load_panoptic(root: Path, split: str) -> FolderDataset:
    """COCO panoptic: 80 things (classes 0 to 79), then 53 stuff classes; crowds are marked `iscrowd`."""
    name = f"panoptic_{_year(split)}"
    return _load(root, split, "panoptic", "segments", {f"annotations/{name} or {name}": "id maps"})


def load_instance(root: Path, split: str) -> FolderDataset:
    """COCO instances, 80 classes; where objects overlap, the smaller lies on top, and crowds are void."""
    return _load(root, split, "instances", "polygons and run lengths", {})


def load_stuff(root: Path, split: str) -> FolderDataset:
    """COCO-Stuff 164k: classes 0 to 79 are things, 80 to 170 stuff; maps hold the original id - 1, 255 is void."""
    ending = _year(split)
    maps = f"stuffthingmaps/{ending} or annotations/{ending}"
    require(root, {f"{ending} or images/{ending}": "images", maps: "class maps"}, f"COCO-Stuff 164k ({split})")
    labels = first_existing([root / "stuffthingmaps" / ending, root / "annotations" / ending])
    ids = [number for number in range(1, 183) if number not in COCO_STUFF_MISSING_IDS]
    table = {number - 1: class_id for class_id, number in enumerate(ids)} | {255: DEFAULT_IGNORE_INDEX}
    samples = samples_of(
        photos(_images_of(root, split)).items(), lambda name: labels / f"{name}.png", f"COCO-Stuff {split}"
    )
    return semantic_dataset(
        root,
        split,
        samples,
        Classes(dict(enumerate(COCO_STUFF)), DEFAULT_IGNORE_INDEX, table),
        f"folder {labels.parent.name}/{ending}",
        stuff=range(COCO_PANOPTIC_THINGS, len(COCO_STUFF)),
    )


@dataclasses.dataclass(frozen=True)
class _CaptionReader:
    def __call__(self, sample: Sample) -> dict[str, Any]:
        return {"text": sample.annotations[0]["caption"]}


def load_captions(root: Path, split: str) -> FolderDataset:
    """COCO captions: one sample per caption (about five per image), in the order of the images in the file.

    Raises:
        FileNotFoundError: If the json or images are missing.
        ValueError: If the json is damaged, repeats an image id or has no caption.
    """
    ending = _year(split)
    file = root / "annotations" / f"captions_{ending}.json"
    wanted = {f"annotations/captions_{ending}.json": "captions", f"{ending} or images/{ending}": "images"}
    require(root, wanted, f"COCO 2017 (captions, {split})")
    content = read_json(file)
    folder = _images_of(root, split)
    if not isinstance(content, dict) or not content.get("images") or not content.get("annotations"):
        raise ValueError(f"{file} holds no images or no annotations: 0 usable samples")
    repeated = [key for key, count in Counter(image["id"] for image in content["images"]).items() if count > 1]
    if repeated:
        raise ValueError(f"{file}: the image id(s) {listing(repeated)} occur more than once; give every image its own")
    for image in content["images"]:
        check_inside(image["file_name"], folder, folder, file, CORRECT)
    captions: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        if annotation["image_id"] not in captions:
            raise ValueError(f"{file}: a caption names image {annotation['image_id']}, which is not among the images")
        captions[annotation["image_id"]].append(annotation)
    samples = [
        Sample(relative_key(PurePosixPath(image["file_name"])), folder / image["file_name"], file, (caption,))
        for image in content["images"]
        for caption in captions[image["id"]]
    ]
    missing = sorted({sample.image for sample in samples if not sample.image.is_file()})
    if missing:
        raise FileNotFoundError(f"{len(missing)} images of {file} are not in {folder}: {listing(missing)}; add them")
    note = f"file captions_{ending}.json"
    return FolderDataset("captions", file, split, note, samples, _CaptionReader(), {}, (), DEFAULT_IGNORE_INDEX)
