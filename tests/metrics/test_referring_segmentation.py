# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring metrics against plain sums, merged and not."""

import numpy as np
import pytest

from hfseg.metrics import ReferringSegmentation


def draw(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    pairs = []
    for index in range(count):
        reference = generator.random((7 + index, 9)) < 0.4
        pairs.append((reference ^ (generator.random(reference.shape) < 0.03 * index), reference))
    return pairs


def test_figures_are_those_of_their_definitions():
    pairs, metric = draw(12), ReferringSegmentation()
    metric.add_batch(predictions=[p for p, _ in pairs], references=[r.astype(np.uint8) * 255 for _, r in pairs])
    result = metric.compute()
    ious = [np.logical_and(p, r).sum() / np.logical_or(p, r).sum() for p, r in pairs]
    assert result["miou"] == pytest.approx(100 * np.mean(ious), abs=1e-4)
    overall = sum(np.logical_and(p, r).sum() for p, r in pairs) / sum(np.logical_or(p, r).sum() for p, r in pairs)
    assert result["oiou"] == pytest.approx(100 * overall)
    for limit in (50, 60, 70, 80, 90):
        assert result[f"precision@{limit / 100}"] == 100 * np.mean([iou > limit / 100 for iou in ious])
    assert result["num_samples"] == 12 and "num_without_referent" not in result


def test_parts_add_up():
    pairs, whole, parts = draw(9), ReferringSegmentation(), [ReferringSegmentation() for _ in range(3)]
    for index, (prediction, reference) in enumerate(pairs):
        whole.add(prediction=prediction, reference=reference)
        parts[index % 3].add(prediction=prediction, reference=reference)
    total = ReferringSegmentation()
    for part in parts:
        total.merge_state(part.state_dict())
    assert total.compute() == pytest.approx(whole.compute())


def test_empty_references_count_apart():
    metric, empty = ReferringSegmentation(), np.zeros((4, 4), bool)
    metric.add(prediction=empty, reference=empty)
    metric.add(prediction=~empty, reference=empty)
    metric.add(prediction=~empty, reference=~empty)
    result = metric.compute()
    assert result["num_samples"] == 1 and result["miou"] == pytest.approx(100, abs=1e-4)
    assert result["num_without_referent"] == 2 and result["without_referent_accuracy"] == 50


def test_half_is_not_above_half():
    metric = ReferringSegmentation()
    metric.add(prediction=np.array([[1, 1]]), reference=np.array([[1, 0]]))
    assert metric.compute()["precision@0.5"] == 0
    with pytest.raises(ValueError, match="shape"):
        metric.add(prediction=np.zeros((2, 2)), reference=np.zeros((2, 3)))
