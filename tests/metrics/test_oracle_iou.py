# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Oracle IoU against hand-computed masks and a direct loop."""

import numpy as np
import pytest
import torch

from hfseg.metrics import OracleIoU
from hfseg.results.segmentation_result import SegmentationResult, encode_run_lengths


def row(*pixels, length=8):
    mask = np.zeros((1, length), dtype=bool)
    mask[0, list(pixels)] = True
    return mask


def test_pool_by_hand():
    """Best of all masks of the image, mean over true masks (3 of them), not over images (2)."""
    metric = OracleIoU()
    true = np.stack([row(0, 1, 2, 3), row(6)])
    found = np.stack([row(0, 1), row(0, 1, 2), row(5, 6), row(7)])
    metric.add_batch(predictions=[found], references=[torch.from_numpy(true)])
    metric.add_batch(predictions=[np.stack([row(2)])], references=[np.stack([row(2)])])
    result = metric.compute()
    assert result["oracle_iou"] == pytest.approx(100 * ((3 / 4 + 1 / 2 + 1) / 3))
    assert result["recall_50"] == pytest.approx(100 * (2 / 3)) and result["recall_75"] == pytest.approx(100 * (1 / 3))
    assert result["num_masks"] == 3 and result["num_images"] == 2 and "first_iou" not in result


def test_paired_by_hand():
    """Each prompt is judged by its own candidates only."""
    true = np.stack([row(0, 1), row(4, 5)])
    candidates = np.stack([[row(0), row(0, 1)], [row(0, 1), row(4)]])  # (2, 2, 1, 8)
    result = OracleIoU("paired").compute(predictions=[candidates], references=[true])
    assert result["oracle_iou"] == pytest.approx(100 * ((1 + 0.5) / 2))
    assert result["first_iou"] == pytest.approx(100 * ((0.5 + 0) / 2))
    single = OracleIoU("paired").compute(predictions=[candidates[:, 0]], references=[true])
    assert single["oracle_iou"] == single["first_iou"] == pytest.approx(25)


def test_every_form_of_masks_gives_the_same():
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 4, (6, 7))
    info = [{"id": i, "category_id": 0, "iscrowd": int(i == 3)} for i in (1, 2, 3)]
    true = np.stack([ids == 1, ids == 2])  # the crowd is left out
    found = generator.random((5, 6, 7)) < 0.4
    forms = [
        found,
        torch.from_numpy(found),
        list(found),
        [encode_run_lengths(mask) for mask in found],
        found.reshape(5, 1, 6, 7),
    ]
    results = [OracleIoU().compute(predictions=[form], references=[true]) for form in forms]
    results.append(OracleIoU().compute(predictions=[found], references=[{"segmentation": ids, "segments_info": info}]))
    assert all(result == results[0] for result in results)
    mine = SegmentationResult(torch.from_numpy(ids), [{"id": 1, "label_id": 0}, {"id": 2, "label_id": 5}])
    assert OracleIoU().compute(predictions=[mine], references=[true])["oracle_iou"] == 100
    paired = [found[:2], list(found[:2]), [encode_run_lengths(mask) for mask in found[:2]], found[:2, None]]
    results = [OracleIoU("paired").compute(predictions=[form], references=[true]) for form in paired]
    assert all(result == results[0] for result in results)


def test_random_masks_against_a_loop_merged_from_two_processes():
    generator = np.random.default_rng(1)
    images = [
        (generator.random((n, 9, 11)) < 0.5, generator.random((m, 9, 11)) < 0.5) for n, m in ((3, 150), (5, 2), (1, 0))
    ]
    best = []
    for true, found in images:
        for mask in true:
            best.append(max([(mask & other).sum() / (mask | other).sum() for other in found], default=0.0))
    metrics = [OracleIoU(), OracleIoU()]
    for position, (true, found) in enumerate(images):
        metrics[position % 2].add(prediction=found, reference=true)
    metrics[0].merge_state(metrics[1].state_dict())
    result = metrics[0].compute()
    assert result["oracle_iou"] == pytest.approx(100 * np.mean(best), abs=1e-10) and result["num_masks"] == 9


def test_images_without_truth_and_empty_masks_add_nothing():
    metric = OracleIoU()
    metric.add(prediction=np.stack([row(1)]), reference=np.zeros((0, 1, 8), dtype=bool))
    metric.add(prediction=np.stack([row(1)]), reference=np.stack([row(), row(1)]))
    result = metric.compute()
    assert result["oracle_iou"] == 100 and result["num_masks"] == 1 and result["num_images"] == 2


@pytest.mark.parametrize(
    "matching, prediction, reference, message",
    [
        ("pool", np.zeros((1, 2, 2)), np.ones((1, 3, 2)), r"\(2, 2\).*\(3, 2\)"),
        ("pool", np.zeros((2, 2)), np.ones((1, 2, 2)), r"\(2, 2\); give masks"),
        ("paired", np.zeros((1, 2, 2)), np.ones((2, 2, 2)), "1 predictions for 2 true masks"),
    ],
)
def test_errors(matching, prediction, reference, message):
    with pytest.raises(ValueError, match=message):
        OracleIoU(matching).compute(predictions=[prediction], references=[reference])


def test_unknown_matching():
    with pytest.raises(ValueError, match="'best' is unknown"):
        OracleIoU("best")
