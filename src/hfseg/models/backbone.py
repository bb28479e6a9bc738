# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Backbones through transformers' `AutoBackbone`, timm's included."""

from typing import Any

from torch import nn
from transformers import AutoBackbone
from transformers.models.beit.modeling_beit import BeitBackbone
from transformers.models.dinov2.modeling_dinov2 import Dinov2Backbone
from transformers.models.swin.modeling_swin import SwinBackbone


def build_backbone(config: Any, **timm_kwargs: Any) -> Any:
    """Builds the backbone of a dense-prediction model, without parameters that no feature map depends on.

    Args:
        config: Of any backbone that `AutoBackbone` knows.
        timm_kwargs: Arguments of `timm.create_model`, for a `timm_backbone` only.

    `SwinBackbone` and `BeitBackbone` normalise their last tokens for a classifier that dense models do not have, and
    `Dinov2Backbone` keeps a norm that `apply_layernorm=False` leaves unused. Such a layer would cost time, count as a
    parameter and, never receiving a gradient, stop distributed training.
    """
    backbone = AutoBackbone.from_config(config, **timm_kwargs)
    if isinstance(backbone, SwinBackbone):
        backbone.swin.layernorm = nn.Identity()  # type: ignore[assignment]
    elif isinstance(backbone, BeitBackbone):
        backbone.beit.layernorm = nn.Identity()
    elif isinstance(backbone, Dinov2Backbone) and not config.apply_layernorm:
        backbone.layernorm = nn.Identity()  # type: ignore[assignment]
    return backbone
