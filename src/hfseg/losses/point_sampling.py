# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Bilinear reading of maps at points (PointRend; Kirillov et al., CVPR 2020), without making masks first.

Points are (x, y) in 0..1 of the padded image; a map's pixel (row, column) has its centre at (column + 0.5, row + 0.5).
Outside a map everything is zero, as with `grid_sample(padding_mode="zeros", align_corners=False)`.
"""

import torch
import torch.nn.functional as F


def bilinear_corners(
    points: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes which four pixels a point lies between, and their shares.

    Args:
        points: (x, y) in 0..1 of `padded_size`.
        size: `(height, width)` of the map.
        padded_size: `(height, width)` that the coordinates refer to, if the map covers only its top left part.

    Returns:
        Row-major pixel indices and weights; a corner outside the map has weight 0 and a legal index.

    Shape:
        points: `(..., 2)`. Output: int64 and float32, both `(..., 4)`.
    """
    (height, width), (frame_height, frame_width) = size, padded_size or size
    x = points[..., 0].float() * frame_width - 0.5
    y = points[..., 1].float() * frame_height - 0.5
    left, top = x.floor(), y.floor()
    columns = torch.stack((left, left + 1, left, left + 1), dim=-1)
    rows = torch.stack((top, top, top + 1, top + 1), dim=-1)
    share_x, share_y = x - left, y - top
    weights = torch.stack(
        (
            (1 - share_x) * (1 - share_y),
            share_x * (1 - share_y),
            (1 - share_x) * share_y,
            share_x * share_y,
        ),
        dim=-1,
    )
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    indices = rows.clamp(0, height - 1).long() * width + columns.clamp(0, width - 1).long()
    return indices, weights * inside


def sample_embedding(embedding: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Reads a map of vectors at points, without gradients.

    Shape:
        embedding: `(M, h, w)`; points: `(..., 2)`; output: `(..., M)`.
    """
    channels, height, width = embedding.shape
    indices, weights = bilinear_corners(points, (height, width))
    table = embedding.flatten(1).t().contiguous()  # (h*w, M): one row per pixel, so that a corner is one short read
    sampled = F.embedding_bag(
        indices.view(-1, 4), table, mode="sum", per_sample_weights=weights.view(-1, 4).to(table.dtype)
    )
    return sampled.view(*points.shape[:-1], channels)


def sample_masks(logits: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Reads masks at points of their own, with gradients.

    Shape:
        logits: `(N, h, w)`; points: `(N, P, 2)`; output: `(N, P)`.
    """
    grid = (2 * points - 1).unsqueeze(1)  # (N, 1, P, 2)
    return F.grid_sample(logits.unsqueeze(1), grid, padding_mode="zeros", align_corners=False)[:, 0, 0]


def sample_targets(
    target: torch.Tensor, segments: torch.Tensor, points: torch.Tensor, padded_size: tuple[int, int]
) -> torch.Tensor:
    """Reads target segments at points: the interpolated value of each segment's binary mask.

    Args:
        target: An id map (value n + 1 is segment n, 0 nothing) or a stack of binary masks.
        segments: Index of the segment to read, counted from 0.
        points: Either one set for all segments or one per segment.
        padded_size: `(height, width)` that the points refer to.

    Shape:
        target: `(H, W)` or `(T, H, W)`; segments: `(N,)`; points: `(P, 2)` or `(N, P, 2)`; output: `(N, P)`, float32.
    """
    size = tuple(target.shape[-2:])
    indices, weights = bilinear_corners(points, size, padded_size)  # (P, 4) or (N, P, 4)
    if target.dim() == 2:
        values = target.flatten()[indices] == (segments + 1)[:, None, None].to(target.dtype)  # (N, P, 4)
    else:
        offset = segments[:, None, None] * (size[0] * size[1])
        values = target.flatten()[indices + offset]  # (N, P, 4)
    return (values.to(weights.dtype) * weights).sum(-1)
