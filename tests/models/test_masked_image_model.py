# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masked image modeling of a backbone: hidden pixels are not seen, and only they count."""

import torch

from masked_image_models import model


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
