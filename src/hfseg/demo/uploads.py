# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Limits of uploaded volumes, by their headers and by what their streams really hold, before any voxel is kept."""

import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_volume_file"]

BLOCK = 1 << 18
HEADER = 64 * 1024
SLACK = 1 << 20  # bytes that a stream may hold beyond its voxels: extensions, padding
LARGEST_VOXEL = 16  # bytes


def check_volume_file(path: "str | os.PathLike[str]", max_voxels: int) -> None:
    """Checks that a volume file has no more voxels than allowed, reading its header and counting its stream.

    Files of other kinds pass: their reader says what they are.

    Raises:
        ValueError: Too many voxels; a stream that holds more than its header says.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
        _check_nifti(path, max_voxels)
    elif name.endswith((".mha", ".mhd")):
        _check_meta_image(path, max_voxels)
    elif name.endswith(".dcm"):
        _check_dicom(path, max_voxels)


def _refuse(path: Path, voxels: float, limit: int) -> None:
    if voxels > limit:
        raise ValueError(f"{path.name} has {voxels:.0f} voxels; the limit is {limit}.")


def _pieces(path: Path) -> Iterator[bytes]:
    """The content of a file, unpacked if it is a gzip stream, piece by piece."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            while block := file.read(BLOCK):
                yield block
            return
        stream = zlib.decompressobj(31)
        try:
            while block := file.read(BLOCK):
                yield from _unpacked(stream, block)
                while stream.eof and stream.unused_data:  # the next member
                    block, stream = stream.unused_data, zlib.decompressobj(31)
                    yield from _unpacked(stream, block)
        except zlib.error as error:
            raise ValueError(f"{path.name} is damaged: {error}.") from error


def _unpacked(stream: "zlib._Decompress", block: bytes) -> Iterator[bytes]:
    yield stream.decompress(block, BLOCK)
    while stream.unconsumed_tail:
        yield stream.decompress(stream.unconsumed_tail, BLOCK)


def _count(path: Path, pieces: Iterator[bytes], allowed: int) -> None:
    """Counts a stream as far as it is allowed to go."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > allowed:
            raise ValueError(f"{path.name} holds more data than its header says (over {allowed} bytes); it is refused.")


def _check_nifti(path: Path, limit: int) -> None:
    header = b""
    for piece in _pieces(path):
        header += piece
        if len(header) >= 540:
            break
    for order in "<>":
        if len(header) >= 348 and struct.unpack(f"{order}i", header[:4])[0] == 348:
            dims, bits = struct.unpack(f"{order}8h", header[40:56]), struct.unpack(f"{order}h", header[72:74])[0]
        elif len(header) >= 540 and struct.unpack(f"{order}i", header[:4])[0] == 540:
            dims, bits = struct.unpack(f"{order}8q", header[16:80]), struct.unpack(f"{order}h", header[14:16])[0]
        else:
            continue
        count = min(max(dims[0], 0), 7)
        voxels = math.prod(max(int(side), 1) for side in dims[1 : 1 + count])
        _refuse(path, voxels, limit)
        _count(path, _pieces(path), voxels * min(max(abs(bits) // 8, 1), LARGEST_VOXEL) + SLACK)
        return


def _check_meta_image(path: Path, limit: int) -> None:
    with open(path, "rb") as file:
        header = file.read(HEADER)
        found = re.search(rb"^\s*DimSize\s*=\s*([\d\s.+eE-]*?)\s*$", header, re.MULTILINE)
        if found is None:
            return
        try:
            voxels = math.prod(max(float(part), 1) for part in found[1].split())
        except ValueError:
            return  # the reader says so
        channels = re.search(rb"^\s*ElementNumberOfChannels\s*=\s*(\d+)", header, re.MULTILINE)
        voxels *= int(channels[1]) if channels else 1
        _refuse(path, voxels, limit)
        local = re.search(rb"^\s*ElementDataFile\s*=\s*LOCAL\s*?\r?\n", header, re.MULTILINE)
        if local is None or not re.search(rb"^\s*CompressedData\s*=\s*True", header, re.MULTILINE):
            return
        file.seek(local.end())
        stream = zlib.decompressobj(47)  # zlib's or gzip's header

        def pieces() -> Iterator[bytes]:
            while block := file.read(BLOCK):
                yield from _unpacked(stream, block)

        try:
            _count(path, pieces(), int(voxels) * LARGEST_VOXEL + SLACK)
        except zlib.error as error:
            raise ValueError(f"{path.name} is damaged: {error}.") from error


def _check_dicom(path: Path, limit: int) -> None:
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        sides = [header.get(name) or 1 for name in ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")]
        voxels = math.prod(int(side) for side in sides)
    except Exception:  # damaged in one of many ways: the reader says which
        return
    _refuse(path, voxels, limit)
