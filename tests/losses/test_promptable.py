# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses of promptable segmentation against plain loops; the authors' numbers are compared with the model's tests."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from hfseg.losses.promptable import (
    PromptableLossWeights,
    binary_targets,
    match_points,
    pair_boxes,
    promptable_loss,
)

WEIGHTS = PromptableLossWeights(2.0, 1.0, 5.0)


def scene():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(1, 3, 4, 8, generator=generator)
    pixels = torch.randn(1, 8, 16, 16, generator=generator)
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[0, :40, :40], masks[1, 20:, 20:], masks[2, :10] = True, True, True
    points = torch.tensor([[[30.0, 30.0], [5.0, 5.0], [5.0, 60.0]]])
    return embeddings, pixels, masks, points


def test_matching_is_that_of_a_plain_loop():
    embeddings, pixels, masks, points = scene()
    match = match_points(embeddings, pixels, [masks], points, WEIGHTS)
    half = F.avg_pool2d(pixels, 2)  # what bilinear halving is
    expected = []
    for q in range(3):
        logits = torch.einsum("mc,chw->mhw", embeddings[0, q], half[0]).flatten(1).double()
        cost, dice = np.zeros((4, 3)), np.zeros((4, 3))
        for m in range(4):
            for t in range(3):
                truth = masks[t, ::8, ::8].flatten().double()
                p = logits[m].sigmoid()
                dice[m, t] = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
                cost[m, t] = 2 * F.binary_cross_entropy_with_logits(logits[m], truth) + dice[m, t]
                if not masks[t, int(points[0, q, 1]), int(points[0, q, 0])]:
                    cost[m, t] += 1e6
        for m, t in zip(*linear_sum_assignment(cost)):
            if cost[m, t] < 1e6:
                expected.append((q * 4 + m, t, 1 - dice[m, t]))
    assert match.pairs.queries[0].tolist() == [entry[0] for entry in expected]
    assert match.pairs.targets[0].tolist() == [entry[1] for entry in expected]
    np.testing.assert_allclose(match.quality, [entry[2] for entry in expected], atol=1e-5)
    # Two masks contain the first point, two the second, none the third.
    assert [q // 4 for q in match.pairs.queries[0].tolist()] == [0, 0, 1, 1]


def test_iou_target_is_the_binary_iou():
    embeddings, pixels, masks, points = scene()
    match = match_points(embeddings, pixels, [masks], points, WEIGHTS, "iou")
    half = F.avg_pool2d(pixels, 2)
    for query, target, quality in zip(match.pairs.queries[0], match.pairs.targets[0], match.quality):
        inside = torch.einsum("c,chw->hw", embeddings[0].flatten(0, 1)[query], half[0]) >= 0
        truth = masks[target, ::8, ::8]
        assert quality == pytest.approx(((inside & truth).sum() / (inside | truth).sum()).item())


def test_perfect_masks_cost_nothing():
    _, _, masks, points = scene()
    pixels = torch.zeros(1, 8, 16, 16)
    for index in range(3):  # channel i is mask i, far from zero
        pixels[0, index] = masks[index, ::4, ::4] * 60.0 - 30.0
    embeddings = torch.zeros(2, 1, 3, 4, 8)
    for mask in range(3):
        embeddings[:, :, :, mask, mask] = 1.0
    embeddings[:, :, :, 3, 3] = 1.0
    options = dict(mask_labels=[masks], padded_size=(64, 64), weights=WEIGHTS, num_points=400)
    good = promptable_loss(embeddings, torch.ones(2, 1, 3, 4), pixels, points=points, box_labels=None, **options)
    assert set(good) == {f"loss_{name}{level}" for name in ("mask", "dice", "iou") for level in ("", "_0")}
    bad = promptable_loss(-embeddings, torch.zeros(2, 1, 3, 4), pixels, points=points, box_labels=None, **options)
    assert sum(good.values()) < 0.25 * sum(bad.values())
    boxes = torch.tensor([[0, 1, 2]])
    own = embeddings[:, :, :, :3].diagonal(dim1=2, dim2=3).permute(0, 1, 3, 2).unsqueeze(3)  # mask i of prompt i
    framed = promptable_loss(own, torch.ones(2, 1, 3, 1), pixels, points=None, box_labels=boxes, **options)
    assert framed["loss_iou"] < 0.01 and sum(framed.values()) < 0.25 * sum(bad.values())


def test_boxes_without_a_mask_do_not_count():
    masks = [torch.ones(2, 8, 8, dtype=torch.bool), torch.ones(0, 8, 8, dtype=torch.bool)]
    pairs = pair_boxes(torch.tensor([[1, -1, 0], [-1, -1, -1]]), masks).pairs
    assert pairs.images.tolist() == [0, 0] and pairs.queries.tolist() == [[0, 2]] and pairs.targets.tolist() == [[1, 0]]
    assert pairs.counts == [2, 0]


def test_id_maps_and_masks_are_the_same_targets():
    ids = torch.tensor([[0, 1], [2, 2]])
    (from_map,), (from_masks,) = (binary_targets([t], (3, 2)) for t in (ids, torch.stack([ids == 1, ids == 2])))
    assert torch.equal(from_map, from_masks) and from_map.shape == (2, 3, 2) and not from_map[:, 2].any()


@pytest.mark.parametrize("target", ["dice", "iou"])
def test_scores_of_masks_without_a_partner_learn_on_request(target):
    """Three points of four masks: two, two and no true masks around them, so two, two and none are left over."""
    embeddings, pixels, masks, points = scene()
    match = match_points(embeddings, pixels, [masks], points, WEIGHTS, target, "all")
    plain = match_points(embeddings, pixels, [masks], points, WEIGHTS, target)
    assert plain.others is None and torch.equal(plain.quality, match.quality)
    others = match.others
    taken = set(match.pairs.queries[0].tolist())
    assert others.queries.tolist() == [q for q in range(8) if q not in taken] and not others.images.any()
    half = F.avg_pool2d(pixels, 2)[0]
    for query, quality in zip(others.queries.tolist(), others.quality.tolist()):
        logits = torch.einsum("c,chw->hw", embeddings[0].flatten(0, 1)[query], half)
        x, y = points[0, query // 4].long().tolist()
        found = {}
        for truth in masks[masks[:, y, x]][:, ::8, ::8].float():
            p = logits.sigmoid()
            dice = (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
            inside, wanted = logits >= 0, truth > 0.5
            iou = (inside & wanted).sum() / (inside | wanted).sum()
            cost = 2 * F.binary_cross_entropy_with_logits(logits, truth) + 1 - dice
            found[cost.item()] = (dice if target == "dice" else iou).item()
        assert quality == pytest.approx(found[min(found)], abs=1e-5)


def test_only_with_all_targets_an_unmatched_score_has_a_gradient():
    embeddings, pixels, masks, points = scene()
    options = dict(mask_labels=[masks], padded_size=(64, 64), weights=WEIGHTS, num_points=50, box_labels=None)
    taken = match_points(embeddings, pixels, [masks], points, WEIGHTS).pairs.queries[0]
    moved = {}
    for targets in ("matched", "all"):
        scores = torch.full((1, 1, 3, 4), 0.5, requires_grad=True)
        losses = promptable_loss(embeddings[None], scores, pixels, points=points, score_targets=targets, **options)
        losses["loss_iou"].backward()
        moved[targets] = scores.grad.flatten().nonzero().flatten().tolist()
    assert moved == {"matched": taken.tolist(), "all": list(range(8))}
    with pytest.raises(ValueError, match="score_targets='none' is not known"):
        promptable_loss(embeddings[None], scores, pixels, points=points, score_targets="none", **options)


def test_with_all_targets_the_loss_of_scores_is_their_mean():
    """Not a sum: more masks per point do not weigh more beside the losses of masks."""
    embeddings, pixels, masks, points = scene()
    match = match_points(embeddings, pixels, [masks], points, WEIGHTS, "dice", "all")
    scores = torch.linspace(0.1, 0.9, 12).view(1, 1, 3, 4)
    options = dict(mask_labels=[masks], padded_size=(64, 64), weights=WEIGHTS, num_points=50, box_labels=None)
    losses = promptable_loss(embeddings[None], scores, pixels, points=points, score_targets="all", **options)
    queries = torch.cat([match.pairs.queries[0], match.others.queries])
    wanted = torch.cat([match.quality, match.others.quality])
    expected = WEIGHTS.iou * F.smooth_l1_loss(scores.flatten()[queries], wanted)
    assert losses["loss_iou"].item() == pytest.approx(expected.item(), rel=1e-5)
