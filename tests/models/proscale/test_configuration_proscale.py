# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The configuration says no to what cannot be built, and derives what it leaves open."""

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from hfseg import ProScaleConfig

BEIT = {"model_type": "beit"}


def test_defaults_are_the_published_coco_model():
    config = ProScaleConfig()
    assert tuple(config.encoder_stage_layers) == (3, 3, 3)
    assert (config.trc, config.trc_temperature, config.trc_layout, config.lpe) == ("linear", 0.1, "raw", "max")
    assert config.backbone_config.model_type == "swin"
    assert config.backbone_config.depths == [2, 2, 6, 2]
    assert config.backbone_config.out_features == ["stage1", "stage2", "stage3", "stage4"]
    assert config.num_hidden_layers == config.decoder_layers == 9


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        ({"encoder_stage_layers": (2, 1, 1)}, [(0, 1, 1), (0, 1, 1), (0, 2, 2), (0, 3, 3)]),
        ({"encoder_stage_layers": (0, 0, 2)}, [(0, 3, 3)] * 2),
        ({"encoder": "full", "encoder_layers": 2}, [(0, 3, 3)] * 2),
        (
            {"encoder": "lite", "encoder_layers": 6, "encoder_blocks": 2},
            [(0, 2, 3), (0, 2, 3), (0, 3, 3), (0, 2, 3), (0, 2, 3), (0, 3, 3)],
        ),
        # Appendix A of PRO-SCALE: Lite-DETR's H3L1, (5+1)x1.
        ({"encoder": "lite"}, [(0, 2, 3)] * 5 + [(0, 3, 3)]),
    ],
)
def test_layer_plan(fields, plan):
    assert ProScaleConfig(**fields).layer_plan == plan


@pytest.mark.parametrize("encoder", ["full", "lite"])
def test_other_encoders_are_mask2former_around_the_encoder(encoder):
    config = ProScaleConfig(encoder=encoder)
    assert (config.trc, config.lpe) == ("none", "conv")


def test_round_trip(tmp_path):
    config = ProScaleConfig(encoder_stage_layers=(1, 2, 3), trc="conv", num_labels=7, stuff_class_ids=[5, 6])
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is ProScaleConfig
    assert again.to_json_string() == config.to_json_string()


@pytest.mark.parametrize("stages", [(), (3,), (3, 3), (3, 3, 3, 3, 3), (3, -1, 3), (0, 0, 0), (True, 1, 1)])
def test_impossible_stages(stages):
    with pytest.raises(StrictDataclassError, match=r"encoder_stage_layers|three non-negative"):
        ProScaleConfig(encoder_stage_layers=stages)


@pytest.mark.parametrize("stages", ["333", 3, (1.5, 1, 1), (None, 1, 1), ("1", "1", "1")])
def test_stages_of_another_type(stages):
    with pytest.raises(StrictDataclassError, match="encoder_stage_layers"):
        ProScaleConfig(encoder_stage_layers=stages)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"encoder": "mega"}, ["mega", "progressive, full, lite"]),
        ({"trc": "mlp"}, ["mlp", "linear, conv, none"]),
        ({"trc_layout": "planar"}, ["planar", "raw, spatial"]),
        ({"lpe": "median"}, ["median", "max, average, conv"]),
        ({"encoder": "full", "trc": "linear"}, ["full", "linear", "none"]),
        ({"encoder": "lite", "encoder_layers": 5, "encoder_blocks": 2}, ["5", "2"]),
        ({"encoder": "lite", "encoder_blocks": 0}, ["encoder_blocks=0"]),
        ({"feature_size": 48}, ["48", "32"]),
        ({"hidden_size": 250}, ["250", "8"]),
        ({"stuff_class_ids": [9], "num_labels": 9}, ["9", "0..8"]),
        ({"backbone_config": {"model_type": "swin", "out_features": ["stage2", "stage3", "stage4"]}}, ["3", "four"]),
        (
            {"backbone_config": {"model_type": "dinov2"}},
            ["'dinov2', a plain ViT", "patches, 14", 'backbone_pyramid="simple"'],
        ),
        (
            {"backbone_config": {"model_type": "dinov3_vit", "out_indices": [3, 6, 9, 12]}},
            ["'dinov3_vit', a plain ViT", "patches, 16", 'backbone_pyramid="simple"'],
        ),
        (
            {
                "backbone_config": {
                    "model_type": "timm_backbone",
                    "backbone": "vit_tiny_patch16_224",
                    "out_indices": [11],
                }
            },
            ["1 map(s) ([11])", 'A plain ViT needs backbone_pyramid="simple"'],
        ),
        (
            {"backbone_pyramid": "simple"},
            ["'swin', whose maps have strides of their own", "leave backbone_pyramid out"],
        ),
        (
            {"backbone_pyramid": "simple", "backbone_config": {**BEIT, "add_fpn": True, "out_indices": [1, 2, 3, 4]}},
            ["'beit', whose maps have strides", "add_fpn=False"],
        ),
        ({"backbone_pyramid": "fpn", "backbone_config": BEIT}, ["backbone_pyramid='fpn'", "simple", "None"]),
        ({"backbone_pyramid": "", "backbone_config": BEIT}, ["backbone_pyramid=''", "simple"]),
        (
            {"backbone_pyramid": "simple", "backbone_config": {"model_type": "dinov2", "reshape_hidden_states": False}},
            ["reshape_hidden_states=False", "True"],
        ),
        (
            {"backbone_pyramid": "simple", "backbone_config": {"model_type": "dinov2"}, "mask_positions": True},
            ["mask_positions=True", "patches of 14", "16"],
        ),
        ({"timm_kwargs": {"img_size": 64}}, ["img_size", "'swin'", "leave them out"]),
    ],
)
def test_errors_name_the_value_and_what_is_legal(fields, named):
    with pytest.raises(StrictDataclassError) as error:
        ProScaleConfig(**fields)
    text = f"{error.value} {error.value.__cause__}"
    assert all(name in text for name in named), text


@pytest.mark.parametrize(
    "fields",
    [
        {"num_queries": "many"},
        {"feature_size": 64.0},
        {"trc_residual": 1.5},
        {"backbone_pyramid": True},
        {"backbone_pyramid": ["simple"]},
        {"timm_kwargs": "img_size=64"},
    ],
)
def test_wrong_types(fields):
    with pytest.raises(StrictDataclassError, match=next(iter(fields))):
        ProScaleConfig(**fields)
