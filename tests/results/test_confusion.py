# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The plot of a confusion matrix: shares of rows, without what does not occur."""

import numpy as np
import pytest

from hfseg.results.drawing import confusion_plot


def test_confusion_plot_shows_shares_of_rows_and_leaves_out_what_does_not_occur():
    counts = np.array([[30, 10, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0]])
    names = ["sky", "grass", "unused"]
    plot = np.asarray(confusion_plot(counts, names, [*names, "(none)"], "title")).astype(int)
    # Two rows, two columns: the four cells are the only squares of their colors.
    full, three_quarters, quarter = (8, 48, 107), (70, 100, 144), (193, 203, 218)
    areas = [int((np.abs(plot - color).sum(-1) <= 3).sum()) for color in (full, three_quarters, quarter)]
    assert all(area > 1000 for area in areas)
    assert plot.shape[1] < 600

    large = confusion_plot(np.eye(150), [f"class {i}" for i in range(150)], [f"class {i}" for i in range(150)])
    assert 1500 < large.width < 3500


def test_confusion_plot_errors():
    with pytest.raises(ValueError, match="2 row and 3 column"):
        confusion_plot(np.ones((2, 2)), ["a", "b"], ["a", "b", "c"])
    with pytest.raises(ValueError, match="nothing to draw"):
        confusion_plot(np.zeros((1, 1)), ["a"], ["a"])
