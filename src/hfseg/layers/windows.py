# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cutting maps into windows and putting them back, as copies of memory (for training) or by tables of indices.

A gather by index (`layers.shifted_windows`) serves maps of any size in one exported program and needs fewer copies, but
its gradient is a scatter; where something has to be differentiated, maps are padded, rolled and reshaped.

Shape legend: B images, h x w tokens of a map, s side of a window, n windows per image, C channels.
"""

import torch
import torch.nn.functional as F
from transformers.pytorch_utils import compile_compatible_method_lru_cache

from .shifted_windows import CACHED_TABLES


def gathers() -> bool:
    """Says whether to gather: for inference, and always in a program that is to serve several sizes."""
    return torch.compiler.is_exporting() or not torch.is_grad_enabled()


def to_windows(tokens: torch.Tensor, size: int, counts: tuple[int, int], halo: int = 0) -> torch.Tensor:
    """Cuts a map into windows, zero-padded at the right and bottom and, with a halo, overlapping.

    Args:
        tokens: The map.
        size: Side of a window without halo.
        counts: Windows down and across.
        halo: Tokens around a window that belong to it too.

    Shape:
        tokens: `(B, h, w, C)`; output: `(B * n, (size + 2 halo)^2, C)`.
    """
    height, width = tokens.shape[1:3]
    tokens = F.pad(tokens, (0, 0, halo, counts[1] * size - width + halo, halo, counts[0] * size - height + halo))
    if halo:
        side = size + 2 * halo
        windows = tokens.unfold(1, side, size).unfold(2, side, size)  # (B, n_h, n_w, C, side, side)
        return windows.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(0, 2)
    windows = tokens.unflatten(2, (counts[1], size)).unflatten(1, (counts[0], size))  # (B, n_h, size, n_w, size, C)
    return windows.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def from_windows(windows: torch.Tensor, size: int, counts: tuple[int, int], shape: tuple[int, int]) -> torch.Tensor:
    """Puts windows back together and cuts the padding off.

    Shape:
        windows: `(B * n, size^2, C)`; output: `(B, h, w, C)`.
    """
    tokens = windows.unflatten(1, (size, size)).unflatten(0, (-1, *counts)).transpose(2, 3)
    tokens = tokens.flatten(3, 4).flatten(1, 2)  # (B, n_h * size, n_w * size, C)
    return tokens[:, : shape[0], : shape[1]]


def shift_groups(
    height: int, width: int, size: int, shift: int, counts: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """Numbers the parts of the windows of a rolled map: tokens of one number are neighbors in the map too.

    Shape:
        Output: `(n, size^2)`, values 0..3.
    """
    rows = torch.arange(counts[0] * size, device=device) >= counts[0] * size - shift
    columns = torch.arange(counts[1] * size, device=device) >= counts[1] * size - shift
    groups = 2 * rows.long()[:, None] + columns.long()
    return to_windows(groups[None, :, :, None], size, counts).squeeze(-1)


@compile_compatible_method_lru_cache(maxsize=CACHED_TABLES)
def halo_window_tokens(
    batch_size: int,
    height: int,
    width: int,
    size: int,
    halo: int,
    rows: int,
    columns: int,
    device: torch.device,
    spare: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tabulates which tokens each window holds, its halo included, for `shifted_windows.gather_tokens`.

    Args:
        batch_size: B.
        height: Rows of the map.
        width: Columns of the map.
        size: Side of a window without halo.
        halo: Tokens around it.
        rows: Windows down.
        columns: Windows across.
        device: Where the tables live.
        spare: Windows of padding behind the others; see `shifted_windows.spare_windows`.

    Returns:
        The indices, and which of them lie outside the map.

    Shape:
        Output: `(B * rows * columns + spare, (size + 2 halo)^2)` twice.
    """
    with torch.inference_mode(False):
        side = size + 2 * halo
        number = torch.arange(batch_size * rows * columns + spare, device=device)[:, None]
        image, number = number // (rows * columns), number % (rows * columns)
        within = torch.arange(side * side, device=device)
        y = number // columns * size + within // side - halo
        x = number % columns * size + within % side - halo
        outside = (y < 0) | (y >= height) | (x < 0) | (x >= width)
        index = image * (height * width + 1) + torch.where(outside, height * width, y * width + x)
        return (torch.where(image < batch_size, index, height * width) if spare else index), outside
