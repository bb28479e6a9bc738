# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Volumes: orientation, NIfTI and DICOM against nibabel and MONAI, intensities, channels, and bad input."""

import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from hfseg.volumes import (
    CT_WINDOWS,
    check_modality,
    check_same_geometry,
    intensity_statistics,
    normalize_intensity,
    read_dicom_series,
    read_label_volume,
    read_meta_image,
    read_nifti,
    read_volume,
    slice_axis,
    slice_channels,
    volume_from_array,
    write_nifti,
)

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")


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
    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


# Orientation.


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
def test_orientation_is_nibabels(order, signs):
    voxels = np.random.default_rng(0).integers(0, 1000, (5, 6, 7)).astype(np.int16)
    affine = oblique_affine(order, signs)
    volume = volume_from_array(voxels, affine)
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, affine))
    np.testing.assert_array_equal(volume.voxels, np.asarray(canonical.dataobj))
    np.testing.assert_allclose(volume.affine, canonical.affine, atol=1e-6)
    assert volume.stored_axes == "".join(nibabel.aff2axcodes(affine))
    np.testing.assert_allclose(volume.spacing, canonical.header.get_zooms(), rtol=1e-6)
    assert volume.obliquity == pytest.approx(10, abs=0.1)
    np.testing.assert_array_equal(volume.to_stored_order(volume.voxels), voxels)


def test_nifti_comes_back_as_it_was(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 9, (5, 6, 7)).astype(np.uint8)
    source = save(tmp_path / "a.nii.gz", voxels, oblique_affine())
    volume = read_nifti(source, "MR")
    write_nifti(tmp_path / "b.nii.gz", volume.voxels, volume)
    again = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(again.dataobj), voxels)
    np.testing.assert_allclose(again.affine, nibabel.load(source).affine, atol=1e-5)
    assert b"not a medical device" in again.header["descrip"].tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_scaled_files_are_read_in_float32(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(2.0, -1000.0)
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii")
    assert volume.voxels.dtype == np.float32
    np.testing.assert_allclose(volume.voxels, np.asarray(nibabel.load(tmp_path / "a.nii").dataobj))


# MetaImage.


@pytest.mark.parametrize("local, compressed", [(True, False), (False, True)])
def test_meta_image_lies_where_its_header_says(tmp_path, local, compressed):
    voxels = np.random.default_rng(0).integers(-900, 900, (4, 5, 6)).astype("<i2")
    raw = voxels.tobytes(order="F")
    raw = zlib.compress(raw) if compressed else raw
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = {compressed}\nTransformMatrix = 0 1 0 1 0 0 0 0 1\nOffset = 1 2 3\n"
        "ElementSpacing = 0.5 0.7 3\nDimSize = 4 5 6\nElementType = MET_SHORT\n"
        f"ElementDataFile = {'LOCAL' if local else 'scan.zraw'}\n"
    ).encode()
    path = tmp_path / "scan.mhd"
    path.write_bytes(header + (raw if local else b""))
    if not local:
        with pytest.raises(FileNotFoundError, match=r"scan\.zraw"):
            read_meta_image(path)
        (tmp_path / "scan.zraw").write_bytes(raw)
    volume = read_volume(path, "CT")
    # The first stored axis runs along y, the second along x; voxel (1, 2, 3) lies at x = 1 + 2 * 0.7, y = 2 + 0.5.
    np.testing.assert_array_equal(volume.to_stored_order(volume.voxels), voxels)
    place = volume.stored_affine @ [1, 2, 3, 1]
    np.testing.assert_allclose(place[:3], [-(1 + 1.4), -(2 + 0.5), 3 + 9])
    path.write_bytes(header + raw[:-3])
    if local:
        with pytest.raises(ValueError, match="truncated"):
            read_meta_image(path)


# DICOM.


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


# Bad files.


