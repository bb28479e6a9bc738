# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Geometry of volumes: orientation as in nibabel, masks on their scans, axes of slices."""

import numpy as np
import pytest

from hfseg.volumes import check_same_geometry, read_label_volume, slice_axis, volume_from_array
from volume_files import oblique_affine, save

nibabel = pytest.importorskip("nibabel")


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


def test_slice_axis():
    assert slice_axis((0.5, 0.5, 3.0)) == 2
    assert slice_axis((3.0, 0.5, 0.5)) == 0
    assert slice_axis((1.0, 1.0, 1.0)) == 2
    assert slice_axis((3.0, 0.5, 0.5), "CT") == 2


@pytest.mark.parametrize("cosine, sheared", [(0.005, False), (0.02, True), (-0.08, True)])
def test_sheared_grids_are_refused(cosine, sheared):
    """Beyond a cosine of 0.01 between two axes, which is half a degree."""
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, 2] = 3 * np.array([0.0, cosine, np.sqrt(1 - cosine**2)])
    if not sheared:
        assert volume_from_array(np.zeros((2, 3, 4)), affine).spacing == pytest.approx((1, 1, 3))
        return
    with pytest.raises(ValueError, match=rf"sheared affine \(cosine {abs(cosine):.3f}"):
        volume_from_array(np.zeros((2, 3, 4)), affine)


def test_voxels_of_meters_are_another_unit():
    """Micrometers whose header says millimeters; both sides of the limit."""
    assert volume_from_array(np.zeros((2, 3, 4)), np.diag([1.0, 1.0, 1000.0, 1.0])).spacing[2] == 1000
    with pytest.raises(ValueError, match="voxels of 1 x 1 x 1500 mm"):
        volume_from_array(np.zeros((2, 3, 4)), np.diag([1.0, 1.0, 1500.0, 1.0]))
