# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The letterbox warp against plain sums over source pixels, and its way back."""

import numpy as np
import pytest
import torch

from hfseg.processing.letterbox import from_frame, letterbox, taps, to_frame, warp


def kernel(distance, kind):
    """Keys' cubic kernel with a = -0.75, or the linear one."""
    x = abs(distance)
    if kind == "linear":
        return max(1 - x, 0.0)
    a = -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def by_sums(image, scale, offsets, size, kind):
    """Every target pixel as the weighted sum over all source pixels, zero outside."""
    result = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            y, x = (row - offsets[0]) / scale, (column - offsets[1]) / scale
            for i in range(image.shape[0]):
                for j in range(image.shape[1]):
                    result[row, column] += kernel(y - i, kind) * kernel(x - j, kind) * image[i, j]
    return result


@pytest.mark.parametrize("kind", ["cubic", "linear"])
@pytest.mark.parametrize("scale, offsets", [(1.0, (0, 0)), (1.7, (2.5, 0)), (0.6, (0, 1.3))])
def test_warps_are_the_weighted_sum_over_source_pixels(kind, scale, offsets):
    image = np.random.default_rng(0).normal(size=(5, 6))
    expected = by_sums(image, scale, offsets, (9, 8), kind)
    np.testing.assert_allclose(warp(image[None], scale, offsets, (9, 8), kind)[0], expected, atol=1e-12)
    found = warp(torch.from_numpy(image)[None], scale, offsets, (9, 8), kind)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_images_fit_and_lie_in_the_middle():
    assert letterbox((50, 100), (40, 40)) == (0.4, 10.0, 0.0)
    assert letterbox((100, 50), (40, 60)) == (0.4, 0.0, 20.0)
    assert letterbox((10, 10), (40, 60)) == (4.0, 0.0, 10.0)


def test_weights_sum_to_one_inside():
    for kind in ("cubic", "linear"):
        _, weight = taps(9, np.linspace(2, 6, 23), kind)
        np.testing.assert_allclose(weight.sum(0), 1, atol=1e-12)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_colors_outside_and_types(make):
    image = np.full((3, 4, 8), 200, dtype=np.uint8)
    found = np.asarray(to_frame(make(image), (8, 8), [10.0, 20.0, 30.0]))
    assert found.shape == (3, 8, 8) and found.dtype == np.float32
    assert found[:, 0, 3].tolist() == [10, 20, 30] and (found[:, 3:5] == 200).all()
    step = np.repeat(np.uint8([0, 0, 0, 0, 255, 255, 255, 255])[None], 8, axis=0)[None]
    found = np.asarray(to_frame(make(step), (26, 26), [0.0]))
    assert found.min() == 0 and found.max() == 255 and (found == np.round(found)).all()  # cubic overshoots are cut
    floats = np.asarray(to_frame(make(step.astype(np.float32)), (26, 26), [0.0]))
    assert floats.min() < -1 and floats.max() > 256


def test_the_way_back_undoes_the_way_there():
    rows, columns = np.mgrid[:30, :50].astype(np.float32)
    smooth = np.sin(rows / 9)[None] + np.cos(columns / 11)[None]
    frame = to_frame(smooth, (64, 64), [0.0])
    back = from_frame(frame, (30, 50))
    np.testing.assert_allclose(back[:, 2:-2, 2:-2], smooth[:, 2:-2, 2:-2], atol=5e-3)
