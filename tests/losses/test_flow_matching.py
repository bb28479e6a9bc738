# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Flow matching with straight paths."""

import pytest
import torch

from hfseg.losses.flow_matching import logit_normal_times, noisy_latents, shifted_times, velocity_loss


def test_paths_are_straight():
    data, noise = torch.randn(3, 2, 4, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)
    times = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    mixed = noisy_latents(data, noise, times)
    assert torch.equal(mixed[0], noise[0]) and torch.equal(mixed[2], data[2])
    # The velocity is the derivative by time.
    later = noisy_latents(data, noise, times + 1e-3)
    torch.testing.assert_close((later - mixed) / 1e-3, data - noise, atol=1e-9, rtol=1e-9)


def test_loss():
    data, noise = torch.zeros(2, 3), torch.zeros(2, 3)
    velocity = torch.tensor([[1.0, -1.0, 1.0], [2.0, 0.0, 0.0]])
    loss, parts = velocity_loss(velocity, data, noise)
    # Squares 1 and 4/3, absolutes 1 and 2/3.
    assert loss.item() == pytest.approx(((1 + 4 / 3) + 0.1 * (1 + 2 / 3)) / 2)
    assert parts["absolute"].item() == pytest.approx(5 / 6)
    assert velocity_loss(velocity, data, noise, l1_weight=0)[0].item() == pytest.approx(7 / 6)
    assert velocity_loss(torch.ones(2, 3), torch.full((2, 3), 3.0), torch.full((2, 3), 2.0))[0].item() == 0


def test_loss_in_low_precision_is_summed_in_float32():
    velocity = torch.full((1, 100_000), 0.1, dtype=torch.bfloat16)
    loss, _ = velocity_loss(velocity, torch.zeros_like(velocity), torch.zeros_like(velocity), l1_weight=0)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(velocity[0, 0].item() ** 2, rel=1e-5)


def test_times():
    times = shifted_times(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(times, torch.tensor([0.5, 0.7310586]))
    assert shifted_times(torch.zeros(1), shift=3.0).item() == pytest.approx(0.25)
    a, b = (logit_normal_times(4, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b) and a.dtype == torch.float32