def without_spacing(path: Path) -> None:
    content = bytearray(save(path, np.ones((2, 3, 4), dtype=np.float32)).read_bytes())
    content[84:88] = bytes(4)  # pixdim[2]
    path.write_bytes(content)


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: save(path, np.zeros((2, 3, 4, 5), dtype=np.float32)), r"4-D.*\(2, 3, 4, 5\).*channels="),
        (lambda path: save(path, np.full((2, 3, 4), np.nan, dtype=np.float32)), "24 NaN"),
        (without_spacing, r"voxel sizes \[1\.0, 0\.0, 1\.0\]"),
        (lambda path: path.write_bytes(b"nothing of the kind"), "not a NIfTI file"),
        (
            lambda path: save(path, np.zeros((2, 3, 4), dtype=np.uint8), np.eye(4) + np.eye(4, k=1) * 0.3),
            "sheared affine",
        ),
    ],
    ids=["4-D", "NaN", "no spacing", "garbage", "sheared"],
)
def test_nifti_that_is_refused(tmp_path, write, message):
    path = tmp_path / "a.nii"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(path)
    with pytest.raises(ValueError, match=message):
        read_nifti(path)


def test_truncated_nifti_is_refused(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 99, (20, 20, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="truncated"):
        read_nifti(path)


def test_unknown_orientation_warns(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), dtype=np.uint8), None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.warns(UserWarning, match="left and right"):
        read_nifti(tmp_path / "a.nii")


def test_sequences_of_a_4d_file(tmp_path):
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype(np.float32)
    path = save(tmp_path / "a.nii", array)
    volume = read_nifti(path, "MR", channels=[1, 0])
    np.testing.assert_allclose(volume.voxels, array.transpose(3, 0, 1, 2)[::-1])
    with pytest.raises(ValueError, match="0 to 1"):
        read_nifti(path, channels=[2])
    single = save(tmp_path / "b.nii", array[..., :1])
    assert read_nifti(single).shape == (2, 3, 4)


def test_arrays_need_spacing():
    with pytest.raises(ValueError, match="without spacing"):
        read_volume(np.zeros((2, 3, 4)))
    assert read_volume(np.zeros((2, 3, 4)), spacing=(1, 2, 3)).spacing == (1, 2, 3)
    with pytest.raises(TypeError, match="int"):
        read_volume(3)


def test_metatensors_become_plain(tmp_path):
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("monai.data")
    meta = data.MetaTensor(torch.arange(24.0).reshape(2, 3, 4), affine=torch.diag(torch.tensor([-2.0, 1, 1, 1])))
    volume = read_volume(meta)
    assert type(volume.voxels) is np.ndarray and volume.spacing == (2, 1, 1)
    np.testing.assert_array_equal(volume.voxels, meta.numpy()[::-1])


def test_masks_are_checked(tmp_path):
    image = volume_from_array(np.zeros((4, 5, 6)), oblique_affine())
    mask = np.zeros((4, 5, 6), dtype=np.uint8)
    mask[1, 2, 3] = 7
    path = save(tmp_path / "mask.nii", mask, oblique_affine())
    assert read_label_volume(path, volume_from_array(mask, oblique_affine()), 8).voxels.max() == 7
    with pytest.raises(ValueError, match=r"unknown label\(s\) \[7\]; must be 0 to 2 and 255"):
        read_label_volume(path, None, 3)
    other = oblique_affine()
    other[0, 3] += 2
    with pytest.raises(ValueError, match=r"(?s)one grid.*image.*\(4, 5, 6\).*mask .*origin"):
        check_same_geometry(image, volume_from_array(mask, other))
    with pytest.raises(ValueError, match="one grid"):
        check_same_geometry(image, volume_from_array(np.zeros((4, 5, 5)), oblique_affine()))
    with pytest.raises(ValueError, match="fractions"):
        read_label_volume(save(tmp_path / "soft.nii", np.full((4, 5, 6), 0.5, dtype=np.float32), oblique_affine()))


