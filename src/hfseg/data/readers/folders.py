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
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, UnidentifiedImageError

from ...files.images import open_image
from .images import read_image, read_map, read_rgb_ids, stretch_contrast
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

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
_LAYOUTS = (
    "legal layouts are: images/<split>/NAME.jpg with labels/<split>/NAME.png (semantic; labels/ may be called masks/), "
    "images/<split>/NAME.jpg with instances/<split>/NAME.png (instances), annotations/instances_<split>.json or "
    "annotations/panoptic_<split>.json with images/<split>/ (COCO), each also without <split> folders"
)
_CHECKED_SIZES = 2000


@dataclasses.dataclass(frozen=True)
class Sample:
    """One picture and where its truth comes from."""

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
    colours: dict[tuple[int, int, int], int] | None = None


class FolderDataset(torch.utils.data.Dataset):
    """Map-style data set over local files, read when asked for; made by `load_folder` and `load_official`.

    An item is `{"image": (H, W, 3) uint8, "image_id": name}` with either `"segmentation_map": (H, W) int32` (kind
    "semantic"), `"segmentation": (H, W) int32, "segments_info": [...]` (kinds "instance" and "panoptic") or
    `"text": caption` (kind "captions").

    Attributes:
        kind: "semantic", "instance", "panoptic" or "captions".
        path: What was opened.
        split: The split asked for, None for all samples.
        split_note: How the split came about, in words.
        id2label: Names of the classes 0 .. C-1.
        label2id: The inverse.
        stuff_class_ids: Classes without instances (all of them in a semantic data set).
        ignore_index: Value of void pixels in a `segmentation_map`.
        original_category_ids: Category id in the annotation file of every class, or None.
        stretch_contrast: Whether every picture is brought to the full range of intensities; see `load_folder`.
    """

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

    def sample_id(self, index: int) -> str:
        """Name of a sample, without reading it; messages about it use this."""
        return self._samples[index].name

    def files(self, index: int) -> tuple[Path, Path]:
        """Picture and (first) label file of a sample."""
        return self._samples[index].image, self._samples[index].label

    def read_label(self, index: int) -> dict[str, Any]:
        """The item without its picture and name.

        Raises:
            FileNotFoundError, ValueError: If the label is missing, damaged or holds what the classes do not allow.
        """
        return self._read_label(self._samples[index])

    def to_datasets(self, streaming: bool = False) -> Any:
        """The same samples as a `datasets` object; see `hfseg.data.readers.tables.to_datasets`."""
        from .tables import to_datasets

        return to_datasets(self, streaming=streaming)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self._samples[index]
        label = self._read_label(sample)
        if self.kind == "captions":
            return {"image": read_image(sample.image), "image_id": sample.name, **label}
        label_map = label["segmentation_map"] if self.kind == "semantic" else label["segmentation"]
        image = read_image(sample.image, label_size=label_map.shape)
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
    return any(plain in names and split.lower() in names for names in _SPLIT_NAMES.values())


def listing(names: Sequence[Any], limit: int = 5) -> str:
    """The first names, and how many there are in all."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names)} in all)"


def read_json(path: Path) -> Any:
    """Content of a json file.

    Raises:
        ValueError: If it is cut short, or not text.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not complete JSON (line {error.lineno}, column {error.colno}: {error.msg}); it may be cut "
            "short, copy it again"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text and so not JSON; check the file") from error


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


