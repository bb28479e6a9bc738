# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""DICOM series: slices put in order by their position in space, values rescaled, and every odd file named."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .geometry import Volume, volume_from_array
from .packages import need

__all__ = ["is_dicom", "read_dicom_series"]

# Names by which DICOM calls the three kinds.
DICOM_MODALITIES = {"CT": "CT", "MR": "MR", "CR": "XR", "DX": "XR", "DR": "XR", "XR": "XR", "MG": "XR", "RG": "XR"}


# Files that lie beside scans and are passed over, with a warning.
_COMPANIONS = frozenset(
    ".txt .json .xml .csv .tsv .md .html .htm .pdf .png .jpg .jpeg .gif .bmp .nii .gz .zip .ini .inf .db .log .exe "
    ".yaml .yml .mhd .mha .raw .zraw .nrrd .py .sh .bvec .bval".split()
)
_MARK_AT = 128
# Attributes that are looked at.
_USED = (
    "SeriesInstanceUID", "SeriesDescription", "Modality", "SamplesPerPixel", "Rows", "Columns", "PixelSpacing",
    "ImagerPixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "SpacingBetweenSlices", "SliceThickness",
    "RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "BitsStored",
)  # fmt: skip
# Two headers of one series agree to this: direction cosines, and millimeters.
_DIRECTION_TOLERANCE = 1e-4
_SPACING_TOLERANCE = 1e-3


def _read(path: Path, **options: Any) -> Any:
    """A file's dataset, also without the 128 bytes before DICOM's mark, or without the mark."""
    pydicom = need("pydicom")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is checked by the caller
        with open(path, "rb") as file:
            if file.read(4) == b"DICM":
                return pydicom.dcmread(io.BytesIO(bytes(_MARK_AT) + b"DICM" + file.read()), force=True, **options)
        return pydicom.dcmread(path, force=True, **options)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file carries DICOM's mark, whatever its name."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MARK_AT + 4)
        return content[_MARK_AT:] == b"DICM" or content[:4] == b"DICM"
    except OSError:
        return False


def _read_header(path: Path) -> Any:
    """Header of an image file; None for a file of another kind.

    Raises:
        ValueError: The file should be an image, but has no rows and pixels.
    """
    pydicom = need("pydicom")
    marked = is_dicom(path)
    if path.suffix.lower() in _COMPANIONS and not marked:
        warnings.warn(f"{path} is no DICOM file and is passed over.", stacklevel=4)
        return None
    try:
        if path.stat().st_size == 0:
            raise ValueError("it is empty")
        header = _read(path, stop_before_pixels=True)
        storage = header.get("SOPClassUID", getattr(header.file_meta, "MediaStorageSOPClassUID", None))
        kind = pydicom.uid.UID(str(storage)).name if storage else ""
        if "Rows" in header and "Columns" in header:
            for name in _USED:  # values are decoded when they are looked at
                header.get(name)
            return header
    except Exception as error:  # a damaged file raises almost anything
        raise ValueError(
            f"{path} cannot be read as DICOM: {' '.join(str(error).split()) or type(error).__name__}. Repair it or "
            "take it out of the folder."
        ) from error
    if kind and "Image Storage" not in kind and kind != str(storage):  # DICOMDIR, reports, contours
        return None
    raise ValueError(
        f"{path} has no rows of pixels: it is {'truncated or damaged' if marked or kind else 'no DICOM file'}. Repair "
        "it or take it out of the folder."
    )


