# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Flow matching with straight paths: z_t = t data + (1 - t) noise, velocity data - noise."""

import torch

LAST_TIME = 0.95
"""Where a predicted sample is turned into a velocity, times count as this at most: it divides by what remains."""


def logit_normal_times(
    batch_size: int,
    *,
    shift: float = 1.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Draws times t = sigmoid(u), u standard normal, moved toward noise by t / (t + shift (1 - t)).

    Shape:
        (batch_size,), float32.
    """
    place = generator.device if generator is not None else device
    return shifted_times(torch.randn(batch_size, generator=generator, device=place).to(device), shift)


def shifted_times(normal: torch.Tensor, shift: float = 1.0) -> torch.Tensor:
    """Turns standard normal numbers into times; see `logit_normal_times`."""
    times = normal.float().sigmoid()
    return times / (times + shift * (1 - times))


def noisy_latents(data: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Mixes data and noise: the data at t = 1, the noise at t = 0.

    Shape:
        data, noise: (B, ...); times: (B,).
    """
    t = times.to(data.dtype).reshape(-1, *[1] * (data.ndim - 1))
    return t * data + (1 - t) * noise


def velocity_of_sample(sample: torch.Tensor, noisy: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Turns predicted data into the velocity that leads there, (data - z_t) / (1 - t), t at most `LAST_TIME`.

    Shape:
        sample, noisy: (B, ...); times: (B,) or one number.
    """
    remaining = 1 - times.float().clamp(max=LAST_TIME)
    return (sample.float() - noisy.float()) / remaining.reshape(-1, *[1] * (sample.ndim - 1))


def velocity_loss(
    velocity: torch.Tensor, data: torch.Tensor, noise: torch.Tensor, l1_weight: float = 0.1
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Computes how far a velocity is from data - noise, in float32.

    Per sample the mean square plus `l1_weight` times the mean absolute error over all elements, then the mean over
    samples. The released code has the absolute error with 0.1; the thesis (eq. 4.8) does not.

    Returns:
        The loss and its two parts (averaged over samples, unweighted), detached.

    Shape:
        velocity, data, noise: (B, ...).
    """
    error = velocity.float() - (data.float() - noise.float())
    squared = error.square().flatten(1).mean(1)  # (B,)
    absolute = error.abs().flatten(1).mean(1)  # (B,)
    loss = (squared + l1_weight * absolute).mean()
    return loss, {"squared": squared.mean().detach(), "absolute": absolute.mean().detach()}
