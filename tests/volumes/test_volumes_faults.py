# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Volumes that gave wrong values without a word: units, damaged streams, odd DICOM files, masks of fine grids."""

import shutil
import warnings

import numpy as np
import pytest

from hfseg.volumes import check_same_geometry, is_dicom, read_label_volume, read_nifti, read_volume, volume_from_array
from hfseg.volumes import write_nifti as write_mask
from volume_files import save, write_series

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

VOXELS = np.random.default_rng(0).integers(0, 200, (12, 10, 8)).astype(np.int16)
pytestmark = pytest.mark.filterwarnings("ignore:.*unit of length")


def scan(path, unit, factor):
    """The same scan of 0.9 x 0.8 x 2 mm, stated in a unit."""
    affine = np.diag([0.9 * factor, 0.8 * factor, 2 * factor, 1.0])
    affine[:3, 3] = np.array([-5.0, 7.0, 9.0]) * factor
    image = nibabel.Nifti1Image(VOXELS, affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("unit, factor", [("mm", 1.0), ("micron", 1000.0), ("meter", 0.001)])
def test_a01_units_of_nifti_become_millimeters(tmp_path, unit, factor):
    volume = read_nifti(scan(tmp_path / "a.nii.gz", unit, factor))
    assert volume.spacing == pytest.approx((0.9, 0.8, 2.0), rel=1e-5)
    np.testing.assert_allclose(volume.stored_affine[:3, 3], (-5, 7, 9), rtol=1e-5)
    write_mask(tmp_path / "mask.nii.gz", volume.voxels > 100, volume)
    mask = read_label_volume(tmp_path / "mask.nii.gz", volume)  # refused if it did not lie on its scan
    np.testing.assert_array_equal(mask.voxels, volume.voxels > 100)
    written, source = nibabel.load(tmp_path / "mask.nii.gz"), nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(written.affine, source.affine, rtol=1e-5)
    assert written.header.get_xyzt_units()[0] == unit


def test_a01_an_unknown_unit_is_millimeters_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"does not say its unit of length"):
        assert read_nifti(save(tmp_path / "a.nii", VOXELS)).spacing == (1, 1, 1)


def test_a01_masks_of_fine_grids_are_compared_in_voxels():
    fine = np.diag([0.001, 0.001, 0.001, 1.0])
    moved = fine.copy()
    moved[0, 3] = 0.005  # five voxels
    with pytest.raises(ValueError, match="one grid"):
        check_same_geometry(volume_from_array(VOXELS, fine), volume_from_array(VOXELS, moved))


def test_a02_a_flipped_bit_is_never_another_volume(tmp_path):
    content = scan(tmp_path / "a.nii.gz", "mm", 1.0).read_bytes()
    generator, refused = np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        bit = int(generator.integers(len(content) * 8))
        damaged[bit // 8] ^= 1 << (bit % 8)
        (tmp_path / "b.nii.gz").write_bytes(damaged)
        try:
            volume = read_nifti(tmp_path / "b.nii.gz")
        except ValueError as error:
            assert "b.nii.gz" in str(error)
            refused += 1
        else:  # a bit of the name or the time in gzip's header
            np.testing.assert_array_equal(volume.to_stored_order(volume.voxels), VOXELS)
    assert refused > 280


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a02_truncated_and_lying_files_are_input_errors(tmp_path, name):
    path = scan(tmp_path / name, "mm", 1.0)
    content = path.read_bytes()
    for length in (0, 1, 3, 200, 400, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"a\.nii"):
            read_nifti(path)
    plain = scan(tmp_path / "b.nii", "mm", 1.0)
    header = bytearray(plain.read_bytes())
    header[42:48] = np.array([30000, 30000, 30000], dtype="<i2").tobytes()  # dim: 54 TB
    plain.write_bytes(header)
    with pytest.raises(ValueError, match="its header promises"):
        read_nifti(plain)


def test_a03_endings_of_any_case(tmp_path):
    shutil.copy(scan(tmp_path / "a.nii.gz", "mm", 1.0), tmp_path / "B.NII.GZ")
    assert read_volume(tmp_path / "B.NII.GZ").shape == VOXELS.shape
    write_series(tmp_path / "s")
    for index, path in enumerate(sorted((tmp_path / "s").iterdir())):
        path.rename(tmp_path / "s" / ("A.DCM", "B.IMA", "IM3", "D.dcm", "1.2.5", "F.dcm")[index])
    assert read_volume(tmp_path / "s").shape == (4, 5, 6)
    assert is_dicom(tmp_path / "s/IM3") and read_volume(tmp_path / "s/IM3").shape == (4, 5, 1)


def spoiled(folder, spoil):
    """A series of six slices whose fourth file is spoiled."""
    write_series(folder)
    spoil(folder / "1.2.3.4_3.dcm")
    return folder


def edit(**values):
    def change(path):
        data = pydicom.dcmread(path)
        for name, value in values.items():
            setattr(data, name, value)
        data.save_as(path)

    return change


@pytest.mark.parametrize("start", [128, 132], ids=["without preamble", "without preamble and mark"])
def test_a03_files_without_preamble_are_read(tmp_path, start):
    folder = spoiled(tmp_path / "s", lambda path: path.write_bytes(path.read_bytes()[start:]))
    np.testing.assert_array_equal(read_volume(folder).voxels, read_volume(spoiled(tmp_path / "t", edit())).voxels)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "no rows of pixels"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "cannot be decoded"),
        (lambda path: path.write_bytes(b"hello" * 99), "no DICOM file"),
        (edit(ImageOrientationPatient=[1, 0, 0, 0, 0, 1]), "differ in ImageOrientationPatient.*1 of 6"),
        (edit(Rows=4), "differ in Rows"),
        (edit(PixelSpacing=[0.8, 0.61]), "differ in PixelSpacing"),
        (edit(PixelSpacing=0.8), "PixelSpacing '0.8'; it needs 2"),
        (edit(PixelSpacing=""), "no PixelSpacing|PixelSpacing None"),
        (edit(RescaleSlope=""), "RescaleSlope None"),
        (edit(ImagePositionPatient=[1, 2]), "ImagePositionPatient.*needs 3"),
        (edit(SamplesPerPixel=3), "color"),
    ],
)
def test_a03_an_odd_file_of_a_series_is_named(tmp_path, spoil, words):
    with pytest.raises(ValueError, match=words) as error:
        read_volume(spoiled(tmp_path / "s", spoil))
    assert "1.2.3.4_3.dcm" in str(error.value)


