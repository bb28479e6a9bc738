# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masked-attention transformer decoder (Cheng et al., "Masked-attention Mask Transformer", CVPR 2022, section 3.2).

Queries attend, layer by layer, to one map of the pyramid after the other, each query only where its own last mask
prediction is positive. Shared by every mask-classification model of the zoo.

Two exact savings against the usual formulation. Bilinear resizing is linear and commutes with the channel product
between mask embedding and pixel embedding, so the mask that steers the attention is computed from a pixel embedding
that is resized once per level: no full-resolution mask exists between the layers. And a mask is one boolean map,
broadcast over the heads. Full-resolution masks are left to the caller, who knows which of them are needed
(`mask_logits`).

Shape legend: B images, Q queries, C channels of the queries, M channels of the pixel embedding, T tokens of a level.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils.generic import maybe_autocast

from .mask_positions import MaskPositions, widen
from .positions import pixel_sine_positions, sine_positions
from .query_selection import PixelQueries, PixelQuerySelection

# Input pixels per cell of the coarsest map; each next one has half of it, the pixel embedding an eighth.
COARSEST_STRIDE = 32


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes softmax attention in plain operations and returns its weights too.

    Shape:
        query: `(B, heads, Q, D)`; key, value: `(B, heads, T, D)`; attention_mask: boolean, true where a query may look,
        broadcastable to `(B, heads, Q, T)`.
        Output: `(B, Q, heads, D)` and `(B, heads, Q, T)`.
    """
    scores = (query @ key.transpose(-1, -2)) * scaling  # (B, heads, Q, T)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class MultiHeadAttention(nn.Module):
    """Attention whose keys and values may come from different tensors (keys carry the position code, values do not)."""

    is_causal = False

    def __init__(self, hidden_size: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(
                f"hidden_size={hidden_size} is not a multiple of num_heads={num_heads}: choose a number of heads that "
                "divides it."
            )
        self.head_dim = hidden_size // num_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = dropout
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, hidden_size)

    def forward(
        self,
        query_states: torch.Tensor,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        attend: Callable = eager_attention,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attends from `query_states` to `value_states`.

        Shape:
            query_states: `(B, Q, C)`; key_states, value_states: `(B, T, C)`.
            attention_mask: `(B, 1, Q, T)`, true where a query may look.
            Output: `(B, Q, C)` and, from implementations that keep them, the weights `(B, heads, Q, T)`.
        """

        def heads(states: torch.Tensor) -> torch.Tensor:
            return states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, heads, tokens, D)

        output, weights = attend(
            self,
            heads(self.q_proj(query_states)),
            heads(self.k_proj(key_states)),
            heads(self.v_proj(value_states)),
            attention_mask,
            scaling=self.scaling,
            dropout=self.dropout if self.training else 0.0,
            is_causal=False,
            **kwargs,
        )
        return self.out_proj(output.flatten(2)), weights


