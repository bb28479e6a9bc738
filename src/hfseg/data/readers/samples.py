# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What readers of local files share: samples, the dataset over them, names of splits, and checks of sizes and json."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import torch

from ...files.images import open_image
from .images import read_header, read_image, stretch_contrast
from .reading import listing

__all__ = [
    "IMAGE_SUFFIXES",
    "LOSSY_SUFFIXES",
    "MASK_SUFFIXES",
    "SPLIT_NAMES",
    "Classes",
    "FolderDataset",
    "Sample",
    "check_sizes",
    "check_unique",
    "divide",
    "listing",
    "matching_splits",
    "read_json",
    "refuse_lossy",
    "relative_key",
    "same_split",
    "say_what_is_nothing",
]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")
LOSSY_SUFFIXES = (".jpg", ".jpeg")  # refused by name, not passed over
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
_CHECKED_SIZES = 2000


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image and where its truth comes from."""

    name: str
    image: Path
    label: Path  # label map, or the annotation file; the first of several
    annotations: tuple[dict[str, Any], ...] = ()
    size: tuple[int, int] = (0, 0)  # (height, width) that the annotation file states


@dataclasses.dataclass(frozen=True)
class Classes:
    """Names and void class, and how label values (void included) become class ids."""

    id2label: dict[int, str]
    ignore_index: int
    value_to_class: dict[int, int]
    colors: dict[tuple[int, int, int], int] | None = None
    ignore_stated: bool = False  # by the user, so that 255 is nothing else


class FolderDataset(torch.utils.data.Dataset):
    """Map-style dataset over local files, read when asked for; made by `load_folder` and `load_official`.

    An item is `{"image": (H, W, 3) uint8, "image_id": name}` with either `"segmentation_map": (H, W) int32` (kind
    "semantic"), `"segmentation": (H, W) int32, "segments_info": [...]` (kinds "instance" and "panoptic") or
    `"text": caption` (kind "captions"). Instances of Cityscapes also have `"ap_segments"`, a reference of
    `CityscapesAP`: crowds among the segments, and where the map is void.

    Attributes:
        kind: "semantic", "instance", "panoptic" or "captions".
        path: What was opened.
        split: The split asked for, None for all samples.
        split_note: How the split came about, in words.
        id2label: Names of the classes 0 .. C-1.
        label2id: The inverse.
        stuff_class_ids: Classes without instances (all of them in a semantic dataset).
        ignore_index: Value of void pixels in a `segmentation_map`.
        original_category_ids: Category id in the annotation file of every class, or None.
        ap_rules: Whose average precision is the dataset's own, "coco" or "cityscapes".
        stretch_contrast: Whether every image is brought to the full range of intensities; see `load_folder`.
    """

    schema = "folder"
    ap_rules = "coco"
    stretch_contrast = False

    def __init__(
        self,
        kind: str,
        path: Path,
        split: str | None,
        split_note: str,
        samples: Sequence[Sample],
        read_label: Callable[[Sample], dict[str, Any]],
        id2label: dict[int, str],
        stuff_class_ids: tuple[int, ...],
        ignore_index: int,
        original_category_ids: dict[int, int] | None = None,
    ) -> None:
        self.kind = kind
        self.path = path
        self.split = split
        self.split_note = split_note
        self.id2label = id2label
        self.label2id = {name: class_id for class_id, name in id2label.items()}
        self.stuff_class_ids = stuff_class_ids
        self.ignore_index = ignore_index
        self.original_category_ids = original_category_ids
        self._samples = list(samples)
        self._read_label = read_label

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def names(self) -> list[str]:
        """Names of the samples, in order."""
        return [sample.name for sample in self._samples]

    @property
    def own_masks(self) -> bool:
        """Whether items have `instances` besides: every object's own mask, also where others hide it."""
        return bool(getattr(self._read_label, "own_masks", False))

    @property
    def samples(self) -> list[Sample]:
        """Samples, in order."""
        return list(self._samples)

    def restricted(self, samples: Sequence[Sample], split_note: str) -> FolderDataset:
        """The same dataset with some of its samples."""
        part = copy.copy(self)
        part._samples, part.split_note = list(samples), split_note
        return part

    def sample_id(self, index: int) -> str:
        """Name of a sample, without reading it; messages about it use this."""
        return self._samples[index].name

    def files(self, index: int) -> tuple[Path, Path]:
        """Image and (first) label file of a sample."""
        return self._samples[index].image, self._samples[index].label

    def read_label(self, index: int) -> dict[str, Any]:
        """The item without its image and name.

        Raises:
            FileNotFoundError, ValueError: If the label is missing, damaged or holds what the classes do not allow.
        """
        return self._read_label(self._samples[index])

    def to_datasets(self, streaming: bool = False) -> Any:
        """The same samples as a `datasets` object; see `hfseg.data.readers.table_rows.to_datasets`."""
        from .table_rows import to_datasets

        return to_datasets(self, streaming=streaming)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self._samples[index]
        label = self._read_label(sample)
        if self.kind == "captions":
            return {"image": read_image(sample.image), "image_id": sample.name, **label}
        label_map = label["segmentation_map"] if self.kind == "semantic" else label["segmentation"]
        image = read_image(sample.image, label_map.shape, sample.label)
        if image.shape[:2] != label_map.shape:
            raise ValueError(
                f"{sample.image} has size {image.shape[:2]} (height, width) but its label in {sample.label} "
                f"{label_map.shape}; make them equal"
            )
        if self.stretch_contrast:
            image = stretch_contrast(image)
        return {"image": image, "image_id": sample.name, **label}

    def __repr__(self) -> str:
        return (
            f"FolderDataset({str(self.path)!r}, kind={self.kind!r}, split={self.split!r} ({self.split_note}), "
            f"{len(self)} samples, {len(self.id2label)} classes)"
        )


