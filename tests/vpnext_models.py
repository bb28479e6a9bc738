# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny VPNeXt on several backbones."""

from typing import Any

from hfseg import VPNeXtConfig

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64}

DINOV3 = {
    "model_type": "dinov3_vit",
    "patch_size": 8,
    "intermediate_size": 48,
    "num_register_tokens": 2,
    "pos_embed_rescale": None,  # random in training otherwise
    "apply_layernorm": False,
    **SIZES,
}

DINOV2 = {"model_type": "dinov2", "patch_size": 14, "mlp_ratio": 2, "apply_layernorm": False, **SIZES}

BEIT = {"model_type": "beit", "patch_size": 16, "intermediate_size": 48, "use_relative_position_bias": True, **SIZES}

TINY = {"backbone_config": DINOV3, "hiclr_iterations": 2, "hiclr_channels": 24, "vcr_affinity_dim": 16, "num_labels": 5}


def tiny_config(**fields: Any) -> VPNeXtConfig:
    """Builds a configuration of a few ten thousand parameters."""
    return VPNeXtConfig(**{**TINY, **fields})
