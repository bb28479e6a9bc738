# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Shared by tests."""

SMALL = {
    "encoder_stage_layers": [1, 1, 1],
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "encoder_feedforward_dim": 32,
    "dim_feedforward": 32,
    "decoder_layers": 2,
    "num_queries": 5,
}
