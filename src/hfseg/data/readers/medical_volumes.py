# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Volumes of medical cases: read and checked one by one, then kept in memory or in a folder of raw arrays.

A folder of raw arrays (`cache_dir`) is for data that does not fit in memory: every volume is decoded once, when it is
first met, and written as it is in memory, slice after slice. Later reads map the file and touch the pages of the
slices that are asked for, nothing else; the next run, and other processes, find the arrays there. A changed file, or
another way of reading it, gives another entry.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...files.images import open_image
from ...files.writing import write_json
from ...volumes import (
    CT_WINDOWS,
    Volume,
    check_modality,
    check_same_geometry,
    intensity_statistics,
    read_label_volume,
    read_volume,
    slice_axis,
    volume_from_array,
)
from .images import orient, read_map
from .schema import white_of

if TYPE_CHECKING:
    from .medical import MedicalCase

__all__ = ["CaseVolumes", "ReadingOptions", "load_case", "summary_of"]

IGNORE_INDEX = 255
IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# Raised when what is written changes.
FORMAT = 1


@dataclass(frozen=True)
class ReadingOptions:
    """What a volume's arrays and statistics depend on, besides its files.

    Attributes:
        num_labels: Number of classes.
        windows: Of CT, in HU.
        check_values: Whether values that cannot be of the modality are refused.
        ignore_index: Label of voxels without annotation.
    """

    num_labels: int
    windows: Sequence[Sequence[float]] = CT_WINDOWS
    check_values: bool = True
    ignore_index: int = IGNORE_INDEX


def load_case(case: MedicalCase, options: ReadingOptions) -> dict[str, Any]:
    """Reads one case.

    Returns:
        `volumes` (one per file), `arrays` (one `(X, Y, Z)` per channel), `mask` (X, Y, Z) uint8, `axis` of the slices,
        `spacing` of their rows and columns, `statistics` per channel, and `unit` of the spacing: `mm`, or `px` for
        images, which state none.

    Raises:
        ValueError: No mask, unknown labels, or as `hfseg.volumes`.
    """
    if case.mask is None:
        raise ValueError(f"Case {case.case_id} has no mask.")
    sources = _sources(case)
    arrays: list[np.ndarray] = []
    volumes: list[Volume] = []
    reference = None
    for source in sources:
        volume = _read(source, case)
        if reference is not None:
            check_same_geometry(reference, volume)
        reference = reference or volume
        volumes.append(volume)
        arrays += list(volume.voxels) if volume.voxels.ndim == 4 else [volume.voxels]
    if options.check_values:
        for voxels in arrays:
            check_modality(voxels, case.modality, case.case_id)
    statistics = [intensity_statistics(voxels, case.modality, options.windows) for voxels in arrays]
    assert reference is not None
    axis = slice_axis(reference.spacing, case.modality)
    return {
        "volumes": volumes,
        "arrays": arrays,
        "mask": _mask(case, reference, options).astype(np.uint8),
        "axis": axis,
        "spacing": [size for place, size in enumerate(reference.spacing) if place != axis],
        "statistics": statistics,
        "unit": "px" if sources[0].lower().endswith(IMAGES) else "mm",
    }


def _mask(case: MedicalCase, reference: Volume, options: ReadingOptions) -> np.ndarray:
    known = None if case.label_map is not None else options.num_labels
    source = _read(str(case.mask), case, True)
    if case.label_map is None and white_of(set(np.unique(source.voxels).tolist())) == 65535:  # of 16 bits
        source.voxels = np.where(source.voxels == 65535, IGNORE_INDEX, 0).astype(np.uint8)
    mask = read_label_volume(source, reference, known, options.ignore_index).voxels
    if case.label_map is None:
        return mask
    unknown = sorted(set(np.unique(mask).tolist()) - set(case.label_map) - {options.ignore_index})
    if unknown:
        raise ValueError(f"{case.mask} holds the label(s) {unknown}, which label_map does not name.")
    table = np.arange(256, dtype=np.uint8)
    for source_id, target_id in case.label_map.items():
        table[source_id] = target_id
    return table[mask]


def _sources(case: MedicalCase) -> tuple[str, ...]:
    return (case.image,) if isinstance(case.image, str) else tuple(case.image)


def _read(source: str, case: MedicalCase, is_mask: bool = False) -> Volume:
    """Reads an image or mask; an image is a volume of one slice, with pixels for millimeters."""
    if not source.lower().endswith(IMAGES):
        return read_volume(source, None if is_mask else case.modality, None if is_mask else case.channels)
    if is_mask:
        image = read_map(source)
    else:
        image = np.asarray(orient(open_image(source), source, labeled=case.mask is not None))
        if image.ndim == 3:
            if not (image[..., :3] == image[..., :1]).all():
                raise ValueError(f"{source} is a color image; give gray values.")
            image = image[..., 0]
    return volume_from_array(image[:, :, None], spacing=(1.0, 1.0, 1.0), modality=case.modality, name=source)


def summary_of(loaded: Mapping[str, Any], ignore_index: int) -> dict[str, Any]:
    """What the choice of slices needs of a case, without its voxels.

    Returns:
        `axis`; `values` that occur in the mask; `labeled` and `nonzero`, the slices with a class besides background,
        and with anything but 0, as positions; `slices`, their number.
    """
    mask, axis = loaded["mask"], loaded["axis"]
    other = tuple(place for place in range(3) if place != axis)
    return {
        "axis": int(axis),
        "values": np.unique(mask).tolist(),
        "labeled": np.flatnonzero(((mask != 0) & (mask != ignore_index)).any(other)).tolist(),
        "nonzero": np.flatnonzero((mask != 0).any(other)).tolist(),
        "slices": int(mask.shape[axis]),
    }


