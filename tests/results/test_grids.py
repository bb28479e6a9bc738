# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Grids of images, side by side with titles."""

import numpy as np

from hfseg.results.drawing import image_grid, side_by_side


def test_grids():
    images = [np.full((20, 30, 3), value, np.uint8) for value in (10, 90, 200)]
    grid = image_grid(images, columns=2, gap=4)
    assert grid.size == (2 * 34 + 4, 2 * 24 + 4)
    assert [grid.getpixel((x, y))[0] for x, y in ((10, 10), (50, 10), (10, 40), (50, 40))] == [10, 90, 200, 255]
    row = side_by_side([images[0], np.zeros((40, 40, 3), np.uint8)], titles=["a", "b"], gap=0)
    assert row.size[0] == 2 * 60 and row.size[1] > 40


def test_titles_stay_over_their_images():
    """Each cell's title alone leaves the same pixels as all together: none runs into its neighbor."""
    images = [np.full((40, 64, 3), 128, np.uint8)] * 3
    titles = ["the second largest thing at the left", "truth", "prediction of a model with a long name"]
    together = np.asarray(image_grid(images, 3, titles))
    for place in range(3):
        alone = np.asarray(image_grid(images, 3, [title if i == place else "" for i, title in enumerate(titles)]))
        cell = np.s_[:, 6 + 70 * place : 70 * (place + 1)]
        assert (alone[cell] == together[cell]).all() and (alone[:15][cell] < 255).any()
    large = image_grid(images, 3, minimum_side=128)
    assert large.size == (3 * 134 + 6, 80 + 12)
    assert side_by_side(images, minimum_side=128).size == large.size
