# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cosine attention with a position bias (Liu et al., "Swin Transformer V2", CVPR 2022, section 3.2), for any kernel.

`softmax(cos(q, k) * scale + bias + mask) v` becomes plain dot-product attention: normalized queries carry the scale,
the bias is shared by all windows, and a mask that differs between windows is folded into a few extra channels. If
every token belongs to a group, the dot product of `penalty * (1 - onehot(group of q))` with `onehot(group of k)` is
0 within a group and `penalty` across: no tensor of windows x heads x queries x keys is ever made for a mask.

Shape legend: N windows (of all images), Q and T tokens of a window that ask and that are asked, D channels of a head.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

# Fused kernels want the channels of a head to be a multiple of this.
CHANNEL_MULTIPLE = 8
# Shorter vectors are divided by this instead of their length, whose inverse is the size of the gradient: a token of
# zeros (a patch of constant color in a fresh network) would otherwise give one of 1e12. Trained vectors are longer.
SHORTEST = 1e-3


def biased_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes softmax attention in plain operations, with an additive mask, and returns its weights too.

    Shape:
        query: `(N, heads, Q, D)`; key, value: `(N, heads, T, D)`; attention_mask: broadcastable to `(N, heads, Q, T)`.
        Output: `(N, Q, heads, D)` and `(N, heads, Q, T)`.
    """
    scores = (query @ key.transpose(-1, -2)).float() * scaling  # (N, heads, Q, T)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1).to(value.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def cosine_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    logit_scale: torch.Tensor,
    bias: torch.Tensor,
    attend: Callable = biased_attention,
    query_codes: torch.Tensor | None = None,
    key_codes: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attends by cosine similarity; norms and scale are computed in float32.

    Args:
        module: The module that asks (implementations read its `training` flag).
        query, key, value: As projected, neither normalized nor scaled.
        logit_scale: Factor of the cosine per head.
        bias: Added to the scores of every window.
        attend: Attention function with transformers' signature.
        query_codes, key_codes: Their dot products are added to the scores.
        dropout: Probability for attention weights.

    Shape:
        query: `(N, Q, heads, D)`; key, value: `(N, T, heads, D)`; logit_scale: `(heads, 1, 1)`;
        bias: `(heads, Q, T)`; query_codes: `(N, Q, E)`; key_codes: `(N, T, E)`.
        Output: `(N, Q, heads, D)` and, from implementations that keep them, weights `(N, heads, Q, T)`.
    """
    dtype, head_dim = value.dtype, value.shape[-1]
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))  # (N, heads, tokens, D)
    query = F.normalize(query.float(), dim=-1, eps=SHORTEST) * logit_scale.float()
    key = F.normalize(key.float(), dim=-1, eps=SHORTEST)
    if query_codes is not None and key_codes is not None:
        padding = -(head_dim + query_codes.shape[-1]) % CHANNEL_MULTIPLE
        query, key = (
            torch.cat((tensor, F.pad(codes.float(), (0, padding))[:, None].expand(*tensor.shape[:3], -1)), dim=-1)
            for tensor, codes in ((query, query_codes), (key, key_codes))
        )
        if attend is not biased_attention:  # fused kernels want values as wide as keys
            value = F.pad(value, (0, query.shape[-1] - head_dim))
    attended, weights = attend(
        module,
        query.to(dtype),
        key.to(dtype),
        value,
        bias.to(dtype).unsqueeze(0),
        scaling=1.0,
        dropout=dropout if module.training else 0.0,
        is_causal=False,
    )
    return attended[..., :head_dim], weights


def group_codes(groups: torch.Tensor, num_groups: int, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes whose dot product is 0 for tokens of one group and `penalty` for others.

    Shape:
        groups: `(N, T)`, integer; output: for queries and for keys, `(N, T, num_groups)`, float32.
    """
    member = (groups.unsqueeze(-1) == torch.arange(num_groups, device=groups.device)).float()
    return penalty * (1 - member), member
