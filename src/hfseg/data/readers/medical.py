# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Slices of medical volumes for training, and their collation.

`MedicalSlices` reads pairs of image and mask (NIfTI, DICOM folders with NIfTI masks), keeps them as stored, in memory
or on the disk (`medical_volumes`), and gives slices, normalized by the statistics of their volume. `MedicalCollator`
scales them anisotropically, moves them at random, and stacks.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...volumes import CT_WINDOWS, slice_channels
from .medical_volumes import IGNORE_INDEX, CaseVolumes, ReadingOptions
from .schema import white_of

__all__ = [
    "MedicalCase",
    "MedicalCollator",
    "MedicalSlices",
    "check_disjoint",
    "random_affine",
    "resize_slices",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MedicalCase:
    """One study of one person.

    Attributes:
        case_id: Name, unique in the set.
        image: NIfTI file or DICOM folder, or several registered ones.
        mask: NIfTI file of class ids, or None.
        patient_id: Person; several cases of one person must be on one side of a split.
        modality: `CT`, `MR` or `XR`.
        channels: Volumes to take of a 4-D image.
        label_set: Name of the dataset, which says what classes its masks know.
        label_map: Class of every label of the mask, where they are not the classes already.
        input_mode: Of this case, where modalities are mixed; None takes the dataset's.
    """

    case_id: str
    image: str | tuple[str, ...]
    mask: str | None
    patient_id: str
    modality: str
    channels: tuple[int, ...] | None = None
    label_set: str | None = None
    label_map: Mapping[int, int] | None = field(default=None, hash=False)
    input_mode: str | None = None


def check_disjoint(splits: Mapping[str, Sequence[MedicalCase]]) -> None:
    """Checks that no person is in two splits.

    Raises:
        ValueError: Somebody is; the persons and splits are named.
    """
    where: dict[str, str] = {}
    leaks: dict[str, set[str]] = {}
    for name, cases in splits.items():
        for case in cases:
            other = where.setdefault(case.patient_id, name)
            if other != name:
                leaks.setdefault(case.patient_id, {other}).add(name)
    if leaks:
        listed = "; ".join(
            f"{patient} in {' and '.join(sorted(names))}" for patient, names in sorted(leaks.items())[:5]
        )
        raise ValueError(
            f"{len(leaks)} patient(s) are in more than one split: {listed}. Slices of one person look alike, "
            "so every number would be too good; split by patient."
        )


class MedicalSlices(torch.utils.data.Dataset):
    """Slices of volumes, normalized per volume.

    An example: `image` (C, H, W) float32, `segmentation_map` (H, W) uint8, `spacing` of its rows and columns in mm,
    `modality`, `orientation`, `case_id`, `patient_id`, `slice_index`, and `annotated_classes` with label sets.

    Args:
        cases: Studies with masks.
        id2label: Name of every class, background first.
        input_mode: See `hfseg.volumes.slice_channels`.
        windows: Of CT, in HU.
        foreground_share: Least share of slices that hold foreground; slices with it are repeated until it is reached.
        dataset_power: Datasets (label sets) of n slices are drawn in proportion to n to this power, by repeating
            slices of the smaller ones; 1 leaves the sizes as they are.
        label_sets: Classes that each dataset annotates.
        crop: Share of height and width around the center that is kept, 1 for all.
        check_values: Whether values that cannot be of the modality are refused.
        ignore_index: Label of pixels without annotation.
        cache_dir: Folder in which every volume is kept as raw arrays, of which slices are read when asked for; it needs
            the size of the decoded volumes on the disk, and memory for one volume at a time. Default: all volumes stay
            in memory.

    Raises:
        ValueError: No cases, doubled names, unknown labels, or as `hfseg.volumes`.
    """

    schema = "medical"

    def __init__(
        self,
        cases: Sequence[MedicalCase],
        id2label: Mapping[int, str],
        input_mode: str = "2.5d",
        windows: Sequence[Sequence[float]] = CT_WINDOWS,
        foreground_share: float = 1 / 3,
        dataset_power: float = 0.5,
        label_sets: Mapping[str, Sequence[int]] | None = None,
        crop: float = 1.0,
        check_values: bool = True,
        ignore_index: int = IGNORE_INDEX,
        cache_dir: str | Path | None = None,
    ) -> None:
        if not cases:
            raise ValueError("There are no cases; give at least one study with image and mask.")
        names = [case.case_id for case in cases]
        if len(set(names)) < len(names):
            raise ValueError(
                f"Case ids repeat, e.g. {next(n for n in names if names.count(n) > 1)!r}; make them unique."
            )
        if not 0 < crop <= 1:
            raise ValueError(f"crop is {crop}; it must be in (0, 1].")
        self.cases, self.id2label, self.input_mode = list(cases), {int(k): v for k, v in id2label.items()}, input_mode
        self.windows, self.crop, self.ignore_index = windows, crop, ignore_index
        self.label_sets = {name: sorted(ids) for name, ids in (label_sets or {}).items()}
        self.check_values = check_values
        for case in self.cases:
            if case.label_set is not None and self.label_sets and case.label_set not in self.label_sets:
                raise ValueError(
                    f"Case {case.case_id} is of {case.label_set!r}, unknown to {', '.join(self.label_sets)}."
                )
        options = ReadingOptions(len(self.id2label), windows, check_values, ignore_index)
        self.volumes = CaseVolumes(self.cases, options, cache_dir)
        self._settle_binary()
        self.index = self._index(foreground_share, dataset_power)

    def _settle_binary(self) -> None:
        """Reads black and white masks of two classes as 0 and 1: 255 would be void, and the second class empty."""
        if len(self.id2label) != 2 or self.ignore_index != IGNORE_INDEX:
            return
        if any(case.label_map is not None for case in self.cases):
            return
        if white_of({value for summary in self.volumes.summaries for value in summary["values"]}) is None:
            return
        second = list(self.id2label.values())[1]
        logger.warning(
            "The masks hold 0 and 255 only, and there are two classes: 255 is read as %r. If 255 means void, say so "
            "by a label_map of the cases.",
            second,
        )
        self.volumes.white_label = 1

    def _index(self, foreground_share: float, power: float) -> list[tuple[int, int]]:
        """(case, slice) of every example, with the repeats that the shares ask for."""
        by_set: dict[str | None, list[tuple[int, int]]] = {}
        held = "labeled" if self.volumes.white_label is None else "nonzero"
        for number, (case, summary) in enumerate(zip(self.cases, self.volumes.summaries)):
            full = list(summary[held])
            empty = sorted(set(range(summary["slices"])) - set(full))
            entries = by_set.setdefault(case.label_set, [])
            entries += [(number, index) for index in full + empty]
            if full and foreground_share < 1:
                wanted = math.ceil(foreground_share / (1 - foreground_share) * len(empty))
                for extra in range(max(0, wanted - len(full))):
                    entries.append((number, full[extra % len(full)]))
        if power == 1 or len(by_set) == 1:
            return [entry for entries in by_set.values() for entry in entries]
        largest = max(len(entries) for entries in by_set.values())
        index = []
        for entries in by_set.values():
            # n^p : N^p with the largest set as it is
            wanted = round(largest * (len(entries) / largest) ** power)
            index += [entries[place % len(entries)] for place in range(max(wanted, len(entries)))]
        return index

    def __len__(self) -> int:
        return len(self.index)

    def input_mode_of(self, number: int) -> str:
        """The input mode of a case: its own, or that of the dataset."""
        return self.cases[number].input_mode or self.input_mode

    def annotated_classes(self, number: int) -> list[int]:
        """The classes that the masks of a case know: all, unless its dataset annotates fewer."""
        return self.label_sets.get(self.cases[number].label_set or "", list(self.id2label))

    def sample_id(self, index: int) -> str:
        """Names an example."""
        number, place = self.index[index]
        return f"{self.cases[number].case_id} slice {place}"

    def to_datasets(self, streaming: bool = False) -> Any:
        """The slices as a `datasets` object; see `hfseg.data.readers.table_rows.to_datasets`."""
        from .table_rows import to_datasets

        return to_datasets(self, streaming=streaming)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, place = self.index[index]
        case, volume = self.cases[number], self.volumes.stored(number)
        mode = self.input_mode_of(number)
        image = slice_channels(volume["arrays"], volume["statistics"], place, volume["axis"], mode)
        labels = self.volumes.slice_of_mask(volume, place)
        if self.crop < 1:
            rows, columns = (
                slice(round(n * (1 - self.crop) / 2), n - round(n * (1 - self.crop) / 2)) for n in labels.shape
            )
            image, labels = image[:, rows, columns], labels[rows, columns]
        example = {
            "image": image,
            "segmentation_map": labels,
            "spacing": volume["spacing"],
            "modality": case.modality,
            "orientation": "RAS",
            "case_id": case.case_id,
            "patient_id": case.patient_id,
            "slice_index": place,
        }
        if self.label_sets:
            known = self.annotated_classes(number)
            example["annotated_classes"] = np.isin(np.arange(len(self.id2label)), known)
        return example


def resize_slices(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Scales each axis of slices by its own factor; bilinear, anti-aliased where an axis shrinks.

    Shape:
        images: `(B, C, H, W)`; output: `(B, C, *size)`.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def random_affine(
    images: torch.Tensor,
    labels: torch.Tensor,
    rotation: float = 15.0,
    scale: tuple[float, float] = (0.9, 1.1),
    translation: float = 20 / 512,
    shear: float = 0.05,
    probability: float = 0.5,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Moves each image of a batch, and its labels likewise, by an affine map of its own.

    Images are sampled bilinearly with their border repeated, labels by nearest neighbor with background outside.

    Args:
        images, labels: A batch.
        rotation: Largest angle in degrees.
        scale: Range of the factor.
        translation: Largest shift as a share of the side.
        shear: Largest shear.
        probability: Of moving an image at all.
        generator: Source of randomness; default torch's own.

    Shape:
        images: `(B, C, H, W)`; labels: `(B, H, W)`; outputs the same.
    """
    count = len(images)
    draw = torch.rand(count, 7, generator=generator)
    moved = draw[:, 0] < probability
    angle = torch.deg2rad((draw[:, 1] * 2 - 1) * rotation)
    factor = scale[0] + (scale[1] - scale[0]) * draw[:, 2]
    shifts = (draw[:, 3:5] * 2 - 1) * (2 * translation)  # the grid runs from -1 to 1
    shears = (draw[:, 5:7] * 2 - 1) * shear
    cosine, sine = angle.cos() / factor, angle.sin() / factor
    turn = torch.stack((torch.stack((cosine, -sine), 1), torch.stack((sine, cosine), 1)), 1)  # (B, 2, 2)
    skew = torch.eye(2).repeat(count, 1, 1)
    skew[:, 0, 1], skew[:, 1, 0] = shears[:, 0], shears[:, 1]
    # Rotation happens in pixels: the grid's unit differs between height and width.
    height, width = images.shape[-2:]
    units = torch.tensor([float(width), float(height)])
    linear = (turn @ skew) * units[None, None, :] / units[None, :, None]
    linear = torch.where(moved[:, None, None], linear, torch.eye(2))
    shifts = torch.where(moved[:, None], shifts, torch.zeros(2))
    grid = F.affine_grid(torch.cat((linear, shifts[:, :, None]), 2), list(images.shape), align_corners=False)
    grid = grid.to(images)
    new_images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    new_labels = F.grid_sample(
        labels[:, None].float(), grid.float(), mode="nearest", padding_mode="zeros", align_corners=False
    )
    return new_images, new_labels[:, 0].to(labels.dtype)


class MedicalCollator:
    """Batch for a semantic model from slices: anisotropic scaling, random affine map, stacking.

    Args:
        size: Height and width of the network's input; each axis gets its own factor.
        affine: Arguments of `random_affine`, or None for none (validation).
        flips: Axes (0 rows, 1 columns) that are mirrored with probability a half, where anatomy allows it.
        gamma: Range of a random exponent of intensities (per image, within its range), or None.
        noise: Largest deviation of additive Gaussian noise; 0 for none.
        image_mean, image_std: Standardisation for public RGB weights (images in [0, 1]), or None.

    Returns (of a call):
        `pixel_values` (B, C, h, w) float32, `labels` (B, h, w) int64, and `annotated_classes` (B, K) with label sets.

    Raises:
        ValueError: Image and mask of different size, or an empty batch.
    """

    def __init__(
        self,
        size: Sequence[int] | int = (512, 512),
        affine: Mapping[str, Any] | None = None,
        flips: Sequence[int] = (),
        gamma: Sequence[float] | None = None,
        noise: float = 0.0,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self.affine, self.flips, self.gamma, self.noise = affine, tuple(flips), gamma, noise
        self.image_mean, self.image_std = image_mean, image_std

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        if len(examples) == 0:
            raise ValueError("The batch is empty; give at least one example.")
        images, labels = [], []
        for example in examples:
            image = torch.from_numpy(np.ascontiguousarray(example["image"], dtype=np.float32))
            mask = torch.from_numpy(np.ascontiguousarray(example["segmentation_map"]).astype(np.int64))
            if image.shape[-2:] != mask.shape:
                raise ValueError(
                    f"{example.get('case_id', 'An example')}: the image is {tuple(image.shape[-2:])} and its mask "
                    f"{tuple(mask.shape)}; they must agree."
                )
            images.append(resize_slices(image[None], self.size)[0])
            reduced = F.interpolate(mask[None, None].float(), size=self.size, mode="nearest-exact")
            labels.append(reduced[0, 0].long())
        pixel_values, targets = torch.stack(images), torch.stack(labels)
        if self.affine is not None:
            pixel_values, targets = random_affine(pixel_values, targets, **self.affine)
        for axis in self.flips:
            mirrored = torch.rand(len(targets)) < 0.5
            pixel_values = torch.where(mirrored[:, None, None, None], pixel_values.flip(axis - 2), pixel_values)
            targets = torch.where(mirrored[:, None, None], targets.flip(axis - 2), targets)
        if self.gamma is not None:
            low, high = self.gamma
            exponent = (low + (high - low) * torch.rand(len(targets)))[:, None, None, None]
            least = pixel_values.amin((1, 2, 3), keepdim=True)
            span = (pixel_values.amax((1, 2, 3), keepdim=True) - least).clamp(min=1e-6)
            pixel_values = ((pixel_values - least) / span).pow(exponent) * span + least
        if self.noise > 0:
            deviation = self.noise * torch.rand(len(targets), 1, 1, 1)
            pixel_values = pixel_values + deviation * torch.randn(pixel_values.shape)
        if self.image_mean is not None and self.image_std is not None:
            mean, std = (torch.tensor(values)[:, None, None] for values in (self.image_mean, self.image_std))
            pixel_values = (pixel_values - mean) / std
        batch = {"pixel_values": pixel_values.contiguous(), "labels": targets}
        if "annotated_classes" in examples[0]:
            batch["annotated_classes"] = torch.stack([torch.from_numpy(e["annotated_classes"]) for e in examples])
        return batch
