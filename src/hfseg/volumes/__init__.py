# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Medical volumes: reading with their geometry, intensity normalization by modality, and the way back to the file.

A `Volume` holds voxels in RAS order (first index to the right, second to the front, third upwards) with an affine in
millimeters, and remembers the orientation it was stored in, so that a result can be written with the affine of
the file it came from. NIfTI needs nibabel and DICOM pydicom (`pip install hfseg[medical]`); arrays need neither.

Shape legend: X, Y, Z voxels of a volume in RAS order; (H, W) a slice.
"""

from .dicom import is_dicom, read_dicom_series
from .geometry import MODALITIES, Volume, check_same_geometry, volume_from_array
from .intensities import (
    CT_WINDOWS,
    INPUT_MODES,
    NODULE_WINDOW,
    check_modality,
    intensity_statistics,
    normalize_intensity,
    slice_axis,
    slice_channels,
)
from .metaimage import read_meta_image
from .nifti import NOT_A_MEDICAL_DEVICE, read_nifti, write_nifti
from .reading import read_label_volume, read_volume

__all__ = [
    "CT_WINDOWS",
    "INPUT_MODES",
    "MODALITIES",
    "NODULE_WINDOW",
    "NOT_A_MEDICAL_DEVICE",
    "Volume",
    "check_modality",
    "check_same_geometry",
    "intensity_statistics",
    "is_dicom",
    "normalize_intensity",
    "read_dicom_series",
    "read_label_volume",
    "read_meta_image",
    "read_nifti",
    "read_volume",
    "slice_axis",
    "slice_channels",
    "volume_from_array",
    "write_nifti",
]
