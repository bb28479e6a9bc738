# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""DICOM series: they lie where their positions say, as MONAI reads them, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from hfseg.volumes import read_dicom_series, read_volume
from volume_files import write_series

pydicom = pytest.importorskip("pydicom")


@pytest.mark.parametrize(
    "numbers", [None, [6, 5, 4, 3, 2, 1], [3, 1, 6, 2, 5, 4]], ids=["ordered", "reversed", "mixed"]
)
def test_dicom_series_lies_where_its_positions_say(tmp_path, numbers):
    expected = write_series(tmp_path / "series", numbers=numbers)
    volume = read_dicom_series(tmp_path / "series")
    assert volume.modality == "CT" and volume.spacing == pytest.approx((0.6, 0.8, 2.5))
    # RAS: right to the right and front forward, so columns and rows run backwards; z upwards.
    np.testing.assert_array_equal(volume.voxels, expected.transpose(1, 0, 2)[::-1, ::-1])
    # Pixel (row 1, column 2) of slice 3 is at (-3 + 2 * 0.6, -4 + 1 * 0.8, 10 + 3 * 2.5) in DICOM's axes.
    place = volume.affine @ [4 - 1 - 2, 5 - 1 - 1, 3, 1]
    np.testing.assert_allclose(place[:3], [3 - 1.2, 4 - 0.8, 17.5])
    # In stored order, columns first, as NIfTI has it.
    np.testing.assert_array_equal(volume.to_stored_order(volume.voxels), expected.transpose(1, 0, 2))


@pytest.mark.parametrize("numbers", [None, [6, 5, 4, 3, 2, 1]], ids=["ordered", "reversed"])
def test_dicom_series_equals_monais_reader(tmp_path, numbers):
    transforms = pytest.importorskip("monai.transforms")
    write_series(tmp_path / "series", numbers=numbers)
    load = transforms.Compose(
        [
            transforms.LoadImage(reader="PydicomReader", ensure_channel_first=True),
            transforms.Orientation("RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        ]
    )
    theirs = load(str(tmp_path / "series"))
    ours = read_dicom_series(tmp_path / "series")
    np.testing.assert_allclose(ours.voxels, theirs[0].numpy())
    np.testing.assert_allclose(ours.affine, theirs.affine.numpy(), atol=1e-5)


def test_monochrome1_is_inverted(tmp_path):
    changes = {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": 0}
    stored = write_series(tmp_path / "xray", count=1, **changes)[:, :, 0] + 1024
    volume = read_volume(tmp_path / "xray" / "1.2.3.4_0.dcm")
    assert volume.modality == "XR"
    np.testing.assert_array_equal(volume.to_stored_order(volume.voxels)[:, :, 0].T, 4095 - stored)


def compressed(folder: Path) -> None:
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 60])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
        data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: (folder / "1.2.3.4_3.dcm").unlink(), r"missing.*5 files, 2\.500 mm apart, but 5\.000 mm"),
        (lambda folder: write_series(folder, series="9.9"), r"mixes 2 series.*9\.9"),
        (
            lambda folder: (folder / "again.dcm").write_bytes((folder / "1.2.3.4_2.dcm").read_bytes()),
            "where another lies",
        ),
        (compressed, "transfer syntax JPEG 2000.*decoder"),
        (
            lambda folder: write_series(folder, PixelSpacing=lambda i: [0.8, 0.6 + 0.1 * (i == 2)]),
            "differ in PixelSpacing",
        ),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no DICOM images"),
    ],
    ids=["missing", "mixed", "doubled", "compressed", "uneven", "empty"],
)
def test_dicom_series_that_are_refused(tmp_path, spoil, message):
    folder = tmp_path / "series"
    write_series(folder)
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        read_dicom_series(folder)


def test_dicom_contradicting_modality(tmp_path):
    write_series(tmp_path / "series")
    with pytest.raises(ValueError, match="says Modality CT, but modality='MR'"):
        read_dicom_series(tmp_path / "series", "MR")
    assert read_dicom_series(tmp_path / "series", "CT").modality == "CT"
