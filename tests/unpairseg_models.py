# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny Unpair-Seg, and the authors' models after conversion."""

from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForMaskGeneration

from contract import ModelContract
from golden import Case
from hfseg import UnpairSegConfig
from hfseg.commands.convert import main as convert_command

CONVNEXT = {
    "model_type": "convnext",
    "hidden_sizes": [8, 12, 16, 24],
    "depths": [1, 1, 1, 1],
    "layer_norm_eps": 1e-6,
    "layer_scale_init_value": 1.0,
}

TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
    "hidden_act": "gelu",
    "projection_dim": 20,
    "bos_token_id": 62,
    "eos_token_id": 63,
    "pad_token_id": 63,
}

TINY = {
    "backbone_config": CONVNEXT,
    "text_config": TEXT,
    "feature_size": 32,
    "mask_feature_size": 32,
    "encoder_layers": 2,
    "encoder_feedforward_dim": 48,
    "hidden_size": 32,
    "decoder_layers": 3,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
    "points_per_side": 3,
    "train_points_per_side": 3,
    "train_num_points": 64,
    "region_sizes": (64, 96),
}


def tiny_config(**fields: Any) -> UnpairSegConfig:
    """Builds a configuration of a few ten thousand parameters."""
    return UnpairSegConfig(**{**TINY, **fields})


def converted(case: Case, folder: Any, auto_class: Any = AutoModelForMaskGeneration) -> Any:
    """Converts a case's weights with the command and loads the folder."""
    checkpoint, output = folder / "official.safetensors", folder / "converted"
    save_file(case.weights, checkpoint)
    arguments = ["--architecture", "unpairseg", "--checkpoint", str(checkpoint), "--config", str(case.config_file)]
    assert convert_command([*arguments, "--output_dir", str(output)]) == 0
    model, info = auto_class.from_pretrained(output, output_loading_info=True)
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
    return model


def close(actual: torch.Tensor, expected: torch.Tensor, rtol: float = 0.0, atol: float = 1e-4) -> None:
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def normalized(case: Case) -> torch.Tensor:
    """Normalizes the images of a case."""
    mean = torch.tensor(case.config["MODEL"]["PIXEL_MEAN"]).view(3, 1, 1)
    std = torch.tensor(case.config["MODEL"]["PIXEL_STD"]).view(3, 1, 1)
    return (case.inputs["images"].float() - mean) / std


def example(batch_size: int = 2) -> torch.Tensor:
    """Images of the common contract."""
    return ModelContract().inputs(batch_size, 64, 96)["pixel_values"]


def entity_labels(batch_size: int, count: int = 3) -> list[torch.Tensor]:
    """Draws embeddings of the entities of each image."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(count, 20, generator=generator) for _ in range(batch_size)]
