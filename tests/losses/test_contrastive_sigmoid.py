# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The sigmoid contrast: its formula pair by pair, in blocks, and over processes."""

import math

import pytest
import run_contrastive
import torch
import torch.nn.functional as F

from forked_launch import forked_launch
from hfseg.losses.contrastive import sigmoid_contrastive_loss


def written_out(images: torch.Tensor, texts: torch.Tensor, scale: float, bias: float) -> float:
    """The formula, pair by pair."""
    total = 0.0
    for i, image in enumerate(images):
        for j, text in enumerate(texts):
            z = 1 if i == j else -1
            total -= math.log(1 / (1 + math.exp(-z * (scale * float(image @ text) + bias))))
    return total / len(images)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_contrast_in_blocks(at_once):
    torch.manual_seed(0)
    images, texts = F.normalize(torch.randn(2, 7, 4), dim=-1).unbind(0)
    loss = sigmoid_contrastive_loss(images, texts, torch.tensor(math.log(10.0)), torch.tensor(-10.0), True, at_once)
    assert loss.item() == pytest.approx(written_out(images, texts, 10.0, -10.0), rel=1e-5)


def test_contrast_needs_pairs():
    with pytest.raises(ValueError, match="no pairs"):
        sigmoid_contrastive_loss(torch.zeros(2, 3), torch.zeros(3, 3), torch.tensor(0.0), torch.tensor(0.0))


def test_contrast_over_two_processes(tmp_path):
    ranks = forked_launch(lambda rank: run_contrastive.main(str(tmp_path)), tmp_path)
    assert [rank.code for rank in ranks] == [0, 0], [rank.err[-2000:] for rank in ranks]
    assert (tmp_path / "done").exists()
