# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""RT-M2F: the common contract, and RT-DETR's own hybrid encoder with the same weights."""

from functools import partial

import pytest
import torch
from transformers import RTDetrConfig
from transformers.models.rt_detr.modeling_rt_detr import RTDetrHybridEncoder

from contract import OneCompiledProgram, kaiming, peaked, xavier
from hfseg import ProScaleForObjectDetection, ProScaleForUniversalSegmentation
from hfseg.models.proscale.hybrid_proscale import ProScaleHybridPixelDecoder
from models.proscale import test_modeling_proscale as masks
from proscale_models import tiny_config


class TestHybridEncoder(masks.TestProScaleForUniversalSegmentation):
    recorded = {
        **masks.TestProScaleForUniversalSegmentation.recorded,
        "encoder_hidden_states": 2,
        "encoder_attentions": 1,
    }

    def config(self):
        return tiny_config(encoder="hybrid")

    def dynamic_size_config(self):
        return tiny_config(encoder="hybrid", decoder_layers=1, backbone_config=masks.RESNET)

    test_compiles_once_for_all_sizes = OneCompiledProgram.test_compiles_once_for_all_sizes

    def shapes(self, batch_size, height, width):
        # Twice the finest encoded map, which is at stride 8.
        quarter = (2 * -(-height // 8), 2 * -(-width // 8))
        return {"class_queries_logits": (batch_size, 10, 6), "masks_queries_logits": (batch_size, 10, *quarter)}

    def fresh(self):
        shared = super().fresh()
        gone = ("token_recalibration", "sampling_offsets", "attention_weights", "light_pixel", "lateral")
        # `pixel_decoder` alone has no learned levels; the mask decoder has.
        kept = {name: value for name, value in shared.items() if not any(part in name for part in gone)}
        return {
            "*.conv.weight": partial(kaiming, gain=3**-0.5),  # PyTorch's default, as in RT-DETR
            "*mask_projection.weight": xavier,
            "*mask_projection.bias": 0.0,
            **kept,
        }


def test_fusion_is_rt_detrs():
    theirs_config = RTDetrConfig(
        encoder_hidden_dim=32,
        encoder_in_channels=[32, 32, 32],
        encoder_ffn_dim=48,
        encoder_attention_heads=4,
        num_attention_heads=4,
        dropout=0.0,
        attention_dropout=0.0,
        eval_size=None,
    )
    torch.manual_seed(0)
    theirs = peaked(RTDetrHybridEncoder(theirs_config)).eval()
    ours = ProScaleHybridPixelDecoder(tiny_config(encoder="hybrid"), [8, 16, 24, 32]).eval()
    pairs = (
        ("laterals.", "lateral_convs."),
        ("top_down.", "fpn_blocks."),
        ("downsamplings.", "downsample_convs."),
        ("bottom_up.", "pan_blocks."),
        ("intra_scale.self_attn.out_proj", "intra_scale.self_attn.o_proj"),
        ("intra_scale.fc", "intra_scale.mlp.fc"),
        ("intra_scale.", "aifi.0.layers.0."),
    )
    source = theirs.state_dict()
    with torch.no_grad():
        for name, tensor in ours.state_dict().items():
            if name.startswith(("input_projections", "mask_projection")):
                continue
            for mine, other in pairs:
                name = name.replace(mine, other)
            tensor.copy_(source[name])
        for projection in ours.input_projections:  # the maps as they are: compared behind it
            projection.forward = lambda features: features
        generator = torch.Generator().manual_seed(1)
        maps = [torch.randn(2, 32, *size, generator=generator) for size in ((16, 24), (8, 12), (4, 6))]
        expected = theirs(inputs_embeds=[level.clone() for level in maps]).last_hidden_state
        actual = ours((None, *maps))
    for mine, other in zip(reversed(actual.multi_scale_features), expected):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())
    assert tuple(actual.pixel_embedding.shape) == (2, 24, 32, 48)


def test_masks_are_those_of_stride_8_resized():
    """The product with a mask embedding commutes with the resize."""
    torch.manual_seed(0)
    model = peaked(ProScaleForUniversalSegmentation(tiny_config(encoder="hybrid"))).eval()
    with torch.no_grad():
        outputs = model.model(torch.randn(1, 3, 64, 96))
        pixels = model.model.pixel_decoder.mask_projection(outputs.multi_scale_features[-1])
        coarse = torch.einsum("bqc,bchw->bqhw", outputs.mask_embeddings[-1], pixels)
        resized = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(outputs.masks_queries_logits, resized, rtol=1e-4, atol=1e-3)


def test_options_of_masks_work_and_boxes_are_refused():
    torch.manual_seed(0)
    fields = {
        "mask_positions": True,
        "query_selection": "pixels",
        "num_learned_queries": 3,
        "backbone_config": masks.RESNET,
    }
    model = ProScaleForUniversalSegmentation(tiny_config(encoder="hybrid", **fields)).eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, 64, 96))
    assert outputs.masks_queries_logits.shape[-2:] == (16, 24)
    with pytest.raises(ValueError, match=r"hybrid.*progressive, full, lite"):
        ProScaleForObjectDetection(tiny_config(encoder="hybrid", feature_size=64))
    with pytest.raises(Exception, match="recalibrates"):
        tiny_config(encoder="hybrid", trc="linear")


def test_warm_start_from_mask2former_keeps_what_fits():
    theirs = masks.mask2former()
    ours = ProScaleForUniversalSegmentation.from_mask2former(theirs, encoder="hybrid")
    projection = theirs.model.pixel_level_module.decoder.input_projections[0][0].weight
    assert torch.equal(ours.model.pixel_decoder.input_projections[0][0].weight, projection)
