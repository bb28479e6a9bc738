# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", CVPR 2019, equation 1).

`y(p) = sum_k w_k  m_k(p)  x(p + p_k + offset_k(p))` with bilinear `x`, zero outside the map. Three forms of one sum:

- `torchvision`: the operator `deform_conv2d`, which has a kernel for GPUs.
- `gather`: per tap one `embedding_bag` (bilinear interpolation and modulation are a weighted sum of four rows of the
  channels-last map) and one matrix product. On a CPU several times faster than the operator, forward and backward, and
  without gradients the nine-fold unfolded map never exists.
- `grid_sample`: one `grid_sample` per tap; standard operators only.

All run in float32 (float64 stays) whatever autocast or the weights say: offsets are coordinates, and the operator knows
no bfloat16 on a CPU.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.utils.generic import maybe_autocast


def sampling_positions(offsets: torch.Tensor, kernel_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds the regular grid of taps to the offsets: where every tap of every output pixel samples.

    Shape:
        offsets: `(B, 2 K K, H, W)`, channels in pairs (dy, dx), taps row by row; output: y and x, `(B, K K, H, W)`.
    """
    height, width = offsets.shape[-2:]
    place, dtype = offsets.device, offsets.dtype
    reach = torch.arange(kernel_size, device=place, dtype=dtype) - kernel_size // 2
    rows = torch.arange(height, device=place, dtype=dtype)[:, None]
    columns = torch.arange(width, device=place, dtype=dtype)
    dy, dx = offsets.unflatten(1, (-1, 2)).unbind(2)  # (B, K K, H, W)
    y = dy + rows + reach.repeat_interleave(kernel_size)[:, None, None]
    x = dx + columns + reach.repeat(kernel_size)[:, None, None]
    return y, x


def deformable_convolution_grid_sample(
    x: torch.Tensor, offsets: torch.Tensor, modulation: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Computes it by one `grid_sample` per tap. Shape: see `ModulatedDeformableConv2d`."""
    height, width = x.shape[-2:]
    row, column = sampling_positions(offsets, weight.shape[-1])
    grid = torch.stack(((2 * column + 1) / width - 1, (2 * row + 1) / height - 1), dim=-1)  # (B, K K, H, W, 2)
    output = None
    for tap, kernel in enumerate(weight.flatten(2).unbind(-1)):  # each (O, C)
        sampled = F.grid_sample(x, grid[:, tap], padding_mode="zeros", align_corners=False)
        product = F.conv2d(sampled * modulation[:, tap, None], kernel[:, :, None, None])
        output = product if output is None else output + product
    assert output is not None
    return output


def deformable_convolution_gather(
    x: torch.Tensor, offsets: torch.Tensor, modulation: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Computes it by one `embedding_bag` and one matrix product per tap. Shape: see `ModulatedDeformableConv2d`."""
    batch_size, channels, height, width = x.shape
    # A border of zero rows; positions are clamped into it and then read zeros, as outside the map they should.
    table = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).reshape(-1, channels)  # (B (H + 2) (W + 2), C)
    row_length = width + 2
    row, column = sampling_positions(offsets, weight.shape[-1])
    row, column = (row + 1).clamp(0, height + 1), (column + 1).clamp(0, width + 1)
    top, left = row.detach().clamp(max=height).to(torch.int64), column.detach().clamp(max=width).to(torch.int64)
    down, right = row - top, column - left  # (B, K K, H, W), in 0..1
    first_row = torch.arange(batch_size, device=x.device)[:, None, None, None] * ((height + 2) * row_length)
    first = first_row + top * row_length + left
    corners = torch.stack((first, first + 1, first + row_length, first + row_length + 1), dim=-1)
    upper, lower = (1 - down) * modulation, down * modulation
    shares = torch.stack((upper * (1 - right), upper * right, lower * (1 - right), lower * right), dim=-1)

    output = None
    for tap, kernel in enumerate(weight.flatten(2).unbind(-1)):  # each (O, C)
        sampled = F.embedding_bag(
            corners[:, tap].reshape(-1, 4), table, mode="sum", per_sample_weights=shares[:, tap].reshape(-1, 4)
        )  # (B H W, C)
        # In place: no backward pass needs the sum before, and a copy of the map per tap is saved.
        output = sampled @ kernel.t() if output is None else output.addmm_(sampled, kernel.t())
    assert output is not None
    return output.view(batch_size, height, width, -1).permute(0, 3, 1, 2)


def deformable_convolution_torchvision(
    x: torch.Tensor, offsets: torch.Tensor, modulation: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Computes it by torchvision's operator. Shape: see `ModulatedDeformableConv2d`."""
    from torchvision.ops import deform_conv2d

    contiguous = (x.contiguous(), offsets.contiguous(), weight.contiguous())
    return deform_conv2d(*contiguous, padding=weight.shape[-1] // 2, mask=modulation.contiguous())


FORMS = {
    "torchvision": deformable_convolution_torchvision,
    "gather": deformable_convolution_gather,
    "grid_sample": deformable_convolution_grid_sample,
}


class ModulatedDeformableConv2d(nn.Module):
    """Modulated deformable convolution of stride 1 without bias, whose offsets and modulation the caller gives.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: K, odd; the padding is K // 2.
        form: Key of `FORMS`, or `auto`: `gather` on a CPU, else `torchvision`.

    Shape:
        x: `(B, C, H, W)`; offsets: `(B, 2 K K, H, W)` in pixels, pairs (dy, dx), taps row by row; modulation:
        `(B, K K, H, W)`; output: `(B, O, H, W)`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, form: str = "auto"):
        super().__init__()
        self.form = form
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def forward(self, x: torch.Tensor, offsets: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        form = self.form
        if form == "auto":
            form = "gather" if x.device.type == "cpu" else "torchvision"
        dtype = x.dtype
        with maybe_autocast(x.device.type, enabled=False):
            exact = torch.float64 if dtype == torch.float64 else torch.float32
            output = FORMS[form](*(tensor.to(exact) for tensor in (x, offsets, modulation, self.weight)))
        return output.to(dtype)
