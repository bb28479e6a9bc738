# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CLIP's loss: by the formula, and with captions that repeat."""

import math

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.contrastive import softmax_contrastive_loss


def embeddings(count, seed):
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_it_is_clips_loss():
    images, texts, scale = embeddings(5, 0), embeddings(5, 1), torch.tensor(7.0)
    logits = scale * images @ texts.t()
    expected = -(logits.log_softmax(0).diag().mean() + logits.log_softmax(1).diag().mean()) / 2
    torch.testing.assert_close(softmax_contrastive_loss(images, texts, scale), expected)
    different = torch.arange(10).view(5, 2)
    torch.testing.assert_close(softmax_contrastive_loss(images, texts, scale, different), expected)


def test_equal_captions_are_no_negatives():
    same = torch.tensor([[4, 2], [4, 2], [9, 2]])
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Perfect embeddings: only the two equal texts share their probability.
    loss = softmax_contrastive_loss(text, text, torch.tensor(100.0), same)
    assert loss == pytest.approx(2 / 3 * math.log(2), abs=1e-5)
    images = text.clone().requires_grad_(True)
    softmax_contrastive_loss(images, text, torch.tensor(100.0), same).backward()
    assert images.grad.abs().max() < 1e-4  # nothing is left to learn
    with pytest.raises(ValueError, match="no pairs"):
        softmax_contrastive_loss(text, text[:2], torch.tensor(1.0))
