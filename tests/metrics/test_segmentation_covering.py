# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segmentation covering against hand-computed strips and a direct loop over regions."""

import numpy as np
import pytest
import torch

from hfseg.metrics import SegmentationCovering


def test_by_hand():
    """Two people; the second drew one region. Pixels times best IoU over all regions of both, then images pooled."""
    found = np.array([[1, 1, 2, 2, 2, 2]])
    people = [np.array([[1, 1, 1, 2, 2, 2]]), np.array([[7, 7, 7, 7, 7, 7]])]
    first = (3 * 2 / 3 + 3 * 3 / 4 + 6 * 4 / 6) / 12
    metric = SegmentationCovering()
    metric.add_batch(predictions=[found], references=[people])
    metric.add(prediction=torch.tensor([[1, 1]]), reference=torch.tensor([[1, 0]]))  # the unlabeled pixel is no region
    result = metric.compute()
    assert result["mean_covering"] == pytest.approx(100 * ((first + 1 / 2) / 2))
    assert result["covering"] == pytest.approx(100 * ((12 * first + 1 / 2) / 13))
    assert (result["num_regions"], result["num_maps"], result["num_images"]) == (4, 3, 2)


def direct(found: np.ndarray, people: list[np.ndarray]) -> float:
    total = pixels = 0.0
    regions = [found == number for number in np.unique(found) if number]
    for person in people:
        for number in np.unique(person):
            if number == 0:
                continue
            true = person == number
            ious = [(true & region).sum() / (true | region).sum() for region in regions]
            total, pixels = total + true.sum() * max(ious, default=0), pixels + true.sum()
    return total / pixels


@pytest.mark.parametrize("lowest", [0, 1])
def test_equals_a_direct_loop_in_every_form_and_merged(lowest):
    generator = np.random.default_rng(lowest)
    cases = [
        (generator.integers(lowest, 5, (7, 9)), [generator.integers(lowest, 4, (7, 9)) * 300 for _ in range(3)])
        for _ in range(4)
    ]
    halves = [SegmentationCovering(), SegmentationCovering()]
    for index, (found, people) in enumerate(cases):
        one = SegmentationCovering()
        one.add(prediction=found, reference=people)
        assert one.compute()["covering"] == pytest.approx(100 * direct(found, people))
        masks = np.stack([found == number for number in np.unique(found) if number])
        for form in (masks, {"segmentation": found}, torch.from_numpy(found)):
            one.add(prediction=form, reference=people)
            assert one.compute()["covering"] == pytest.approx(100 * direct(found, people))
        halves[index % 2].add(prediction=found, reference=people)
    halves[0].merge_state(halves[1].state_dict())
    merged = halves[0].compute()
    assert merged["mean_covering"] == pytest.approx(100 * np.mean([direct(*case) for case in cases]))
    assert merged["num_images"] == 4


def test_nothing_predicted_covers_nothing():
    metric = SegmentationCovering()
    metric.add(prediction=np.zeros((2, 3), dtype=int), reference=np.ones((2, 3), dtype=int))
    metric.add(prediction=np.zeros((0, 2, 3), dtype=bool), reference=np.ones((2, 3), dtype=int))
    assert metric.compute()["covering"] == 0.0


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        (np.ones((2, 3), int), np.ones((3, 2), int), r"\(2, 3\).*\(3, 2\)"),
        (np.ones((2, 3), int), [], "no true map"),
        (np.full((2, 3), 0.5), np.ones((2, 3), int), "whole numbers"),
        (np.ones((2, 3), int), np.full((2, 3), -1), "region id -1"),
        (np.ones((1, 2, 3), int), np.ones((2, 3), int), "as bool"),
    ],
)
def test_bad_input(prediction, reference, message):
    with pytest.raises(ValueError, match=message):
        SegmentationCovering().add(prediction=prediction, reference=reference)
