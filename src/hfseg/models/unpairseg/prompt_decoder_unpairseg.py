# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""Unpair-Seg's prompt encoder and mask decoder: from points and boxes to masks and scores. See `modeling_unpairseg`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.initialization import init_convolution
from ...layers.mask_decoder import (
    MaskedAttentionDecoderLayer,
    MaskEmbedder,
    MultiHeadAttention,
    eager_attention,
)
from ...layers.positions import FourierPositions, level_sizes
from ..outputs import always_set
from .configuration_unpairseg import UnpairSegConfig
from .encoder_unpairseg import UnpairSegPreTrainedModel


@dataclass
class UnpairSegMaskDecoderOutput(ModelOutput):
    """Prompts after refinement.

    Attributes:
        last_hidden_state: Tokens of all prompts, `(B, Q, K, C)`.
        readouts: Normalized tokens that masks are read from, before the first and after every layer,
            each `(B, Q, M, C)`.
        mask_embeddings: Their mask embeddings, each `(B, Q, M, C)`.
        hidden_states: With `output_hidden_states=True`: tokens before the first and after every layer.
        attentions: With `output_attentions=True`: attention among the tokens of a prompt, `(B * Q, heads, K, K)`.
        cross_attentions: Likewise, of the masked attention, `(B, heads, Q * K, pixels of the level)`.
    """

    last_hidden_state: torch.Tensor = always_set()
    readouts: tuple[torch.Tensor, ...] = always_set()
    mask_embeddings: tuple[torch.Tensor, ...] = always_set()
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UnpairSegMemory(ModelOutput):
    """The image as the mask decoder reads it, the same for all prompts.

    Attributes:
        level_keys, level_values: Tokens of the levels with and without position code, each `(B, T, C)`.
        resized: Pixel embedding at the size of each level, each `(B, C, T)`.
        pixel_embedding: `(B, C, H/4, W/4)`.
    """

    level_keys: tuple[torch.Tensor, ...] = always_set()
    level_values: tuple[torch.Tensor, ...] = always_set()
    resized: tuple[torch.Tensor, ...] = always_set()
    pixel_embedding: torch.Tensor = always_set()


