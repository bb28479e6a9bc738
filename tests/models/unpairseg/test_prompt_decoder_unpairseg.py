# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's prompt decoder: prompts are independent, points of one prompt make one mask."""

import pytest
import torch

from contract import assert_same, peaked
from hfseg import UnpairSegForMaskGeneration, UnpairSegModel
from unpairseg_models import example, tiny_config


def test_prompts_do_not_see_each_other():
    torch.manual_seed(0)
    model = peaked(UnpairSegForMaskGeneration(tiny_config())).eval()
    points = torch.rand(1, 4, 1, 2) * 60
    other = points.clone()
    other[:, 1:] = 5.0
    with torch.no_grad():
        first, second = (model(example(1), input_points=p).pred_masks for p in (points, other))
    assert_same(first[:, 0], second[:, 0], 1e-5, 1e-5)
    assert not torch.allclose(first[:, 1], second[:, 1])


@pytest.mark.parametrize("legacy", [False, True])
def test_several_points_give_one_mask(legacy):
    torch.manual_seed(0)
    model = peaked(UnpairSegForMaskGeneration(tiny_config(legacy_multipoint_readout=legacy))).eval()
    points, signs = torch.rand(2, 3, 2, 2) * 60, torch.tensor([1, 0]).expand(2, 3, 2)
    with torch.no_grad():
        outputs = model(example(), input_points=points, input_labels=signs)
        positive = model(example(), input_points=points)
    assert outputs.pred_masks.shape == (2, 3, 1, 16, 24)
    assert not torch.allclose(outputs.pred_masks, positive.pred_masks)  # the sign matters
    # The mask token is the fifth of five tokens; the released code reads the third.
    assert model.model.mask_decoder.readout_places(5, 2) == ((2, 0, 1) if legacy else (4, 0, 1))


def test_grid_avoids_padding_and_is_jittered_in_training():
    model = UnpairSegModel(tiny_config(points_per_side=4, train_points_per_side=4))
    sizes = torch.tensor([[30, 90], [1, 1]])
    points = model.eval().point_grid(2, (96, 96), sizes)
    assert points.shape == (2, 16, 1, 2) and torch.equal(points, model.point_grid(2, (96, 96), sizes))
    assert points[0, ..., 1].max() < 30 * 95 / 89 and points[0, ..., 0].max() > 80
    assert torch.isfinite(points).all() and not points[1].any()
    torch.manual_seed(0)
    jittered = model.train().point_grid(2, (96, 96), sizes)
    shift = (jittered - points)[0, :, 0] / (torch.tensor([89.0, 29.0]) * 95 / 89 / 4)  # in cells
    assert 0.3 < shift.abs().max() <= 0.5001 and jittered.min() >= 0


def test_points_and_boxes_train_different_parameters():
    model = peaked(UnpairSegForMaskGeneration(tiny_config())).train()
    masks = [torch.arange(64)[:, None].ge(32).int().expand(64, 96) + 1] * 2
    boxes = torch.tensor([[[0, 0, 96, 32], [0, 32, 96, 64], [0, 0, 96, 32.0]]] * 2)
    labels = torch.tensor([[0, 1, -1]] * 2)
    outputs = model(example(), input_boxes=boxes, box_labels=labels, mask_labels=masks)
    assert outputs.pred_masks.shape == (2, 3, 1, 16, 24)
    outputs.loss.backward()
    decoder = model.model.mask_decoder
    assert decoder.prompt_encoder.box_embedding.grad.any() and decoder.mask_embedders[0].layers[0].weight.grad.any()
    assert not decoder.prompt_encoder.point_embedding.grad.any()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
