# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Multi-scale deformable attention (Zhu et al., "Deformable DETR", ICLR 2021, equations 2 and 3).

Two formulations of the same sum live here. `deformable_attention_grid_sample` is the contract: one bilinear
`grid_sample` per level, differentiable everywhere and exportable. `deformable_attention_gather` is the fast path for
inference on a CPU: bilinear interpolation and the weighted sum over points are both weighted sums of rows of the value
table, so the whole operation is one `embedding_bag`, and the `(heads, channels, queries, points)` intermediate of the
first form never exists.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.integrations import use_kernel_forward_from_hub
from transformers.modeling_layers import GradientCheckpointingLayer

from .positions import level_sizes

Shapes = tuple[tuple[int, int], ...]


def deformable_attention_grid_sample(
    value: torch.Tensor, shapes: Shapes, sampling_locations: torch.Tensor, attention_weights: torch.Tensor
) -> torch.Tensor:
    """Computes deformable attention with one `grid_sample` per level.

    Args:
        value: Projected tokens of all levels, one level after the other.
        shapes: `(height, width)` of each level.
        sampling_locations: Where each query looks, as (x, y) in 0..1 of the level's map; outside counts as zero.
        attention_weights: Weight of each point, summing to 1 over levels and points.

    Returns:
        The attended values, heads concatenated.

    Shape:
        value: `(B, L, heads, D)` with L the sum of `height * width`.
        sampling_locations: `(B, Q, heads, levels, points, 2)`.
        attention_weights: `(B, Q, heads, levels, points)`.
        Output: `(B, Q, heads * D)`.
    """
    batch_size, _, num_heads, head_dim = value.shape
    num_queries, num_points = sampling_locations.shape[1], sampling_locations.shape[4]
    grids = (2 * sampling_locations - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (levels, B*heads, Q, points, 2)
    levels = value.split([height * width for height, width in shapes], dim=1)
    sampled = []
    for (height, width), level, grid in zip(shapes, levels, grids):
        level = level.permute(0, 2, 3, 1).reshape(batch_size * num_heads, head_dim, height, width)
        sampled.append(F.grid_sample(level, grid.to(level.dtype), padding_mode="zeros", align_corners=False))
    stacked = torch.stack(sampled, dim=-2).flatten(-2)  # (B*heads, D, Q, levels*points)
    weights = attention_weights.transpose(1, 2).reshape(batch_size * num_heads, 1, num_queries, -1)
    assert stacked.shape[-1] == len(shapes) * num_points
    output = (stacked * weights.to(stacked.dtype)).sum(-1)  # (B*heads, D, Q)
    return output.view(batch_size, num_heads * head_dim, num_queries).transpose(1, 2)


def coordinate_extents(shapes: Shapes, num_heads: int, num_points: int, device: torch.device) -> torch.Tensor:
    """Tabulates by what each coordinate of a query is scaled: the width of its level for x, the height for y.

    Coordinates in one long row meet their scale without a short innermost loop over (x, y), which is what a CPU's time
    would otherwise go to: the same sums run ten times faster.

    Shape:
        Output: `(heads * levels * points * 2,)`, float32.
    """
    size = level_sizes(shapes, device)[:, None, :].expand(-1, num_points, 2)  # (levels, points, 2)
    return size.repeat(num_heads, 1, 1, 1).flatten()


def deformable_attention_gather(
    value: torch.Tensor, shapes: Shapes, sampling_locations: torch.Tensor, attention_weights: torch.Tensor
) -> torch.Tensor:
    """Computes deformable attention as one weighted sum of table rows per query and head.

    Every map is framed by a border of zero rows, and locations are clamped into the frame: a point outside the map then
    reads zeros, as `grid_sample` with zero padding does, without a test per corner.

    Args:
        value: See `deformable_attention_grid_sample`.
        shapes: Likewise.
        sampling_locations: Likewise.
        attention_weights: Likewise.

    Returns:
        The same sum as `deformable_attention_grid_sample`, up to the order of additions.

    Shape:
        As `deformable_attention_grid_sample`.
    """
    batch_size, _, num_heads, head_dim = value.shape
    num_queries = sampling_locations.shape[1]
    device = value.device
    framed = [
        F.pad(level.unflatten(1, shape), (0, 0, 0, 0, 1, 1, 1, 1)).flatten(1, 2)
        for shape, level in zip(shapes, value.split([height * width for height, width in shapes], dim=1))
    ]
    table = torch.cat(framed, dim=1)  # (B, R, heads, D) with R the sum of (height + 2) * (width + 2)
    rows_per_image = table.shape[1] * num_heads

    size = level_sizes(shapes, device)[:, None, :]  # (levels, 1, 2)
    extents = coordinate_extents(shapes, num_heads, sampling_locations.shape[4], device)
    row_length = size[:, :, 0].to(torch.int32) + 2  # (levels, 1)
    rows_per_level = row_length * (size[:, :, 1].to(torch.int32) + 2)
    first_row = (rows_per_level.cumsum(0) - rows_per_level).to(torch.int32)

    # Frame coordinates: pixel center i of the map is at i + 1, the frame at 0 and size + 1.
    position = (sampling_locations.flatten(2) * extents).add_(0.5).clamp_(min=0).minimum(extents + 1)
    corner = position.to(torch.int32).minimum(extents.to(torch.int32))  # truncation is floor: nothing is negative
    right_bottom = position.sub_(corner).view(sampling_locations.shape)  # in 0..1
    left_top = 1 - right_bottom
    x, y = corner.view(sampling_locations.shape).unbind(-1)
    image_and_head = (
        torch.arange(batch_size, device=device, dtype=torch.int32)[:, None, None, None, None] * rows_per_image
        + torch.arange(num_heads, device=device, dtype=torch.int32)[:, None, None]
    )
    step = row_length * num_heads
    first = (y * step).add_(x * num_heads).add_(first_row * num_heads + image_and_head)
    rows = torch.stack((first, first + num_heads, first + step, first + (step + num_heads)), dim=-1)

    top, bottom = left_top[..., 1] * attention_weights, right_bottom[..., 1] * attention_weights
    left, right = left_top[..., 0], right_bottom[..., 0]
    weights = torch.stack((top * left, top * right, bottom * left, bottom * right), dim=-1)

    bags = batch_size * num_queries * num_heads
    output = F.embedding_bag(
        rows.view(bags, -1),
        table.view(batch_size * rows_per_image, head_dim),
        mode="sum",
        per_sample_weights=weights.view(bags, -1).to(table.dtype),
    )
    return output.view(batch_size, num_queries, num_heads * head_dim)


@use_kernel_forward_from_hub("MultiScaleDeformableAttention")
class MultiScaleDeformableSampling(nn.Module):
    """Chooses the formulation of deformable attention.

    The signature is the one of the `kernels` package, so that `from_pretrained(..., use_kernels=True)` replaces this
    forward by its CUDA kernel.
    """

    def forward(
        self,
        value: torch.Tensor,
        value_spatial_shapes: torch.Tensor | None,
        value_spatial_shapes_list: Shapes,
        level_start_index: torch.Tensor | None,
        sampling_locations: torch.Tensor,
        attention_weights: torch.Tensor,
        im2col_step: int = 64,
    ) -> torch.Tensor:
        """Attends; see `deformable_attention_grid_sample` for arguments and shapes."""
        shapes = tuple(value_spatial_shapes_list)
        # The gather form is faster where nothing has to be differentiated; its backward pass is not.
        if value.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return deformable_attention_gather(value, shapes, sampling_locations, attention_weights)
        return deformable_attention_grid_sample(value, shapes, sampling_locations, attention_weights)


class MultiScaleDeformableAttention(nn.Module):
    """Deformable attention of queries to several maps: offsets and weights are predicted from the query.

    Args:
        hidden_size: Channels C of queries and values.
        num_heads: Attention heads; must divide `hidden_size`.
        num_levels: Maps attended.
        num_points: Points per head and map.

    Raises:
        ValueError: If `hidden_size` is not a multiple of `num_heads`.
    """

    def __init__(self, hidden_size: int, num_heads: int, num_levels: int, num_points: int):
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(
                f"hidden_size={hidden_size} is not a multiple of num_heads={num_heads}: choose a number of heads that "
                "divides it."
            )
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(hidden_size, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(hidden_size, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(hidden_size, hidden_size)
        self.output_proj = nn.Linear(hidden_size, hidden_size)
        self.sampling = MultiScaleDeformableSampling()

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: torch.Tensor,
        value_states: torch.Tensor,
        reference_points: torch.Tensor,
        shapes: Shapes,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attends from every query token to `num_points` points around its reference point in each level.

        Args:
            hidden_states: Query tokens.
            position_embeddings: Code added to the queries only.
            value_states: Tokens of the attended levels.
            reference_points: Center of each query as (x, y) in 0..1, or its box.
            shapes: `(height, width)` of each attended level.

        Returns:
            The attended tokens and the attention weights.

        Shape:
            hidden_states, position_embeddings: `(B, Q, C)`; the code may have batch size 1.
            value_states: `(B, L, C)`.
            reference_points: `(Q, 2)`, alike in all images; or boxes (center x, center y, width, height), `(B, Q, 4)`:
                offsets are then in halves of the box's sides, divided by the number of points (Deformable DETR, A.4).
            Output: `(B, Q, C)` and `(B, Q, heads, levels, points)`.
        """
        batch_size, num_queries, _ = hidden_states.shape
        queries = hidden_states + position_embeddings
        value = self.value_proj(value_states).unflatten(-1, (self.num_heads, -1))  # (B, L, heads, D)
        points = (batch_size, num_queries, self.num_heads, self.num_levels, self.num_points)
        # Coordinates stay float32 in half precision: 8 bits of mantissa cannot tell neighboring pixels apart.
        offsets = self.sampling_offsets(queries).float()  # (B, Q, heads * levels * points * 2)
        weights = self.attention_weights(queries).view(*points[:3], -1)
        weights = weights.softmax(-1, dtype=torch.float32).view(points)
        if reference_points.shape[-1] == 4:
            center, side = reference_points[:, :, None, None, None].chunk(2, dim=-1)  # (B, Q, 1, 1, 1, 2)
            locations = center + offsets.view(*points, 2) * side * (0.5 / self.num_points)
        else:
            extents = coordinate_extents(shapes, self.num_heads, self.num_points, queries.device)
            centers = reference_points.repeat(1, len(extents) // 2)  # (Q, heads * levels * points * 2)
            locations = torch.addcdiv(centers, offsets, extents).view(*points, 2)
        # What a CUDA kernel wants beside the list: (height, width) of each level and the index of its first token.
        heights_widths = level_sizes(shapes, queries.device).flip(1).long()
        areas = heights_widths.prod(1)
        output = self.sampling(value, heights_widths, shapes, areas.cumsum(0) - areas, locations, weights, 64)
        return self.output_proj(output), weights


class DeformableEncoderLayer(GradientCheckpointingLayer):
    """Deformable attention and feed-forward, each followed by addition and LayerNorm.

    Args:
        hidden_size: Channels C of the tokens.
        num_heads: Attention heads.
        num_levels: Maps attended.
        num_points: Points per head and map.
        feedforward_size: Hidden units of the feed-forward block.
        dropout: Probability, after attention and in the feed-forward block.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_levels: int,
        num_points: int,
        feedforward_size: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.dropout = dropout
        self.self_attn = MultiScaleDeformableAttention(hidden_size, num_heads, num_levels, num_points)
        self.self_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.fc1 = nn.Linear(hidden_size, feedforward_size)
        self.fc2 = nn.Linear(feedforward_size, hidden_size)
        self.final_layer_norm = nn.LayerNorm(hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        values: torch.Tensor,
        positions: torch.Tensor,
        reference_points: torch.Tensor,
        shapes: Shapes,
    ) -> torch.Tensor:
        """Updates tokens.

        Shape:
            hidden_states: `(B, T, C)`, the updated tokens; values: `(B, L, C)`, the attended ones; positions:
            `(1, T, C)`; reference_points: `(T, 2)`; output: `(B, T, C)`.
        """
        attended, _ = self.self_attn(hidden_states, positions, values, reference_points, shapes)
        hidden_states = hidden_states + F.dropout(attended, p=self.dropout, training=self.training)
        hidden_states = self.self_attn_layer_norm(hidden_states)
        hidden = F.dropout(F.relu(self.fc1(hidden_states)), p=self.dropout, training=self.training)
        hidden = F.dropout(self.fc2(hidden), p=self.dropout, training=self.training)
        return self.final_layer_norm(hidden_states + hidden)
