# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images of volumes: which slice is shown, and where left and right are."""

from types import SimpleNamespace

import numpy as np
import pytest

from hfseg.inference.volume_images import fullest_slice, labels_in_ras


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_with_most_labels_is_shown(axis):
    labels = np.zeros((5, 6, 7), dtype=np.uint8)
    assert fullest_slice(labels, axis) == labels.shape[axis] // 2  # nothing is labeled
    moved = np.moveaxis(labels, axis, 0)
    moved[1, :2, 0] = 9  # a few voxels of a high class
    moved[3, :3, 1] = 1
    moved[4, :2, 2] = 1
    assert fullest_slice(labels, axis) == 3


def test_labels_are_brought_to_the_axes_of_the_patient():
    """Against nibabel: an array that is stored as inferior, left, posterior."""
    nibabel = pytest.importorskip("nibabel")
    stored = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    affine = np.array([[0, -2.0, 0, 5], [0, 0, -3.0, 6], [-4.0, 0, 0, 7], [0, 0, 0, 1]])
    expected = np.asarray(nibabel.as_closest_canonical(nibabel.Nifti1Image(stored, affine)).dataobj)
    found = labels_in_ras(SimpleNamespace(segmentation=stored, affine=affine))
    assert found.shape == (3, 4, 2) and np.array_equal(found, expected)
