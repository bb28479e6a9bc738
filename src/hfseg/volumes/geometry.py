# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A volume and where it lies: voxels in RAS order, their affine in millimeters, and the way back to the file.

Shape legend: X, Y, Z voxels of a volume in RAS order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["MODALITIES", "Volume", "check_same_geometry", "volume_from_array"]

MODALITIES = ("CT", "MR", "XR")
# Of one voxel, in mm: a scanner's slices are below 30.
LARGEST_SPACING = 1000.0
# Affines are stored in float32: two files of one scan agree to about this many millimeters, or this share of a voxel.
GEOMETRY_TOLERANCE = 1e-2
VOXEL_TOLERANCE = 0.1


@dataclass
class Volume:
    """One 3-D image, or several registered ones, in RAS order.

    Attributes:
        voxels: Values, `(X, Y, Z)`, or `(C, X, Y, Z)` for C registered sequences.
        affine: Voxel index to millimeters, `(4, 4)`, of the RAS order.
        modality: `CT`, `MR` or `XR`, if known.
        stored_affine: Affine of the file.
        stored_shape: Shape in the file.
        stored_axes: Orientation codes of the file, such as `LPS`.
        name: File or series, for messages.
        header: Attributes worth keeping (DICOM descriptions).
        unit: Length in which the file states its geometry: `mm`, `micron` or `meter`; here all is millimeters.
    """

    voxels: np.ndarray
    affine: np.ndarray
    modality: str | None
    stored_affine: np.ndarray
    stored_shape: tuple[int, ...]
    stored_axes: str
    name: str = "volume"
    header: dict[str, Any] = field(default_factory=dict)
    unit: str = "mm"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes."""
        x, y, z = self.voxels.shape[-3:]
        return x, y, z

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size of a voxel in millimeters."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def obliquity(self) -> float:
        """Largest angle between an axis of the voxel grid and the anatomical axis it stands for, in degrees."""
        cosines = np.abs(np.diag(self.affine[:3, :3])) / np.array(self.spacing)
        return float(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max())

    def to_stored_order(self, array: np.ndarray) -> np.ndarray:
        """Brings an array of this volume's grid into the order of its file.

        Shape:
            array: `(X, Y, Z)`; output: `stored_shape`.
        """
        order, flips = _axes_to_ras(self.stored_affine)
        for axis, flipped in enumerate(flips):
            if flipped:
                array = np.flip(array, axis)
        return np.ascontiguousarray(array.transpose(np.argsort(order)))


def _axes_to_ras(affine: np.ndarray) -> tuple[list[int], list[bool]]:
    """For each RAS axis: which stored axis runs along it, and whether against it."""
    # Polar decomposition, as nibabel does, so that sheared or very oblique grids get a sound answer.
    matrix = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(matrix)
    rotation = left @ right
    order, free = [-1, -1, -1], [0, 1, 2]
    # The stored axis that points most clearly somewhere chooses first.
    for stored in sorted(range(3), key=lambda axis: -np.abs(rotation[:, axis]).max()):
        world = max(free, key=lambda axis: abs(rotation[axis, stored]))
        order[world] = stored
        free.remove(world)
    return order, [bool(rotation[world, order[world]] < 0) for world in range(3)]


def _codes(affine: np.ndarray) -> str:
    order, flips = _axes_to_ras(affine)
    names = {world: pair[flip] for world, (pair, flip) in enumerate(zip(("RL", "AP", "SI"), flips))}
    return "".join(names[order.index(stored)] for stored in range(3))


def _axis_lengths(affine: np.ndarray, name: str) -> np.ndarray:
    """Lengths of the three axes in mm; refuses affines without any, and voxels larger than any scanner's."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0) if affine.shape == (4, 4) else np.zeros(3)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or lengths.min() < 1e-6:
        raise ValueError(
            f"{name} has no usable spacing: its affine is {np.array2string(affine, precision=3)}. Every axis needs a "
            "length above 0 mm; repair the header or give spacing=."
        )
    if lengths.max() > LARGEST_SPACING:
        raise ValueError(
            f"{name} has voxels of {' x '.join(f'{length:g}' for length in lengths)} mm, larger than any scanner's: "
            "its header says another unit than it means. Repair it, or give spacing= in millimeters."
        )
    return lengths


