# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Fresh weights: bounds of the published rules, by closed form."""

import math

import pytest
import torch
from torch import nn

from hfseg.layers.deformable_attention import MultiScaleDeformableAttention
from hfseg.layers.initialization import (
    init_convolution,
    init_deformable_attention,
    init_feedforward,
    init_linear,
    init_mask_classification,
    init_multi_head_attention,
    init_projection,
)
from hfseg.layers.mask_decoder import MultiHeadAttention
from hfseg.layers.query_selection import PixelQuerySelection


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def check_uniform(values, bound):
    """Uniform in (-bound, bound): its largest value, and its deviation bound / sqrt(3)."""
    assert 0.98 * bound < values.abs().max() <= bound * (1 + 1e-6)
    assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_linear_layers_are_pytorchs():
    layer = nn.Linear(96, 200)
    init_linear(layer)
    check_uniform(layer.weight, 96**-0.5)  # sqrt(6 / ((1 + 5) * inputs))
    assert layer.bias.abs().max() <= 96**-0.5 and layer.bias.std().item() == pytest.approx((3 * 96) ** -0.5, rel=0.15)


def test_feedforward_is_glorot_with_pytorchs_biases():
    layers = nn.Linear(80, 120), nn.Linear(120, 80)
    init_feedforward(*layers)
    for layer in layers:
        check_uniform(layer.weight, math.sqrt(6 / 200))
        assert 0.8 * layer.in_features**-0.5 < layer.bias.abs().max() <= layer.in_features**-0.5


def test_convolutions_are_detectron2s_or_he_et_als():
    first, second = nn.Conv2d(16, 32, 3), nn.Conv2d(16, 32, 3)
    norm = nn.BatchNorm2d(4)
    nn.init.constant_(norm.weight, 3.0)
    init_convolution(first, norm)
    check_uniform(first.weight, math.sqrt(3 / (16 * 9)))  # Kaiming uniform, slope 1: sqrt(6 / ((1 + 1) * inputs))
    init_convolution(second, by_outputs=True)
    assert second.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.05)
    assert not first.bias.any() and not second.bias.any() and (norm.weight == 3).all()


def test_projections_and_attention():
    projection, attention = nn.Conv2d(40, 60, 1), MultiHeadAttention(64, 4)
    init_projection(projection)
    check_uniform(projection.weight, math.sqrt(6 / 100))
    init_multi_head_attention(attention)
    joint = math.sqrt(6 / (64 + 3 * 64))  # of the (3C, C) matrix of torch.nn.MultiheadAttention
    for name in ("q_proj", "k_proj", "v_proj"):
        check_uniform(getattr(attention, name).weight, joint)
    check_uniform(attention.out_proj.weight, math.sqrt(6 / 128))
    assert not projection.bias.any() and not attention.out_proj.bias.any()


def test_sampling_points_of_a_fresh_attention():
    """Head k looks in direction 2 pi k / heads, its point i at distance i + 1 in the maximum norm, on every level."""
    module = MultiScaleDeformableAttention(32, 8, 3, 4)
    init_deformable_attention(module)
    offsets = module.sampling_offsets.bias.view(8, 3, 4, 2)
    for head in range(8):
        for level in range(3):
            for point in range(4):
                offset = offsets[head, level, point]
                assert offset.abs().max().item() == pytest.approx(point + 1, abs=1e-4)
                angle = math.atan2(offset[1], offset[0]) % (2 * math.pi)
                assert min(abs(angle - head * math.pi / 4), 2 * math.pi - abs(angle - head * math.pi / 4)) < 1e-4
    assert not module.sampling_offsets.weight.any() and not module.attention_weights.weight.any()


def test_a_fresh_heat_map_is_low():
    """One cell in twenty is a center to begin with."""
    module = PixelQuerySelection(32, num_queries=3, max_queries=3, threshold=0.05)
    init_mask_classification(module)
    assert module.heat.bias.sigmoid().item() == pytest.approx(1 / (1 + math.e**3), rel=1e-5)
    assert module.heat.weight.std().item() == pytest.approx(0.01, rel=0.35)
