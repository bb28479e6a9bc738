# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Intensities by modality, and the channels of a slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .geometry import MODALITIES

__all__ = [
    "CT_WINDOWS",
    "INPUT_MODES",
    "NODULE_WINDOW",
    "check_modality",
    "intensity_statistics",
    "normalize_intensity",
    "slice_axis",
    "slice_channels",
]

INPUT_MODES = ("windows", "2.5d", "slice", "sequences")
# Hounsfield units: lung, soft tissue, bone.
CT_WINDOWS = ((-1350.0, 150.0), (-160.0, 240.0), (-500.0, 1300.0))
NODULE_WINDOW = ((-1000.0, 400.0),)
PERCENTILES = (0.5, 99.5)


def check_modality(voxels: np.ndarray, modality: str, name: str = "the volume") -> None:
    """Checks that values can be of a modality: Hounsfield units reach air (-1000), and others do not.

    Raises:
        ValueError: They cannot.
    """
    low, high = float(voxels.min()), float(voxels.max())
    if modality == "CT" and low > -200:
        raise ValueError(
            f"{name} is given as CT, but its values, {low:g} to {high:g}, hold no air (-1000 HU): is it MR or X-ray, "
            "or was the rescale intercept lost? Set the modality right, or check_values=False."
        )
    if modality in ("MR", "XR") and low < -500:
        raise ValueError(
            f"{name} is given as {modality}, but its values, {low:g} to {high:g}, look like Hounsfield units of a CT. "
            "Set the modality right, or check_values=False."
        )


def intensity_statistics(
    voxels: np.ndarray, modality: str, windows: Sequence[Sequence[float]] = CT_WINDOWS
) -> dict[str, Any]:
    """What normalization by modality needs to know of a whole volume (never of a crop or slice).

    * CT: each window (low, high) in HU is clipped and mapped to [0, 1].
    * MR: clipped to the percentiles 0.5 and 99.5 of the voxels that are not 0, which then get mean 0 and deviation 1;
      voxels of 0 stay 0. Units of MR are arbitrary.
    * XR: clipped to the percentiles of all pixels, mapped to [0, 1], then mean 0 and deviation 1.

    Args:
        voxels: `(X, Y, Z)` or `(H, W)`.
        modality: `CT`, `MR` or `XR`.
        windows: Of CT.

    Raises:
        ValueError: An unknown modality, or a window whose upper end is not above the lower.
    """
    if modality not in MODALITIES:
        raise ValueError(f"modality is {modality!r}; must be one of {', '.join(MODALITIES)}.")
    if modality == "CT":
        for low, high in windows:
            if not high > low:
                raise ValueError(f"The window ({low}, {high}) is empty; give (low, high) in HU with high above low.")
        return {"modality": modality, "windows": [[float(low), float(high)] for low, high in windows]}
    counted = voxels[voxels != 0] if modality == "MR" else voxels.reshape(-1)
    if counted.size == 0:
        return {"modality": modality, "low": 0.0, "high": 0.0, "mean": 0.0, "std": 1.0}
    low, high = (float(value) for value in np.percentile(counted, PERCENTILES))
    clipped = np.clip(counted, low, high).astype(np.float32)
    if modality == "XR":
        clipped = (clipped - np.float32(low)) / np.float32(max(high - low, 1e-8))
    mean, std = float(clipped.mean(dtype=np.float64)), float(clipped.std(dtype=np.float64))
    return {"modality": modality, "low": low, "high": high, "mean": mean, "std": std if std > 1e-8 else 1.0}


def normalize_intensity(voxels: np.ndarray, statistics: Mapping[str, Any]) -> list[np.ndarray]:
    """Normalizes voxels (a volume or any part of it) by the statistics of their volume.

    Args:
        voxels: Any shape.
        statistics: Of `intensity_statistics`.

    Returns:
        One float32 array per window of CT, else one.
    """
    values = voxels.astype(np.float32, order="C")
    if statistics["modality"] == "CT":
        windows = []
        for low, high in statistics["windows"]:
            scaled = values - np.float32(low)
            scaled *= np.float32(1 / (high - low))
            windows.append(scaled.clip(0, 1, out=scaled))
        return windows
    low, high = np.float32(statistics["low"]), np.float32(statistics["high"])
    mean, std = np.float32(statistics["mean"]), np.float32(statistics["std"])
    clipped = np.clip(values, low, high)
    if statistics["modality"] == "XR":
        return [((clipped - low) / max(high - low, np.float32(1e-8)) - mean) / std]
    return [np.where(values != 0, (clipped - mean) / std, np.float32(0))]


def slice_axis(spacing: Sequence[float], modality: str | None = None) -> int:
    """Axis along which slices were acquired: axial for CT, else that of the largest spacing (of equal ones, axial)."""
    if modality == "CT":
        return 2
    largest = max(spacing)
    return max(axis for axis in range(3) if spacing[axis] > 0.99 * largest)


def _plane(volume: np.ndarray, index: int, axis: int) -> np.ndarray:
    """One slice, as a view."""
    return volume[(slice(None),) * axis + (index,)]


def slice_channels(
    volumes: Sequence[np.ndarray], statistics: Sequence[Mapping[str, Any]], index: int, axis: int, input_mode: str
) -> np.ndarray:
    """Normalized channels of one slice; nothing but that slice (and its neighbors) is touched.

    * `windows`, `sequences`: one channel per window or volume, repeated in turn up to three;
    * `2.5d`: the slice below, the slice and the slice above of the first volume (and window), edges repeated;
    * `slice`: the slice three times.

    Args:
        volumes: Registered volumes as read, each `(X, Y, Z)`.
        statistics: Of each.
        index: Position along `axis`.
        axis: Of the slices.
        input_mode: See above.

    Shape:
        output: `(C, H, W)`, the two other axes in their order.

    Raises:
        ValueError: An unknown mode.
    """
    if input_mode not in INPUT_MODES:
        raise ValueError(f"input_mode is {input_mode!r}; must be one of {', '.join(INPUT_MODES)}.")
    if input_mode in ("windows", "sequences"):
        planes = [
            plane
            for volume, numbers in zip(volumes, statistics)
            for plane in normalize_intensity(_plane(volume, index, axis), numbers)
        ]
        return np.stack([planes[channel % len(planes)] for channel in range(max(3, len(planes)))])
    last = volumes[0].shape[axis] - 1
    places = [index] * 3 if input_mode == "slice" else [max(index - 1, 0), index, min(index + 1, last)]
    around = np.stack([_plane(volumes[0], place, axis) for place in places])
    return normalize_intensity(around, statistics[0])[0]
