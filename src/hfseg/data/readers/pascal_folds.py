# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pascal-5i for in-context tasks: foreground segmentation and single object detection, a fold at a time.

Folds of five classes: Shaban et al., "One-Shot Learning for Semantic Segmentation", BMVC 2017. The protocols are of
MAE-VQGAN (Bar et al., "Visual Prompting via Image Inpainting", NeurIPS 2022), which LaVin-DiT's paper follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ...files.images import load_image
from ...files.label_names import PASCAL_VOC
from .images import read_map
from .official.layout import read_list, require

__all__ = ["NotInSampleError", "PascalDetectionSource", "PascalFoldSource", "read_voc_boxes"]

PASCAL_CLASSES_PER_FOLD = 5
PASCAL_BOX_SHARE = 0.2


class NotInSampleError(ValueError):
    """A sample shows nothing of what a task is about, e.g. no person; another sample is taken."""


def _voc_fold(root: str, fold: int, wanted: dict[str, str]) -> tuple[Path, range]:
    """Finds VOC 2012 and the classes of a fold.

    Raises:
        FileNotFoundError, ValueError: See `PascalFoldSource`.
    """
    if fold not in range(4):
        raise ValueError(f"Pascal-5i has no fold {fold}; must be 0, 1, 2, 3.")
    base = Path(root) / "VOC2012" if (Path(root) / "VOC2012").is_dir() else Path(root)
    require(base, {"JPEGImages": "images", **wanted}, "Pascal VOC 2012")
    first = PASCAL_CLASSES_PER_FOLD * fold + 1
    return base, range(first, first + PASCAL_CLASSES_PER_FOLD)


class PascalFoldSource:
    """One fold of Pascal-5i: every item is an image of VOC 2012's validation list and one of the fold's five classes.

    Fold i has the classes 5 i + 1 to 5 i + 5. Examples are of the query's class (`partners`). An item's single segment
    is all that its class covers.

    Args:
        root: VOCdevkit/VOC2012 (or VOCdevkit), as for `load_voc`.
        fold: 0 to 3.

    Raises:
        FileNotFoundError: Files are missing.
        ValueError: An unknown fold, or a class without two images.
    """

    keys = ("image", "segmentation", "segments_info")

    def __init__(self, root: str, fold: int = 0) -> None:
        self.base, self.classes = _voc_fold(root, fold, {"SegmentationClass": "class maps"})
        require(self.base, {"ImageSets/Segmentation/val.txt": "names"}, "Pascal VOC 2012")
        self.items: list[tuple[str, int]] = []
        for name in read_list(self.base / "ImageSets/Segmentation/val.txt"):
            labels = read_map(self.base / "SegmentationClass" / f"{name}.png")
            present = np.intersect1d(np.unique(labels), list(self.classes)).tolist()
            self.items += [(name, label) for label in present]
        self.of_class = {label: [i for i, item in enumerate(self.items) if item[1] == label] for label in self.classes}
        alone = [label for label, places in self.of_class.items() if len(places) == 1]
        if alone or not self.items:
            raise ValueError(
                f"Fold {fold} of {self.base}: class(es) {alone or list(self.classes)} have fewer than two images."
            )

    def category(self, index: int) -> int:
        """Class of an item, which its examples have too."""
        return self.items[index][1]

    def of_category(self, category: int) -> list[int]:
        """Items of a class."""
        return self.of_class.get(category, [])

    def __len__(self) -> int:
        return len(self.items)

    def sample_id(self, index: int) -> str:
        """Name of an image and its class."""
        return f"{self.items[index][0]}-{self.items[index][1]}"

    def partners(self, index: int) -> list[int]:
        """Items of the same class, without the item."""
        return [place for place in self.of_category(self.category(index)) if place != index]

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, label = self.items[index]
        image = np.asarray(load_image(self.base / "JPEGImages" / f"{name}.jpg"))
        mask = read_map(self.base / "SegmentationClass" / f"{name}.png") == label
        rows, columns = np.nonzero(mask)
        if not len(rows):
            raise NotInSampleError(f"no pixel of class {label}")
        box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        info = {"id": 1, "category_id": label, "iscrowd": 0, "area": int(mask.sum()), "bbox": box}
        return {"image": image, "segmentation": mask.astype(np.int32), "segments_info": [info]}


