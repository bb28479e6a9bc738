# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""UniSegFormer's encoder: equality with Swin V2, small images, the exchange between levels, as a backbone."""

from typing import Any

import pytest
import torch
from transformers import AutoBackbone, Swinv2Config

from contract import assert_same
from hfseg import ProScaleConfig, ProScaleModel, UniSegFormerBackbone, UniSegFormerForUniversalSegmentation
from hfseg.models.unisegformer.encoder_unisegformer import pretraining_windows
from unisegformer_models import ENCODER, strides, swinv2, tiny_config

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def with_swinv2(source: Any, attention: str = "sdpa", **fields: Any) -> UniSegFormerBackbone:
    """Builds our encoder with the weights of a Swin V2."""
    config = tiny_config(encoder_config={**ENCODER, "depths": [2, 2, 2, 2]}, **fields)
    config._attn_implementation = attention
    backbone = UniSegFormerBackbone(config).eval()
    fresh = backbone.load_swinv2(source)
    assert fresh and all(name.startswith(("clx_", "norms")) for name in fresh)
    return backbone


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (90, 141)], ids=str)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_fresh_exchange_leaves_swinv2_as_it_is(attention, size):
    source = swinv2(out_features=STAGES)
    backbone, pixels = with_swinv2(source, attention), torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = source(pixels).feature_maps
        gathered = backbone.encode(pixels)[1]
    copied = backbone.encode(pixels)[1]  # with gradients, windows are cut in another way
    for ours, trained, theirs in zip(gathered, copied, expected):
        assert_same(ours.permute(0, 3, 1, 2), theirs, atol=1e-5)
        assert_same(trained.permute(0, 3, 1, 2), theirs, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 4), (8, 20), (16, 16)], ids=str)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_images_smaller_than_a_window(attention, size):
    """Windows reach beyond the image: what they hold there is Swin V2's padding, and the exchange sees none of it."""
    source = swinv2(out_features=STAGES)
    pixels = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected = source(pixels).feature_maps
        backbone = with_swinv2(source, attention)
        for ours, theirs in zip(backbone.encode(pixels)[1], expected):
            assert_same(ours.permute(0, 3, 1, 2), theirs, atol=1e-5)
        for block in (*backbone.clx_up, *backbone.clx_down):
            block.gamma.fill_(0.5)
        maps = backbone(pixels).feature_maps
    assert [tuple(level.shape[-2:]) for level in maps] == strides(*size)
    assert all(torch.isfinite(level).all() for level in maps)


def test_fresh_exchange_is_the_identity_bit_by_bit():
    source, pixels = swinv2(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        with_clx = with_swinv2(source).encode(pixels)[1]
        without = with_swinv2(source, clx_enabled=False).encode(pixels)[1]
    assert_same(with_clx, without)


def test_every_gain_learns_and_acts():
    backbone = with_swinv2(swinv2())
    before = [level.detach() for level in backbone.encode(torch.ones(1, 3, 64, 64).cumsum(-1) / 64)[1]]
    sum(level.square().mean() for level in backbone.encode(torch.randn(1, 3, 64, 64))[1]).backward()
    gains = [block.gamma for block in (*backbone.clx_up, *backbone.clx_down)]
    assert len(gains) == 6 and all(gain.grad.abs().max() > 0 for gain in gains)
    with torch.no_grad():
        for gain in gains:
            gain.fill_(0.5)
        after = backbone.encode(torch.ones(1, 3, 64, 64).cumsum(-1) / 64)[1]
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(after, before))


def test_weights_of_one_size_work_at_another():
    """A checkpoint of 64 pixels in a model for 128: windows were clipped in the last stage, biases keep their scale."""
    small = Swinv2Config(**{**ENCODER, "depths": [2, 2, 2, 2]})
    assert pretraining_windows(small) == [4, 4, 4, 2]
    large = tiny_config(
        encoder_config={
            **ENCODER,
            "depths": [2, 2, 2, 2],
            "image_size": 128,
            "pretrained_window_sizes": pretraining_windows(small),
        }
    )
    backbone = UniSegFormerBackbone(large).eval()
    backbone.load_swinv2(swinv2())
    windows = [stage.blocks[1].window_size for stage in backbone.encoder.layers]
    assert windows == [4, 4, 4, 4] and [stage.blocks[1].shift_size for stage in backbone.encoder.layers] == [2, 2, 2, 0]
    with torch.no_grad():
        assert torch.isfinite(backbone(torch.randn(1, 3, 128, 128)).feature_maps[3]).all()


def test_is_a_backbone_for_other_heads():
    backbone = AutoBackbone.from_config(tiny_config(out_features=["stage2", "stage4"]))
    assert type(backbone) is UniSegFormerBackbone and backbone.channels == [32, 128]
    maps = backbone(torch.randn(1, 3, 64, 96)).feature_maps
    assert [tuple(one.shape[1:]) for one in maps] == [(32, 8, 12), (128, 2, 3)]
    config = ProScaleConfig(
        backbone_config=tiny_config(),
        encoder_stage_layers=(1, 1, 1),
        feature_size=32,
        mask_feature_size=32,
        hidden_size=32,
        num_attention_heads=4,
        decoder_layers=1,
        dim_feedforward=32,
        encoder_feedforward_dim=32,
        num_queries=5,
    )
    with torch.no_grad():
        outputs = ProScaleModel(config).eval()(torch.randn(1, 3, 64, 64))
    assert outputs.masks_queries_logits.shape == (1, 5, 16, 16)


def test_backbone_loads_from_the_folder_of_a_model(tmp_path):
    model = UniSegFormerForUniversalSegmentation(tiny_config())
    model.save_pretrained(tmp_path)
    backbone, report = UniSegFormerBackbone.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert_same(dict(backbone.named_parameters()), dict(model.model.encoder.named_parameters()))
