# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masked image modeling as in SimMIM (Xie et al., CVPR 2022): hide units of an image, predict their pixels."""

import torch
import torch.nn.functional as F


def draw_masked_units(
    batch_size: int,
    num_units: int,
    ratio: float,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draws which units are hidden, the same number in every image: `round(ratio * num_units)`, at least one.

    Shape:
        Output: boolean `(batch_size, num_units)`.
    """
    count = max(1, round(ratio * num_units))
    order = torch.rand(batch_size, num_units, device=device, generator=generator).argsort(1)
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :count], True)


def unit_pixels(bool_masked_pos: torch.Tensor, unit: int, rows: int, columns: int) -> torch.Tensor:
    """Marks the pixels of hidden units.

    Shape:
        `(B, rows * columns)` to boolean `(B, 1, rows * unit, columns * unit)`.
    """
    mask = bool_masked_pos.unflatten(1, (rows, columns))
    return mask.repeat_interleave(unit, 1).repeat_interleave(unit, 2).unsqueeze(1)


def masked_reconstruction_loss(
    reconstruction: torch.Tensor, pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor, unit: int
) -> torch.Tensor:
    """Computes the mean absolute error over the values of hidden pixels, in float32.

    Pixels of the last row and column of units that lie beyond the image do not count.

    Args:
        reconstruction: Predicted pixels, whole units.
        pixel_values: True pixels, normalized.
        bool_masked_pos: Hidden units, row by row.
        unit: Side of a unit in pixels.

    Shape:
        reconstruction: `(B, 3, rows * unit, columns * unit)`; pixel_values: `(B, 3, H, W)`;
        bool_masked_pos: `(B, rows * columns)`; output: scalar.
    """
    height, width = pixel_values.shape[-2:]
    hidden = unit_pixels(bool_masked_pos, unit, -(-height // unit), -(-width // unit))[..., :height, :width].float()
    error = F.l1_loss(reconstruction[..., :height, :width].float(), pixel_values.float(), reduction="none")
    return (error * hidden).sum() / (hidden.sum() * pixel_values.shape[1]).clamp(min=1)