def _dicom_headers(folder: Path, series: str | None) -> list[Any]:
    """Headers of the image files of one series."""
    found: dict[str, list[Any]] = {}
    paths = [folder] if folder.is_file() else sorted(folder.iterdir())
    damaged = []
    for path in paths:
        if path != folder and (path.name.startswith(".") or path.is_dir()):
            continue
        if not path.is_file():
            raise ValueError(
                f"{path} is no regular file: a pipe, device or link to nothing; take it out of the folder."
            )
        try:
            header = _read_header(path)
        except ValueError as error:
            damaged.append(error)
            continue
        if header is None:
            continue
        header.filename = path
        found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(header)
    if damaged:
        more = f" ({len(damaged)} such files)" if len(damaged) > 1 else ""
        raise ValueError(f"{damaged[0]}{more}") from damaged[0]
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
            compressed transfer syntax without decoder, another modality, color images.
    """
    need("pydicom")
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder or file {str(folder)!r}.")
    headers = _dicom_headers(folder, series)
    first = headers[0]
    modality = _modality(first, modality, folder)
    _check_slices(headers, modality, folder)
    row_spacing, column_spacing = _pixel_spacing(headers, folder)
    along_row, along_column = _directions(headers, folder)
    headers, origin, step = _ordered(headers, np.cross(along_row, along_column), folder)

    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing  # column index runs along a row
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = origin
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM's patient axes point left and back

    slices = [_slice(header) for header in headers]
    keep = {name: str(first.get(name)) for name in ("SeriesInstanceUID", "SeriesDescription") if name in first}
    return volume_from_array(np.stack(slices, axis=-1), affine, modality=modality, name=str(folder), header=keep)


def _modality(header: Any, modality: str | None, folder: Path) -> str | None:
    """The modality that was asked for, else the file's own; one that contradicts the file is refused."""
    own = DICOM_MODALITIES.get(str(header.get("Modality", "")))
    if modality is not None and own is not None and own != modality:
        raise ValueError(f"{folder} says Modality {header.Modality}, but modality={modality!r} was given; use {own!r}.")
    return modality or own


def _check_slices(headers: list[Any], modality: str | None, folder: Path) -> None:
    """Checks that the files are gray slices of one size, with a position where there are several."""
    colored = [header.filename.name for header in headers if header.get("SamplesPerPixel", 1) not in (1, None)]
    if colored:
        raise ValueError(f"{folder} holds color images ({', '.join(colored[:3])}); only gray values are scans.")
    if len(headers) > 1 or modality in ("CT", "MR"):
        lacking = [h for h in headers if "ImagePositionPatient" not in h or "ImageOrientationPatient" not in h]
        if lacking:
            raise ValueError(
                f"{len(lacking)} of {len(headers)} files in {folder} have no ImagePositionPatient or "
                f"ImageOrientationPatient, e.g. {lacking[0].filename.name}: slices cannot be put in order."
            )
    for name, count in (("Rows", 1), ("Columns", 1)):
        _same(headers, name, _numbers(headers, name, count), 0.5, folder)


def _pixel_spacing(headers: list[Any], folder: Path) -> tuple[float, float]:
    """Distance in millimeters between rows, and between columns."""
    name = "PixelSpacing" if any("PixelSpacing" in header for header in headers) else "ImagerPixelSpacing"
    if not any(name in header for header in headers):
        raise ValueError(f"{folder} has neither PixelSpacing nor ImagerPixelSpacing; distances would mean nothing.")
    spacings = _numbers(headers, name, 2)
    _same(headers, name, spacings, _SPACING_TOLERANCE, folder)
    return float(spacings[0, 0]), float(spacings[0, 1])


