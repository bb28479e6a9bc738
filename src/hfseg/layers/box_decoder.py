# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Decoder of boxes: queries with an anchor box each, refined layer by layer.

DINO (Zhang et al., ICLR 2023, section 3) on Deformable DETR (Zhu et al., ICLR 2021, appendix A.4): the position code of
a query is made from its anchor (DAB-DETR), deformable attention looks around the anchor, and every layer moves it. The
anchor handed on is detached, but the box predicted at layer i starts from the undetached box of layer i - 1, so that a
layer learns from its successor's loss too ("look forward twice").

Shape legend: B images, Q queries, C channels, L tokens of all scales. Boxes are (center x, center y, width, height),
each 0..1 of the padded input.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import compile_compatible_method_lru_cache

from .deformable_attention import MultiScaleDeformableAttention, Shapes
from .mask_decoder import MultiHeadAttention, eager_attention
from .positions import CACHED_SIZES, pixel_centers

# Keeps the logit of a coordinate finite.
EPSILON = 1e-5
# Side of the anchor of a token of the finest scale, as a share of the input; each coarser scale has twice of it.
FINEST_SIDE = 0.05
# Anchors closer to the border of the input than this share, or larger than the rest of it, stand for nothing.
BORDER = 0.01


def inverse_sigmoid(boxes: torch.Tensor) -> torch.Tensor:
    """Computes the logit of coordinates, clamped to be finite. Shape: any."""
    boxes = boxes.clamp(EPSILON, 1 - EPSILON)
    return torch.log(boxes / (1 - boxes))


