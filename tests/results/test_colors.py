# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Colors of classes are distinct and stable."""

import itertools

import numpy as np

from hfseg.results.colors import class_color, distinct_color, object_numbers


def test_class_colors_are_distinct_and_stable():
    colors = [class_color(k) for k in range(40)]
    assert class_color(0) == (230, 159, 0) and len(set(colors)) == 40
    assert all(0 <= value <= 255 for color in colors for value in color)
    for first, second in itertools.combinations(colors[:13], 2):
        assert np.abs(np.subtract(first, second)).sum() > 40


def test_objects_do_not_have_the_colors_of_stuff():
    numbers = object_numbers(300, [5, 7, 0])
    colors = [distinct_color(number) for number in numbers]
    assert len(numbers) == 300 and not {class_color(5), class_color(7), class_color(0)} & set(colors)
    assert len(set(colors)) == 62 and numbers[:3] == object_numbers(3, [5, 7, 0])
    assert object_numbers(3, range(200)) == [0, 1, 2]  # where no color is left, objects have those of classes
