# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Degradations of images for restoration: noise, rain, holes and the rest, from a seed."""

import numpy as np
import pytest

from hfseg.data.readers.in_context import (
    ShapesSource,
)
from hfseg.data.synthetic import degradations


@pytest.fixture(scope="module")
def images():
    return ShapesSource(num_scenes=8, in_memory=True)


@pytest.mark.parametrize("name", ["cut_hole", "glass_blur", "motion_blur", "rain", "gray"])
def test_degradations(name, images):
    if name in ("motion_blur", "rain"):
        pytest.importorskip("kornia")
    degrade, image = getattr(degradations, name), images[0]["image"]
    before = image.copy()
    one, two, other = (degrade(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == image.shape and one.dtype == np.uint8
    assert np.array_equal(one, two) and np.array_equal(image, before)
    assert (one != image).any() and (name == "gray" or (one != other).any())


def test_a_hole_is_black_and_the_rest_is_kept(images):
    image = np.maximum(images[0]["image"], 1)
    cut = degradations.cut_hole(image, np.random.default_rng(0))
    hole = ~cut.any(-1)
    rows, columns = np.nonzero(hole)
    assert hole.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1) and 16 <= np.ptp(rows) + 1 <= 32
    assert np.array_equal(cut[~hole], image[~hole])
