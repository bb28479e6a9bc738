# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""FROC: findings in millimeters, the curve of MONAI, and the radius of a hit."""

import numpy as np
import pytest

from hfseg.metrics import FROC, Finding, find_candidates, find_nodules

SPACING = (0.7, 0.5, 3.0)


def test_findings_are_in_millimeters():
    mask = np.zeros((10, 10, 6), dtype=bool)
    mask[2:5, 2:5, 1:3] = True
    mask[5, 5, 3] = True  # touches by a corner: one part under 26 neighbors
    mask[8, 8, 5] = True
    probabilities = mask * 0.4
    probabilities[8, 8, 5] = 0.9
    first, second = find_candidates(probabilities, SPACING)
    assert (first.score, second.score) == (0.4, 0.9)
    np.testing.assert_allclose(second.center, np.array([8, 8, 5]) * SPACING)
    assert second.radius == pytest.approx((3 * 0.7 * 0.5 * 3 / (4 * np.pi)) ** (1 / 3))
    assert len(find_nodules(mask, SPACING)) == 2


def test_froc_equals_monai():
    metrics = pytest.importorskip("monai.metrics")
    generator = np.random.default_rng(0)
    metric, false, true, nodules = FROC(), [], [], 0
    for scan in range(5):
        reference = [Finding((50.0 * n, 0.0, 0.0), 5.0) for n in range(1 + scan % 3)]
        candidates = []
        for nodule in reference:
            if generator.random() < 0.8:
                score = float(generator.random())
                true.append(score)
                x, y, z = nodule.center
                candidates.append(Finding((x + 3, y, z), 2.0, score))
                candidates.append(Finding((x, y + 2, z), 2.0, score / 2))  # a second, weaker hit counts nothing
        for _ in range(3):
            score = float(generator.random())
            false.append(score)
            candidates.append(Finding((0.0, 500.0, 0.0), 2.0, score))
        metric.add(prediction=candidates, reference=reference)
        nodules += len(reference)
    rate, sensitivity = metrics.compute_froc_curve_data(np.array(false), np.array(true), nodules, 5)
    points = (0.125, 0.25, 0.5, 1, 2, 4, 8)
    expected = metrics.compute_froc_score(rate, sensitivity, points)
    result = metric.compute()
    assert result["num_nodules"] == nodules and result["num_hits"] == len(true)
    assert result["cpm"] == pytest.approx(100 * expected, abs=1e-9)
    assert list(result["sensitivities"]) == ["0.125", "0.25", "0.5", "1", "2", "4", "8"]


def test_a_candidate_must_lie_within_the_radius():
    metric = FROC(points=[1.0])
    nodule = Finding((0.0, 0.0, 0.0), 5.0)
    metric.add(prediction=[Finding((5.0, 0.0, 0.0), 1.0, 0.9)], reference=[nodule])
    metric.add(prediction=[Finding((4.9, 0.0, 0.0), 1.0, 0.8)], reference=[nodule])
    result = metric.compute()
    assert (result["num_hits"], result["num_false_positives"], result["cpm"]) == (1, 1, 50)


def test_a_part_of_exactly_the_threshold_is_a_candidate():
    probabilities = np.zeros((6, 6, 3))
    probabilities[1, 1, 1], probabilities[4, 4, 1] = 0.1, 0.0999
    (candidate,) = find_candidates(probabilities, (1.0, 1.0, 1.0), threshold=0.1)
    assert candidate.center == (1, 1, 1) and candidate.score == 0.1
