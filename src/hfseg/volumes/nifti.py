# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""NIfTI files: read whole and checked, in millimeters whatever the file's unit, and written back onto the same grid."""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files.writing import replacing
from .geometry import Volume, volume_from_array
from .packages import need

__all__ = ["NOT_A_MEDICAL_DEVICE", "read_nifti", "write_nifti"]

NOT_A_MEDICAL_DEVICE = "hfseg research output, not a medical device"

# Code of a length in the lowest three bits of `xyzt_units`: name and millimeters.
_UNITS = {1: ("meter", 1000.0), 2: ("mm", 1.0), 3: ("micron", 0.001)}
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 22
# Bytes that may follow the voxels, such as padding.
_SPARE = 1 << 16


def read_nifti(
    path: str | os.PathLike[str], modality: str | None = None, channels: Sequence[int] | None = None
) -> Volume:
    """Reads a NIfTI file (`.nii`, `.nii.gz`, `.hdr` with `.img`); compressed ones to their end, against their checksum.

    Meters and micrometers become millimeters. A file that states no unit is taken to be in millimeters, with a warning.

    Args:
        path: The file.
        modality: `CT`, `MR` or `XR`.
        channels: Which volumes of a 4-D file to take, in this order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or truncated, holds complex numbers or colors, has a scaling that is no number,
            is 4-D without `channels`, or as `volume_from_array`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    image, header = _open(path)
    factor, unit = _unit(header, path)
    voxels = _voxels(image, header, path)
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)  # of the file: nibabel quietly makes 1 of 0
    if not np.all(zooms > 0) or not np.isfinite(zooms).all():
        raise ValueError(
            f"{path} has the voxel sizes {zooms.tolist()}; all three must be above 0 mm. Repair the header's pixdim."
        )
    if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
        warnings.warn(
            f"{path} says nothing about orientation (qform_code and sform_code are 0); its axes are taken as nibabel "
            "takes them. Check left and right.",
            stacklevel=2,
        )
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim > 3:
        count = voxels.shape[3]
        if voxels.ndim > 4 or channels is None:
            raise ValueError(
                f"{path} is {voxels.ndim}-D with the shape {voxels.shape}; a volume has three dimensions. If the "
                f"{count} volumes are registered sequences, choose some with channels=[...]."
            )
        wrong = [channel for channel in channels if not 0 <= channel < count]
        if wrong:
            raise ValueError(f"{path} has the channels 0 to {count - 1}, not {wrong}.")
        voxels = np.moveaxis(voxels[..., list(channels)], -1, 0)
    elif channels is not None and list(channels) != [0]:
        raise ValueError(f"{path} is 3-D; channels={list(channels)} is for 4-D files.")
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= factor
    volume = volume_from_array(voxels, affine, modality=modality, name=str(path))
    volume.unit = unit
    return volume


def _open(path: Path) -> tuple[Any, Any]:
    """The image of nibabel and the header as it is in the file."""
    nibabel = need("nibabel")
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == _GZIP
        if not compressed and path.suffix.lower() in (".hdr", ".img"):
            image = nibabel.load(path)
            with open(path.with_suffix(".hdr" if path.suffix.islower() else ".HDR"), "rb") as file:
                header = type(image.header).from_fileobj(file, check=False)
            if "magic" not in header.keys():
                raise ValueError("it is an Analyze file, which does not tell left from right; convert it to NIfTI")
            return image, header
        source: Any = io.BytesIO(_inflate(path)) if compressed else str(path)
        with open(path, "rb") if not compressed else io.BytesIO(source.getbuffer()[:1024]) as file:
            kind, header = _header(file)
        if not compressed:
            _check_length(header, os.path.getsize(path))
        holder = nibabel.fileholders.FileHolder
        places = {"filename": source} if isinstance(source, str) else {"fileobj": source}
        return kind.from_file_map({name: holder(**places) for name in ("header", "image")}), header
    except Exception as error:  # nibabel, zlib and struct raise almost anything for a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's own complaint
        raise ValueError(
            f"{path} is not a NIfTI file, or is truncated or damaged: "
            f"{' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _header(file: BinaryIO) -> tuple[Any, Any]:
    """Class of the image and its header, unchanged."""
    nibabel = need("nibabel")
    start = file.read(4)
    sizes = {struct.unpack(order + "i", start)[0] for order in "<>"} if len(start) == 4 else set()
    kind = nibabel.Nifti2Image if 540 in sizes else nibabel.Nifti1Image
    if not sizes & {348, 540}:
        raise ValueError("it does not begin with the size of a NIfTI header")
    file.seek(0)
    header = kind.header_class.from_fileobj(file, check=False)
    if bytes(header["magic"])[:2] not in (b"n+", b"ni"):
        raise ValueError("its header lacks NIfTI's mark")
    return kind, header


def _expected_bytes(header: Any) -> int:
    """Bytes of the file that its header promises: header and voxels."""
    number = int(header["dim"][0])
    sides = [int(side) for side in header["dim"][1 : number + 1]] if 1 <= number <= 7 else []
    if not sides or min(sides) < 1:
        raise ValueError(f"its dimensions are {[int(side) for side in header['dim']]}")
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < 0:
        raise ValueError(f"its voxels begin at byte {offset}")
    return int(offset) + math.prod(sides) * (int(header["bitpix"]) // 8)


def _check_length(header: Any, length: int) -> None:
    expected = _expected_bytes(header)
    if length < expected:
        raise ValueError(f"it has {length} bytes, and its header promises {expected}")


def _inflate(path: Path) -> bytes:
    """Content of a gzip file, read to its end so that its checksum is compared; no more than its header promises."""
    parts, length, limit = [], 0, None
    with gzip.open(path, "rb") as stream:
        while part := stream.read(_CHUNK if limit is None else min(_CHUNK, limit - length + 1)):
            parts.append(part)
            length += len(part)
            if limit is None:
                _, header = _header(io.BytesIO(part))
                limit = _expected_bytes(header) + _SPARE
            if length > limit:
                raise ValueError(f"it holds more than the {limit - _SPARE} bytes that its header promises")
    if limit is None:
        raise ValueError("it is empty")
    if length < limit - _SPARE:
        raise ValueError(f"it holds {length} bytes, and its header promises {limit - _SPARE}")
    return b"".join(parts)


def _unit(header: Any, path: Path) -> tuple[float, str]:
    """Millimeters of the file's unit of length, and nibabel's name of it."""
    code = int(header["xyzt_units"]) & 7
    if code in _UNITS:
        name, factor = _UNITS[code]
        return factor, name
    warnings.warn(
        f"{path} does not say its unit of length (xyzt_units is {int(header['xyzt_units'])}); it is taken to be in "
        "millimeters. Check volumes and distances.",
        stacklevel=3,
    )
    return 1.0, "mm"


def _voxels(image: Any, header: Any, path: Path) -> np.ndarray:
    """Values, scaled by the header."""
    dtype = image.get_data_dtype()
    if dtype.kind == "c" or dtype.fields:
        what = "complex numbers" if dtype.kind == "c" else f"colors ({', '.join(dtype.names or ())})"
        raise ValueError(
            f"{path} holds {what}; a volume has one real value per voxel. Write the magnitude or one channel first."
        )
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or (slope != 0 and not math.isfinite(inter)):
        raise ValueError(
            f"{path} scales its values by scl_slope {slope} and scl_inter {inter}, which are no numbers; repair the "
            "header (1 and 0 for values as stored)."
        )
    try:
        unscaled = slope == 0 or (slope, inter) == (1.0, 0.0)
        # Scaled values would come as float64, twice the memory for nothing.
        return np.asanyarray(image.dataobj) if unscaled else np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # as in `_open`
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is not a NIfTI file, or is truncated or damaged: {error}") from error


def write_nifti(path: str | os.PathLike[str], array: np.ndarray, like: Volume, dtype: Any = np.uint8) -> None:
    """Writes an array on a volume's grid with the affine, the unit and the order of the file that it came from.

    Args:
        path: `.nii` or `.nii.gz`; replaced in one step.
        array: `(X, Y, Z)` in the volume's RAS order.
        like: Where geometry comes from.
        dtype: Of the voxels in the file.
    """
    nibabel = need("nibabel")
    path = Path(path)
    factor = {name: millimeters for name, millimeters in _UNITS.values()}[like.unit]
    affine = np.array(like.stored_affine, dtype=np.float64)
    affine[:3] /= factor
    image = nibabel.Nifti1Image(like.to_stored_order(array).astype(dtype), affine)
    image.header.set_xyzt_units(like.unit)
    image.header["descrip"] = NOT_A_MEDICAL_DEVICE.encode()
    with replacing(path) as temporary:
        nibabel.save(image, temporary)