def check_sizes(samples: Sequence[Sample], unreadable_stops: bool = True) -> None:
    """Compare the sizes of pictures and labels, from the file headers of up to 2000 samples.

    Args:
        samples: All samples.
        unreadable_stops: False leaves files whose header is damaged to the reading of the sample, which the user may
            have chosen to survive, and warns.

    Raises:
        ValueError: If sizes differ, or a file cannot be read.
    """
    step = max(len(samples) // _CHECKED_SIZES, 1)
    for sample in samples[::step]:
        sizes = []
        for path in (sample.image, sample.label):
            try:
                with Image.open(path) as image:
                    sizes.append(image.size[::-1])
            except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
                if unreadable_stops:
                    open_image(path)  # says what is wrong
                    raise
                logger.warning("%s cannot be read; its sample will fail", path)
        if len(sizes) < 2:
            continue
        if sizes[0] != sizes[1] and sizes[0] != sizes[1][::-1]:  # a turned label may fit the upright picture
            raise ValueError(
                f"label {sample.label} has size {sizes[1]} (height, width) but its picture {sample.image} {sizes[0]}; "
                "resize the label (nearest neighbour) or replace it"
            )


def _split_folders(folder: Path) -> list[str]:
    """Names of the sub-folders that are splits: known names, holding pictures."""
    known = {name for names in _SPLIT_NAMES.values() for name in names}
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
    return any(stem.lower() in names for names in _SPLIT_NAMES.values())


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
# COCO
# ---------------------------------------------------------------------------------------------------------------------


def _decode_run_length(run_length: dict[str, Any], where: str) -> np.ndarray:
    """Mask of a COCO run-length code; compressed codes need pycocotools.

    Shape:
        (H, W), bool.
    """
    height, width = run_length["size"]
    counts = run_length["counts"]
    if isinstance(counts, (str, bytes)):
        try:
            from pycocotools import mask as mask_tools
        except ImportError as error:
            raise ImportError(
                f"{where} has compressed run-length masks, which need pycocotools: pip install 'hfseg[coco]'"
            ) from error
        return mask_tools.decode(run_length).astype(bool)
    if sum(counts) != height * width:
        raise ValueError(f"{where}: run lengths add up to {sum(counts)}, not to {height} x {width} pixels")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T  # column by column


def _draw_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int], where: str) -> np.ndarray:
    """Mask of COCO polygons (x, y, x, y, ...): pycocotools' rule where it is installed, else PIL's.

    Shape:
        (H, W), bool.
    """
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"{where} has a polygon of {len(polygon)} numbers; at least three (x, y) pairs are needed")
    try:
        from pycocotools import mask as mask_tools
    except ImportError:
        canvas = Image.new("1", size[::-1])
        draw = ImageDraw.Draw(canvas)
        for polygon in polygons:
            draw.polygon([(x - 0.5, y - 0.5) for x, y in zip(polygon[::2], polygon[1::2])], fill=1)
        return np.asarray(canvas, dtype=bool)
    return mask_tools.decode(mask_tools.merge(mask_tools.frPyObjects(list(polygons), *size))).astype(bool)


@dataclasses.dataclass(frozen=True)
class _CocoInstanceReader:
    """Id map of COCO instances: smaller objects lie over larger ones; crowds are left out (void)."""

    file: Path
    class_of: dict[int, int]

    def __call__(self, sample: Sample) -> dict[str, Any]:
        masks = []
        for annotation in sample.annotations:
            where = f"{self.file}, annotation {annotation.get('id')}"
            shape = annotation.get("segmentation")
            if isinstance(shape, dict):
                mask = _decode_run_length(shape, where)
            elif isinstance(shape, list) and shape:
                mask = _draw_polygons(shape, sample.size, where)
            else:
                raise ValueError(f"{where} has no segmentation, only a box; segmentation needs polygons or run lengths")
            if mask.shape != sample.size:
                raise ValueError(f"{where} has a mask of size {mask.shape}, its image {sample.size} (height, width)")
            masks.append((int(mask.sum()), mask, self.class_of[annotation["category_id"]]))
        masks.sort(key=lambda item: -item[0])  # stable: equal areas in the order of the file
        segmentation = np.zeros(sample.size, dtype=np.int32)
        for segment_id, (_, mask, _) in enumerate(masks, start=1):
            segmentation[mask] = segment_id
        classes = {segment_id: class_id for segment_id, (_, _, class_id) in enumerate(masks, start=1)}
        return {"segmentation": segmentation, "segments_info": segments_from_map(segmentation, classes)}


@dataclasses.dataclass(frozen=True)
class _CocoPanopticReader:
    file: Path
    class_of: dict[int, int]

    def __call__(self, sample: Sample) -> dict[str, Any]:
        segmentation = read_rgb_ids(sample.label)
        classes = {int(segment["id"]): self.class_of[segment["category_id"]] for segment in sample.annotations}
        crowd = {int(segment["id"]) for segment in sample.annotations if segment.get("iscrowd", 0)}
        try:
            segments = segments_from_map(segmentation, classes, crowd)
        except ValueError as error:
            raise ValueError(f"{sample.label} and {self.file} do not agree: {error}") from error
        return {"segmentation": segmentation, "segments_info": segments}


def _coco_files(path: Path) -> dict[str, list[Path]]:
    """Annotation files of a COCO folder by split; panoptic before instances."""
    folder = path / "annotations" if (path / "annotations").is_dir() else path
    found: dict[str, list[Path]] = {}
    for kind in ("panoptic", "instances"):
        for file in sorted(folder.glob(f"{kind}_*.json")):
            found.setdefault(file.stem.split("_", 1)[1], []).append(file)
    return found


def _find_folder(candidates: Sequence[Path], first_file: str, count: int, what: str) -> Path:
    """The first candidate folder that holds a file."""
    for folder in candidates:
        if (folder / first_file).is_file():
            return folder
    raise FileNotFoundError(
        f"the {count} {what} were not found: {first_file} is in none of {', '.join(str(c) for c in candidates)}; put "
        "the files there, or give image_folder="
    )


