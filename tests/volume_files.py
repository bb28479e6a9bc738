# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Volumes on disk: NIfTI files, DICOM series, and affines that are permuted, flipped and tilted."""

from pathlib import Path

import numpy as np


def oblique_affine(order=(2, 0, 1), signs=(-1, 1, -1), spacing=(0.7, 0.5, 3.0), degrees=10.0) -> np.ndarray:
    """An affine with permuted, flipped and tilted axes."""
    matrix = np.zeros((3, 3))
    for stored, world in enumerate(order):
        matrix[world, stored] = signs[stored]
    angle = np.radians(degrees)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ matrix * spacing
    affine[:3, 3] = (-11, 22, 33)
    return affine


def save(path: Path, array, affine=None, **header) -> Path:
    import nibabel

    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def write_series(folder: Path, count=6, numbers=None, **changes) -> np.ndarray:
    """Writes a CT series; slice i lies at z = 10 + 2.5 i. Returns Hounsfield units (rows, columns, slices)."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 2000, (5, 4, count)).astype(np.uint16)
    series = changes.pop("series", "1.2.3.4")
    for index in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = series, "1.2", "1.2.9"
        data.Modality, data.PatientID, data.PatientName = "CT", "P1", "Nobody"
        data.Rows, data.Columns, data.SamplesPerPixel = 5, 4, 1
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME2", 1, -1024
        data.PixelSpacing, data.SliceThickness = [0.8, 0.6], 2.5
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-3, -4, 10 + 2.5 * index]
        data.InstanceNumber = (numbers or range(1, count + 1))[index]
        data.PixelData = pixels[:, :, index].tobytes()
        for name, value in changes.items():
            setattr(data, name, value(index) if callable(value) else value)
        data.save_as(folder / f"{series}_{index}.dcm", enforce_file_format=True)
    return pixels.astype(np.float32) - 1024
