# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Boxes drawn, and filled as masks."""

import numpy as np
import pytest
from PIL import Image

from hfseg.results.boxes import draw_boxes, mask_of_box
from hfseg.results.colors import distinct_color


def test_a_box_is_drawn_around_its_pixels():
    image = Image.new("RGB", (60, 40))
    drawn = np.asarray(draw_boxes(image, [{"box": (10, 5, 50, 35), "label_id": 1, "score": 0.9}], {1: "dog"}))
    assert not np.asarray(image).any()  # the image given stays as it is
    outline = drawn[34, 10:50].any(-1)
    assert outline.all() and not drawn[35:].any() and not drawn[:5].any() and not drawn[:, 50:].any()
    # Two of a class have two colors.
    two = [{"box": (0, 20, 20, 40), "label_id": 1}, {"box": (40, 20, 60, 40), "label_id": 1}]
    drawn = np.asarray(draw_boxes(image, two, {1: "."}))
    assert tuple(drawn[39, 10]) != tuple(drawn[39, 50])
    # By instance, a number says the color, whatever the class and the order.
    two = [two[1] | {"color_number": 3}, two[0] | {"color_number": 7, "label_id": 2}]
    drawn = np.asarray(draw_boxes(image, two, {1: ".", 2: "."}, color_by="instance"))
    assert tuple(drawn[39, 50]) == distinct_color(3) and tuple(drawn[39, 10]) == distinct_color(7)
    with pytest.raises(ValueError, match="color_by must be one of class, instance"):
        draw_boxes(image, two, color_by="score")


def test_mask_of_a_box():
    assert np.argwhere(mask_of_box((1.0, 0.4, 3.0, 1.6), (4, 5))).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert np.argwhere(mask_of_box((2.1, 2.1, 2.2, 2.2), (4, 5))).tolist() == [[2, 2]]  # never empty
    assert mask_of_box((-3, -3, 9, 9), (4, 5)).all() and mask_of_box((5, 4, 5, 4), (4, 5)).sum() == 1
