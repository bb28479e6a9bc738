# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Windows around boxes."""

import numpy as np
import pytest

from hfseg.results.zoom import zoom_window


def test_a_window_is_the_square_around_the_middle():
    assert zoom_window((40, 50, 60, 60), (200, 300), 3.0) == (20, 25, 80, 85)
    assert zoom_window((40, 50, 60, 60), (200, 300), 1.0) == (40, 45, 60, 65)


def test_a_window_is_moved_into_the_image_and_cut_where_that_is_smaller():
    assert zoom_window((0, 0, 20, 10), (200, 300), 2.0) == (0, 0, 40, 40)
    assert zoom_window((285, 195, 300, 200), (200, 300), 2.0) == (270, 170, 300, 200)
    assert zoom_window((100, 10, 140, 40), (50, 300), 3.0) == (60, 0, 180, 50)
    assert zoom_window((0, 0, 9, 9), (8, 9), 5.0) == (0, 0, 9, 8)


def test_small_boxes_have_windows_of_sixteen_pixels():
    assert zoom_window((100, 100, 101, 102), (200, 200), 2.0) == (93, 93, 109, 109)


@pytest.mark.parametrize("zoom", [1.0, 1.7, 3.0, 50.0])
def test_windows_hold_their_boxes_inside_the_image(zoom):
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 300, 2).tolist()
        (x0, x1), (y0, y1) = (np.sort(rng.random(2) * side) for side in (width, height))
        left, top, right, bottom = zoom_window((x0, y0, x1, y1), (height, width), zoom)
        assert 0 <= left <= max(0, x0 + 1) and x1 - 1 <= right <= width and left < right
        assert 0 <= top <= max(0, y0 + 1) and y1 - 1 <= bottom <= height and top < bottom
        side = max(16, int(np.ceil(zoom * max(x1 - x0, y1 - y0))))
        assert (right - left, bottom - top) == (min(side, width), min(side, height))
