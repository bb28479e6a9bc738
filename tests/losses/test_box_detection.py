# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses of boxes against torchvision and transformers' DETR losses, matching against every assignment."""

from itertools import permutations

import pytest
import torch
from torchvision import ops

from hfseg.losses.box_detection import (
    BoxWeights,
    box_losses,
    box_normalizer,
    corners,
    count_boxes,
    focal_terms,
    generalized_iou,
    match_boxes,
    noised_pairs,
)

WEIGHTS = BoxWeights(1.0, 5.0, 2.0, 2.0)


def random_boxes(generator, *shape):
    center = torch.rand(*shape, 2, generator=generator) * 0.6 + 0.2
    return torch.cat((center, torch.rand(*shape, 2, generator=generator) * 0.3 + 0.05), dim=-1)


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    logits, boxes = torch.randn(2, 2, 5, 3, generator=generator), random_boxes(generator, 2, 2, 5)
    labels = [
        {"class_labels": torch.tensor([2, 0, 1]), "boxes": random_boxes(generator, 3)},
        {"class_labels": torch.tensor([1]), "boxes": random_boxes(generator, 1)},
    ]
    return logits, boxes, labels


def test_generalized_iou_is_torchvisions():
    generator = torch.Generator().manual_seed(1)
    first, second = random_boxes(generator, 20), random_boxes(generator, 30)
    expected = ops.generalized_box_iou(corners(first), corners(second))
    torch.testing.assert_close(generalized_iou(first[:, None], second[None]), expected)
    assert (expected < 0).any() and (expected > 0.3).any()
    assert torch.isfinite(generalized_iou(torch.zeros(1, 4), torch.zeros(1, 4))).all()


def test_focal_loss_is_torchvisions():
    logits = torch.linspace(-5, 5, 11)
    present, absent = focal_terms(logits)
    for terms, target in ((present, 1.0), (absent, 0.0)):
        expected = ops.sigmoid_focal_loss(logits, torch.full_like(logits, target), alpha=0.25, gamma=2)
        torch.testing.assert_close(terms, expected)


def test_matching_is_the_cheapest_assignment(scene):
    logits, boxes, labels = scene
    pairs = match_boxes(logits, boxes, labels, WEIGHTS)
    assert pairs.counts == [3, 1] and pairs.images.tolist() == [0, 0, 0, 1]
    for level in range(2):
        for image, (first, last) in enumerate(((0, 3), (3, 4))):
            present, absent = focal_terms(logits[level, image])
            cost = 2 * (present - absent)[:, labels[image]["class_labels"]]
            cost = cost + 5 * torch.cdist(boxes[level, image], labels[image]["boxes"], p=1)
            overlap = ops.generalized_box_iou(corners(boxes[level, image]), corners(labels[image]["boxes"]))
            cost = cost - 2 * overlap
            best = min(
                sum(cost[query, target].item() for target, query in enumerate(queries))
                for queries in permutations(range(5), cost.shape[1])
            )
            chosen = cost[pairs.queries[level, first:last], pairs.targets[level, first:last]].sum().item()
            assert chosen == pytest.approx(best, abs=1e-4)


def test_losses_are_those_of_deformable_detr(scene):
    from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher, DeformableDetrImageLoss

    logits, boxes, labels = scene
    losses = box_losses(logits, boxes, labels, match_boxes(logits, boxes, labels, WEIGHTS), torch.tensor(4.0))
    matcher = DeformableDetrHungarianMatcher(class_cost=2, bbox_cost=5, giou_cost=2)
    criterion = DeformableDetrImageLoss(matcher, 3, 0.25, ["labels", "boxes"])
    for level in range(2):
        expected = criterion({"logits": logits[level], "pred_boxes": boxes[level]}, labels)
        for ours, theirs in (("ce", "loss_ce"), ("box", "loss_bbox"), ("giou", "loss_giou")):
            torch.testing.assert_close(losses[ours][level], expected[theirs])


def test_images_without_boxes(scene):
    logits, boxes, _ = scene
    nothing = {"class_labels": torch.zeros(0, dtype=torch.int64), "boxes": torch.zeros(0, 4)}
    labels = [nothing, nothing]
    pairs = match_boxes(logits, boxes, labels, WEIGHTS)
    losses = box_losses(logits, boxes, labels, pairs, box_normalizer(labels, logits.device))
    assert losses["box"].tolist() == losses["giou"].tolist() == [0.0, 0.0] and (losses["ce"] > 0).all()
    assert count_boxes(labels).item() == 0 and box_normalizer(labels, logits.device).item() == 1


def test_what_is_not_a_number_is_matched_last(scene):
    logits, boxes, labels = scene
    boxes = boxes.clone()
    boxes[:, 0, 0] = torch.nan
    assert 0 not in match_boxes(logits, boxes, labels, WEIGHTS).queries[:, :3]


def test_noised_queries_know_their_boxes():
    positives = [torch.tensor([0, 1, 4, 5]), torch.tensor([0, 4])]
    pairs = noised_pairs(positives, [2, 1], 2, 3)
    assert pairs.images.tolist() == [0, 0, 0, 0, 1, 1]
    assert pairs.queries.tolist() == [[0, 1, 4, 5, 0, 4]] * 3
    assert pairs.targets.tolist() == [[0, 1, 0, 1, 0, 0]] * 3