def same_split(folder_name: str, split: str) -> bool:
    """Whether a folder or file ending is the split asked for: val = validation = dev, train2017 = train."""
    plain = re.sub(r"(19|20)\d\d$", "", folder_name.lower())
    if folder_name == split or plain == split.lower():
        return True
    return any(plain in names and split.lower() in names for names in SPLIT_NAMES.values())


def matching_splits(names: Iterable[str], split: str, where: Path) -> list[str]:
    """The split of that very name, or the one that goes by another of its names.

    Args:
        names: Splits that are there.
        split: What is asked for.
        where: Folder, for the message.

    Returns:
        One name, or none.

    Raises:
        ValueError: Several go by other names of it, such as `val` and `valid`, or `train2014` and `train2017`.
    """
    there = list(names)
    found = [name for name in there if name == split] or [name for name in there if same_split(name, split)]
    if len(found) > 1:
        raise ValueError(
            f"split {split!r} is ambiguous: {where} has {' and '.join(sorted(found))}; name one of them, or move the "
            "other away."
        )
    return found


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How a share of the samples is held out for validation.

    Attributes:
        fraction: The share, between 0 and 1.
        seed: Of the division.
        of_train: Whether it is taken of the training split too, where a folder has that but none for validation.
    """

    fraction: float = 0.2
    seed: int = 0
    of_train: bool = False

    def from_train(self, splits: Iterable[str], split: str | None) -> str | None:
        """Name of the split to divide for `split`, None where the splits are taken as they are."""
        wanted = split is not None and (same_split("train", split) or same_split("validation", split))
        return train_alone(splits) if self.of_train and wanted else None


def train_alone(splits: Iterable[str]) -> str | None:
    """Name of the training split where there is none for validation, so that a share of it has to be held out."""
    names = list(splits)
    if any(same_split(name, "validation") for name in names):
        return None
    return next((name for name in names if same_split(name, "train")), None)


def read_json(path: Path, unique_keys: bool = False) -> Any:
    """Content of a json file.

    Args:
        path: The file.
        unique_keys: Whether a key that an object gives twice is an error; else the last one counts, as everywhere.

    Raises:
        ValueError: If it is cut short, or not text.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_unique([key for key, _ in pairs], "key", path)
        return dict(pairs)

    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors put a mark in front
        return json.loads(text, object_pairs_hook=unique if unique_keys else None)
    except _RepeatedError:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not complete JSON (line {error.lineno}, column {error.colno}: {error.msg}); it may be cut "
            "short, copy it again"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text and so not JSON; check the file") from error
    except (RecursionError, ValueError) as error:  # thousands of brackets, a number of thousands of digits
        raise ValueError(f"{path} is no JSON that can be read: {type(error).__name__}; check the file") from error


def relative_key(path: PurePath) -> str:
    """Name of a sample: its path in the dataset, with `/`, without the ending of an image."""
    return (path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).as_posix()


class _RepeatedError(ValueError):
    """Something is given twice."""


