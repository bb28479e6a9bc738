# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Rules by which detectron2's and PyTorch's models are drawn, for `_init_weights` of the zoo's architectures.

They draw with `transformers.initialization`, which leaves loaded weights alone.
"""

from typing import cast

import torch
from torch import nn
from transformers import initialization as init

from .deformable_attention import DeformableEncoderLayer, MultiScaleDeformableAttention
from .deformable_convolution import ModulatedDeformableConv2d
from .mask_decoder import MaskedAttentionDecoder, MaskedAttentionDecoderLayer, MaskEmbedder, MultiHeadAttention
from .mask_positions import MaskPositions
from .query_selection import HEAT_BIAS, PixelQuerySelection
from .simple_pyramid import SimpleFeaturePyramid


def init_linear_bias(linear: nn.Linear):
    """Draws a bias as PyTorch does by default: uniform within the inverse square root of the inputs."""
    bound = linear.in_features**-0.5
    init.uniform_(linear.bias, -bound, bound)


def init_linear(*linears: nn.Module):
    """Draws linear layers as PyTorch does by default."""
    for linear in linears:
        assert isinstance(linear, nn.Linear)
        init.kaiming_uniform_(linear.weight, a=5**0.5)
        if linear.bias is not None:
            init_linear_bias(linear)


def init_convolution(*convolutions: nn.Module, by_outputs: bool = False):
    """Draws convolutions as detectron2 does: Kaiming uniform with slope 1, no bias. Layers of other kinds stay.

    Args:
        convolutions: The layers.
        by_outputs: Draws as He et al. do in place of it: normal, by the number of outputs.
    """
    for convolution in convolutions:
        if not isinstance(convolution, (nn.Conv2d, nn.ConvTranspose2d, ModulatedDeformableConv2d)):
            continue
        if by_outputs:
            init.kaiming_normal_(convolution.weight, mode="fan_out")
        else:
            init.kaiming_uniform_(convolution.weight, a=1)
        bias = getattr(convolution, "bias", None)
        if isinstance(bias, torch.Tensor):
            init.zeros_(bias)


def init_projection(*layers: nn.Module):
    """Draws 1x1 convolutions and linear layers Glorot uniform, no bias."""
    for layer in layers:
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            init.zeros_(layer.bias)


def init_feedforward(*linears: nn.Linear):
    """Draws the layers of a feed-forward block: Glorot uniform, PyTorch's default for biases."""
    for linear in linears:
        init.xavier_uniform_(linear.weight)
        init_linear_bias(linear)


def init_multi_head_attention(module: MultiHeadAttention):
    """Draws attention like `torch.nn.MultiheadAttention` with Glorot uniform matrices.

    The original draws the three input projections as one (3C, C) matrix, hence the smaller bound.
    """
    for projection in (module.q_proj, module.k_proj, module.v_proj):
        init.xavier_uniform_(projection.weight, gain=0.5**0.5)
        init.zeros_(projection.bias)
    init.xavier_uniform_(module.out_proj.weight)
    init.zeros_(module.out_proj.bias)


def init_deformable_attention(module: MultiScaleDeformableAttention):
    """Lets head k look in direction 2 pi k / heads, point i at distance i + 1 (in the maximum norm), all alike."""
    init.zeros_(module.sampling_offsets.weight)
    angle = torch.arange(module.num_heads, dtype=torch.float32) * (2 * torch.pi / module.num_heads)
    direction = torch.stack((angle.cos(), angle.sin()), -1)
    direction = direction / direction.abs().max(-1, keepdim=True).values
    distance = torch.arange(1, module.num_points + 1, dtype=torch.float32)
    bias = direction[:, None, None, :] * distance[:, None]  # (heads, 1, points, 2)
    init.copy_(module.sampling_offsets.bias, bias.expand(-1, module.num_levels, -1, -1).flatten())
    init.zeros_(module.attention_weights.weight)
    init.zeros_(module.attention_weights.bias)
    for projection in (module.value_proj, module.output_proj):
        init.xavier_uniform_(projection.weight)
        init.zeros_(projection.bias)


def init_feature_pyramid(pyramid: SimpleFeaturePyramid):
    """Draws convolutions, transposed ones too, as PyTorch does by default, which ViTDet leaves as it is."""
    for layer in pyramid.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            init.kaiming_uniform_(layer.weight, a=5**0.5)
            if layer.bias is not None:
                bound = layer.weight[0].numel() ** -0.5  # PyTorch's fan of inputs, of a transposed one its outputs
                init.uniform_(layer.bias, -bound, bound)


def init_mask_classification(module: nn.Module):
    """Draws what models of mask classification share, each part as its authors do; other modules stay as they are."""
    if isinstance(module, MultiScaleDeformableAttention):
        init_deformable_attention(module)
    elif isinstance(module, (DeformableEncoderLayer, MaskedAttentionDecoderLayer)):
        init_feedforward(module.fc1, module.fc2)
    elif isinstance(module, MultiHeadAttention):
        init_multi_head_attention(module)
    elif isinstance(module, MaskedAttentionDecoder):
        for embedding in (module.query_features, module.query_positions, module.level_embed):
            init.normal_(embedding.weight)
        init_convolution(*module.input_projections)
    elif isinstance(module, MaskEmbedder):
        init_linear(*module.layers)
    elif isinstance(module, MaskPositions):
        init.normal_(module.shape.weight, std=0.02)
        init.zeros_(module.shape.bias)
        init.normal_(module.anchors.weight)
    elif isinstance(module, PixelQuerySelection):
        init_convolution(module.convolution)
        init.normal_(module.heat.weight, std=0.01)
        init.constant_(cast(torch.Tensor, module.heat.bias), HEAT_BIAS)
        init_linear(module.content)
