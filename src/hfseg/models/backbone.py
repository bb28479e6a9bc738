# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Backbones through transformers' `AutoBackbone`, timm's included."""

from typing import Any

from torch import nn
from transformers import AutoBackbone
from transformers.models.swin.modeling_swin import SwinBackbone


def build_backbone(config: Any) -> Any:
    """Builds the backbone of a dense-prediction model, without parameters that no feature map depends on.

    `SwinBackbone` normalises its last tokens for a classifier that dense models do not have. That layer would cost
    time, count as a parameter and, never receiving a gradient, stop distributed training. Mask tokens of self-supervised
    vision transformers stay, as checkpoints have them, but are frozen.
    """
    backbone = AutoBackbone.from_config(config)
    if isinstance(backbone, SwinBackbone):
        backbone.swin.layernorm = nn.Identity()  # type: ignore[assignment]
    for name, parameter in backbone.named_parameters():
        if name.endswith("mask_token"):
            parameter.requires_grad_(False)
    return backbone