@compile_compatible_method_lru_cache(maxsize=CACHED_SIZES)
def token_anchors(shapes: Shapes, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes an anchor for every token: its center, with a side that depends on its scale.

    Args:
        shapes: `(height, width)` of each scale, coarse to fine.
        device: Where the result lives.

    Returns:
        Logits of the anchors, infinite where an anchor stands for nothing, and which ones stand for something.

    Shape:
        `(1, L, 4)`, float32; `(1, L, 1)`, boolean.
    """
    with torch.inference_mode(False):
        anchors = []
        for level, shape in enumerate(shapes):
            centers = pixel_centers((shape,), device)
            side = FINEST_SIDE * 2 ** (len(shapes) - 1 - level)
            anchors.append(torch.cat((centers, torch.full_like(centers, side)), dim=-1))
        boxes = torch.cat(anchors).unsqueeze(0)
        valid = ((boxes > BORDER) & (boxes < 1 - BORDER)).all(-1, keepdim=True)
        return torch.log(boxes / (1 - boxes)).masked_fill(~valid, torch.inf), valid


def box_sine_code(boxes: torch.Tensor, num_features: int) -> torch.Tensor:
    """Computes DAB-DETR's sine code of boxes: y, x, width and height, half of the features each, temperature 10000.

    Args:
        boxes: Boxes.
        num_features: Features for two coordinates; divisible by 4.

    Shape:
        boxes: `(B, Q, 4)`; output: `(B, Q, 2 * num_features)`, float32.
    """
    per_coordinate = num_features // 2
    feature = torch.arange(per_coordinate, device=boxes.device, dtype=torch.float32)
    wavelength = 10000.0 ** (2 * torch.div(feature, 2, rounding_mode="floor") / per_coordinate)
    angles = (boxes.float() * (2 * torch.pi)).unsqueeze(-1) / wavelength  # (B, Q, 4, F/2)
    code = torch.stack((angles[..., 0::2].sin(), angles[..., 1::2].cos()), dim=-1).flatten(-2)  # (B, Q, 4, F/2)
    x, y, width, height = code.unbind(-2)
    return torch.cat((y, x, width, height), dim=-1)


class Perceptron(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        sizes: Channels before the first and after every layer.
    """

    def __init__(self, *sizes: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(*pair) for pair in pairwise(sizes)])

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Shape: `(..., sizes[0])` to `(..., sizes[-1])`."""
        for layer in self.layers[:-1]:
            features = F.relu(layer(features))
        return self.layers[-1](features)


class BoxDecoderLayer(GradientCheckpointingLayer):
    """Self-attention, deformable attention around the anchor, feed-forward; each followed by addition and LayerNorm."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        feedforward_size: int,
        num_levels: int,
        num_points: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.dropout = dropout
        self.self_attn = MultiHeadAttention(hidden_size, num_heads, dropout)
        self.self_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.cross_attn = MultiScaleDeformableAttention(hidden_size, num_heads, num_levels, num_points)
        self.cross_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.fc1 = nn.Linear(hidden_size, feedforward_size)
        self.fc2 = nn.Linear(feedforward_size, hidden_size)
        self.final_layer_norm = nn.LayerNorm(hidden_size)

    def forward(
        self,
        queries: torch.Tensor,
        positions: torch.Tensor,
        memory: torch.Tensor,
        anchors: torch.Tensor,
        shapes: Shapes,
        attention_mask: torch.Tensor | None = None,
        attend: Callable = eager_attention,
        **kwargs,
    ) -> torch.Tensor:
        """Updates the queries.

        Shape:
            queries, positions: `(B, Q, C)`; memory: `(B, L, C)`; anchors: `(B, Q, 4)`; attention_mask: `(1, 1, Q, Q)`,
            true where a query may look. Output: `(B, Q, C)`.
        """

        def add(block: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
            return residual + F.dropout(block, p=self.dropout, training=self.training)

        positioned = queries + positions
        attended, _ = self.self_attn(positioned, positioned, queries, attention_mask, attend, **kwargs)
        queries = self.self_attn_layer_norm(add(attended, queries))
        attended, _ = self.cross_attn(queries, positions, memory, anchors, shapes)
        queries = self.cross_attn_layer_norm(add(attended, queries))
        hidden = F.dropout(F.relu(self.fc1(queries)), p=self.dropout, training=self.training)
        return self.final_layer_norm(add(self.fc2(hidden), queries))


@dataclass
class BoxDecoderOutput:
    """Queries and boxes after every layer.

    Attributes:
        queries: Normalized queries, each `(B, Q, C)`.
        boxes: Predicted boxes, each `(B, Q, 4)`, float32.
    """

    queries: list[torch.Tensor]
    boxes: list[torch.Tensor]


class BoxDecoder(nn.Module):
    """Layers, the position code of anchors, and the box predictor, which all layers share.

    Args:
        hidden_size: Channels C of queries and tokens.
        num_layers: Layers.
        num_heads: Attention heads.
        feedforward_size: Hidden units of the feed-forward blocks.
        num_levels: Scales of the tokens.
        num_points: Points per head and scale of the deformable attention.
        dropout: Probability, after attention and in the feed-forward blocks.
    """

    def __init__(
        self,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        feedforward_size: int,
        num_levels: int,
        num_points: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.hidden_size = hidden_size
        self.position_encoder = Perceptron(2 * hidden_size, hidden_size, hidden_size)
        self.layers = nn.ModuleList(
            [
                BoxDecoderLayer(hidden_size, num_heads, feedforward_size, num_levels, num_points, dropout)
                for _ in range(num_layers)
            ]
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.box_predictor = Perceptron(hidden_size, hidden_size, hidden_size, 4)

    def forward(
        self,
        queries: torch.Tensor,
        anchors: torch.Tensor,
        memory: torch.Tensor,
        shapes: Shapes,
        attention_mask: torch.Tensor | None = None,
        attend: Callable = eager_attention,
        **kwargs,
    ) -> BoxDecoderOutput:
        """Refines queries and boxes.

        Args:
            queries: Content of the queries.
            anchors: Boxes that they start from.
            memory: Encoded tokens.
            shapes: `(height, width)` of each scale.
            attention_mask: Which queries may look at which.
            attend: Implementation of self-attention.

        Shape:
            queries: `(B, Q, C)`; anchors: `(B, Q, 4)`, float32; memory: `(B, L, C)`; attention_mask: `(1, 1, Q, Q)`.
        """
        output = BoxDecoderOutput([], [])
        start = anchors  # of this layer's box, undetached
        for layer in self.layers:
            code = box_sine_code(anchors, self.hidden_size).to(queries.dtype)
            queries = layer(
                queries, self.position_encoder(code), memory, anchors, shapes, attention_mask, attend, **kwargs
            )
            normalized = self.norm(queries)
            output.queries.append(normalized)
            output.boxes.append((self.box_predictor(normalized).float() + inverse_sigmoid(start)).sigmoid())
            if layer is not self.layers[-1]:
                start = (self.box_predictor(queries).float() + inverse_sigmoid(anchors)).sigmoid()
                anchors = start.detach()
        return output
