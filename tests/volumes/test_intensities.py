# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Intensities of volumes: windows of CT, normalization of MR and X-ray, channels of slices."""

import numpy as np
import pytest

from hfseg.volumes import CT_WINDOWS, check_modality, intensity_statistics, normalize_intensity, slice_channels


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


@pytest.mark.parametrize(
    "modality, smallest, fits",
    [("CT", -1000, True), ("CT", -200, True), ("CT", -199, False), ("CT", 0, False), ("MR", 0, True),
     ("MR", -500, True), ("MR", -501, False), ("XR", -501, False), ("XR", 0, True)],
)  # fmt: skip
def test_values_of_a_modality(modality, smallest, fits):
    voxels = np.array([[[smallest, 900]]], dtype=np.int16)
    if fits:
        check_modality(voxels, modality)
        return
    with pytest.raises(ValueError, match=f"given as {modality}"):
        check_modality(voxels, modality)
