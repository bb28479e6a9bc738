# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE: the common contract, the authors' numbers, equivalence with Mask2Former, variants and backbones."""

from typing import Any

import torch
from contract import ModelContract

from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation, ProScaleModel

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


class TestProScaleModel(ModelContract):
    model_class = ProScaleModel
    auto_classes = ("AutoModel",)
    recorded = {
        "hidden_states": 4,
        "attentions": 3,
        "cross_attentions": 3,
        "encoder_hidden_states": 4,
        "encoder_attentions": 3,
    }
    zero_gradients = (".k_proj.bias", ".key.bias")

    def config(self):
        return tiny_config()

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        quarter = (-(-height // 4), -(-width // 4))
        return {
            "last_hidden_state": (batch_size, 10, 32),
            "masks_queries_logits": (batch_size, 10, *quarter),
            "pixel_embedding": (batch_size, 24, *quarter),
        }


class TestProScaleForUniversalSegmentation(TestProScaleModel):
    model_class = ProScaleForUniversalSegmentation
    auto_classes = ("AutoModelForUniversalSegmentation", "AutoModelForImageSegmentation")

    def labels(self, batch_size, height, width, empty=False):
        masks = torch.zeros(batch_size, height, width, dtype=torch.int64)
        if not empty:
            masks[:, : height // 2, : width // 2] = 1
            masks[:, height // 2 :, width // 3 :] = 2
        classes = torch.tensor([1, 4] if not empty else [], dtype=torch.int64)
        return {"mask_labels": list(masks), "class_labels": [classes] * batch_size}

    def shapes(self, batch_size, height, width):
        quarter = (-(-height // 4), -(-width // 4))
        return {
            "class_queries_logits": (batch_size, 10, 6),
            "masks_queries_logits": (batch_size, 10, *quarter),
        }
