# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sizes of resized images: rounded half up, by every rule of size."""

import pytest

from hfseg.processing.sizes import resized_size


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (800, 1067)),  # transformers truncates to 1066
        (640, 480, (1067, 800)),
        (427, 640, (800, 1199)),
        (300, 900, (444, 1333)),
        (800, 800, (800, 800)),
        (1, 5000, (1, 1333)),
        (20000, 2, (1333, 1)),
        (1, 1, (800, 800)),
    ],
)
def test_size_is_rounded_half_up(height, width, expected):
    assert resized_size(height, width, {"shortest_edge": 800, "longest_edge": 1333}) == expected


def test_other_size_rules():
    assert resized_size(30, 60, {"height": 7, "width": 9}) == (7, 9)
    assert resized_size(30, 60, {"shortest_edge": 15}) == (15, 30)
    assert resized_size(30, 60, {"longest_edge": 120}) == (60, 120)
    assert resized_size(30, 60, {"max_height": 10, "max_width": 1000}) == (10, 20)
    with pytest.raises(ValueError, match="not understood"):
        resized_size(30, 60, {"min_pixels": 3})
