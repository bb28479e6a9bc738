# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""Unpair-Seg's pixel decoder: deformable attention over CLIP's maps. See `modeling_unpairseg`."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.deformable_attention import DeformableEncoderLayer, MultiScaleDeformableAttention
from ...layers.initialization import init_convolution, init_mask_classification, init_projection
from ...layers.positions import FourierPositions, pixel_centers
from ..vision_model import VisionModel
from .configuration_unpairseg import UnpairSegConfig


@dataclass
class UnpairSegPixelDecoderOutput(ModelOutput):
    """Maps for the mask decoder.

    Attributes:
        last_hidden_state: Encoded tokens of strides 32, 16 and 8, `(B, L, C)`.
        mask_features: Stride-4 map, `(B, C, H/4, W/4)`.
        multi_scale_features: The tokens as maps, each `(B, C, h, w)`.
        hidden_states: With `output_hidden_states=True`: tokens before the first and after every layer.
        attentions: With `output_attentions=True`: weights of the sampled points, `(B, L, heads, levels, points)`.
    """

    last_hidden_state: torch.Tensor | None = None
    mask_features: torch.Tensor | None = None
    multi_scale_features: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class UnpairSegFeaturePyramid(nn.Module):
    """Stride-4 map: lateral stride-4 features plus the upsampled stride-8 map, convolved, projected."""

    def __init__(self, config: UnpairSegConfig, in_channels: int):
        super().__init__()
        channels = config.feature_size
        self.lateral = nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.GroupNorm(32, channels))
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(32, channels)
        self.projection = nn.Conv2d(channels, config.mask_feature_size, 1)

    def forward(self, finest: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """Shape: finest `(B, C1, H/4, W/4)`; encoded `(B, C, H/8, W/8)`; output `(B, C, H/4, W/4)`."""
        lateral = self.lateral(finest)
        mixed = lateral + F.interpolate(encoded, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return self.projection(F.relu(self.norm(self.convolution(mixed))))


class UnpairSegPreTrainedModel(VisionModel):
    """Weight initialization (that of the authors) and what the model family supports."""

    config: UnpairSegConfig
    _no_split_modules = ["DeformableEncoderLayer", "UnpairSegDecoderLayer", "ConvNextLayer", "CLIPEncoderLayer"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        init_mask_classification(module)
        if isinstance(module, FourierPositions):
            init.normal_(module.matrix, std=module.scale)


class UnpairSegPixelDecoder(UnpairSegPreTrainedModel):
    """Encodes three of CLIP's maps with deformable attention and builds the pixel embedding.

    Runs in the type of its weights even under autocast, as the authors' does.
    """

    _can_record_outputs = {
        "hidden_states": DeformableEncoderLayer,
        "attentions": OutputRecorder(MultiScaleDeformableAttention, index=1),
    }

    def __init__(self, config: UnpairSegConfig, in_channels: list[int]):
        super().__init__(config)
        channels = config.feature_size
        self.input_projections = nn.ModuleList([nn.Conv2d(c, channels, 1) for c in reversed(in_channels[1:])])
        self.input_norms = nn.ModuleList([nn.LayerNorm(channels, eps=1e-6) for _ in in_channels[1:]])
        self.positions = FourierPositions(channels, config.scale)
        self.level_embed = nn.Parameter(torch.empty(3, channels))
        self.layers = nn.ModuleList(
            [
                DeformableEncoderLayer(
                    channels,
                    config.num_attention_heads,
                    3,
                    config.encoder_num_points,
                    config.encoder_feedforward_dim,
                    config.dropout,
                )
                for _ in range(config.encoder_layers)
            ]
        )
        self.feature_pyramid = UnpairSegFeaturePyramid(config, in_channels[0])
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, UnpairSegFeaturePyramid):
            init_convolution(module.lateral[0], module.convolution, module.projection)
        elif module is self:
            init_projection(*self.input_projections)
            init.normal_(self.level_embed)

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, feature_maps: tuple[torch.Tensor, ...], **kwargs: Unpack[TransformersKwargs]
    ) -> UnpairSegPixelDecoderOutput:
        """Encodes CLIP's maps at strides 4, 8, 16, 32.

        Shape:
            feature_maps: `(B, C_i, H / stride_i, W / stride_i)`.
        """
        dtype = self.level_embed.dtype
        with maybe_autocast(feature_maps[0].device.type, enabled=False):
            finest, *coarser = [features.to(dtype) for features in feature_maps]
            maps = [project(features) for project, features in zip(self.input_projections, reversed(coarser))]
            shapes = tuple((features.shape[-2], features.shape[-1]) for features in maps)
            levels = zip(maps, self.input_norms)
            tokens = torch.cat([norm(features.flatten(2).transpose(1, 2)) for features, norm in levels], dim=1)
            codes = [self.positions.of_map(*shape) + level for shape, level in zip(shapes, self.level_embed)]
            positions = torch.cat(codes, dim=1)  # (1, L, C)
            references = pixel_centers(shapes, tokens.device)
            for layer in self.layers:
                tokens = layer(tokens, tokens, positions, references, shapes)
            lengths = [height * width for height, width in shapes]
            encoded = tuple(
                level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(tokens.split(lengths, dim=1), shapes)
            )
            mask_features = self.feature_pyramid(finest, encoded[-1])
        return UnpairSegPixelDecoderOutput(
            last_hidden_state=tokens, mask_features=mask_features, multi_scale_features=encoded
        )


__all__ = [
    "UnpairSegPixelDecoder",
    "UnpairSegPreTrainedModel",
]
