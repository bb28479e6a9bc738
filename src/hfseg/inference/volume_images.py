# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images of slices of volumes, as a radiologist expects them: head or front up, the patient's right at the left."""

from typing import Any

import numpy as np
from PIL import Image

from ..results.segmentation_result import SegmentationResult
from ..volumes import Volume, volume_from_array
from .predictor import Prediction

__all__ = ["fullest_slice", "slice_prediction"]

PERCENTILES = (0.5, 99.5)


def fullest_slice(labels: np.ndarray, axis: int) -> int:
    """The slice with the most labeled voxels; the middle one if nothing is labeled.

    Shape:
        labels: (X, Y, Z).
    """
    others = tuple(place for place in range(3) if place != axis)
    counts = (labels > 0).sum(axis=others)
    return int(counts.argmax()) if counts.any() else labels.shape[axis] // 2


def _upright(plane: np.ndarray, axis: int) -> np.ndarray:
    """Brings a slice of RAS voxels to rows from head or front down, columns from the patient's right or back.

    Shape:
        plane: (A, B), the two other axes in order -> (B, A).
    """
    rows = plane.T[::-1]
    return rows[:, ::-1] if axis != 0 else rows


def slice_prediction(
    volume: Volume, labels: np.ndarray, axis: int, index: int, names: dict[int, str], background: int | None = 0
) -> Prediction:
    """One slice of a segmented volume as the prediction of an image, with square pixels.

    Args:
        volume: Voxels in RAS order; of several sequences the first is shown.
        labels: Classes in RAS order.
        axis: Across the slices.
        index: Of the slice.
        names: Class to name.
        background: Class that is not drawn.

    Shape:
        labels: (X, Y, Z).
    """
    voxels = volume.voxels[0] if volume.voxels.ndim == 4 else volume.voxels
    if not 0 <= index < voxels.shape[axis]:
        raise ValueError(f"There is no slice {index}; axis {axis} has 0 to {voxels.shape[axis] - 1}.")
    plane = _upright(np.take(voxels, index, axis), axis).astype(np.float64)
    classes = _upright(np.take(labels, index, axis), axis)
    sample = voxels[:: max(voxels.shape[0] // 64, 1), :: max(voxels.shape[1] // 64, 1)].astype(np.float64)
    low, high = np.percentile(sample[np.isfinite(sample)], PERCENTILES)
    gray = np.nan_to_num((plane - low) / max(high - low, 1e-9)).clip(0, 1)
    image = Image.fromarray(np.round(gray * 255).astype(np.uint8))
    wide, tall = (volume.spacing[place] for place in range(3) if place != axis)
    unit = min(wide, tall)
    size = (max(round(image.width * wide / unit), 1), max(round(image.height * tall / unit), 1))
    image = image.resize(size, Image.Resampling.BICUBIC).convert("RGB")
    scaled = Image.fromarray(classes.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    shown = {value: name for value, name in names.items() if value != background}
    return Prediction(image, SegmentationResult.from_class_map(np.array(scaled), shown), names)


def labels_in_ras(found: Any) -> np.ndarray:
    """Class map of a `VolumeSegmentation` in RAS order. Shape: (X, Y, Z)."""
    return volume_from_array(found.segmentation, found.affine).voxels