# Intensities and channels.


def test_wrong_modality_is_seen_in_the_values():
    hounsfield = np.array([-1000.0, 40.0, 700.0])
    check_modality(hounsfield, "CT")
    check_modality(np.array([0.0, 900.0]), "MR")
    with pytest.raises(ValueError, match="no air"):
        check_modality(np.array([0.0, 900.0]), "CT")
    with pytest.raises(ValueError, match="Hounsfield"):
        check_modality(hounsfield, "MR")


def test_windows_map_hounsfield_units():
    values = np.array([-2000.0, -160.0, 40.0, 240.0, 3000.0])
    lung, soft, bone = normalize_intensity(values, intensity_statistics(values, "CT"))
    np.testing.assert_allclose(soft, [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(lung, [0, 1190 / 1500, 1390 / 1500, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(bone[1:4], [340 / 1800, 540 / 1800, 740 / 1800], rtol=1e-6)
    assert len(CT_WINDOWS) == 3
    with pytest.raises(ValueError, match="empty"):
        intensity_statistics(values, "CT", [(100, 100)])


def test_mr_normalization_is_that_of_its_nonzero_voxels():
    transforms = pytest.importorskip("monai.transforms")
    values = np.abs(np.random.default_rng(0).normal(300, 100, (10, 11, 12))).astype(np.float32)
    values[:4] = 0
    counted = values[values != 0]
    low, high = np.percentile(counted, [0.5, 99.5])
    clipped = np.where(values != 0, np.clip(values, low, high), 0).astype(np.float32)
    expected = transforms.NormalizeIntensity(nonzero=True)(clipped)
    (actual,) = normalize_intensity(values, intensity_statistics(values, "MR"))
    np.testing.assert_allclose(actual, np.asarray(expected), atol=1e-4)
    assert not actual[:4].any()


def test_xray_normalization():
    values = np.random.default_rng(0).integers(0, 65535, (30, 40)).astype(np.uint16)
    (actual,) = normalize_intensity(values, intensity_statistics(values, "XR"))
    assert actual.mean() == pytest.approx(0, abs=1e-4) and actual.std() == pytest.approx(1, abs=1e-4)
    (flat,) = normalize_intensity(np.full((3, 3), 7), intensity_statistics(np.full((3, 3), 7), "XR"))
    assert np.isfinite(flat).all()
    (black,) = normalize_intensity(np.zeros((3, 3)), intensity_statistics(np.zeros((3, 3)), "MR"))
    assert not black.any()


def test_slices_are_normalized_by_the_volume():
    values = np.random.default_rng(0).normal(300, 50, (4, 5, 6)).astype(np.float32)
    statistics = intensity_statistics(values, "MR")
    (whole,) = normalize_intensity(values, statistics)
    for index, below, above in ((0, 0, 1), (3, 2, 4), (5, 4, 5)):
        channels = slice_channels([values], [statistics], index, 2, "2.5d")
        np.testing.assert_array_equal(channels, whole[:, :, [below, index, above]].transpose(2, 0, 1))
    np.testing.assert_array_equal(slice_channels([values], [statistics], 2, 0, "slice"), np.stack([whole[2]] * 3))
    two = slice_channels([values, values * 2], [statistics, intensity_statistics(values * 2, "MR")], 1, 1, "sequences")
    np.testing.assert_allclose(two, np.stack([whole[:, 1]] * 3), atol=1e-4)
    with pytest.raises(ValueError, match=r"2\.5d"):
        slice_channels([values], [statistics], 0, 0, "3d")


def test_slice_axis():
    assert slice_axis((0.5, 0.5, 3.0)) == 2
    assert slice_axis((3.0, 0.5, 0.5)) == 0
    assert slice_axis((1.0, 1.0, 1.0)) == 2
    assert slice_axis((3.0, 0.5, 0.5), "CT") == 2