def volume_from_array(
    voxels: np.ndarray,
    affine: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
    modality: str | None = None,
    name: str = "the given array",
    header: Mapping[str, Any] | None = None,
) -> Volume:
    """Builds a volume from an array and its geometry; checks both.

    Args:
        voxels: Values as stored, `(X, Y, Z)` or `(C, X, Y, Z)`.
        affine: Voxel index to RAS millimeters.
        spacing: Voxel size in millimeters, where there is no affine (the array is then taken for RAS).
        modality: `CT`, `MR` or `XR`.
        name: For messages.
        header: Kept with the volume.

    Raises:
        ValueError: Neither affine nor spacing, a degenerate or sheared affine, no voxels, another number of dimensions,
            NaN or infinite voxels, an unknown modality.
    """
    voxels = np.asarray(voxels)
    if voxels.ndim not in (3, 4):
        raise ValueError(f"{name} has the shape {voxels.shape}; a volume has three dimensions (X, Y, Z).")
    if voxels.dtype.kind not in "biuf":
        raise ValueError(f"{name} has values of the type {voxels.dtype}; a volume has one real number per voxel.")
    if 0 in voxels.shape:
        raise ValueError(f"{name} has no voxels: its shape is {voxels.shape}.")
    if modality is not None and modality not in MODALITIES:
        raise ValueError(f"modality is {modality!r}; must be one of {', '.join(MODALITIES)}.")
    if affine is None:
        if spacing is None:
            raise ValueError(
                f"{name} comes without spacing; give spacing=(x, y, z) in millimeters or an affine. Distances in "
                "millimeters mean nothing without."
            )
        affine = np.diag([*map(float, spacing), 1.0])
    affine = np.asarray(affine, dtype=np.float64)
    lengths = _axis_lengths(affine, name)
    directions = affine[:3, :3] / lengths
    shear = np.abs(directions.T @ directions - np.eye(3)).max()
    if shear > 0.01:
        raise ValueError(
            f"{name} has a sheared affine (cosine {shear:.3f} between axes): voxels are no boxes, so slices and "
            "distances would be wrong. A tilted gantry must be corrected by resampling first."
        )
    if np.issubdtype(voxels.dtype, np.floating):
        finite = np.isfinite(voxels)
        if not finite.all():
            raise ValueError(
                f"{name} holds {int((~finite).sum())} NaN or infinite voxels of {voxels.size}; replace them (air or "
                "the smallest value) before processing."
            )
    spatial = voxels.shape[-3:]
    order, flips = _axes_to_ras(affine)
    lead = voxels.ndim - 3
    oriented = voxels.transpose(*range(lead), *(lead + stored for stored in order))
    ras_affine = affine.copy()
    ras_affine[:3, :3] = affine[:3, order]
    for axis, flipped in enumerate(flips):
        if flipped:
            oriented = np.flip(oriented, lead + axis)
            ras_affine[:3, 3] += ras_affine[:3, axis] * (oriented.shape[lead + axis] - 1)
            ras_affine[:3, axis] *= -1
    return Volume(
        voxels=oriented,
        affine=ras_affine,
        modality=modality,
        stored_affine=affine,
        stored_shape=tuple(spatial),
        stored_axes=_codes(affine),
        name=name,
        header=dict(header or {}),
    )


def check_same_geometry(image: Volume, mask: Volume) -> None:
    """Checks that two volumes have one grid.

    Raises:
        ValueError: They do not; both geometries are printed.
    """
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    corners[:, :3] *= np.array(image.shape) - 1
    far = np.abs((image.affine - mask.affine) @ corners.T).max()
    smallest, farthest = min(image.spacing), np.abs(image.affine @ corners.T).max()
    tolerance = max(min(GEOMETRY_TOLERANCE, VOXEL_TOLERANCE * smallest), 0.01 * smallest) + 1e-6 * farthest
    if image.shape == mask.shape and far <= tolerance:
        return
    described = [
        f"{volume.name}: shape {volume.stored_shape}, spacing "
        f"{tuple(round(value, 4) for value in volume.spacing)} mm, axes {volume.stored_axes}, origin "
        f"{np.round(volume.affine[:3, 3], 2).tolist()}"
        for volume in (image, mask)
    ]
    raise ValueError(f"Image and mask do not lie on one grid.\n  image {described[0]}\n  mask  {described[1]}")
