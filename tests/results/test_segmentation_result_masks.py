# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Results from masks that overlap."""

import numpy as np

from hfseg.results.segmentation_result import SegmentationResult


def test_overlapping_masks_show_the_best():
    left, right = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    left[:, :3], right[:, 2:] = True, True
    result = SegmentationResult.from_masks([left, right], [5, 6], [0.9, 0.4], (2, 4))
    assert result.segmentation.tolist() == [[1, 1, 1, 2]] * 2
    assert np.array_equal(result.mask(1), right) and np.array_equal(result.mask(0), left)
    assert SegmentationResult.from_masks([], [], [], (2, 4)).segmentation.tolist() == [[0] * 4] * 2