def _directions(headers: list[Any], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a row and along a column in the patient's axes; without orientation x and y.

    Shape:
        Output: (3,) each.
    """
    if not any("ImageOrientationPatient" in header for header in headers):
        return np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    cosines = _numbers(headers, "ImageOrientationPatient", 6)
    _same(headers, "ImageOrientationPatient", cosines, _DIRECTION_TOLERANCE, folder)
    return cosines[0, :3], cosines[0, 3:]


def _ordered(headers: list[Any], normal: np.ndarray, folder: Path) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Slices in the order of their position along the normal, with the first's position and the step in millimeters."""
    placed = any("ImagePositionPatient" in header for header in headers)
    places = _numbers(headers, "ImagePositionPatient", 3) if placed else np.zeros((len(headers), 3))
    order = np.argsort(places @ normal)
    headers, places = [headers[index] for index in order], places[order]
    return headers, places[0], _slice_step(folder, headers, places, normal)


def _slice(header: Any) -> np.ndarray:
    """Values of one file, rescaled.

    Shape:
        Output: (columns, rows), float32.
    """
    pydicom = need("pydicom")
    dataset = None
    try:
        dataset = _read(header.filename)
        if "TransferSyntaxUID" not in dataset.file_meta:  # a file without preamble: DICOM's default
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        pixels = dataset.pixel_array
    except Exception as error:
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        raise ValueError(
            f"{header.filename.name} cannot be decoded (transfer syntax {getattr(syntax, 'name', syntax)}): "
            f"{' '.join(str(error).split())[:300]} "
            "Compressed files need a decoder, e.g. pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg."
        ) from error
    if pixels.ndim != 2:
        raise ValueError(f"{header.filename.name} holds {pixels.shape} pixels; multi-frame files are not read.")
    values = pixels.astype(np.float32)
    slope, intercept = (_scale(header, header.filename, *one) for one in (("Slope", 1.0), ("Intercept", 0.0)))
    values = values * slope + intercept
    if header.get("PhotometricInterpretation") == "MONOCHROME1":  # small values are bright
        bits = int(_numbers([header], "BitsStored", 1)[0, 0]) if "BitsStored" in header else 16
        values = (2**bits - 1) - values
    return values.T  # (columns, rows)


def _numbers(headers: list[Any], name: str, count: int) -> np.ndarray:
    """An attribute of every header as numbers.

    Shape:
        Output: (N, count).
    """
    rows = []
    for header in headers:
        try:
            value = header.get(name)
            values = [float(value)] if count == 1 else [float(one) for one in value]
            if len(values) != count or not np.isfinite(values).all():
                raise ValueError
        except (TypeError, ValueError) as error:
            given = header.get(name)
            raise ValueError(
                f"{header.filename} has {'no ' + name if given in (None, '') else f'the {name} {given!r}'}; it needs "
                f"{count} finite number{'s' if count > 1 else ''}."
            ) from error
        rows.append(values)
    return np.array(rows)


def _same(headers: list[Any], name: str, values: np.ndarray, tolerance: float, folder: Path) -> None:
    """Checks that an attribute is one in a series; names the files that stand alone.

    Raises:
        ValueError: It is not.
    """
    if np.abs(values - values[0]).max() <= tolerance:
        return
    usual = Counter(tuple(np.round(row / tolerance / 2).tolist()) for row in values).most_common(1)[0][0]
    typical = next(row for row in values if tuple(np.round(row / tolerance / 2).tolist()) == usual)
    odd = np.flatnonzero(np.abs(values - typical).max(axis=1) > tolerance)
    if not len(odd):
        return
    named = ", ".join(headers[index].filename.name for index in odd[:3])
    raise ValueError(
        f"Slices in {folder} differ in {name}: {typical.tolist()}, but {values[odd[0]].tolist()} in {len(odd)} of "
        f"{len(headers)} files ({named}); they are no volume."
    )


def _scale(dataset: Any, path: Path, ending: str, default: float) -> float:
    """RescaleSlope or RescaleIntercept; what is there must be a number."""
    name = f"Rescale{ending}"
    if name not in dataset:
        return default
    try:
        value = float(dataset.get(name))
        if np.isfinite(value) and (ending != "Slope" or value != 0):
            return value
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{path} has the {name} {dataset.get(name)!r}; it must be a number, or be left out.")


def _slice_step(folder: Path, headers: list[Any], places: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Step from slice to slice in millimeters, after checking that there is one."""
    if len(headers) == 1:
        name = "SpacingBetweenSlices" if headers[0].get("SpacingBetweenSlices") else "SliceThickness"
        return normal * (float(_numbers(headers, name, 1)[0, 0]) if headers[0].get(name) else 1.0)
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
