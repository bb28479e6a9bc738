# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Shifted windows (Liu et al., "Swin Transformer", ICCV 2021, section 3.2) as tables of token indices.

Padding a map to whole windows, rolling it and cutting it are one permutation of its tokens, with padding read from a
row of zeros. Written as a table of indices, the three become one gather, and their inverse another, instead of three
copies each. No view of the map exists whose strides depend on whether it was padded, so a program traced at one size
serves all.

Every size below may be a symbol. A size is divided by rounding up, `-(-size // unit)`, and never compared.

Shape legend: B images, h x w tokens of a map, s side of a window, n windows per image, C channels.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import compile_compatible_method_lru_cache

# Tables kept: a four-stage network uses eight of either kind for one size of images.
CACHED_TABLES = 64


def gather_tokens(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Collects tokens by their number in the batch, zeros where the number is that of the row behind an image's last.

    Shape:
        tokens: `(B, T, C)`; index: any shape, values `image * (T + 1) + token` with token in 0..T; output:
        `(*index.shape, C)`.
    """
    return F.embedding(index, F.pad(tokens, (0, 0, 0, 1)).flatten(0, 1))


def spare_windows() -> int:
    """Counts windows without tokens that are cut beside those of the maps: one while a program is exported, else none.

    A program is traced with several windows, and what it then assumes of their axis does not hold for one alone (one
    image no larger than a window). The spare one, whose results nobody reads, makes them two at least.
    """
    return int(torch.compiler.is_exporting())


@compile_compatible_method_lru_cache(maxsize=CACHED_TABLES)
def window_tokens(
    batch_size: int, height: int, width: int, window: int, shift: int, device: torch.device, spare: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tabulates which tokens each window holds, for `gather_tokens`, and what part of the rolled map they are from.

    Args:
        batch_size: B.
        height: Rows of the map, h.
        width: Columns of the map, w.
        window: Side of a window, s.
        shift: Rows and columns by which the padded map is rolled up and to the left.
        device: Where the tables live.
        spare: Windows of padding behind the others; see `spare_windows`.

    Returns:
        The indices, and the number of the region: tokens of one window may attend to each other if they are neighbors
        in the map too, that is, have the same.

    Shape:
        Output: `(B * n + spare, s * s)` twice.
    """
    with torch.inference_mode(False):
        rows, columns = -(-height // window), -(-width // window)
        bottom, right = rows * window, columns * window
        # Windows of all images in one axis: one of n alone could be 1, which a tracer would take for a constant.
        number = torch.arange(batch_size * rows * columns + spare, device=device)[:, None]
        image, number = number // (rows * columns), number % (rows * columns)
        within = torch.arange(window * window, device=device)
        y = number // columns * window + within // window  # (B * n, s * s), in the rolled map
        x = number % columns * window + within % window
        region = 3 * ((y >= bottom - window).long() + (y >= bottom - shift))
        region = region + (x >= right - window) + (x >= right - shift)
        y, x = (y + shift) % bottom, (x + shift) % right
        token = torch.where((y < height) & (x < width), y * width + x, height * width)
        index = image * (height * width + 1) + token
        return (torch.where(image < batch_size, index, height * width) if spare else index), region


@compile_compatible_method_lru_cache(maxsize=CACHED_TABLES)
def window_places(
    batch_size: int, height: int, width: int, window: int, shift: int, device: torch.device
) -> torch.Tensor:
    """Tabulates where each token of the map is among the tokens of all windows: undoes `window_tokens`.

    Args: see `window_tokens`; spare windows stay behind.

    Shape:
        Output: `(B, h * w)`, values 0..B * n * s * s - 1.
    """
    with torch.inference_mode(False):
        rows, columns = -(-height // window), -(-width // window)
        token = torch.arange(height * width, device=device)
        y, x = (token // width - shift) % (rows * window), (token % width - shift) % (columns * window)
        number = y // window * columns + x // window
        first = torch.arange(batch_size, device=device)[:, None] * (rows * columns * window * window)
        return first + number * (window * window) + y % window * window + x % window


def embed_patches(pixel_values: torch.Tensor, patch_size: Iterable[int], projection: nn.Module) -> Any:
    """Embeds the patches of an image of any size; zeros complete those at the right and bottom edge.

    Shape:
        pixel_values: `(B, 3, H, W)`; output: `(B, h * w, C)` and `(h, w)`.
    """
    (patch_height, patch_width), (height, width) = patch_size, pixel_values.shape[-2:]
    rows, columns = -(-height // patch_height), -(-width // patch_width)
    padding = (0, columns * patch_width - width, 0, rows * patch_height - height)
    return projection(F.pad(pixel_values, padding)).flatten(2).transpose(1, 2), (rows, columns)


@compile_compatible_method_lru_cache(maxsize=CACHED_TABLES)
def quad_tokens(batch_size: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Tabulates the 2x2 blocks of a map, for `gather_tokens`; a last odd row or column is completed by zeros.

    Order within a block, as Swin's patch merging has it: top left, bottom left, top right, bottom right.

    Args: see `window_tokens`.

    Shape:
        Output: `(B, ceil(h / 2) * ceil(w / 2), 4)`.
    """
    with torch.inference_mode(False):
        top = 2 * torch.arange((height + 1) // 2, device=device)[:, None]
        left = 2 * torch.arange((width + 1) // 2, device=device)
        corners = []
        for y, x in ((top, left), (top + 1, left), (top, left + 1), (top + 1, left + 1)):
            corners.append(torch.where((y < height) & (x < width), y * width + x, height * width).flatten())
        first = torch.arange(batch_size, device=device)[:, None, None] * (height * width + 1)
        return first + torch.stack(corners, dim=-1)
