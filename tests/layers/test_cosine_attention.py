# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cosine attention against its definition, window by window; groups of tokens that do not see each other."""

import pytest
import torch
from torch import nn

from hfseg.layers.cosine_attention import biased_attention, cosine_attention, group_codes

N, Q, T, HEADS, D = 3, 5, 7, 2, 6


def draw(seed=0):
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(N, tokens, HEADS, D, generator=generator) for tokens in (Q, T, T))
    scale = torch.tensor([2.0, 9.0]).view(HEADS, 1, 1)
    return query, key, value, scale, torch.randn(HEADS, Q, T, generator=generator)


def by_definition(query, key, value, scale, bias, added=None):
    """Section 3.2 of Swin V2: softmax(cos(q, k) * scale + B) v."""
    result = torch.zeros(N, Q, HEADS, D)
    for n in range(N):
        for head in range(HEADS):
            for q in range(Q):
                scores = []
                for t in range(T):
                    a, b = query[n, q, head], key[n, t, head]
                    score = scale[head].item() * float(a @ b / (a.norm() * b.norm())) + bias[head, q, t].item()
                    scores.append(score + (0.0 if added is None else added[n, q, t].item()))
                weights = torch.tensor(scores).softmax(0)
                result[n, q, head] = (weights[:, None] * value[n, :, head]).sum(0)
    return result


def fused(module, query, key, value, mask, scaling, dropout=0.0, is_causal=False):
    out = nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scaling)
    return out.transpose(1, 2), None


@pytest.mark.parametrize("attend", [biased_attention, fused])
def test_is_the_definition(attend):
    inputs = draw()
    found, weights = cosine_attention(nn.Identity(), *inputs, attend=attend)
    torch.testing.assert_close(found, by_definition(*inputs), atol=1e-5, rtol=1e-5)
    if weights is not None:
        torch.testing.assert_close(weights.sum(-1), torch.ones(N, HEADS, Q))


@pytest.mark.parametrize("attend", [biased_attention, fused])
def test_codes_add_a_penalty_between_groups(attend):
    inputs = draw(1)
    groups = torch.randint(0, 3, (N, T), generator=torch.Generator().manual_seed(2))
    query_codes, key_codes = group_codes(groups, 3, -4.0)
    added = torch.where(groups[:, :Q, None] == groups[:, None], 0.0, -4.0)
    torch.testing.assert_close(query_codes[:, :Q] @ key_codes.transpose(1, 2), added)
    found, _ = cosine_attention(
        nn.Identity(), *inputs, attend=attend, query_codes=query_codes[:, :Q], key_codes=key_codes
    )
    torch.testing.assert_close(found, by_definition(*inputs, added), atol=1e-5, rtol=1e-5)


def test_the_length_of_queries_and_keys_does_not_matter_and_zeros_have_a_bounded_gradient():
    query, key, value, scale, bias = draw(3)
    found, _ = cosine_attention(nn.Identity(), query, key, value, scale, bias)
    longer, _ = cosine_attention(nn.Identity(), 7 * query, 0.5 * key, value, scale, bias)
    torch.testing.assert_close(found, longer)
    nothing = torch.zeros_like(query).requires_grad_()
    cosine_attention(nn.Identity(), nothing, key, value, scale, bias)[0].sum().backward()
    assert torch.isfinite(nothing.grad).all() and nothing.grad.abs().max() < 1e5