class UnpairSegPromptEncoder(nn.Module):
    """Tokens of prompts (section 3.2): two corners with type and content, then the mask tokens.

    A point is the box of `point_anchor_size` pixels around it. Content is the pixel embedding at the center.
    """

    def __init__(self, config: UnpairSegConfig):
        super().__init__()
        channels = config.hidden_size
        self.half_anchor = config.point_anchor_size / 2
        self.positions = FourierPositions(channels, config.scale)
        self.corner_embeddings = nn.Parameter(torch.empty(2, channels))
        self.point_embedding = nn.Parameter(torch.empty(channels))
        self.box_embedding = nn.Parameter(torch.empty(channels))
        self.sign_embeddings = nn.Embedding(2, channels)  # negative, positive
        self.mask_embeddings = nn.Parameter(torch.empty(config.num_masks + 1, channels))

    def points(
        self, points: torch.Tensor, labels: torch.Tensor | None, mask_features: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        """Encodes points: one per prompt with all mask tokens, several with the single-mask token.

        Args:
            points: (x, y) in pixels of the network input.
            labels: 1 for points on the object, 0 for points beside it; default: all on it.
            mask_features: Pixel decoder's stride-4 map.
            size: `(H, W)` of the network input.

        Shape:
            points: `(B, Q, P, 2)`; labels: `(B, Q, P)`; output: `(B, Q, K, C)`.
        """
        corners = torch.stack((points - self.half_anchor, points + self.half_anchor), dim=-2)  # (B, Q, P, 2, 2)
        signs = torch.ones_like(points[..., 0], dtype=torch.int64) if labels is None else (labels > 0).long()
        located = self.locate(corners, mask_features, size) + self.point_embedding
        located = (located + self.sign_embeddings(signs).unsqueeze(-2)).flatten(2, 3)  # (B, Q, 2P, C)
        masks = self.mask_embeddings if points.shape[2] == 1 else self.mask_embeddings[:1]
        return torch.cat((located, masks.expand(*located.shape[:2], -1, -1)), dim=2)

    def boxes(self, boxes: torch.Tensor, mask_features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Encodes boxes (x0, y0, x1, y1).

        Shape:
            boxes: `(B, Q, 4)`; output: `(B, Q, K, C)`.
        """
        corners = boxes.unflatten(-1, (1, 2, 2))  # (B, Q, 1, 2, 2)
        located = (self.locate(corners, mask_features, size) + self.box_embedding).flatten(2, 3)
        return torch.cat((located, self.mask_embeddings.expand(*located.shape[:2], -1, -1)), dim=2)

    def locate(self, corners: torch.Tensor, mask_features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Encodes where corners are and what is between them.

        Shape:
            corners: `(B, Q, P, 2, 2)` in pixels; output: `(B, Q, P, 2, C)`.
        """
        with maybe_autocast(corners.device.type, enabled=False):
            corners = corners.float() / level_sizes((size,), corners.device)  # 0..1
            grid = 2 * corners.mean(-2) - 1  # (B, Q, P, 2)
            content = F.grid_sample(mask_features.float(), grid, padding_mode="zeros", align_corners=False)
        content = content.permute(0, 2, 3, 1).unsqueeze(-2).to(self.corner_embeddings.dtype)  # (B, Q, P, 1, C)
        return self.positions(corners) + self.corner_embeddings + content


class UnpairSegDecoderLayer(MaskedAttentionDecoderLayer):
    """Masked attention of all tokens to the image, attention among the tokens of each prompt, feed-forward."""

    def forward(
        self,
        tokens: torch.Tensor,
        token_positions: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        attention_mask: torch.Tensor,
        attend: Callable = eager_attention,
        **kwargs,
    ) -> torch.Tensor:
        """Updates the tokens.

        Shape:
            tokens, token_positions: `(B, Q, K, C)`; keys, values: `(B, T, C)`; attention_mask: `(B, 1, Q * K, T)`.
            Output: `(B, Q, K, C)`.
        """

        def add(block: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
            return residual + F.dropout(block, p=self.dropout, training=self.training)

        shape = tokens.shape
        queries = (tokens + token_positions).flatten(1, 2)  # (B, Q*K, C)
        attended, _ = self.cross_attn(queries, keys, values, attention_mask, attend, **kwargs)
        tokens = self.cross_attn_layer_norm(add(attended.view(shape), tokens))
        queries = (tokens + token_positions).flatten(0, 1)  # (B*Q, K, C)
        attended, _ = self.self_attn(queries, queries, tokens.flatten(0, 1), None, attend, **kwargs)
        tokens = self.self_attn_layer_norm(add(attended.view(shape), tokens))
        hidden = F.dropout(F.relu(self.fc1(tokens)), p=self.dropout, training=self.training)
        return self.final_layer_norm(add(self.fc2(hidden), tokens))


class UnpairSegMaskDecoder(UnpairSegPreTrainedModel):
    """Tokens of prompts, refined by masked attention to three maps in turns; masks and scores of each."""

    _can_record_outputs = {
        "hidden_states": UnpairSegDecoderLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: UnpairSegConfig):
        super().__init__(config)
        channels = config.hidden_size
        project = config.feature_size != channels or config.enforce_input_projection
        self.positions = FourierPositions(channels, config.scale)
        self.prompt_encoder = UnpairSegPromptEncoder(config)
        self.input_projections = nn.ModuleList(
            [nn.Conv2d(config.feature_size, channels, 1) if project else nn.Identity() for _ in range(3)]
        )
        self.level_embed = nn.Embedding(3, channels)
        self.pixel_projection = nn.Conv2d(config.mask_feature_size, channels, 1)
        self.token_attention = MultiHeadAttention(channels, config.num_attention_heads, config.dropout)
        self.token_attention_layer_norm = nn.LayerNorm(channels)
        self.layers = nn.ModuleList(
            [
                UnpairSegDecoderLayer(channels, config.num_attention_heads, config.dim_feedforward, config.dropout)
                for _ in range(config.decoder_layers)
            ]
        )
        self.layer_norm = nn.LayerNorm(channels)
        # Index 0 reads the single mask of boxes and of several points, 1..M the granularities of one point.
        self.mask_embedders = nn.ModuleList([MaskEmbedder(channels, channels) for _ in range(config.num_masks + 1)])
        self.iou_predictors = nn.ModuleList([MaskEmbedder(channels, 1) for _ in range(config.num_masks + 1)])
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, UnpairSegPromptEncoder):
            for embedding in (
                module.corner_embeddings,
                module.point_embedding,
                module.box_embedding,
                module.sign_embeddings.weight,
                module.mask_embeddings,
            ):
                init.normal_(embedding)
        elif module is self:
            init.normal_(self.level_embed.weight)
            init_convolution(*self.input_projections)
            # PyTorch's default, on which the authors rely here.
            init.kaiming_uniform_(self.pixel_projection.weight, a=5**0.5)
            bound = self.pixel_projection.in_channels**-0.5
            init.uniform_(cast(torch.Tensor, self.pixel_projection.bias), -bound, bound)

    def read_image(self, mask_features: torch.Tensor, maps: tuple[torch.Tensor, ...]) -> UnpairSegMemory:
        """Prepares what every prompt and every layer needs of the image.

        Shape:
            mask_features: `(B, C, H/4, W/4)`; maps: each `(B, C, h, w)`, at strides 32, 16, 8.
        """
        pixel_embedding = self.pixel_projection(mask_features)
        keys, values, resized = [], [], []
        for level, (features, project) in enumerate(zip(maps, self.input_projections)):
            size = (features.shape[-2], features.shape[-1])
            value = project(features).flatten(2).transpose(1, 2) + self.level_embed.weight[level]  # (B, T, C)
            values.append(value)
            keys.append(value + self.positions.of_map(*size))
            with torch.no_grad():
                small = F.interpolate(pixel_embedding, size=size, mode="bilinear", align_corners=False)
            resized.append(small.flatten(2))
        return UnpairSegMemory(tuple(keys), tuple(values), tuple(resized), pixel_embedding)

    def readout_places(self, num_tokens: int, num_points: int | None) -> tuple[int, int, int]:
        """Says which tokens are read by which heads: first token, first head, number of masks.

        Args:
            num_tokens: K.
            num_points: Points of a prompt; None for boxes.
        """
        if num_points == 1:
            return 3, 1, self.config.num_masks
        if num_points is None:
            return 2, 0, 1
        return (num_points if self.config.legacy_multipoint_readout else num_tokens - 1), 0, 1

    @torch.no_grad()
    def visible_pixels(self, mask_embeddings: torch.Tensor, resized: torch.Tensor, num_tokens: int) -> torch.Tensor:
        """Computes where the tokens of a prompt may look: where any of its masks is likely, or everywhere.

        Shape:
            mask_embeddings: `(B, Q, M, C)`; resized: `(B, C, T)`; output: boolean `(B, 1, Q * K, T)`.
        """
        logits = torch.bmm(mask_embeddings.flatten(1, 2), resized)  # (B, Q*M, T)
        visible = (logits >= 0).unflatten(1, mask_embeddings.shape[1:3]).any(2)  # (B, Q, T)
        visible = visible | ~visible.any(-1, keepdim=True)
        return visible.unsqueeze(2).expand(-1, -1, num_tokens, -1).flatten(1, 2).unsqueeze(1)

    def iou_scores(self, readouts: torch.Tensor, first_head: int) -> torch.Tensor:
        """Predicts the quality of masks. Shape: `(..., M, C)` to `(..., M)`."""
        heads = self.iou_predictors[first_head : first_head + readouts.shape[-2]]
        parts = zip(heads, readouts.unbind(-2))
        return torch.cat([head(readout) for head, readout in parts], dim=-1).float().sigmoid()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        tokens: torch.Tensor,
        memory: UnpairSegMemory,
        places: tuple[int, int, int],
        **kwargs: Unpack[TransformersKwargs],
    ) -> UnpairSegMaskDecoderOutput:
        """Refines the tokens of prompts.

        Args:
            tokens: Of the prompt encoder; they are also the position code of every layer.
            memory: See `read_image`.
            places: See `readout_places`.

        Shape:
            tokens: `(B, Q, K, C)`.
        """
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        first_token, first_head, num_masks = places
        heads = self.mask_embedders[first_head : first_head + num_masks]

        def read(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            normalized = self.layer_norm(states[:, :, first_token : first_token + num_masks])  # (B, Q, M, C)
            parts = zip(heads, normalized.unbind(2))
            return normalized, torch.stack([head(part) for head, part in parts], dim=2)

        flat = tokens.flatten(0, 1)  # (B*Q, K, C)
        attended, _ = self.token_attention(flat, flat, flat, None, attend, **kwargs)
        states = self.token_attention_layer_norm(tokens + attended.view(tokens.shape))
        readout, embedding = read(states)
        readouts, embeddings = [readout], [embedding]
        for index, layer in enumerate(self.layers):
            level = index % 3
            visible = self.visible_pixels(embedding, memory.resized[level], tokens.shape[2])
            states = layer(
                states, tokens, memory.level_keys[level], memory.level_values[level], visible, attend, **kwargs
            )
            readout, embedding = read(states)
            readouts.append(readout)
            embeddings.append(embedding)
        return UnpairSegMaskDecoderOutput(
            last_hidden_state=states, readouts=tuple(readouts), mask_embeddings=tuple(embeddings)
        )


def merge_chunks(outputs: list[UnpairSegMaskDecoderOutput], batch_size: int) -> UnpairSegMaskDecoderOutput:
    """Joins the outputs of several groups of prompts."""
    if len(outputs) == 1:
        return outputs[0]

    def join(name: str) -> Any:
        values = [output[name] for output in outputs if output.get(name) is not None]
        if not values:
            return None
        if isinstance(values[0], torch.Tensor):
            return torch.cat(values, dim=1)
        if name == "attentions":  # (B*Q, heads, K, K): the batch comes first
            return tuple(
                torch.cat([part.unflatten(0, (batch_size, -1)) for part in parts], dim=1).flatten(0, 1)
                for parts in zip(*values)
            )
        return tuple(torch.cat(parts, dim=2 if name == "cross_attentions" else 1) for parts in zip(*values))

    names = ("last_hidden_state", "readouts", "mask_embeddings", "hidden_states", "attentions", "cross_attentions")
    return UnpairSegMaskDecoderOutput(**{name: join(name) for name in names})


__all__ = [
    "UnpairSegMaskDecoder",
    "UnpairSegPromptEncoder",
]