class PascalDetectionSource:
    """Single object detection on a fold of Pascal-5i, by MAE-VQGAN's protocol.

    Images of VOC 2012 with exactly one annotated object, of whatever class, whose box (of the XML annotation) covers
    less than a fifth of the image. Queries are those of the validation list whose object is of the fold's classes,
    one after the other, from the start again until there are `number`; examples are of the training list and of the
    query's class.

    Items `0 .. len - 1` are queries; the examples follow them (`partners`).

    Args:
        root: VOCdevkit/VOC2012 (or VOCdevkit).
        fold: 0 to 3.
        number: Queries; 1,000 in the protocol.

    Raises:
        FileNotFoundError: Files are missing.
        ValueError: An unknown fold, damaged annotations, or no image that fits.
    """

    keys = ("image", "segmentation", "segments_info")

    def __init__(self, root: str, fold: int = 0, number: int = 1000) -> None:
        self.base, self.classes = _voc_fold(root, fold, {"Annotations": "boxes"})
        lists = "Main" if (self.base / "ImageSets/Main/val.txt").is_file() else "Segmentation"
        wanted = {f"ImageSets/{lists}/{split}.txt": "names" for split in ("val", "train")}
        require(self.base, wanted, "Pascal VOC 2012")
        queries, examples = (self._single(read_list(self.base / name)) for name in wanted)
        shown = {label for _, label, _ in examples}
        queries = [item for item in queries if item[1] in shown]
        if not queries:
            raise ValueError(
                f"Fold {fold} of {self.base}: no image of the validation list has a single object below a fifth of the "
                "image, of a class that the training list shows in the same way."
            )
        self.number = number
        self.items = [queries[place % len(queries)] for place in range(number)] + examples

    def _single(self, names: Sequence[str]) -> list[tuple[str, int, tuple[int, int, int, int]]]:
        """Image, class and box (x, y, width, height) of the images with one small object of the fold's classes."""
        found = []
        for name in names:
            size, objects = read_voc_boxes(self.base / "Annotations" / f"{name}.xml")
            if len(objects) != 1 or objects[0][0] not in self.classes:
                continue
            label, (left, top, right, bottom) = objects[0]
            box = (left - 1, top - 1, right - left + 1, bottom - top + 1)  # VOC counts pixels from 1, both ends in
            if box[2] * box[3] < PASCAL_BOX_SHARE * size[0] * size[1]:
                found.append((name, label, box))
        return found

    def __len__(self) -> int:
        return self.number

    def sample_id(self, index: int) -> str:
        """Number, image and class of an item: a query comes more than once."""
        return f"{index:04d}-{self.items[index][0]}-{self.items[index][1]}"

    def category(self, index: int) -> int:
        """Class of an item, which its examples have too."""
        return self.items[index][1]

    def of_category(self, category: int) -> list[int]:
        """Examples of a class."""
        places = range(self.number, len(self.items))
        return [place for place in places if self.items[place][1] == category]

    def partners(self, index: int) -> list[int]:
        """Examples of the same class, from the training list."""
        return self.of_category(self.category(index))

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, label, box = self.items[index]
        image = np.asarray(load_image(self.base / "JPEGImages" / f"{name}.jpg"))
        left, top, width, height = box
        filled = np.zeros(image.shape[:2], dtype=np.int32)
        filled[top : top + height, left : left + width] = 1
        info = {"id": 1, "category_id": label, "iscrowd": 0, "area": int(filled.sum()), "bbox": list(box)}
        # The protocol takes boxes of any size; training leaves tiny ones out.
        return {"image": image, "segmentation": filled, "segments_info": [info], "minimum_box_share": 0.0}


def read_voc_boxes(path: Path) -> tuple[tuple[int, int], list[tuple[int, tuple[int, int, int, int]]]]:
    """Reads an annotation of Pascal VOC.

    Args:
        path: The XML file.

    Returns:
        (width, height) of the image, and per object its class (from 1, in VOC's order) and corners (left, top, right,
        bottom) as written.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or names a class that VOC does not have.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}.")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError(f"{path} declares entities, which no annotation needs; it is not read.")
    try:
        root = ElementTree.fromstring(text)
        size = int(root.findtext("size/width", "")), int(root.findtext("size/height", ""))
        objects = []
        for entry in root.findall("object"):
            corners = [round(float(entry.findtext(f"bndbox/{key}", ""))) for key in ("xmin", "ymin", "xmax", "ymax")]
            label = PASCAL_VOC.index(entry.findtext("name", ""))
            objects.append((label, (corners[0], corners[1], corners[2], corners[3])))
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path} is no annotation of Pascal VOC (size, object, name, bndbox): {error}") from error
    return size, objects
