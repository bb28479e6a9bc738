# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pascal VOC 2012 (with the additional labels of SBD) and Pascal Context.

VOC 2012, root = `VOCdevkit/VOC2012/` (or `VOCdevkit/`):

    JPEGImages/*.jpg
    SegmentationClass/*.png                             0 background, 1 to 20; the border 255 is void
    SegmentationObject/*.png                            for instances: number of the object, 255 is void
    ImageSets/Segmentation/{train,val,trainval}.txt

The split "trainaug" takes the labels of SBD in addition; of an image that both have, VOC's label. Either as

    SegmentationClassAug/*.png and ImageSets/Segmentation/trainaug.txt (or train.txt and aug.txt)

which is how they are usually passed on, or from SBD itself, found as `VOCaug/dataset/`, `SBD/`, or
`benchmark_RELEASE/dataset/` in the root or beside it: cls/*.mat, img/*.jpg, train.txt, val.txt; the images of VOC's
validation list are then left out (1464 become 10582). For instances SBD itself is needed (inst/*.mat).

Pascal Context, root = `VOCdevkit/VOC2010/` (or `VOCdevkit/`):

    JPEGImages/*.jpg
    ImageSets/SegmentationContext/{train,val}.txt or pascalcontext_{train,val}.txt
    trainval/*.mat                                      the original annotation: 459 ids, from 1
    labels.txt                                          the 459 names, "id: name"
    SegmentationClassContext/*.png                      59 classes only: 0 is background, 1 to 59

The 59 classes are numbered in the order of their original ids, which is alphabetical: that is what the PNG files hold
that mmsegmentation's and detail's converters write (whatever list of names stands beside them).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ....files.label_names import PASCAL_CONTEXT_59, PASCAL_CONTEXT_59_IDS, PASCAL_VOC
from ..images import read_map
from ..samples import Classes, FolderDataset, Sample
from ..schema import DEFAULT_IGNORE_INDEX, segments_from_map
from .layout import class_table, first_existing, read_list, require, samples_of, semantic_dataset

__all__ = ["load_context_59", "load_context_459", "load_voc", "load_voc_instance"]

_SBD_FOLDERS = ("VOCaug/dataset", "SBD", "benchmark_RELEASE/dataset", "SBD/dataset", "SBD/benchmark_RELEASE/dataset")
_CONTEXT_CLASSES = 459


def _year_folder(root: Path, year: str) -> Path:
    return root / year if (root / year).is_dir() else root


def _load_mat(path: Path) -> dict:
    """Content of a Matlab file; a damaged one is a ValueError that names it."""
    from scipy.io import loadmat

    try:
        return loadmat(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # scipy raises a dozen types on damage
        raise ValueError(f"{path} is truncated or damaged, or no Matlab file: {error}") from error


def _read_voc(path: Path) -> np.ndarray:
    """Label values of a PNG, or of SBD's Matlab file.

    Shape:
        (H, W), int32.
    """
    if path.suffix != ".mat":
        return read_map(path)
    content = _load_mat(path)
    if "GTcls" not in content:
        raise ValueError(f"{path} holds no GTcls; it is not a class map of SBD")
    return np.asarray(content["GTcls"]["Segmentation"][0, 0], dtype=np.int32)


def load_voc(root: Path, split: str) -> FolderDataset:
    """VOC 2012: background and 20 classes; the white border is void. "trainaug" adds SBD."""
    base = _year_folder(root, "VOC2012")
    lists = "ImageSets/Segmentation"
    wanted = {"JPEGImages": "images", "SegmentationClass": "class maps"}
    classes = class_table(PASCAL_VOC)
    stuff = (0,)
    if split != "trainaug":
        name = {"validation": "val"}.get(split, split)
        wanted[f"{lists}/{name}.txt"] = f"names of {split}"
        require(base, wanted, f"Pascal VOC 2012 ({split})")
        names = read_list(base / lists / f"{name}.txt")
        images = [(name, base / "JPEGImages" / f"{name}.jpg") for name in names]
        samples = samples_of(
            images, lambda name: base / "SegmentationClass" / f"{name}.png", f"Pascal VOC 2012 ({split})"
        )
        return semantic_dataset(base, split, samples, classes, f"list {name}.txt", stuff=stuff)

    wanted |= {f"{lists}/train.txt": "names of train", f"{lists}/val.txt": "names of val"}
    folder = next(
        (one / sbd for sbd in _SBD_FOLDERS for one in (base, root, base.parent) if (one / sbd).is_dir()), None
    )
    if folder is None or (base / "SegmentationClassAug").is_dir():
        wanted["SegmentationClassAug"] = f"class maps of SBD, or SBD itself as one of {', '.join(_SBD_FOLDERS)}"
        wanted[f"{lists}/trainaug.txt or {lists}/aug.txt"] = "names of the augmented training set"
        require(base, wanted, "Pascal VOC 2012 + SBD (trainaug)")
        file = first_existing([base / lists / "trainaug.txt", base / lists / "aug.txt"])
        names = read_list(file)
        if file.name == "aug.txt":
            names = sorted({*names, *read_list(base / lists / "train.txt")})
        names = [Path(name).stem for name in names]  # some lists hold paths
        labels = base / "SegmentationClassAug"
        own = {name: labels / f"{name}.png" for name in names}
        own = {n: p if p.is_file() else base / "SegmentationClass" / f"{n}.png" for n, p in own.items()}
        images = [(name, base / "JPEGImages" / f"{name}.jpg") for name in names]
        samples = samples_of(images, lambda name: own[name], "Pascal VOC 2012 + SBD (trainaug)")
        return semantic_dataset(base, split, samples, classes, f"list {file.name}", stuff=stuff)

    require(base, wanted, "Pascal VOC 2012 (trainaug)")
    require(folder, dict.fromkeys(("cls", "train.txt", "val.txt"), "SBD"), "SBD")
    voc, held_out = read_list(base / lists / "train.txt"), set(read_list(base / lists / "val.txt"))
    more = {*read_list(folder / "train.txt"), *read_list(folder / "val.txt")} - held_out - set(voc)
    label = {name: base / "SegmentationClass" / f"{name}.png" for name in voc}
    label |= {name: folder / "cls" / f"{name}.mat" for name in more}
    images = [
        (n, first_existing([base / "JPEGImages" / f"{n}.jpg", folder / "img" / f"{n}.jpg"])) for n in sorted(label)
    ]
    where = "Pascal VOC 2012 + SBD (trainaug)"
    samples = samples_of(images, lambda name: label[name], where, compare_sizes=False)
    return semantic_dataset(
        base, split, samples, classes, "VOC train and SBD without VOC val", stuff=stuff, read_values=_read_voc
    )


@dataclasses.dataclass(frozen=True)
class _VocInstanceReader:
    """Objects of VOC (two maps of equal size) or of SBD (one Matlab file); borders and background are void."""

    def __call__(self, sample: Sample) -> dict[str, Any]:
        if sample.label.suffix == ".mat":
            content = _load_mat(sample.label)
            if "GTinst" not in content:
                raise ValueError(f"{sample.label} holds no GTinst; it is not an annotation of SBD's objects")
            objects = np.asarray(content["GTinst"]["Segmentation"][0, 0], dtype=np.int32)
            categories = np.asarray(content["GTinst"]["Categories"][0, 0]).ravel()
            classes = {number: int(label) - 1 for number, label in enumerate(categories.tolist(), start=1)}
        else:
            objects = read_map(sample.label).astype(np.int32)
            labels = read_map(sample.label.parent.parent / "SegmentationClass" / sample.label.name)
            if labels.shape != objects.shape:
                raise ValueError(f"{sample.label} has size {objects.shape}, its class map {labels.shape}")
            objects = np.where(objects == DEFAULT_IGNORE_INDEX, 0, objects)
            classes = {}
            for number in np.unique(objects[objects > 0]).tolist():
                counts = np.bincount(labels[objects == number].ravel(), minlength=256)[1:DEFAULT_IGNORE_INDEX]
                classes[number] = int(counts.argmax())  # class 1 is number 0: background is no object
        segmentation = np.where(np.isin(objects, list(classes)), objects, 0).astype(np.int32)
        return {"segmentation": segmentation, "segments_info": segments_from_map(segmentation, classes)}


def load_voc_instance(root: Path, split: str) -> FolderDataset:
    """The objects of the 20 classes; "trainaug" adds those of SBD whose images are not in VOC's validation list."""
    base, lists = _year_folder(root, "VOC2012"), "ImageSets/Segmentation"
    name = {"train": "train", "validation": "val", "trainval": "trainval", "trainaug": "train"}[split]
    wanted = dict.fromkeys(("JPEGImages", "SegmentationClass", "SegmentationObject"), "images and maps")
    wanted[f"{lists}/{name}.txt"] = f"names of {split}"
    require(base, wanted, f"Pascal VOC 2012 objects ({split})")
    label = {n: base / "SegmentationObject" / f"{n}.png" for n in read_list(base / lists / f"{name}.txt")}
    where = {n: base / "JPEGImages" / f"{n}.jpg" for n in label}
    if split == "trainaug":
        places = [folder / one for folder in (base, base.parent, base.parent.parent, root) for one in _SBD_FOLDERS]
        folder = first_existing(places)
        require(folder, dict.fromkeys(("inst", "img", "train.txt", "val.txt"), "SBD's objects"), "SBD")
        held_out = set(read_list(base / lists / "val.txt"))
        for n in sorted({*read_list(folder / "train.txt"), *read_list(folder / "val.txt")} - held_out - set(label)):
            label[n] = folder / "inst" / f"{n}.mat"
            where[n] = first_existing([base / "JPEGImages" / f"{n}.jpg", folder / "img" / f"{n}.jpg"])
    samples = samples_of(sorted(where.items()), lambda n: label[n], f"Pascal VOC 2012 ({split})", compare_sizes=False)
    names = {number: name for number, name in enumerate(PASCAL_VOC[1:])}
    return FolderDataset(
        "instance", base, split, f"list {name}.txt", samples, _VocInstanceReader(), names, (), DEFAULT_IGNORE_INDEX
    )


def _read_label_map(path: Path) -> np.ndarray:
    """Ids of the original annotation of Pascal Context.

    Shape:
        (H, W), int32.
    """
    content = _load_mat(path)
    if "LabelMap" not in content:
        raise ValueError(f"{path} holds no LabelMap; it is not an annotation of Pascal Context")
    return np.asarray(content["LabelMap"], dtype=np.int32)


def _context(root: Path, split: str, what: str, maps: str, more: dict[str, str]) -> tuple[Path, list[str], str]:
    """Folder, names and list of a split."""
    base = _year_folder(root, "VOC2010")
    name = {"train": "train", "validation": "val"}[split]
    lists = [f"ImageSets/SegmentationContext/{name}.txt", f"pascalcontext_{name}.txt"]
    wanted = {"JPEGImages": "images", maps: "label maps", " or ".join(lists): f"names of {split}"} | more
    require(base, wanted, f"{what} ({split})")
    file = first_existing([base / one for one in lists])
    return base, [Path(line).stem for line in read_list(file)], file.name


def load_context_59(root: Path, split: str) -> FolderDataset:
    """The 59 frequent classes, in alphabetical order; all else ("background") is void."""
    what, maps = "Pascal Context 59", "SegmentationClassContext or trainval"
    base, names, note = _context(root, split, what, maps, {})
    images = [(name, base / "JPEGImages" / f"{name}.jpg") for name in names]
    if (base / "SegmentationClassContext").is_dir():
        samples = samples_of(images, lambda name: base / "SegmentationClassContext" / f"{name}.png", f"{what} {split}")
        classes = class_table(PASCAL_CONTEXT_59, first=1, void=(0,))
        return semantic_dataset(base, split, samples, classes, f"list {note}, PNG maps")
    samples = samples_of(images, lambda n: base / "trainval" / f"{n}.mat", f"{what} {split}", compare_sizes=False)
    table = dict.fromkeys(range(_CONTEXT_CLASSES + 1), DEFAULT_IGNORE_INDEX)
    table |= {original: class_id for class_id, original in enumerate(PASCAL_CONTEXT_59_IDS)}
    classes = Classes(dict(enumerate(PASCAL_CONTEXT_59)), DEFAULT_IGNORE_INDEX, table)
    note = f"list {note}, original annotation"
    return semantic_dataset(base, split, samples, classes, note, read_values=_read_label_map)


def load_context_459(root: Path, split: str) -> FolderDataset:
    """All 459 classes of the original annotation, class = id - 1; names come from `labels.txt`. 65535 is void.

    Raises:
        ValueError: If `labels.txt` does not list the ids 1 to 459.
    """
    more = {"labels.txt": "the 459 names"}
    base, names, note = _context(root, split, "Pascal Context 459", "trainval", more)
    of_id: dict[int, str] = {}
    for line in (base / "labels.txt").read_text(encoding="utf-8").splitlines():
        number, separator, name = line.partition(":")
        if separator and number.strip().isdigit():
            of_id[int(number)] = name.strip()
    if sorted(of_id) != list(range(1, _CONTEXT_CLASSES + 1)):
        raise ValueError(
            f"{base / 'labels.txt'} lists {len(of_id)} classes; expected are the lines '1: name' to "
            f"'{_CONTEXT_CLASSES}: name' of the original annotation"
        )
    images = [(name, base / "JPEGImages" / f"{name}.jpg") for name in names]
    where = f"Pascal Context 459 {split}"
    samples = samples_of(images, lambda name: base / "trainval" / f"{name}.mat", where, compare_sizes=False)
    classes = class_table([of_id[number] for number in sorted(of_id)], first=1, void=(0,))
    return semantic_dataset(base, split, samples, classes, f"list {note}", read_values=_read_label_map)
