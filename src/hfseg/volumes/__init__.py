# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Medical volumes: reading with their geometry, intensity normalisation by modality, and the way back to the file.

A `Volume` holds voxels in RAS order (first index to the right, second to the front, third upwards) with an affine in
millimetres, and remembers the orientation it was stored in, so that a result can be written with the affine of
the file it came from. NIfTI needs nibabel and DICOM pydicom (`pip install hfseg[medical]`); arrays need neither.

Shape legend: X, Y, Z voxels of a volume in RAS order; (H, W) a slice.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files.writing import replacing

__all__ = [
    "CT_WINDOWS",
    "INPUT_MODES",
    "MODALITIES",
    "NODULE_WINDOW",
    "Volume",
    "check_modality",
    "check_same_geometry",
    "intensity_statistics",
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

MODALITIES = ("CT", "MR", "XR")
INPUT_MODES = ("windows", "2.5d", "slice", "sequences")
# Hounsfield units: lung, soft tissue, bone.
CT_WINDOWS = ((-1350.0, 150.0), (-160.0, 240.0), (-500.0, 1300.0))
NODULE_WINDOW = ((-1000.0, 400.0),)
PERCENTILES = (0.5, 99.5)
# Names by which DICOM calls the three kinds.
DICOM_MODALITIES = {"CT": "CT", "MR": "MR", "CR": "XR", "DX": "XR", "DR": "XR", "XR": "XR", "MG": "XR", "RG": "XR"}
# Affines are stored in float32: two files of one scan agree to about this many millimetres.
GEOMETRY_TOLERANCE = 1e-2
NOT_A_MEDICAL_DEVICE = "hfseg research output, not a medical device"


@dataclass
class Volume:
    """One 3-D image, or several registered ones, in RAS order.

    Attributes:
        voxels: Values, `(X, Y, Z)`, or `(C, X, Y, Z)` for C registered sequences.
        affine: Voxel index to millimetres, `(4, 4)`, of the RAS order.
        modality: `CT`, `MR` or `XR`, if known.
        stored_affine: Affine of the file.
        stored_shape: Shape in the file.
        stored_axes: Orientation codes of the file, such as `LPS`.
        name: File or series, for messages.
        header: Attributes worth keeping (DICOM descriptions).
    """

    voxels: np.ndarray
    affine: np.ndarray
    modality: str | None
    stored_affine: np.ndarray
    stored_shape: tuple[int, ...]
    stored_axes: str
    name: str = "volume"
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes."""
        x, y, z = self.voxels.shape[-3:]
        return x, y, z

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size of a voxel in millimetres."""
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
        affine: Voxel index to RAS millimetres.
        spacing: Voxel size in millimetres, where there is no affine (the array is then taken for RAS).
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
    if 0 in voxels.shape:
        raise ValueError(f"{name} has no voxels: its shape is {voxels.shape}.")
    if modality is not None and modality not in MODALITIES:
        raise ValueError(f"modality is {modality!r}; legal are {', '.join(MODALITIES)}.")
    if affine is None:
        if spacing is None:
            raise ValueError(
                f"{name} comes without spacing; give spacing=(x, y, z) in millimetres or an affine. Distances in "
                "millimetres mean nothing without."
            )
        affine = np.diag([*map(float, spacing), 1.0])
    affine = np.asarray(affine, dtype=np.float64)
    lengths = np.linalg.norm(affine[:3, :3], axis=0) if affine.shape == (4, 4) else np.zeros(3)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or lengths.min() < 1e-6:
        raise ValueError(
            f"{name} has no usable spacing: its affine is {np.array2string(affine, precision=3)}. Every axis needs a "
            "length above 0 mm; repair the header or give spacing=."
        )
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


def _need(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"Reading this format needs {package}: pip install 'hfseg[medical]'.") from error


def _stored_voxel_sizes(path: Path, image: Any) -> np.ndarray:
    """Voxel sizes as the file has them; nibabel quietly makes 1 of 0."""
    openers = _need("nibabel.openers")
    if path.name.endswith((".nii", ".nii.gz")):
        with openers.ImageOpener(path) as file:
            header = type(image.header).from_fileobj(file, check=False)
        return np.asarray(header["pixdim"][1:4], dtype=np.float64)
    return np.asarray(image.header.get_zooms()[:3], dtype=np.float64)


def read_nifti(
    path: str | os.PathLike[str], modality: str | None = None, channels: Sequence[int] | None = None
) -> Volume:
    """Reads a NIfTI file (`.nii`, `.nii.gz`).

    Args:
        path: The file.
        modality: `CT`, `MR` or `XR`.
        channels: Which volumes of a 4-D file to take, in this order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, 4-D without `channels`, or as `volume_from_array`.
    """
    nibabel = _need("nibabel")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        image = nibabel.load(path)
        unscaled = (image.dataobj.slope, image.dataobj.inter) == (1.0, 0.0)
        # Scaled values would come as float64, twice the memory for nothing.
        voxels = np.asanyarray(image.dataobj) if unscaled else np.asarray(image.dataobj, dtype=np.float32)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{path} is not a NIfTI file, or is truncated: {error}") from error
    zooms = _stored_voxel_sizes(path, image)
    if len(zooms) < 3 or not np.all(zooms > 0):
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
    return volume_from_array(voxels, image.affine, modality=modality, name=str(path))


META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


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
    if len(spacing) != 3:
        raise ValueError(f"{path} has no ElementSpacing of three numbers; distances would mean nothing.")
    if fields["ElementDataFile"] != "LOCAL":
        data = path.parent / Path(fields["ElementDataFile"]).name
        if not data.is_file():
            raise FileNotFoundError(f"{path} names {fields['ElementDataFile']}, which is not beside it.")
        content, place = data.read_bytes(), 0
    raw = content[place:]
    if fields.get("CompressedData", "False").lower() == "true":
        raw = zlib.decompress(raw)
    if len(raw) != int(np.prod(shape)) * dtype.itemsize:
        raise ValueError(f"{path}: {len(raw)} bytes of data do not make {shape} voxels of {dtype}; is it truncated?")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    voxels = np.frombuffer(raw, dtype.newbyteorder(">" if big else "<")).reshape(shape, order="F")
    affine = np.eye(4)
    affine[:3, :3] = directions.T * spacing  # a row of the matrix is the direction of one axis
    affine[:3, 3] = offset
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # as DICOM, to the left and back
    return volume_from_array(voxels.astype(dtype, copy=False), affine, modality=modality, name=str(path))


def _dicom_headers(folder: Path, series: str | None) -> list[Any]:
    """Headers of the image files of one series."""
    pydicom = _need("pydicom")
    found: dict[str, list[Any]] = {}
    for path in [folder] if folder.is_file() else sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        if "Rows" not in header:  # DICOMDIR, reports
            continue
        header.filename = path
        found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(header)
    if not found:
        raise ValueError(f"{folder} holds no DICOM images; give the folder of one series.")
    if series is None and len(found) > 1:
        listed = "; ".join(
            f"{uid} ({len(headers)} images, {headers[0].get('SeriesDescription', 'no description')})"
            for uid, headers in found.items()
        )
        raise ValueError(f"{folder} mixes {len(found)} series: {listed}. Choose one with series=UID, or separate them.")
    if series is not None and series not in found:
        raise ValueError(f"{folder} has no series {series!r}; it has {', '.join(found)}.")
    return found[series] if series is not None else next(iter(found.values()))


def read_dicom_series(folder: str | os.PathLike[str], modality: str | None = None, series: str | None = None) -> Volume:
    """Reads the DICOM series in a folder: slices ordered by their position in space, values rescaled (CT: HU).

    The order of files and instance numbers does not matter.

    Args:
        folder: Folder of one series, or one file (an X-ray is one slice).
        modality: Checked against the files' own.
        series: SeriesInstanceUID, if the folder holds several.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: No or mixed series, slices missing, doubled, of different size or direction, no spacing, a
            compressed transfer syntax without decoder, another modality, colour images.
    """
    pydicom = _need("pydicom")
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder or file {str(folder)!r}.")
    headers = _dicom_headers(folder, series)
    first = headers[0]
    own = DICOM_MODALITIES.get(str(first.get("Modality", "")))
    if modality is not None and own is not None and own != modality:
        raise ValueError(f"{folder} says Modality {first.Modality}, but modality={modality!r} was given; use {own!r}.")
    modality = modality or own
    if first.get("SamplesPerPixel", 1) != 1:
        raise ValueError(f"{folder} holds colour images; only grey values are scans.")
    if len(headers) > 1 or modality in ("CT", "MR"):
        lacking = [h for h in headers if "ImagePositionPatient" not in h or "ImageOrientationPatient" not in h]
        if lacking:
            raise ValueError(
                f"{len(lacking)} of {len(headers)} files in {folder} have no ImagePositionPatient or "
                f"ImageOrientationPatient, e.g. {lacking[0].filename.name}: slices cannot be put in order."
            )
    for name in ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing"):
        values = {str(h.get(name)) for h in headers}
        if len(values) > 1:
            raise ValueError(
                f"Slices in {folder} differ in {name}: {', '.join(sorted(values)[:3])}; they are no volume."
            )
    spacing = first.get("PixelSpacing", first.get("ImagerPixelSpacing"))
    if spacing is None:
        raise ValueError(f"{folder} has neither PixelSpacing nor ImagerPixelSpacing; distances would mean nothing.")
    row_spacing, column_spacing = (float(value) for value in spacing)
    cosines = [float(value) for value in first.get("ImageOrientationPatient", (1, 0, 0, 0, 1, 0))]
    along_row, along_column = np.array(cosines[:3]), np.array(cosines[3:])
    normal = np.cross(along_row, along_column)
    places = np.array([[float(v) for v in h.get("ImagePositionPatient", (0, 0, 0))] for h in headers])
    order = np.argsort(places @ normal)
    headers, places = [headers[index] for index in order], places[order]
    step = _slice_step(folder, headers, places, normal)

    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing  # column index runs along a row
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = places[0]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM's patient axes point left and back

    slices = []
    for header in headers:
        dataset = pydicom.dcmread(header.filename)
        try:
            pixels = dataset.pixel_array
        except Exception as error:
            syntax = dataset.file_meta.TransferSyntaxUID if hasattr(dataset, "file_meta") else None
            raise ValueError(
                f"{header.filename.name} cannot be decoded (transfer syntax {getattr(syntax, 'name', syntax)}): "
                f"{' '.join(str(error).split())[:300]} "
                "Compressed files need a decoder, e.g. pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg."
            ) from error
        if pixels.ndim != 2:
            raise ValueError(f"{header.filename.name} holds {pixels.shape} pixels; multi-frame files are not read.")
        values = pixels.astype(np.float32)
        values = values * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":  # small values are bright
            bits = int(dataset.get("BitsStored", 16))
            values = (2**bits - 1) - values
        slices.append(values.T)  # (columns, rows)
    keep = {name: str(first.get(name)) for name in ("SeriesInstanceUID", "SeriesDescription") if name in first}
    return volume_from_array(np.stack(slices, axis=-1), affine, modality=modality, name=str(folder), header=keep)


def _slice_step(folder: Path, headers: list[Any], places: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Step from slice to slice in millimetres, after checking that there is one."""
    if len(headers) == 1:
        thickness = headers[0].get("SpacingBetweenSlices", headers[0].get("SliceThickness")) or 1.0
        return normal * float(thickness)
    gaps = np.diff(places @ normal)
    typical = float(np.median(gaps))
    tolerance = max(0.05 * typical, 0.02)
    doubled = np.flatnonzero(gaps < 1e-3)
    if len(doubled):
        names = ", ".join(headers[index].filename.name for index in (doubled[0], doubled[0] + 1))
        raise ValueError(f"{len(doubled)} slices of {folder} lie where another lies, e.g. {names}; remove the repeats.")
    wrong = np.flatnonzero(np.abs(gaps - typical) > tolerance)
    if len(wrong):
        index = int(wrong[0])
        raise ValueError(
            f"Slices are missing in {folder}: {len(headers)} files, {typical:.3f} mm apart, but {gaps[index]:.3f} mm "
            f"between {headers[index].filename.name} and {headers[index + 1].filename.name}."
        )
    return (places[-1] - places[0]) / (len(headers) - 1)


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
    if path.is_dir() or path.suffix == ".dcm":
        return read_dicom_series(path, modality)
    if path.suffix in (".mhd", ".mha"):
        return read_meta_image(path, modality)
    if path.name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return read_nifti(path, modality, channels)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
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
                "resampled without nearest neighbour?"
            )
        values = rounded
    ids = np.unique(values).astype(np.int64)
    wrong = [int(value) for value in ids if value < 0 or (num_labels and value >= num_labels and value != ignore_index)]
    if wrong:
        legal = f"0 to {num_labels - 1}" if num_labels else "0 and above"
        raise ValueError(f"{volume.name} holds the unknown label(s) {wrong[:5]}; legal are {legal} and {ignore_index}.")
    volume.voxels = values.astype(np.uint8 if ids.max() < 256 else np.int32)
    if image is not None:
        check_same_geometry(image, volume)
    return volume


def check_same_geometry(image: Volume, mask: Volume) -> None:
    """Checks that two volumes have one grid.

    Raises:
        ValueError: They do not; both geometries are printed.
    """
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    corners[:, :3] *= np.array(image.shape) - 1
    far = np.abs((image.affine - mask.affine) @ corners.T).max()
    if image.shape == mask.shape and far <= max(GEOMETRY_TOLERANCE, 0.01 * min(image.spacing)):
        return
    described = [
        f"{volume.name}: shape {volume.stored_shape}, spacing "
        f"{tuple(round(value, 4) for value in volume.spacing)} mm, axes {volume.stored_axes}, origin "
        f"{np.round(volume.affine[:3, 3], 2).tolist()}"
        for volume in (image, mask)
    ]
    raise ValueError(f"Image and mask do not lie on one grid.\n  image {described[0]}\n  mask  {described[1]}")


def write_nifti(path: str | os.PathLike[str], array: np.ndarray, like: Volume, dtype: Any = np.uint8) -> None:
    """Writes an array on a volume's grid with the affine and order of the file that it came from.

    Args:
        path: `.nii` or `.nii.gz`; replaced in one step.
        array: `(X, Y, Z)` in the volume's RAS order.
        like: Where geometry comes from.
        dtype: Of the voxels in the file.
    """
    nibabel = _need("nibabel")
    path = Path(path)
    image = nibabel.Nifti1Image(like.to_stored_order(array).astype(dtype), like.stored_affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = NOT_A_MEDICAL_DEVICE.encode()
    with replacing(path) as temporary:
        nibabel.save(image, temporary)


# ------------------------------------------------------------------------------------------------------- intensities


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
    """What normalisation by modality needs to know of a whole volume (never of a crop or slice).

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
        raise ValueError(f"modality is {modality!r}; legal are {', '.join(MODALITIES)}.")
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
    """Normalises voxels (a volume or any part of it) by the statistics of their volume.

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


# ------------------------------------------------------------------------------------------------------------ slices


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
    """Normalised channels of one slice; nothing but that slice (and its neighbours) is touched.

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
        raise ValueError(f"input_mode is {input_mode!r}; legal are {', '.join(INPUT_MODES)}.")
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
