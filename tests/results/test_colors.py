# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Colors of classes are distinct and stable."""

import itertools

import numpy as np

from hfseg.results.drawing import class_color


def test_class_colors_are_distinct_and_stable():
    colors = [class_color(k) for k in range(40)]
    assert class_color(0) == (230, 159, 0) and len(set(colors)) == 40
    assert all(0 <= value <= 255 for color in colors for value in color)
    for first, second in itertools.combinations(colors[:13], 2):
        assert np.abs(np.subtract(first, second)).sum() > 40
