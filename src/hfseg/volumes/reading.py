# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One door for every source of a volume, and for masks of class ids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .dicom import is_dicom, read_dicom_series
from .geometry import Volume, check_same_geometry, volume_from_array
from .metaimage import read_meta_image
from .nifti import read_nifti

__all__ = ["read_label_volume", "read_volume"]


def read_volume(
    source: Any,
    modality: str | None = None,
    channels: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
) -> Volume:
    """Reads a volume from a NIfTI file, a DICOM folder or file, an array (with `spacing`), or takes one.

    Raises:
        FileNotFoundError, ValueError, TypeError: As the readers; a source of another kind.
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, np.ndarray) or hasattr(source, "detach"):
        array = source.detach().cpu().numpy() if hasattr(source, "detach") else source
        affine = getattr(source, "affine", None)  # MONAI's MetaTensor
        if affine is not None and spacing is None:
            return volume_from_array(np.asarray(array), np.asarray(affine), modality=modality)
        return volume_from_array(np.asarray(array), spacing=spacing, modality=modality)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"A volume is a path, an array or a Volume, not {type(source).__name__}.")
    path = Path(source)
    name = path.name.lower()
    if path.is_dir() or name.endswith((".dcm", ".ima")):
        return read_dicom_series(path, modality)
    if name.endswith((".mhd", ".mha")):
        return read_meta_image(path, modality)
    if name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return read_nifti(path, modality, channels)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
    if is_dicom(path):
        return read_dicom_series(path, modality)
    raise ValueError(f"{path} is neither NIfTI (.nii, .nii.gz), MetaImage (.mhd, .mha) nor DICOM (.dcm, a folder).")


def read_label_volume(
    source: Any, image: Volume | None = None, num_labels: int | None = None, ignore_index: int = 255
) -> Volume:
    """Reads a mask of class ids, checked against its image and the classes.

    Args:
        source: As `read_volume`.
        image: Volume that the mask belongs to; their geometry must agree.
        num_labels: Number of classes; ids must be below, or the ignore index.
        ignore_index: Id of voxels without annotation.

    Raises:
        ValueError: Values that are no whole numbers, unknown ids, another geometry.
    """
    volume = read_volume(source, spacing=None if image is None else image.spacing)
    values = volume.voxels
    if np.issubdtype(values.dtype, np.floating):
        rounded = np.rint(values)
        if np.abs(values - rounded).max() > 1e-3:
            raise ValueError(
                f"{volume.name} is a mask, but holds fractions such as {values[values != rounded].flat[0]:.4g}; was it "
                "resampled without nearest neighbor?"
            )
        values = rounded
    ids = np.unique(values).astype(np.int64)
    wrong = [int(value) for value in ids if value < 0 or (num_labels and value >= num_labels and value != ignore_index)]
    if wrong:
        legal = f"0 to {num_labels - 1}" if num_labels else "0 and above"
        raise ValueError(f"{volume.name} holds the unknown label(s) {wrong[:5]}; must be {legal} and {ignore_index}.")
    volume.voxels = values.astype(np.uint8 if ids.max() < 256 else np.int32)
    if image is not None:
        check_same_geometry(image, volume)
    return volume
