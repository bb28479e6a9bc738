# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Contrast of images as they are read."""

import numpy as np

from hfseg.data.readers.images import stretch_contrast


def test_contrast_is_stretched_linearly_and_flat_images_stay():
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    image[..., 0], image[:5, :, 1] = 40, 20
    stretched = stretch_contrast(image, 0, 100)
    assert stretched[0, 0].tolist() == [255, 128, 0] and stretched[9, 9].tolist() == [255, 0, 0]
    assert np.array_equal(stretch_contrast(image[..., :1].repeat(3, 2)), image[..., :1].repeat(3, 2))
