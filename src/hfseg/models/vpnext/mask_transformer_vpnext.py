# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The mask decoder that VPNeXt is compared with (Tables I and III): classes as tokens beside the ViT's own.

Segmenter's mask transformer (Strudel et al., ICCV 2021, section 3.2). The paper names a "mask decoder" and no width;
256 channels and two layers are what its cost implies (359.99 GFLOPs, 3.3 above the linear classifier).
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init

from .configuration_vpnext import VPNeXtConfig

HEAD_SIZE = 64


class VPNeXtMaskTransformerLayer(nn.Module):
    """Pre-norm transformer layer: self-attention of pixels and classes, then two linear layers with GELU."""

    def __init__(self, channels: int):
        super().__init__()
        self.num_heads = channels // HEAD_SIZE
        self.attention_norm = nn.LayerNorm(channels, eps=1e-6)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.attention_output = nn.Linear(channels, channels)
        self.mlp_norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Refines tokens. Shape: `(B, N, D)`."""
        parts = self.query_key_value(self.attention_norm(tokens)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(query, key, value)  # (B, heads, N, D / heads)
        tokens = tokens + self.attention_output(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.mlp_norm(tokens))


class VPNeXtMaskTransformer(nn.Module):
    """Class logits as products of normalized pixel and class tokens that have attended to each other."""

    def __init__(self, config: VPNeXtConfig, in_channels: int):
        super().__init__()
        channels, num_labels = config.mask_transformer_channels, config.num_labels or 1
        self.num_labels = num_labels
        self.projection = nn.Linear(in_channels, channels)
        self.classes = nn.Parameter(torch.zeros(num_labels, channels))
        self.layers = nn.ModuleList(
            [VPNeXtMaskTransformerLayer(channels) for _ in range(config.mask_transformer_layers)]
        )
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pixel_projection = nn.Linear(channels, channels, bias=False)
        self.class_projection = nn.Linear(channels, channels, bias=False)
        self.logit_norm = nn.LayerNorm(num_labels, eps=1e-6)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Classifies the ViT's pixels. Shape: `(B, C, h, w)` to `(B, K, h, w)`."""
        size = (context.shape[-2], context.shape[-1])
        pixels = self.projection(context.flatten(2).transpose(1, 2))  # (B, h w, D)
        tokens = torch.cat((pixels, self.classes.to(pixels.dtype).expand(pixels.shape[0], -1, -1)), dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        pixels, classes = self.norm(tokens).split((size[0] * size[1], self.num_labels), dim=1)
        pixels = F.normalize(self.pixel_projection(pixels), dim=-1)
        classes = F.normalize(self.class_projection(classes), dim=-1)
        logits = self.logit_norm(pixels @ classes.transpose(1, 2))  # (B, h w, K)
        return logits.transpose(1, 2).unflatten(2, size)

    @torch.no_grad()
    def draw(self) -> None:
        """Draws weights as Segmenter does: truncated normal of deviation 0.02, products scaled by the width."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    init.zeros_(module.bias)
        init.trunc_normal_(self.classes, std=0.02)
        for projection in (self.pixel_projection, self.class_projection):
            init.normal_(projection.weight, std=projection.in_features**-0.5)


__all__ = ["VPNeXtMaskTransformer"]