class CaseVolumes(Sequence):
    """The cases' volumes by number, as `load_case` gives them.

    Args:
        cases: Studies with masks.
        options: How they are read.
        cache_dir: Folder of raw arrays; None keeps all volumes in memory.

    Attributes:
        summaries: `summary_of` every case.
        white_label: The class that 255 stands for; None where it is void. The dataset sets it when it has seen all
            summaries.

    Raises:
        ValueError: As `load_case`.
        OSError: The folder cannot be written, or the disk is full.
    """

    def __init__(self, cases: Sequence[MedicalCase], options: ReadingOptions, cache_dir: str | Path | None = None):
        self.white_label: int | None = None
        self.summaries: list[dict[str, Any]] = []
        self._held: list[dict[str, Any]] | None = [] if cache_dir is None else None
        self._folders: list[Path] = []
        if self._held is not None:
            for case in cases:
                loaded = load_case(case, options)
                self._held.append(loaded)
                self.summaries.append(summary_of(loaded, options.ignore_index))
            return
        root = Path(str(cache_dir)).expanduser()
        root.mkdir(parents=True, exist_ok=True)
        self._folders = [root / _key(case, options) for case in cases]
        # Processes that start together begin at different cases, and find those of the others done.
        count, rank, ranks = len(cases), int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        first = count * rank // max(ranks, 1)
        for number in [*range(first, count), *range(first)]:
            if not (self._folders[number] / "case.json").is_file():
                _write(load_case(cases[number], options), self._folders[number], options.ignore_index)
        self.summaries = [_description(folder)["summary"] for folder in self._folders]

    def __len__(self) -> int:
        return len(self._folders) if self._held is None else len(self._held)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: Any) -> dict[str, Any]:
        loaded = self.stored(number)
        if self.white_label is None:
            return loaded
        mask = np.where(loaded["mask"] == IGNORE_INDEX, np.uint8(self.white_label), np.uint8(0))
        return {**loaded, "mask": mask}

    def stored(self, number: int) -> dict[str, Any]:
        """A case as it is kept: black and white masks are not yet classes."""
        return _mapped(self._folders[number]) if self._held is None else self._held[number]

    def slice_of_mask(self, stored: Mapping[str, Any], place: int) -> np.ndarray:
        """One slice of a stored case's mask; the rest stays on the disk. Shape: (H, W), uint8."""
        labels = np.array(np.take(stored["mask"], place, stored["axis"]))
        return labels if self.white_label is None else (labels == IGNORE_INDEX).astype(np.uint8) * self.white_label


def _key(case: MedicalCase, options: ReadingOptions) -> str:
    """Name of a case's entry: by its files, their sizes and times, and by how they are read."""
    stamps = []
    for source in (*_sources(case), str(case.mask)):
        path = Path(source)
        files = (
            sorted(path.rglob("*")) if path.is_dir() else [path, path.with_suffix(".raw"), path.with_suffix(".zraw")]
        )
        for file in files:
            if file.is_file():
                status = file.stat()
                stamps.append((str(file.absolute()), status.st_size, status.st_mtime_ns))
    label_map = None if case.label_map is None else sorted(case.label_map.items())
    read = [options.num_labels, [list(map(float, window)) for window in options.windows], options.ignore_index]
    told = [FORMAT, stamps, case.modality, case.channels, label_map, options.check_values, read]
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in case.case_id)[-60:]
    return f"{name}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:20]}"


def _write(loaded: Mapping[str, Any], folder: Path, ignore_index: int) -> None:
    """Writes a case beside its place and moves it there in one step; the first of several processes wins."""
    temporary = folder.with_name(f".{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        axis, volumes = loaded["axis"], []
        for number, volume in enumerate(loaded["volumes"]):
            # Slices lie one after the other.
            np.save(temporary / f"image-{number}.npy", np.ascontiguousarray(np.moveaxis(volume.voxels, axis - 3, -3)))
            volumes.append(
                {
                    "affine": volume.affine.tolist(),
                    "modality": volume.modality,
                    "stored_affine": volume.stored_affine.tolist(),
                    "stored_shape": list(volume.stored_shape),
                    "stored_axes": volume.stored_axes,
                    "name": volume.name,
                    "unit": volume.unit,
                }
            )
        np.save(temporary / "mask.npy", np.ascontiguousarray(np.moveaxis(loaded["mask"], axis, 0)))
        fields = {name: loaded[name] for name in ("axis", "spacing", "statistics", "unit")}
        write_json(
            temporary / "case.json",
            {**fields, "volumes": volumes, "summary": summary_of(loaded, ignore_index)},
        )
        try:
            os.rename(temporary, folder)
        except OSError:
            if not (folder / "case.json").is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _description(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "case.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is damaged: {error}. Remove it; it is made again.") from error


def _mapped(folder: Path) -> dict[str, Any]:
    """A case whose arrays stay on the disk until they are touched."""
    told = _description(folder)
    axis, volumes, arrays = told["axis"], [], []
    for number, fields in enumerate(told.pop("volumes")):
        voxels = np.moveaxis(_array(folder / f"image-{number}.npy"), -3, axis - 3)
        arrays += list(voxels) if voxels.ndim == 4 else [voxels]
        for name in ("affine", "stored_affine"):
            fields[name] = np.array(fields[name])
        fields["stored_shape"] = tuple(fields["stored_shape"])
        volumes.append(Volume(voxels=voxels, **fields))
    mask = np.moveaxis(_array(folder / "mask.npy"), 0, axis)
    told.pop("summary")
    return {**told, "volumes": volumes, "arrays": arrays, "mask": mask}


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}. Remove its folder; it is made again.") from error
