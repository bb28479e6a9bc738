# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Checks of official folder layouts, and what the families of readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ....files.listing import list_files
from ..classes import SemanticReader
from ..images import read_map
from ..reading import listing
from ..samples import IMAGE_SUFFIXES, Classes, FolderDataset, Sample, check_sizes
from ..schema import DEFAULT_IGNORE_INDEX

__all__ = ["class_table", "first_existing", "photos", "read_list", "require", "samples_of", "semantic_dataset"]


def require(root: Path, wanted: Mapping[str, str], name: str) -> None:
    """Check that files and folders exist.

    Args:
        root: Folder of the dataset.
        wanted: Meaning of each relative path; alternatives are separated by " or ".
        name: Name of the dataset.

    Raises:
        FileNotFoundError: Names all missing paths with their meaning, and what the folder holds.
    """
    missing = [path for path in wanted if not any((root / one).exists() for one in path.split(" or "))]
    if not missing:
        return
    inside = sorted(child.name + ("/" if child.is_dir() else "") for child in root.iterdir())
    lines = ", ".join(f"{path} ({wanted[path]})" for path in missing)
    raise FileNotFoundError(
        f"{root} is not a complete {name}: missing are {lines}; the folder holds {listing(inside, 8) or 'nothing'}"
    )


def first_existing(candidates: Sequence[Path]) -> Path:
    """The first path that exists, or the first one."""
    return next((path for path in candidates if path.exists()), candidates[0])


def photos(folder: Path, ending: str = "") -> dict[str, Path]:
    """Images below a folder by their relative path, without `ending` and suffix, sorted.

    Raises:
        ValueError: If there is none.
    """
    found: dict[str, Path] = {}
    for path in list_files(folder, IMAGE_SUFFIXES):
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key.endswith(ending):
            found[key.removesuffix(ending)] = path
    if not found:
        raise ValueError(f"{folder} holds no image named *{ending}{{{','.join(IMAGE_SUFFIXES)}}}: 0 usable samples")
    return found


def read_list(file: Path) -> list[str]:
    """Names in a split list, one per line (the first word of each).

    Raises:
        ValueError: If it names none, or one twice.
    """
    names = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{file} names no image: 0 usable samples")
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise ValueError(f"{file} names {listing(repeated)} more than once; keep one line of each")
    return names


def samples_of(
    images: Iterable[tuple[str, Path]], label_of: Callable[[str], Path], where: str, *, compare_sizes: bool = True
) -> list[Sample]:
    """Samples of images and label files.

    Args:
        images: Name and path of the images.
        label_of: Path of the label of a name.
        where: What the list is of, for messages.
        compare_sizes: Compare the sizes of image and label (only images can be compared without reading them).

    Raises:
        FileNotFoundError: If images or labels are missing; counts them and names the first ones.
        ValueError: If sizes differ. Damaged files only warn here; reading the sample raises.
    """
    samples = [Sample(name, image, label_of(name)) for name, image in images]
    for what, paths in (("images", [s.image for s in samples]), ("labels", [s.label for s in samples])):
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(samples)} {what} of {where} are missing, {len(samples) - len(missing)} were "
                f"found: {listing(missing)}; unpack the archive again, or remove what refers to them"
            )
    if compare_sizes:
        check_sizes(samples, unreadable_stops=False)
    return samples


def class_table(names: Sequence[str], first: int = 0, void: Iterable[int] = (255,)) -> Classes:
    """Classes whose label values are `first`, `first + 1`, ...; the values `void` become 255.

    With more than 255 classes, void becomes 65535.
    """
    ignore_index = DEFAULT_IGNORE_INDEX if len(names) <= DEFAULT_IGNORE_INDEX else 65535
    table = {first + class_id: class_id for class_id in range(len(names))}
    return Classes(dict(enumerate(names)), ignore_index, table | dict.fromkeys(void, ignore_index))


def semantic_dataset(
    root: Path,
    split: str,
    samples: Sequence[Sample],
    classes: Classes,
    note: str,
    *,
    stuff: Sequence[int] | None = None,
    read_values: Callable[[Path], np.ndarray] = read_map,
) -> FolderDataset:
    """Dataset of class maps; all classes are stuff unless given otherwise."""
    return FolderDataset(
        "semantic",
        root,
        split,
        note,
        samples,
        SemanticReader(classes, read_values),
        classes.id2label,
        tuple(classes.id2label if stuff is None else stuff),
        classes.ignore_index,
    )
