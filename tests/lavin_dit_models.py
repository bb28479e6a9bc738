# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tiny J-DiT and pipelines."""

import torch

TINY = {
    "in_channels": 12,
    "num_layers": 3,
    "num_attention_heads": 4,
    "attention_head_dim": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "drop_path_rate": 0.0,
}


def drawn(model, std=0.2):
    """Draws the weights that start at zero or one, so that every part of a fresh model matters."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modulation" in name or "final_layer" in name or "norm" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * std)
    return model