class MaskedAttentionDecoderLayer(GradientCheckpointingLayer):
    """Masked cross-attention, self-attention, feed-forward; each followed by addition and LayerNorm."""

    def __init__(self, hidden_size: int, num_heads: int, feedforward_size: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.cross_attn = MultiHeadAttention(hidden_size, num_heads, dropout)
        self.cross_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.self_attn = MultiHeadAttention(hidden_size, num_heads, dropout)
        self.self_attn_layer_norm = nn.LayerNorm(hidden_size)
        self.fc1 = nn.Linear(hidden_size, feedforward_size)
        self.fc2 = nn.Linear(feedforward_size, hidden_size)
        self.final_layer_norm = nn.LayerNorm(hidden_size)

    def forward(
        self,
        queries: torch.Tensor,
        query_positions: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        attention_mask: torch.Tensor,
        attend: Callable = eager_attention,
        valid_queries: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        """Updates the queries.

        Shape:
            queries: `(B, Q, C)`; query_positions: `(1, Q, C)` or `(B, Q, C)`; keys, values: `(B, T, C)`;
            attention_mask: `(B, 1, Q, T)`; valid_queries: `(B, 1, 1, Q)`, true where queries may look at a query.
            Output: `(B, Q, C)`.
        """

        def add(block: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
            return residual + F.dropout(block, p=self.dropout, training=self.training)

        attended, _ = self.cross_attn(queries + query_positions, keys, values, attention_mask, attend, **kwargs)
        queries = self.cross_attn_layer_norm(add(attended, queries))
        positioned = queries + query_positions
        attended, _ = self.self_attn(positioned, positioned, queries, valid_queries, attend, **kwargs)
        queries = self.self_attn_layer_norm(add(attended, queries))
        hidden = F.dropout(F.relu(self.fc1(queries)), p=self.dropout, training=self.training)
        return self.final_layer_norm(add(self.fc2(hidden), queries))


class MaskEmbedder(nn.Module):
    """Three-layer perceptron from a query to the vector whose product with the pixel embedding is its mask."""

    def __init__(self, hidden_size: int, mask_feature_size: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Linear(hidden_size, hidden_size),
                nn.Linear(hidden_size, hidden_size),
                nn.Linear(hidden_size, mask_feature_size),
            ]
        )

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """Embeds queries. Shape: `(B, Q, C)` to `(B, Q, M)`."""
        for layer in self.layers[:-1]:
            queries = F.relu(layer(queries))
        return self.layers[-1](queries)


def mask_logits(mask_embeddings: torch.Tensor, pixel_embedding: torch.Tensor, precise: bool = False) -> torch.Tensor:
    """Computes the mask of every query: the channel product of its embedding with each pixel's.

    Args:
        mask_embeddings: Of the queries.
        pixel_embedding: Of the pixels.
        precise: Multiplies in the type of the embeddings even under autocast, as position channels need.

    Shape:
        mask_embeddings: `(B, Q, M)`; pixel_embedding: `(B, M, h, w)`.
        Output: `(B, Q, h, w)`.
    """
    if precise:
        with maybe_autocast(mask_embeddings.device.type, enabled=False):
            return mask_logits(mask_embeddings, pixel_embedding)
    return torch.bmm(mask_embeddings, pixel_embedding.flatten(2)).unflatten(-1, pixel_embedding.shape[-2:])


@torch.no_grad()
def steering_masks(
    mask_embeddings: torch.Tensor, resized_pixel_embedding: torch.Tensor, precise: bool = False
) -> torch.Tensor:
    """Computes where each query may look: where its mask is more likely than not, or everywhere if that is nowhere.

    `sigmoid(z) >= 0.5` is `z >= 0`. `precise`: see `mask_logits`.

    Shape:
        mask_embeddings: `(B, Q, M)`; resized_pixel_embedding: `(B, M, T)`.
        Output: boolean `(B, 1, Q, T)`.
    """
    if precise:
        with maybe_autocast(mask_embeddings.device.type, enabled=False):
            return steering_masks(mask_embeddings, resized_pixel_embedding)
    visible = torch.bmm(mask_embeddings, resized_pixel_embedding) >= 0  # (B, Q, T)
    return (visible | ~visible.any(-1, keepdim=True)).unsqueeze(1)


@dataclass
class MaskDecoderOutput:
    """Predictions before the first and after every layer, as embeddings.

    Attributes:
        queries: Normalized queries of every prediction level, each `(B, Q, C)`.
        mask_embeddings: Their mask embeddings, each `(B, Q, M)`; `(B, Q, M + 4)` with mask positions.
        pixel_embedding: What they are multiplied with, `(B, M, H/4, W/4)`; `(B, M + 4, H/4, W/4)` with mask positions.
        heat_logits: With queries from pixels: logits of the heat map of centers, `(B, H/8, W/8)`.
        valid_queries: With queries from pixels: which queries stand for something, `(B, Q)`.
    """

    queries: list[torch.Tensor]
    mask_embeddings: list[torch.Tensor]
    pixel_embedding: torch.Tensor
    heat_logits: torch.Tensor | None = None
    valid_queries: torch.Tensor | None = None


class MaskedAttentionDecoder(nn.Module):
    """Queries refined by masked attention over a pyramid of maps, visited coarse to fine, in turns.

    Queries are learned, as in Mask2Former, or come from pixels (`layers.query_selection`) beside a few learned ones.

    Args:
        hidden_size: Channels C of the queries and of the maps.
        mask_feature_size: Channels M of the pixel embedding.
        num_queries: Learned queries, L.
        num_layers: Decoder layers; there is one more prediction than layers.
        num_heads: Attention heads.
        feedforward_size: Hidden units of the feed-forward blocks.
        feature_size: Channels of the incoming maps; projected by 1x1 convolutions where they are not C.
        num_levels: Maps of the pyramid.
        dropout: Probability, after attention and in the feed-forward blocks.
        mask_positions: Whether masks carry a radial term (`layers.mask_positions`).
        pixel_positions: Whether the position code of the maps is in pixels, not in fractions of the map.
        query_selection: Chooses further queries from the finest map; positions are in pixels then.
    """

    def __init__(
        self,
        hidden_size: int,
        mask_feature_size: int,
        num_queries: int,
        num_layers: int,
        num_heads: int,
        feedforward_size: int,
        feature_size: int | None = None,
        num_levels: int = 3,
        dropout: float = 0.0,
        mask_positions: bool = False,
        pixel_positions: bool = False,
        query_selection: PixelQuerySelection | None = None,
    ):
        super().__init__()
        self.query_features = nn.Embedding(num_queries, hidden_size)
        self.query_positions = nn.Embedding(num_queries, hidden_size)
        self.level_embed = nn.Embedding(num_levels, hidden_size)
        self.input_projections = nn.ModuleList(
            [
                nn.Identity() if feature_size in (None, hidden_size) else nn.Conv2d(feature_size, hidden_size, 1)
                for _ in range(num_levels)
            ]
        )
        self.layers = nn.ModuleList(
            [MaskedAttentionDecoderLayer(hidden_size, num_heads, feedforward_size, dropout) for _ in range(num_layers)]
        )
        self.layer_norm = nn.LayerNorm(hidden_size)
        self.mask_embedder = MaskEmbedder(hidden_size, mask_feature_size)
        self.pixel_positions = pixel_positions or query_selection is not None
        self.query_selection = query_selection
        self.mask_positions = MaskPositions(hidden_size, num_queries) if mask_positions else None

    def forward(
        self,
        multi_scale_features: tuple[torch.Tensor, ...],
        pixel_embedding: torch.Tensor,
        attend: Callable = eager_attention,
        **kwargs,
    ) -> MaskDecoderOutput:
        """Refines the queries.

        Args:
            multi_scale_features: Maps of the pyramid, coarse to fine.
            pixel_embedding: Stride-4 embedding whose product with mask embeddings gives masks.
            attend: Attention function with transformers' signature.

        Shape:
            multi_scale_features: each `(B, feature_size, h, w)`; pixel_embedding: `(B, M, H/4, W/4)`.
        """
        batch_size = pixel_embedding.shape[0]
        values, keys, resized = [], [], []
        for level, (features, project) in enumerate(zip(multi_scale_features, self.input_projections)):
            height, width = features.shape[-2:]
            value = project(features).flatten(2).transpose(1, 2) + self.level_embed.weight[level]  # (B, T, C)
            stride = COARSEST_STRIDE >> level
            if self.pixel_positions:
                positions = pixel_sine_positions(
                    height, width, stride, value.shape[-1], value.device, value.dtype
                )  # (1, T, C)
            else:
                positions = sine_positions(height, width, value.shape[-1], value.device, value.dtype)
            values.append(value)
            keys.append(value + positions)
            with torch.no_grad():
                small = F.interpolate(pixel_embedding, size=(height, width), mode="bilinear", align_corners=False)
                if self.mask_positions is not None:
                    small = widen(small, stride)
            resized.append(small.flatten(2))  # (B, M, T)

        queries = self.query_features.weight.unsqueeze(0).expand(batch_size, -1, -1)  # (B, Q, C)
        query_positions = self.query_positions.weight.unsqueeze(0)
        chosen: PixelQueries | None = None
        if self.query_selection is not None:
            selected: PixelQueries = self.query_selection(values[-1], (height, width))
            queries = torch.cat((queries, selected.content), dim=1)
            query_positions = torch.cat((query_positions.expand(batch_size, -1, -1), selected.positions), dim=1)
            num_learned = self.query_features.num_embeddings
            valid, seen = (F.pad(part, (num_learned, 0), value=True) for part in (selected.valid, selected.peaks))
            kwargs["valid_queries"] = seen[:, None, None, :]
            chosen = selected

        size = (pixel_embedding.shape[-2], pixel_embedding.shape[-1])
        if self.mask_positions is not None:
            pixel_embedding = widen(pixel_embedding, COARSEST_STRIDE >> 3)

        def embed(normalized: torch.Tensor) -> torch.Tensor:
            embedding = self.mask_embedder(normalized)
            if self.mask_positions is None:
                return embedding
            radial = self.mask_positions(normalized, size, None if chosen is None else chosen.anchors)
            return torch.cat((embedding.float(), radial), dim=-1)  # (B, Q, M + 4)

        normalized = [self.layer_norm(queries)]
        embeddings = [embed(normalized[0])]
        for index, layer in enumerate(self.layers):
            level = index % len(values)
            visible = steering_masks(embeddings[-1], resized[level], precise=self.mask_positions is not None)
            queries = layer(queries, query_positions, keys[level], values[level], visible, attend, **kwargs)
            normalized.append(self.layer_norm(queries))
            embeddings.append(embed(normalized[-1]))
        return MaskDecoderOutput(
            queries=normalized,
            mask_embeddings=embeddings,
            pixel_embedding=pixel_embedding,
            heat_logits=None if chosen is None else chosen.heat_logits,
            valid_queries=None if chosen is None else valid,
        )


def close_invalid_queries(class_logits: torch.Tensor, valid_queries: torch.Tensor | None) -> torch.Tensor:
    """Makes queries that stand for nothing "no object".

    Shape:
        class_logits: `(B, Q, K + 1)`, last class "no object"; valid_queries: `(B, Q)`; output: `(B, Q, K + 1)`.
    """
    if valid_queries is None:
        return class_logits
    closed = F.pad(~valid_queries.unsqueeze(-1).expand(-1, -1, class_logits.shape[-1] - 1), (0, 1))
    return class_logits.masked_fill(closed, torch.finfo(class_logits.dtype).min / 4)
