# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MetaImage files: a text header with the voxels behind it, or in a file beside it."""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path

import numpy as np

from .geometry import Volume, volume_from_array

__all__ = ["read_meta_image"]

META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def _check_spacing(spacing: list[float], path: Path) -> None:
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        raise ValueError(f"{path} has the ElementSpacing {spacing}; it must be three positive numbers, in mm.")
    if len(spacing) != 3:
        raise ValueError(f"{path} has no ElementSpacing of three numbers; distances would mean nothing.")


def read_meta_image(path: str | os.PathLike[str], modality: str | None = None) -> Volume:
    """Reads a MetaImage (`.mhd` with its `.raw` or `.zraw`, or `.mha`), the form of PROMISE12 and LUNA16.

    Raises:
        FileNotFoundError: The file or its data are missing.
        ValueError: The file is damaged, not 3-D, of an unknown type, or as `volume_from_array`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    content = path.read_bytes()
    fields: dict[str, str] = {}
    place = 0
    while "ElementDataFile" not in fields:
        end = content.find(b"\n", place)
        key, separator, value = content[place : end if end >= 0 else None].decode("latin-1").partition("=")
        if not separator:
            raise ValueError(f"{path} is not a MetaImage: its header ends before ElementDataFile.")
        fields[key.strip()] = value.strip()
        place = end + 1 if end >= 0 else len(content)
    try:
        shape = [int(value) for value in fields["DimSize"].split()]
        dtype = np.dtype(META_TYPES[fields["ElementType"]])
        spacing = [float(value) for value in fields.get("ElementSpacing", fields.get("ElementSize", "")).split()]
        matrix = fields.get("TransformMatrix", fields.get("Rotation", fields.get("Orientation", "1 0 0 0 1 0 0 0 1")))
        directions = np.array([float(value) for value in matrix.split()]).reshape(3, 3)
        offset = [float(v) for v in fields.get("Offset", fields.get("Position", fields.get("Origin", "0 0 0"))).split()]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no 3-D MetaImage of a known type: {type(error).__name__} {error}.") from error
    if len(shape) != 3 or fields.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError(f"{path} has the dimensions {shape}; a volume has three, and one channel.")
    _check_spacing(spacing, path)
    if fields["ElementDataFile"] != "LOCAL":
        data = path.parent / Path(fields["ElementDataFile"]).name
        if not data.is_file():
            raise FileNotFoundError(f"{path} names {fields['ElementDataFile']}, which is not beside it.")
        content, place = data.read_bytes(), 0
    raw = content[place:]
    if min(shape) < 1:
        raise ValueError(f"{path} has the dimensions {shape}; each must be at least 1.")
    expected = math.prod(shape) * dtype.itemsize
    if fields.get("CompressedData", "False").lower() == "true":
        stream = zlib.decompressobj()
        try:
            raw = stream.decompress(raw, expected + 1)  # no more than the header promises
        except (zlib.error, OverflowError) as error:
            raise ValueError(f"{path} is truncated or damaged: {error}") from error
        if len(raw) == expected and not stream.eof:
            raise ValueError(f"{path} is truncated: its compressed voxels end without their checksum.")
    if len(raw) != expected:
        raise ValueError(f"{path}: {len(raw)} bytes of data do not make {shape} voxels of {dtype}; is it truncated?")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    voxels = np.frombuffer(raw, dtype.newbyteorder(">" if big else "<")).reshape(shape, order="F")
    affine = np.eye(4)
    affine[:3, :3] = directions.T * spacing  # a row of the matrix is the direction of one axis
    affine[:3, 3] = offset
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # as DICOM, to the left and back
    return volume_from_array(voxels.astype(dtype, copy=False), affine, modality=modality, name=str(path))
