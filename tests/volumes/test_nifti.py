# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""NIfTI: it comes back as it was, scaled files are read in float32, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from hfseg.volumes import read_nifti, write_nifti
from volume_files import oblique_affine, save

nibabel = pytest.importorskip("nibabel")


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
