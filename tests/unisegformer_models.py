# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny UniSegFormer, its targets, and Swin V2 to compare with."""

from typing import Any

import torch
from transformers import Swinv2Backbone, Swinv2Config

from contract import peaked
from hfseg import UniSegFormerConfig

ENCODER = {
    "image_size": 64,
    "embed_dim": 16,
    "depths": [2, 1, 1, 1],
    "num_heads": [1, 2, 4, 8],
    "window_size": 4,
    "drop_path_rate": 0.0,
}

TINY = {
    "encoder_config": ENCODER,
    "text_config": {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 8,
        "projection_size": 24,
    },
    "decoder_widths": [16, 24, 32, 48],
    "feature_size": 32,
    "mask_feature_size": 24,
    "hidden_size": 32,
    "num_queries": 10,
    "decoder_layers": 3,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
    "pooling_heads": 4,
    "train_num_points": 64,
    "num_labels": 5,
}


def tiny_config(**fields: Any) -> UniSegFormerConfig:
    """Builds a configuration of a few hundred thousand parameters."""
    return UniSegFormerConfig(**{**TINY, **fields})


def strides(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of maps at strides 4, 8, 16, 32: every step rounds up."""
    sizes = [(-(-height // 4), -(-width // 4))]
    for _ in range(3):
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def segments(batch_size: int, height: int, width: int, empty: bool = False) -> dict[str, Any]:
    """Two segments per image and a strip of nothing."""
    masks = torch.zeros(batch_size, height, width, dtype=torch.int64)
    if not empty:
        masks[:, : height // 2, : width // 2] = 1
        masks[:, height // 2 :, width // 3 :] = 2
    classes = torch.tensor([1, 4] if not empty else [], dtype=torch.int64)
    return {"mask_labels": list(masks), "class_labels": [classes] * batch_size}


def swinv2(cls: Any = Swinv2Backbone, **fields: Any) -> Any:
    """Builds a Swin V2 of the same sizes, with weights that make attention peaked."""
    torch.manual_seed(0)
    return peaked(cls(Swinv2Config(**{**ENCODER, "depths": [2, 2, 2, 2], **fields})).eval())
