# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Which backbones are plain ViTs, their patch embedding, padding, depths and weight decay."""

import pytest
import torch
from transformers import CONFIG_MAPPING, TimmBackboneConfig

from hfseg.models.backbone import build_backbone
from hfseg.models.plain_vit import (
    freeze_mask_tokens,
    layer_depth,
    num_blocks,
    pad_to_patches,
    parameters_without_decay,
    patch_embedding_name,
    plain_patch_size,
    plain_stride,
)

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64}


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("dinov3_vit", {}, 16),
        ("dinov2", {}, 14),
        ("dinov2_with_registers", {"patch_size": 14}, 14),
        ("beit", {"patch_size": 32}, 32),
        ("beit", {"add_fpn": True, "out_indices": [1, 2, 3, 4]}, None),
        ("vitdet", {}, 16),
        ("vitpose_backbone", {"patch_size": 16}, None),
        ("swin", {}, None),
        ("resnet", {}, None),
        ("convnext", {}, None),
        ("hiera", {}, None),
        ("timm_backbone", {"backbone": "vit_tiny_patch16_224"}, None),
    ],
)
def test_plain_configurations(kind, fields, expected):
    assert plain_patch_size(CONFIG_MAPPING[kind](**fields)) == expected
    assert plain_patch_size(None) is None


@pytest.mark.parametrize(
    ("name", "indices", "stride"),
    [
        ("vit_tiny_patch16_224", [3, 11], 16),
        ("eva02_tiny_patch14_224", [11], 14),
        ("resnet18", [4], None),
        ("swin_tiny_patch4_window7_224", [3], None),
        ("convnext_tiny", [3], None),
    ],
)
def test_plain_networks_of_timm(name, indices, stride):
    pytest.importorskip("timm")
    with torch.device("meta"):
        backbone = build_backbone(TimmBackboneConfig(backbone=name, out_indices=indices))
    assert plain_stride(backbone) == stride


@pytest.mark.parametrize("kind", ["dinov3_vit", "dinov2", "beit"])
def test_patch_embedding_blocks_and_tokens(kind):
    backbone = build_backbone(CONFIG_MAPPING[kind](**SIZES))
    assert plain_stride(backbone) is None  # only timm's say it themselves
    embedding = backbone.get_submodule(patch_embedding_name(backbone))
    assert embedding.kernel_size == embedding.stride and embedding.in_channels == 3
    assert num_blocks(backbone) == 3
    freeze_mask_tokens(backbone)
    frozen = [name for name, parameter in backbone.named_parameters() if not parameter.requires_grad]
    assert frozen == [name for name, _ in backbone.named_parameters() if name.endswith("mask_token")]


def test_networks_without_a_patch_embedding():
    backbone = build_backbone(CONFIG_MAPPING["resnet"](embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1]))
    assert num_blocks(torch.nn.Linear(2, 2)) == 0
    with pytest.raises(ValueError, match=r"0 convolutions of 3-channel pixels.*dinov3_vit"):
        patch_embedding_name(backbone)


def test_padding():
    x = torch.rand(2, 3, 17, 32)
    padded = pad_to_patches(x, 16)
    assert padded.shape == (2, 3, 32, 32)
    assert torch.equal(padded[:, :, :17], x) and not padded[:, :, 17:].any()
    with pytest.raises(ValueError, match=r"15 x 40 pixels .* smaller than one patch of 16 x 16: enlarge"):
        pad_to_patches(torch.rand(1, 3, 15, 40), 16)


def test_depths():
    depths = {
        "model.backbone.embeddings.cls_token": 0,
        "model.backbone.encoder.layer.0.norm1.weight": 1,
        "model.backbone._backbone.model.blocks.11.mlp.fc1.weight": 12,
        "model.backbone.norm.weight": 13,
        "model.pyramid.resamplings.0.0.weight": 13,
        "class_predictor.weight": 13,
    }
    assert {name: layer_depth(name, 13) for name in depths} == depths


def test_weights_that_must_not_shrink():
    model = torch.nn.Module()
    model.backbone = build_backbone(CONFIG_MAPPING["dinov3_vit"](**SIZES, num_register_tokens=2))
    model.head = torch.nn.Linear(2, 2)
    names = parameters_without_decay(model, patch_embedding_name(model.backbone))
    assert {"backbone.embeddings.patch_embeddings.weight", "backbone.embeddings.register_tokens"} <= names
    rest = [name for name, _ in model.backbone.named_parameters(prefix="backbone") if name not in names]
    rest = [name for name in rest if not name.endswith(("cls_token", "mask_token"))]  # the optimizer knows these
    assert rest and all("layer." in name and name.endswith(".weight") for name in rest)
    assert not any(name.startswith("head.") for name in names)
