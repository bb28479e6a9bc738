# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Medical datasets in the layouts of their authors, as lists of `MedicalCase`, and the reader of recipes.

| layout | what | files |
|---|---|---|
| `pairs` | NIfTI pairs of one name | `images/<split>/NAME.nii.gz`, `labels/<split>/NAME.nii.gz` |
| `decathlon` | Medical Segmentation Decathlon | `dataset.json`, `imagesTr`, `labelsTr` |
| `nnunet` | nnU-Net raw, version 1 and 2 | `dataset.json`, `imagesTr/NAME_0000.nii.gz`, ..., `labelsTr/NAME.nii.gz` |
| `amos` | AMOS22, also nnU-Net's older folders | `imagesTr/NAME.nii.gz`, `labelsTr/NAME.nii.gz` |
| `btcv` | BTCV abdomen | `img/imgNNNN.nii.gz`, `label/labelNNNN.nii.gz` |
| `promise12` | PROMISE12 prostate | `CaseNN.mhd`, `CaseNN_segmentation.mhd` (with `.raw`) |
| `luna16` | LUNA16 / LIDC-IDRI | `images/UID.mhd` or `.nii.gz`, `masks/UID.nii.gz` |
| `dicom` | DICOM series with NIfTI masks | `images/NAME/*.dcm`, `masks/NAME.nii.gz` |
| `xray` | images with mask images | `images/<split>/NAME.png`, `masks/<split>/NAME.png` |

Splits are by patient. Layouts without a split of their own take `train:K/N` and `val:K/N`: fold K of N over the sorted
persons. Whatever is asked for, the other side is looked at too, and a person on both sides is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .layouts import nnunet_labels
from .medical import MedicalCase, MedicalSlices, check_disjoint
from .samples import read_json

__all__ = ["LAYOUTS", "load_medical", "medical_cases"]

LAYOUTS = ("pairs", "decathlon", "nnunet", "amos", "btcv", "promise12", "luna16", "dicom", "xray")
ENDINGS = (".nii.gz", ".nii", ".mhd", ".mha", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm")
FOLD = re.compile(r"^(train|val):(\d+)/(\d+)$")


def stem(path: Path) -> str:
    """File name without the ending of an image."""
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)] if ending else path.name


