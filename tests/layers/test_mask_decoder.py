# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The masked-attention decoder's shortcuts are exact."""

import pytest
import torch
import torch.nn.functional as F

from hfseg.layers.mask_decoder import (
    MaskedAttentionDecoder,
    MultiHeadAttention,
    eager_attention,
    mask_logits,
    steering_masks,
)


@pytest.mark.parametrize("size", [(3, 4), (7, 9), (25, 31), (1, 1)])
def test_steering_masks_are_those_of_full_resolution(size):
    """Against the usual formulation: every mask in full, resized, sigmoid below a half blocked; counts flips."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 50, 16, generator=generator)
    pixels = torch.randn(2, 16, 50, 62, generator=generator)
    full = torch.einsum("bqc,bchw->bqhw", embeddings, pixels)
    resized = F.interpolate(full, size=size, mode="bilinear", align_corners=False).flatten(2)
    expected = resized.sigmoid() >= 0.5
    expected = expected | ~expected.any(-1, keepdim=True)
    small = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False).flatten(2)
    actual = steering_masks(embeddings, small)
    assert actual.shape == (2, 1, 50, size[0] * size[1])
    flipped = actual[:, 0] != expected
    assert flipped.sum() == 0 or resized[flipped].abs().max() < 1e-5  # only where the logit is rounding error
    assert flipped.sum() <= 2


def test_steering_masks_open_what_would_be_closed():
    pixels = torch.ones(1, 2, 6)
    visible = steering_masks(torch.tensor([[[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]]), pixels)
    assert visible.all()  # negative everywhere is opened, positive and zero are visible
    pixels[:, :, 0] = -1
    visible = steering_masks(torch.tensor([[[-1.0, -1.0]]]), pixels)
    assert visible[0, 0, 0].tolist() == [True] + [False] * 5


def test_mask_logits():
    embeddings, pixels = torch.randn(2, 3, 4), torch.randn(2, 4, 5, 6)
    expected = torch.einsum("bqc,bchw->bqhw", embeddings, pixels)
    torch.testing.assert_close(mask_logits(embeddings, pixels), expected)


def test_attention_is_torchs():
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(24, 3, batch_first=True).eval()
    ours = MultiHeadAttention(24, 3).eval()
    with torch.no_grad():
        theirs.in_proj_bias.normal_()
        for projection, weight, bias in zip(
            (ours.q_proj, ours.k_proj, ours.v_proj), theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
        ):
            projection.weight.copy_(weight)
            projection.bias.copy_(bias)
    ours.out_proj.load_state_dict(theirs.out_proj.state_dict())
    query, key, value = torch.randn(2, 5, 24), torch.randn(2, 7, 24), torch.randn(2, 7, 24)
    visible = torch.rand(2, 1, 5, 7) > 0.4
    visible[..., 0] = True
    expected, weights = theirs(query, key, value, attn_mask=~visible.expand(-1, 3, -1, -1).flatten(0, 1))
    actual, own_weights = ours(query, key, value, visible, eager_attention)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own_weights.mean(1), weights, rtol=1e-4, atol=1e-5)
    assert (own_weights.masked_select(~visible.expand_as(own_weights)) == 0).all()


def test_levels_are_visited_in_turns_and_projected():
    torch.manual_seed(0)
    decoder = MaskedAttentionDecoder(16, 8, 5, 4, 2, 32, feature_size=12).eval()
    lengths = []
    for layer in decoder.layers:
        layer.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[2].shape[1]))
    maps = tuple(torch.randn(2, 12, side, side) for side in (2, 4, 8))
    outputs = decoder(maps, torch.randn(2, 8, 16, 16))
    assert lengths == [4, 16, 64, 4]
    assert len(outputs.queries) == len(outputs.mask_embeddings) == 5
    assert outputs.queries[-1].shape == (2, 5, 16) and outputs.mask_embeddings[-1].shape == (2, 5, 8)
