# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny MedDenseViT."""

from typing import Any

import torch

from hfseg import MedDenseViTConfig, MedDenseViTForSemanticSegmentation

BACKBONE = {
    "model_type": "dinov3_vit",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "patch_size": 16,
    "num_register_tokens": 2,
    "apply_layernorm": False,
    "pos_embed_rescale": None,
    "out_indices": [1, 2, 3, 4],
}

TINY = {"backbone_config": BACKBONE, "feature_size": 16, "stem_sizes": (8, 12), "num_labels": 4}


def tiny_config(**fields: Any) -> MedDenseViTConfig:
    """Builds a configuration of a hundred thousand parameters."""
    backbone = {**BACKBONE, **fields.pop("backbone", {})}
    return MedDenseViTConfig(**{**TINY, "backbone_config": backbone, **fields})


def tiny_model(**fields: Any) -> MedDenseViTForSemanticSegmentation:
    """Builds a seeded model."""
    torch.manual_seed(0)
    return MedDenseViTForSemanticSegmentation(tiny_config(**fields))