def load_coco_file(file: Path, split: str | None, note: str, image_folder: Path | None) -> FolderDataset:
    """Data set of one COCO json with instances or panoptic segments.

    Raises:
        FileNotFoundError: If pictures or id maps are missing.
        ValueError: If the json is damaged or contradicts itself.
    """
    content = read_json(file)
    given = content if isinstance(content, dict) else {}
    missing = [key for key in ("images", "annotations", "categories") if key not in given]
    if missing:
        raise ValueError(
            f"{file} lacks {', '.join(missing)}; a COCO annotation file has images, annotations, categories"
        )
    images, annotations, categories = content["images"], content["annotations"], content["categories"]
    if not images or not annotations or not categories:
        raise ValueError(
            f"{file} has {len(images)} images, {len(annotations)} annotations and {len(categories)} categories; each "
            "must be at least one (a test file without annotations cannot be used)"
        )
    for what, entries in (("image", images), ("category", categories)):
        repeated = [key for key, count in Counter(entry["id"] for entry in entries).items() if count > 1]
        if repeated:
            raise ValueError(
                f"{file}: the {what} id(s) {listing(repeated)} occur more than once; give every {what} its own id"
            )
    categories = sorted(categories, key=lambda category: category["id"])
    class_of = {category["id"]: class_id for class_id, category in enumerate(categories)}
    id2label = {class_id: str(category["name"]) for class_id, category in enumerate(categories)}
    panoptic = "segments_info" in annotations[0]

    by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    for annotation in annotations:
        if annotation["image_id"] not in by_image:
            raise ValueError(
                f"{file}: an annotation names image {annotation['image_id']}, which is not among the images"
            )
        by_image[annotation["image_id"]].append(annotation)
    used = [segment for a in annotations for segment in a["segments_info"]] if panoptic else annotations
    unknown = sorted({item["category_id"] for item in used} - set(class_of))
    if unknown:
        raise ValueError(f"{file}: annotations use the category id(s) {listing(unknown)}, which categories do not list")

    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    ending = file.stem.split("_", 1)[1] if "_" in file.stem else file.stem
    candidates = (
        [image_folder]
        if image_folder is not None
        else [
            root / "images" / ending,
            root / ending,
            root / "images",
            root / "input_images",
            file.parent / "images",
            root,
        ]
    )
    folder = _find_folder(candidates, images[0]["file_name"], len(images), f"pictures of {file}")
    absent = [image["file_name"] for image in images if not (folder / image["file_name"]).is_file()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(images)} pictures of {file} are not in {folder}: {listing(absent)}; add them, or "
            "remove their entries"
        )

    samples = []
    if panoptic:
        first = annotations[0]["file_name"]
        maps = _find_folder([file.with_suffix(""), root / file.stem, file.parent], first, len(annotations), "id maps")
        for image in images:
            if len(by_image[image["id"]]) != 1:
                raise ValueError(
                    f"{file}: image {image['file_name']} has {len(by_image[image['id']])} panoptic annotations; it "
                    "needs exactly one"
                )
            entry = by_image[image["id"]][0]
            label = maps / entry["file_name"]
            if not label.is_file():
                raise FileNotFoundError(f"{label} does not exist; it is the id map of {image['file_name']} in {file}")
            size = (int(image["height"]), int(image["width"]))
            samples.append(
                Sample(
                    Path(image["file_name"]).stem,
                    folder / image["file_name"],
                    label,
                    tuple(entry["segments_info"]),
                    size,
                )
            )
        check_sizes(samples, unreadable_stops=False)
        stuff = tuple(class_of[c["id"]] for c in categories if not c.get("isthing", 1))
        reader: Any = _CocoPanopticReader(file, class_of)
    else:
        for image in images:
            kept = tuple(a for a in by_image[image["id"]] if not a.get("iscrowd", 0))
            size = (int(image["height"]), int(image["width"]))
            samples.append(Sample(Path(image["file_name"]).stem, folder / image["file_name"], file, kept, size))
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
        return sorted(_coco_files(path))
    folders = _split_folders(path / "images") if (path / "images").is_dir() else []
    lists = sorted(file.stem for file in path.glob("*.txt") if _split_of_list(file.stem))
    return folders or lists or ["train", "validation"]


def _require_layout(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a folder or a COCO json file: {_LAYOUTS}")
    if path.is_dir() and _label_folder(path) is None and not _coco_files(path):
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

    files = _coco_files(path)
    chosen = list(files) if split is None else [name for name in files if same_split(name, split)]
    if not chosen:
        raise ValueError(f"split {split!r} is not in {path}; the splits of its annotation files are {', '.join(files)}")
    if len(chosen) > 1:
        raise ValueError(f"{path} has the splits {', '.join(sorted(chosen))}; give split= to choose one")
    return load_coco_file(files[chosen[0]][0], split, f"file {files[chosen[0]][0].name}", images)