def image_files(folder: Path, endings: Sequence[str] = ENDINGS, folders: bool = False) -> dict[str, Path]:
    """Images of a folder by name; hidden files (macOS's shadows) are passed over.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if folders:
        return {path.name: path for path in found if path.is_dir()}
    named: dict[str, Path] = {}
    for path in found:
        if not path.name.lower().endswith(tuple(endings)) or path.is_dir():
            continue
        if not path.is_file():
            raise ValueError(f"{path} is no regular file: a pipe, device or link to nothing; move it elsewhere.")
        other = named.setdefault(stem(path), path)
        if other != path:
            raise ValueError(f"{other} and {path} are both called {stem(path)!r}; keep one of them.")
    return named


def _pairs(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    return image_files(root / "images" / (split or "")), image_files(root / "labels" / (split or ""))


def _decathlon(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    entries = _description(root)["training"]
    tables: tuple[dict[str, Path], dict[str, Path]] = ({}, {})
    for entry in entries:
        for table, key in zip(tables, ("image", "label")):
            path = root / entry[key]
            if not path.is_file():
                raise FileNotFoundError(f"{root}/dataset.json lists {entry[key]}, which is not there.")
            table[stem(root / entry["image"])] = path
    return tables


def _description(root: Path) -> dict[str, Any]:
    path = root / "dataset.json"
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: a Decathlon task has dataset.json, imagesTr and labelsTr.")
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        raise ValueError(f"{path} has no labels; it must name every label value.")
    return content


def _nnunet(root: Path, split: str | None) -> tuple[dict[str, tuple[Path, ...]], dict[str, Path]]:
    """Images with one file per channel, `NAME_0000` and so on."""
    _description(root)
    channels: dict[str, dict[str, Path]] = {}
    for name, path in image_files(root / "imagesTr").items():
        case, separator, channel = name.rpartition("_")
        if not separator or not re.fullmatch(r"\d{4}", channel):
            raise ValueError(f"{path} is not named NAME_0000, as nnU-Net's images are, with the channel at the end.")
        channels.setdefault(case, {})[channel] = path
    number = {len(found) for found in channels.values()}
    if len(number) > 1:
        fewest = min(channels, key=lambda case: len(channels[case]))
        raise ValueError(f"{root}: {fewest} has {len(channels[fewest])} channels, others have {max(number)}.")
    images = {case: tuple(found[key] for key in sorted(found)) for case, found in channels.items()}
    return images, image_files(root / "labelsTr")


def _amos(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    return image_files(root / "imagesTr"), image_files(root / "labelsTr")


def _btcv(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    images, labels = image_files(root / "img"), image_files(root / "label")
    return (
        {name.removeprefix("img"): path for name, path in images.items()},
        {name.removeprefix("label"): path for name, path in labels.items()},
    )


def _promise12(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    files = image_files(root, (".mhd", ".mha", ".nii", ".nii.gz"))
    labels = {
        name.removesuffix("_segmentation"): path for name, path in files.items() if name.endswith("_segmentation")
    }
    images = {name: path for name, path in files.items() if not name.endswith("_segmentation")}
    if not labels:
        raise FileNotFoundError(f"{root} is not promise12: there are no Case??_segmentation.mhd files.")
    return images, labels


def _luna16(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    return image_files(root / "images"), image_files(root / "masks")


def _dicom(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    return image_files(root / "images", folders=True), image_files(root / "masks")


def _xray(root: Path, split: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    return image_files(root / "images" / (split or "")), image_files(root / "masks" / (split or ""))


READERS: dict[str, Callable[[Path, str | None], tuple[dict[str, Any], dict[str, Path]]]] = {
    "pairs": _pairs,
    "decathlon": _decathlon,
    "nnunet": _nnunet,
    "amos": _amos,
    "btcv": _btcv,
    "promise12": _promise12,
    "luna16": _luna16,
    "dicom": _dicom,
    "xray": _xray,
}
# Layouts that name their classes.
WITH_LABELS = ("decathlon", "nnunet")
# Layouts whose splits are folders.
SPLIT_FOLDERS = ("pairs", "xray")


def medical_cases(
    root: str | Path,
    layout: str,
    split: str | None,
    modality: str,
    patient_pattern: str | None = None,
    channels: Sequence[int] | None = None,
) -> list[MedicalCase]:
    """Lists the cases of a split.

    Args:
        root: Folder of the dataset.
        layout: See the module.
        split: Name of a folder (`pairs`, `xray`), `train:K/N` or `val:K/N`, or None for all.
        modality: `CT`, `MR` or `XR`.
        patient_pattern: Regular expression whose first group in a case's name is the person; default: each case is one.
        channels: Volumes to take of 4-D images.

    Raises:
        FileNotFoundError: A folder or file of the layout is missing.
        ValueError: An unknown layout or split, files without partner, no files, a name without a person.
    """
    if layout not in READERS:
        raise ValueError(f"layout is {layout!r}; must be one of {', '.join(LAYOUTS)}.")
    root = Path(root)
    fold = FOLD.match(split or "")
    if split is not None and fold is None and layout not in SPLIT_FOLDERS:
        raise ValueError(f"{layout} has no split {split!r}; give a fold, train:K/N or val:K/N, for example train:0/5.")
    if split is not None and ":" in split and fold is None:
        raise ValueError(f"The split {split!r} is no fold; write train:K/N or val:K/N, for example val:0/5.")
    images, labels = READERS[layout](root, None if fold else split)
    odd = sorted(set(images) ^ set(labels))
    if odd:
        raise ValueError(
            f"{root}: {len(odd)} file(s) without partner, e.g. {', '.join(odd[:5])}; each image needs its mask."
        )
    if not images:
        raise ValueError(f"{root} holds no images of the layout {layout}.")
    cases = []
    for name, path in images.items():
        patient = name
        if patient_pattern is not None:
            match = re.search(patient_pattern, name)
            if match is None or not match.groups():
                raise ValueError(f"patient_pattern {patient_pattern!r} finds no group in {name!r}.")
            patient = match[1]
        taken = tuple(channels) if channels is not None else None
        source = tuple(map(str, path)) if isinstance(path, tuple) else str(path)
        cases.append(MedicalCase(name, source, str(labels[name]), patient, modality, taken))
    return _fold(cases, fold) if fold else cases


def _fold(cases: list[MedicalCase], fold: re.Match) -> list[MedicalCase]:
    """One side of a fold over the sorted persons."""
    side, number, count = fold[1], int(fold[2]), int(fold[3])
    if not 0 <= number < count:
        raise ValueError(f"There is no fold {number} of {count}; the first is 0.")
    people = sorted({case.patient_id for case in cases})
    held_out = set(people[number::count]) if count > 1 else set()
    return [case for case in cases if (case.patient_id in held_out) == (side == "val")]


def _other_splits(root: Path, layout: str, split: str | None) -> list[str]:
    """Folders of other splits; folds exclude each other by construction."""
    if layout not in SPLIT_FOLDERS or split is None or FOLD.match(split):
        return []
    return sorted(path.name for path in (root / "images").iterdir() if path.is_dir() and path.name != split)


def load_medical(
    root: str | Path,
    layout: str = "pairs",
    split: str | None = None,
    modality: str = "MR",
    id2label: Mapping[int, str] | None = None,
    input_mode: str | None = None,
    patient_pattern: str | None = None,
    channels: Sequence[int] | None = None,
    label_map: Mapping[int, int] | None = None,
    **options: Any,
) -> MedicalSlices:
    """Reads a split of a dataset as slices: the reader of recipes (`data.name: medical`).

    Args:
        root, layout, split, modality, patient_pattern, channels: See `medical_cases`.
        id2label: Name of every class, background first; a Decathlon task has its own. If it names these among others,
            labels are brought to its classes by name, and the others count as not annotated.
        input_mode: See `hfseg.volumes.slice_channels`; default `windows` for CT, `2.5d` for MR, `slice` for X-ray.
        label_map: Class of every label in the files, where they are not the classes already.
        **options: Of `MedicalSlices`.

    Raises:
        FileNotFoundError: As `medical_cases`.
        ValueError: As `medical_cases` and `MedicalSlices`; a person is in this split and in another.
    """
    root = Path(root)
    options.setdefault("label_sets", None)
    cases = checked_cases(root, layout, split, modality, patient_pattern, channels)
    own = own_labels(root, layout) if id2label is None or layout in WITH_LABELS else None
    if id2label is None:
        id2label = own
    elif own is not None and label_map is None:
        label_map = _by_name(own, id2label)
        if label_map is not None and options["label_sets"] is None:
            options["label_sets"] = {root.name: sorted(label_map.values())}
            cases = [replace(case, label_set=root.name) for case in cases]
    if label_map is not None:
        table = {int(key): int(value) for key, value in label_map.items()}
        cases = [replace(case, label_map=table) for case in cases]
    assert id2label is not None
    return MedicalSlices(cases, id2label, input_mode=input_mode or default_input_mode(modality), **options)


def default_input_mode(modality: str) -> str:
    """The input mode of a modality where none is named."""
    return {"CT": "windows", "MR": "2.5d", "XR": "slice"}.get(modality, "slice")


def own_labels(root: Path, layout: str) -> dict[int, str]:
    """Names of the classes in a dataset's own description.

    Raises:
        ValueError: The layout has none.
    """
    if layout not in WITH_LABELS:
        raise ValueError("id2label is missing: name every class, background first, e.g. {0: background, 1: gland}.")
    return nnunet_labels(_description(root), root / "dataset.json")


def _by_name(own: Mapping[int, str], id2label: Mapping[int, str]) -> dict[int, int] | None:
    """Class of every label of the files by its name, where the classes asked for are more than those of the dataset.

    None if names do not say it: then labels are the classes, and `id2label` renames them.
    """
    numbers = {label.strip().casefold(): int(number) for number, label in id2label.items()}
    names = {value: label.strip().casefold() for value, label in own.items()}
    if len(id2label) <= len(own) or not set(names.values()) <= set(numbers):
        return None
    return {int(value): numbers[name] for value, name in names.items()}


def checked_cases(
    root: Path,
    layout: str,
    split: str | None,
    modality: str,
    patient_pattern: str | None = None,
    channels: Sequence[int] | None = None,
) -> list[MedicalCase]:
    """Lists the cases of a split, as `medical_cases`, and checks that no person is in another one too."""
    cases = medical_cases(root, layout, split, modality, patient_pattern, channels)
    others = {
        name: medical_cases(root, layout, name, modality, patient_pattern)
        for name in _other_splits(root, layout, split)
    }
    check_disjoint({str(split): cases, **others})
    return cases
