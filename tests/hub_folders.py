# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A model that is small enough to be published to a Hub on this machine."""

import torch

from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation


def tiny_model():
    swin = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
    config = ProScaleConfig(
        backbone_config={**swin, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
        encoder_stage_layers=(1, 1, 1),
        feature_size=32,
        mask_feature_size=32,
        hidden_size=32,
        num_attention_heads=2,
        decoder_layers=1,
        dim_feedforward=32,
        encoder_feedforward_dim=32,
        num_queries=5,
        id2label={0: "road", 1: "car"},
        label2id={"road": 0, "car": 1},
    )
    torch.manual_seed(0)
    return ProScaleForUniversalSegmentation(config)