def test_a03_numbers_are_compared_as_numbers(tmp_path):
    change = edit(PixelSpacing=["0.8000000", "0.60"], ImageOrientationPatient=[1, 0.00004, 0, 0, 1, 0])
    assert read_volume(spoiled(tmp_path / "s", change)).shape == (4, 5, 6)


def test_a03_what_lies_beside_a_series_is_passed_over(tmp_path):
    write_series(tmp_path / "s")
    (tmp_path / "s/notes.txt").write_text("seen")
    (tmp_path / "s/.DS_Store").write_text("")
    with pytest.warns(UserWarning, match=r"notes\.txt is no DICOM file"):
        assert read_volume(tmp_path / "s").shape == (4, 5, 6)


def test_a03_nifti_of_other_values_is_refused(tmp_path):
    colors = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array, words in ((VOXELS.astype(np.complex64), "complex"), (colors, "colors")):
        with pytest.raises(ValueError, match=words):
            read_nifti(save(tmp_path / "a.nii", array))
    content = bytearray(save(tmp_path / "a.nii", VOXELS).read_bytes())
    content[112:116] = np.float32(np.nan).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ValueError, match="scl_slope nan"):
        read_nifti(tmp_path / "a.nii")


def test_a03_a_damaged_compressed_meta_image_is_an_input_error(tmp_path):
    import zlib

    header = "ObjectType = Image\nNDims = 3\nCompressedData = True\nElementSpacing = 1 1 1\nDimSize = 12 10 8\n"
    raw = zlib.compress(VOXELS.tobytes(order="F"))
    for content in (raw[:-1], raw[:40], bytes([raw[0], raw[1] ^ 1]) + raw[2:], raw[:50] + b"\xff" + raw[51:], b""):
        path = tmp_path / "a.mha"
        path.write_bytes(f"{header}ElementType = MET_SHORT\nElementDataFile = LOCAL\n".encode() + content)
        with pytest.raises(ValueError, match=r"a\.mha"):
            read_volume(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path.write_bytes(f"{header}ElementType = MET_SHORT\nElementDataFile = LOCAL\n".encode() + raw)
        assert read_volume(path).shape == VOXELS.shape


@pytest.mark.parametrize("spacing", ["1 -1 2", "1 0 2", "1 nan 2", "inf 1 1"])
def test_a03_spacing_of_meta_images_is_positive(tmp_path, spacing):
    header = f"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementSpacing = {spacing}\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + bytes(8))
    with pytest.raises(ValueError, match=r"a\.mha has the ElementSpacing .* three positive numbers"):
        read_volume(tmp_path / "a.mha")
