# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Distillation of masks: zero where both agree, in whatever order, and equal to a slow reading of its definition."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.distillation import mask_distillation_loss
from hfseg.losses.mask_classification import LossWeights

WEIGHTS = LossWeights(ce=2.0, mask=5.0, dice=3.0, no_object=0.1)


def draw(levels=2, images=2, queries=4, classes=3, channels=5, size=(6, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(levels, images, queries, classes + 1, generator=generator),
        torch.randn(levels, images, queries, channels, generator=generator),
        torch.randn(images, channels, *size, generator=generator),
    )


def test_zero_with_no_gradient_where_both_agree_in_any_order():
    classes, embeddings, pixels = (tensor.requires_grad_() for tensor in draw(levels=1))
    order = torch.tensor([2, 0, 3, 1])
    masks = torch.einsum("bqc,bchw->bqhw", embeddings[-1], pixels)
    terms = mask_distillation_loss(classes, embeddings, pixels, classes[-1][:, order], masks[:, order], WEIGHTS, 64)
    assert set(terms) == {"loss_ce", "loss_mask", "loss_dice"}
    assert all(abs(float(term.detach())) < 1e-5 for term in terms.values())
    sum(terms.values()).backward()
    assert max(float(tensor.grad.abs().max()) for tensor in (classes, embeddings, pixels)) < 1e-5


def test_equals_its_definition_with_every_assignment_tried():
    classes, embeddings, pixels = draw(queries=3)
    theirs, their_embeddings, _ = draw(levels=1, queries=3, seed=1)
    masks = torch.einsum("bqc,bchw->bqhw", their_embeddings[0], pixels)
    terms = mask_distillation_loss(
        classes, embeddings, pixels, theirs[0], masks, WEIGHTS, 50, torch.Generator().manual_seed(3)
    )
    points = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(3))
    grid = (2 * points - 1)[:, None]
    target = F.grid_sample(masks, grid, padding_mode="border", align_corners=False)[:, :, 0]  # (B, R, S)
    for level, suffix in ((0, "_0"), (1, "")):
        own = torch.einsum("bqc,bchw->bqhw", embeddings[level], pixels)
        logits = F.grid_sample(own, grid, padding_mode="border", align_corners=False)[:, :, 0]
        sums = {"ce": 0.0, "mask": 0.0, "dice": 0.0}
        counted = objects = 0.0
        for image in range(2):
            truth = theirs[0, image].softmax(-1)
            sure = 1 - truth[:, -1]

            def parts(q, r, image=image, truth=truth, level=level, logits=logits):
                """Cross-entropies of a pair, and what of them the teacher's own uncertainty is."""
                t, s = target[image, r].sigmoid().double(), logits[image, q].sigmoid().double()
                ce = -(truth[r].double() * classes[level, image, q].double().log_softmax(-1)).sum()
                mask = -(t * s.log() + (1 - t) * (1 - s).log()).mean()
                dice = 1 - (2 * (s * t).sum() + 1) / ((s * s).sum() + (t * t).sum() + 1)
                own_ce = -(truth[r].double() * truth[r].double().log()).sum()
                own_mask = -(t * t.log() + (1 - t) * (1 - t).log()).mean()
                return ce, mask, dice, own_ce, own_mask

            def cost(order, sure=sure, parts=parts):
                pairs = [(parts(q, r), sure[r]) for q, r in enumerate(order)]
                return sum(float((2 * p[0] + 5 * p[1] + 3 * p[2]) * weight) for p, weight in pairs)

            best = min(itertools.permutations(range(3)), key=cost)
            for q, r in enumerate(best):
                ce, mask, dice, own_ce, own_mask = parts(q, r)
                weight = float(sure[r]) + 0.1 * (1 - float(sure[r]))
                sums["ce"] += weight * float(ce - own_ce)
                sums["mask"] += float(sure[r]) * float(mask - own_mask)
                sums["dice"] += float(sure[r]) * float(dice)
                counted, objects = counted + weight, objects + float(sure[r])
        expected = {
            "ce": 2 * sums["ce"] / counted,
            "mask": 5 * sums["mask"] / max(objects, 1),
            "dice": 3 * sums["dice"] / max(objects, 1),
        }
        for name, value in expected.items():
            assert math.isclose(float(terms[f"loss_{name}{suffix}"]), value, rel_tol=2e-4), (name, level)


def test_a_query_that_is_surely_nothing_teaches_no_mask():
    classes, embeddings, pixels = draw(levels=1)
    theirs = classes[-1].clone()
    theirs[:, 1, -1] = 60.0
    masks = torch.einsum("bqc,bchw->bqhw", embeddings[-1], pixels)
    changed = masks.clone()
    changed[:, 1] = -masks[:, 1]
    both = [
        mask_distillation_loss(
            classes, embeddings, pixels, theirs, shown, WEIGHTS, 64, torch.Generator().manual_seed(0)
        )
        for shown in (masks, changed)
    ]
    for terms in both:
        assert abs(float(terms["loss_mask"])) < 1e-5 and abs(float(terms["loss_dice"])) < 1e-5
        assert float(terms["loss_ce"]) > 0.01


def test_unequal_classes_are_refused_and_a_diverged_student_still_matched():
    classes, embeddings, pixels = draw()
    masks = torch.zeros(2, 4, 6, 7)
    with pytest.raises(ValueError, match=r"3 classes for 2 images, the teacher 2 for 2"):
        mask_distillation_loss(classes, embeddings, pixels, torch.zeros(2, 4, 3), masks, WEIGHTS, 8)
    classes[0, 0, 0] = float("nan")
    terms = mask_distillation_loss(classes, embeddings, pixels, torch.zeros(2, 4, 4), masks, WEIGHTS, 8)
    assert math.isnan(float(terms["loss_ce_0"])) and math.isfinite(float(terms["loss_ce"]))
