# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Dice: the four empty cases, and means over cases, then classes."""

import numpy as np
import pytest

from hfseg.metrics import Dice

NAMES = {0: "background", 1: "left", 2: "right"}


def empty_cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """Neither, both, the reference, the prediction empty (of class 1; class 2 never occurs)."""
    full, nothing = np.zeros((4, 3), dtype=int), np.zeros((4, 3), dtype=int)
    full[1:3, 1] = 1
    return [(full, full), (nothing, nothing), (full, nothing), (nothing, full)]


@pytest.mark.parametrize("empty, expected, cases", [("skip", 1 / 3, 3), ("one", 2 / 4, 4)])
def test_four_empty_cases_of_dice(empty, expected, cases):
    metric = Dice(NAMES, empty=empty)
    for prediction, reference in empty_cases():
        metric.add(prediction=prediction, reference=reference)
    result = metric.compute()
    left = result["per_class"]["left"]
    assert left["dice"] == pytest.approx(100 * expected) and left["num_cases"] == cases
    assert (left["both_empty"], left["reference_empty"], left["prediction_empty"]) == (1, 1, 1)
    assert result["per_class"]["right"]["dice"] == (None if empty == "skip" else 100)
    assert result["num_cases"] == 4


def test_means_are_over_cases_then_classes():
    metric = Dice(NAMES)
    reference = np.array([[1, 1, 2, 0]])
    metric.add(prediction=np.array([[1, 1, 2, 0]]), reference=reference)
    metric.add(prediction=np.array([[1, 0, 0, 0]]), reference=reference)
    result = metric.compute()
    assert result["per_class"]["left"]["dice"] == pytest.approx(100 * ((1 + 2 / 3) / 2))
    assert result["dice"] == pytest.approx(100 * (((1 + 2 / 3) / 2 + (1 + 0) / 2) / 2))
