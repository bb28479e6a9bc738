# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The plot of a confusion matrix: shares of rows, without what does not occur."""

import numpy as np
import pytest

from hfseg.results.confusion import MOST_CLASSES, ConfusionMatrix, confusion_plot


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


def test_shares_leave_out_what_does_not_occur_and_the_smallest_classes():
    counts = np.array([[30, 10, 0, 0, 0], [0, 5, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 50, 50]])
    names = ["sky", "grass", "unused", "sea"]
    matrix = ConfusionMatrix(counts, names, [*names, "(none)"])
    shares, rows, columns = matrix.shares()
    assert rows == ["sky", "grass", "sea"] and columns == ["sky", "grass", "sea", "(none)"]
    assert shares.tolist() == [[0.75, 0.25, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5]]
    # Of two classes the columns are two; what went elsewhere is missing in their shares.
    shares, rows, columns = matrix.shares(maximum=2)
    assert rows == columns == ["sky", "sea"] and shares.tolist() == [[0.75, 0], [0, 0.5]]
    many = confusion_plot(np.eye(1200), [str(i) for i in range(1200)], [str(i) for i in range(1200)])
    assert many.width < 20 * MOST_CLASSES


def test_most_frequent_confusions():
    counts = np.array([[30, 10, 7], [5, 45, 0], [0, 0, 3]])
    matrix = ConfusionMatrix(counts, ["a", "b", "c"], ["a", "b", "c"])
    pairs = [tuple(row.values()) for row in matrix.most_frequent(5)]
    expected = [("a", "b", 10, 100 * 10 / 47), ("a", "c", 7, 100 * 7 / 47), ("b", "a", 5, 10.0)]
    assert pairs == [(*row[:3], pytest.approx(row[3])) for row in expected]
    assert matrix.most_frequent(1) == matrix.most_frequent(5)[:1] and counts[0, 0] == 30
    assert ConfusionMatrix(np.eye(2), ["a", "b"], ["a", "b"]).most_frequent() == []


def test_confusion_plot_errors():
    with pytest.raises(ValueError, match="2 row and 3 column"):
        confusion_plot(np.ones((2, 2)), ["a", "b"], ["a", "b", "c"])
    with pytest.raises(ValueError, match="nothing to draw"):
        confusion_plot(np.zeros((1, 1)), ["a"], ["a"])
