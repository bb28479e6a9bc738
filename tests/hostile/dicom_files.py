# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A small CT series for tests of damage."""

import numpy as np


def write_slices(folder, count):
    """Writes `count` slices of 5 x 4 pixels, 2.5 mm apart, as 0.dcm, 1.dcm, ..."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 2000, (count, 5, 4)).astype(np.uint16)
    for index in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{index + 1}"
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = "1.2.3", "1.2", "CT"
        data.Rows, data.Columns, data.SamplesPerPixel = 5, 4, 1
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME2", 1, -1024
        data.PixelSpacing, data.SliceThickness, data.ImageOrientationPatient = [0.8, 0.6], 2.5, [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-3, -4, 10 + 2.5 * index]
        data.PixelData = pixels[index].tobytes()
        data.save_as(folder / f"{index}.dcm", enforce_file_format=True)