def check_unique(names: Iterable[Any], what: str, file: Path) -> None:
    """Checks that no name, id or key is given twice.

    Raises:
        ValueError: One is; it is named.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise _RepeatedError(
            f"{file}: the {what} {listing([repr(name) for name in repeated])} occurs more than once; give every one "
            "its own"
        )


_SAID_EMPTY: set[str] = set()


def say_what_is_nothing(file: Path, empty: Sequence[str], looked_at: int) -> None:
    """Warns, once per file or folder of annotations, of those that cover no pixel and so vanish.

    Args:
        file: The annotation file, or the folder of such files.
        empty: Those that cover nothing, with their place.
        looked_at: Number of annotations that were looked at.
    """
    if not empty or str(file) in _SAID_EMPTY:
        return
    _SAID_EMPTY.add(str(file))
    logger.warning(
        "%s: %d of %d annotations looked at cover no pixel of their image, and vanish; the first is %s. They lie "
        "outside of the image or have no area: check whether they were drawn on an image of another size.",
        *(file, len(empty), looked_at, empty[0]),
    )


def refuse_lossy(folder: Path, missing: Sequence[str], ending: str = "") -> None:
    """Refuses labels that are missing because they are there as JPEG or WebP.

    Args:
        folder: Of the labels.
        missing: Names of the samples without label.
        ending: Of the labels' names.

    Raises:
        ValueError: One of them is there so.
    """
    for name in missing:
        for suffix in LOSSY_SUFFIXES:
            file = folder / f"{name}{ending}{suffix}"
            if file.is_file():
                raise ValueError(
                    f"{file} is a label stored as JPEG, which is lossy: its values are not those that were drawn. "
                    "Export the labels again, as PNG (saving the file as PNG does not bring the values back)."
                )


def check_sizes(samples: Sequence[Sample], unreadable_stops: bool = True) -> None:
    """Compare the sizes of images and labels, from the file headers of up to 2000 samples.

    Args:
        samples: All samples.
        unreadable_stops: False leaves files whose header is damaged to the reading of the sample, which the user may
            have chosen to survive, and warns.

    Raises:
        ValueError: If sizes differ, or a file cannot be read.
    """
    step = max(len(samples) // _CHECKED_SIZES, 1)
    for sample in samples[::step]:
        headers = []
        for path in (sample.image, sample.label):
            try:
                headers.append(read_header(path))
            except (OSError, ValueError):
                if unreadable_stops:
                    open_image(path)  # says what is wrong
                    raise
                logger.warning("%s cannot be read; its sample will fail", path)
        if len(headers) < 2:
            continue
        (stored, turn), (label_size, label_turn) = headers
        upright = stored[::-1] if turn >= 5 else stored
        if label_turn not in (1, turn):
            raise ValueError(
                f"label {sample.label} has the EXIF orientation {label_turn} and its image {sample.image} has {turn}; "
                "save the label as it belongs to the upright image, without EXIF"
            )
        label_size = label_size[::-1] if label_turn >= 5 else label_size
        if label_size not in (upright, stored):
            raise ValueError(
                f"label {sample.label} has size {label_size} (height, width) but its image {sample.image} {upright}; "
                "resize the label (nearest neighbor) or replace it"
            )


def _held_out(names: Sequence[str], fraction: float, seed: int) -> set[str]:
    """A seeded share of the names. A name's rank depends on the name and the seed alone, so that adding files later
    moves few samples between the splits."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return set(ranked[: max(round(fraction * len(names)), 1)])


def divide(
    samples: Sequence[Sample], split: str, validation_fraction: float, seed: int, where: Path
) -> tuple[list[Sample], str]:
    """One side of a seeded division, and how it came about.

    Raises:
        ValueError: There is one sample only, or the split is neither train nor validation.
    """
    if len(samples) < 2:
        raise ValueError(f"{where} holds one image, which cannot be split; use split=None, or add images")
    held_out = _held_out([sample.name for sample in samples], validation_fraction, seed)
    note = f"{validation_fraction:.0%} held out for validation by seed {seed}"
    if same_split("train", split):
        return [sample for sample in samples if sample.name not in held_out], note
    if same_split("validation", split):
        return [sample for sample in samples if sample.name in held_out], note
    raise ValueError(
        f"split {split!r} does not exist: {where} has no split folders, so that there are only train and validation "
        f"({note})"
    )
