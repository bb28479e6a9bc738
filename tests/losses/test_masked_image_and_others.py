# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses of pre-training: masked reconstruction, sigmoid contrast (in blocks, over processes), several scales."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hfseg.losses.contrastive import sigmoid_contrastive_loss
from hfseg.losses.masked_image import draw_masked_units, masked_reconstruction_loss, unit_pixels
from hfseg.losses.multi_scale import multi_scale_cross_entropy, thin_out


def test_reconstruction_looks_at_hidden_pixels_only():
    pixels = torch.randn(2, 3, 64, 96)
    hidden = draw_masked_units(2, 6, 0.6, generator=torch.Generator().manual_seed(0))
    assert hidden.sum(1).tolist() == [4, 4]
    assert masked_reconstruction_loss(pixels, pixels, hidden, 32) == 0
    shown = ~unit_pixels(hidden, 32, 2, 3)
    assert masked_reconstruction_loss(pixels + 7 * shown, pixels, hidden, 32) == 0
    assert masked_reconstruction_loss(pixels + 7 * ~shown, pixels, hidden, 32).item() == pytest.approx(7, rel=1e-5)
    assert unit_pixels(hidden, 32, 2, 3).float().mean().item() == pytest.approx(4 / 6)


def test_reconstruction_stops_at_the_edge_of_the_image():
    pixels = torch.zeros(1, 3, 40, 33)
    predicted = torch.ones(1, 3, 64, 64)
    predicted[..., 40:, :], predicted[..., 33:] = 100, 100
    assert masked_reconstruction_loss(predicted, pixels, torch.ones(1, 4, dtype=torch.bool), 32) == 1


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
    script = Path(__file__).with_name("run_contrastive.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "done").exists()


def test_scales():
    labels = torch.arange(5 * 9).view(1, 5, 9)
    assert thin_out(labels, 4).tolist() == [[[20, 24, 26], [38, 42, 44]]]
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64).float()
    truth = torch.randint(0, 3, (2, 4, 4))
    truth[0, :2] = 255
    (loss,) = multi_scale_cross_entropy([logits], [truth], [0.4])
    assert loss.item() == pytest.approx(0.4 * F.cross_entropy(logits, truth, ignore_index=255).item(), rel=1e-5)
    (nothing,) = multi_scale_cross_entropy([logits], [torch.full_like(truth, 255)], [1.0])
    assert nothing == 0
