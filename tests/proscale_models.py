# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny PRO-SCALE, and means to look inside a model."""

from typing import Any

import torch

from hfseg import ProScaleConfig, ProScaleOpenVocabularyConfig

STAGES = ["stage1", "stage2", "stage3", "stage4"]

SWIN = {
    "model_type": "swin",
    "embed_dim": 16,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 4, 8],
    "window_size": 4,
    "drop_path_rate": 0.0,
    "out_features": STAGES,
}

TINY = {
    "backbone_config": SWIN,
    "encoder_stage_layers": (1, 1, 1),
    "feature_size": 32,
    "mask_feature_size": 24,
    "encoder_feedforward_dim": 48,
    "hidden_size": 32,
    "num_queries": 10,
    "decoder_layers": 3,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
    "train_num_points": 64,
    "num_labels": 5,
}


def tiny_config(**fields: Any) -> ProScaleConfig:
    """Builds a configuration of a few ten thousand parameters."""
    return ProScaleConfig(**{**TINY, **fields})


VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "projection_dim": 20,
}

TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
    "projection_dim": 20,
    "bos_token_id": 62,
    "eos_token_id": 63,
    "pad_token_id": 63,
}

NAMING = {"vision_config": VISION, "text_config": TEXT, "relative_attention_interval": 1}


def tiny_open_vocabulary_config(**fields: Any) -> ProScaleOpenVocabularyConfig:
    """The same with towers of a tiny CLIP."""
    return ProScaleOpenVocabularyConfig(**{**TINY, **NAMING, **fields})


def tap(module: torch.nn.Module, found: dict[str, Any], name: str) -> None:
    """Keeps every output of a module, in order."""
    module.register_forward_hook(lambda _, inputs, output: found.setdefault(name, []).append(output))


def close(actual: torch.Tensor, expected: torch.Tensor, rtol: float = 0.0, atol: float = 1e-4) -> None:
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)
