# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masked image modeling of a backbone: hidden pixels are not seen, and only they count."""

import torch

from hfseg.models.masked_image import MaskedImageModel
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task

TINY = [
    "model.config.backbone_config.hidden_size=16",
    "model.config.backbone_config.intermediate_size=16",
    "model.config.backbone_config.num_hidden_layers=2",
    "model.config.backbone_config.num_attention_heads=2",
    "model.config.hiclr_channels=8",
    "model.config.hiclr_context_channels=8",
]


def model() -> MaskedImageModel:
    torch.manual_seed(0)
    task = build_task(load_recipe("vpnext-tiny-folder", [*TINY, "model.task=masked-image"]))
    return task.build_model(None)


def test_hidden_pixels_are_not_seen_and_only_they_count():
    network = model().eval()
    pixels = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    hidden = torch.tensor([[True, False, False, False, True, False]])
    first = network(pixels, hidden)
    changed = pixels.clone()
    changed[..., :16, :16] += 3  # the first unit, hidden
    second = network(changed, hidden)
    assert torch.equal(first.reconstruction, second.reconstruction)
    values = first.reconstruction - pixels
    by_hand = torch.cat([values[..., :16, :16].flatten(), values[..., 16:, 16:32].flatten()]).abs().mean()
    torch.testing.assert_close(first.loss, by_hand)
    seen = pixels.clone()
    seen[..., :16, 16:32] += 3
    assert not torch.equal(first.reconstruction, network(seen, hidden).reconstruction)
