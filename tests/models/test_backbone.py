# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Swin that gathers windows by index against transformers' own, bit by bit; one exported program for all sizes."""

import copy

import pytest
import torch
from transformers import AutoBackbone, SwinConfig

from contract import assert_same, peaked
from hfseg.models import backbone as module
from hfseg.models.backbone import build_backbone

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SIZES = [(64, 96), (33, 47), (224, 224), (130, 301), (5, 3)]


def swin(**fields) -> SwinConfig:
    """Configures a tiny Swin whose blocks come in pairs: straight and shifted windows."""
    sizes = {
        "embed_dim": 16,
        "depths": [2, 2, 2, 2],
        "num_heads": [1, 2, 4, 8],
        "window_size": 7,
        "drop_path_rate": 0.3,
    }
    return SwinConfig(**{**sizes, "out_features": STAGES, **fields})


def pair(**fields) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Builds ours and transformers' with the same weights."""
    torch.manual_seed(0)
    ours = peaked(build_backbone(swin(**fields))).eval()
    theirs = AutoBackbone.from_config(swin(**fields)).eval()
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert set(missing) == {"swin.layernorm.weight", "swin.layernorm.bias"} and not unexpected
    return ours, theirs


@pytest.mark.parametrize("fields", [{}, {"window_size": 4, "attn_implementation": "eager"}, {"patch_size": 2}])
def test_inference_is_bit_equal_to_transformers(fields, monkeypatch):
    calls = []
    table = module.window_tokens
    monkeypatch.setattr(module, "window_tokens", lambda *arguments: calls.append(arguments) or table(*arguments))
    ours, theirs = pair(**fields)
    for size in SIZES:
        pixel_values = torch.randn(2, 3, *size)
        with torch.no_grad():
            assert_same(ours(pixel_values).feature_maps, theirs(pixel_values).feature_maps)
    assert len(calls) == 8 * len(SIZES)  # the fast path was taken


def test_half_precision_is_bit_equal_to_transformers():
    ours, theirs = (model.to(torch.bfloat16) for model in pair())
    pixel_values = torch.randn(1, 3, 70, 90, dtype=torch.bfloat16)
    with torch.no_grad():
        assert_same(ours(pixel_values).feature_maps, theirs(pixel_values).feature_maps)


def test_gradients_are_those_of_transformers():
    ours, theirs = pair()
    pixel_values = torch.randn(2, 3, 33, 47)
    for model in (ours, theirs):
        model.train()
        torch.manual_seed(1)
        sum(features.square().mean() for features in model(pixel_values).feature_maps).backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter.grad, expected[name].grad), name


def test_copies_keep_the_class():
    ours, _ = pair()
    pixel_values = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert_same(copy.deepcopy(ours)(pixel_values).feature_maps, ours(pixel_values).feature_maps)


def test_one_exported_program_serves_every_size():
    ours, theirs = pair(window_size=4, depths=[2, 2], num_heads=[1, 2], out_features=STAGES[:2])
    dynamic = {"pixel_values": dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)}
    # At 32x32 the last stage is a single window: its number must not become a constant.
    example = {"pixel_values": torch.randn(2, 3, 32, 32)}
    program = torch.export.export(ours, (), example, dynamic_shapes=dynamic).module()
    for batch_size, size in ((1, (160, 224)), (3, (37, 45)), (2, (97, 300))):
        pixel_values = torch.randn(batch_size, 3, *size)
        with torch.no_grad():
            assert_same(program(pixel_values=pixel_values).feature_maps, theirs(pixel_values).feature_maps, 1e-5, 1e-5)
