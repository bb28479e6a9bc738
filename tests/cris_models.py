# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny CRIS."""

from typing import Any

import torch

from golden import Case, read_case
from hfseg import CrisConfig

TINY = {
    "text_config": {
        "vocab_size": 99,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 24,
        "max_position_embeddings": 12,
        "bos_token_id": 97,
        "eos_token_id": 98,
    },
    "vision_layers": (1, 1, 1, 1),
    "vision_width": 8,
    "image_size": 64,
    "neck_sizes": (16, 32, 40),
    "hidden_size": 32,
    "num_decoder_layers": 2,
    "num_attention_heads": 4,
    "dim_feedforward": 48,
}


def tiny_config(**fields: Any) -> CrisConfig:
    """Builds a configuration of a few hundred thousand parameters."""
    return CrisConfig(**{**TINY, **fields})


def small_case() -> Case:
    """Reads the vectors; half precision and bytes are how they are stored."""
    case = read_case("cris/small")
    inputs = {"image": case.inputs["image"].float(), "word": case.inputs["word"]}
    inputs["mask"] = case.inputs["mask"].float() / 255
    weights = {name: value.float() if value.is_floating_point() else value for name, value in case.weights.items()}
    return case._replace(inputs=inputs, weights=weights)


def clip_archive(case: Case) -> dict[str, torch.Tensor]:
    """OpenAI's part of a checkpoint, in half precision, with the numbers that its archive holds beside."""
    names = {name.removeprefix("module.backbone."): value for name, value in case.weights.items()}
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in names.items()
        if not name.startswith("module.") and ".connect." not in name
    }
    return {**weights, "input_resolution": torch.tensor(64), "context_length": torch.tensor(24)}
