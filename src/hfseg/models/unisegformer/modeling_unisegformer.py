# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
# mypy: disable-error-code="union-attr, arg-type, assignment, operator, index, override, attr-defined, call-arg"
"""UniSegFormer: universal segmentation of large images, pre-trained by masks and texts.

There is no paper. The starting point is a one-page description of a "UniSegFormer-XL" of 2023: a Swin variant for large
inputs with cross-attention between feature levels, a U-Net-like decoder that refines masks at several scales, one model
for semantic, instance and panoptic segmentation, pre-trained by masked auto-encoding and image-text contrast. What that
page leaves open was decided here:

* The encoder is Swin V2 (Liu et al., CVPR 2022), built from transformers' modules, so that public weights load. Between
  its levels information is exchanged (CLX, `layers.cross_level_exchange`): upwards after every merging of patches,
  downwards after the last stage. Fresh exchanges have gain 0: the encoder starts as plain Swin V2.
* The decoder is a U-Net with one residual block per scale. Class logits exist at every scale, each a correction of the
  coarser one ("dense" logits). They alone make `UniSegFormerForSemanticSegmentation`.
* The universal head is mask classification (Cheng et al., CVPR 2022), shared with the zoo's other models.
* Pre-training reconstructs masked patches (SimMIM: Xie et al., CVPR 2022; the grid stays whole, which windows and
  exchange need) and contrasts images with texts by the sigmoid loss (Zhai et al., ICCV 2023), while a share of
  annotated images trains decoder and head.

Differences from transformers' Swin V2, none in the numbers: attention can run in fused kernels
(`layers.cosine_attention`), with window masks as groups of tokens instead of tensors. As there, windows at the edge are
padded with zeros that are not masked; the exchange does mask them.

A program exported with dynamic sizes serves any picture with more than 32 pixels per side (two rows and columns of the
coarsest map; tracing takes a single one for a constant, with torch's `backed_size_oblivious` too). Smaller ones are
refused by the program's own guard: export one with that size fixed for them, or call the model.

Shape legend: B images, H x W input, F1..F4 encoder maps and U1..U4 decoder maps at strides 4, 8, 16, 32, C channels of
F1, Q queries, K classes, M channels of the pixel embedding, T tokens of a window, L text tokens.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel, SiglipTextModel, Swinv2Model
from transformers import initialization as init
from transformers.backbone_utils import BackboneMixin, filter_output_hidden_states
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.swinv2.modeling_swinv2 import (
    Swinv2Embeddings,
    Swinv2Layer,
    Swinv2PatchEmbeddings,
    Swinv2PatchMerging,
    Swinv2SelfAttention,
)
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple, logging
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.channel_norm import ChannelLayerNorm
from ...layers.cosine_attention import biased_attention, cosine_attention, group_codes
from ...layers.cross_level_exchange import MAX_LOGIT_SCALE, CrossLevelExchange
from ...layers.initialization import init_convolution, init_feedforward, init_linear, init_multi_head_attention
from ...layers.mask_decoder import (
    MaskedAttentionDecoder,
    MaskedAttentionDecoderLayer,
    MaskEmbedder,
    MultiHeadAttention,
    close_invalid_queries,
    eager_attention,
    mask_logits,
)
from ...layers.shifted_windows import gather_tokens, quad_tokens, spare_windows, window_places, window_tokens
from ...layers.windows import from_windows, gathers, shift_groups, to_windows
from ...losses.contrastive import gather_with_gradient, sigmoid_contrastive_loss
from ...losses.mask_classification import LossWeights, count_targets, mask_classification_loss
from ...losses.masked_image import draw_masked_units, masked_reconstruction_loss
from ...losses.multi_scale import multi_scale_cross_entropy, thin_out
from ...losses.semantic import check_labels
from ..mask_decoding import build_mask_decoder, heat_terms, init_mask_decoder_option, num_queries_in_use
from ..remote_code import RemoteCodeModel
from .configuration_unisegformer import UniSegFormerConfig

logger = logging.get_logger(__name__)

STRIDES = (4, 8, 16, 32)
# Added twice by Swin V2 to the scores of tokens that the cyclic shift made neighbours.
SHIFT_PENALTY = -200.0


@dataclass
class UniSegFormerModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        last_hidden_state: U1, `(B, decoder_widths[0], H/4, W/4)`.
        decoder_maps: U1..U4, fine to coarse.
        feature_maps: F1..F4, fine to coarse, normalised.
        hidden_states: On request: tokens after the patch embedding and of every level, `(B, h w, channels)`.
        attentions: On request: attention weights of all Swin layers, `(B * windows, heads, T, T)`.
    """

    last_hidden_state: torch.Tensor | None = None
    decoder_maps: tuple[torch.Tensor, ...] | None = None
    feature_maps: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UniSegFormerMaskHeadOutput(ModelOutput):
    """Queries after refinement.

    Attributes:
        class_logits: Of every prediction level, `(levels, B, Q, K + 1)`; the last level counts.
        mask_embeddings: Of every prediction level, `(levels, B, Q, M)`; `(levels, B, Q, M + 4)` with mask positions.
        pixel_embedding: `(B, M, H/4, W/4)`; `(B, M + 4, H/4, W/4)` with mask positions.
        heat_logits: With queries from pixels: logits of the heat map of object centers, `(B, H/8, W/8)`.
        valid_queries: With queries from pixels: which queries stand for something, boolean `(B, Q)`.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
    """

    class_logits: torch.Tensor | None = None
    mask_embeddings: torch.Tensor | None = None
    pixel_embedding: torch.Tensor | None = None
    heat_logits: torch.Tensor | None = None
    valid_queries: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UniSegFormerForSemanticSegmentationOutput(ModelOutput):
    """Output of `UniSegFormerForSemanticSegmentation`.

    Attributes:
        loss: Weighted sum of the terms, scalar. Only with labels.
        loss_dict: Pixel cross-entropies, already weighted: `loss_dense` at stride 4 and `loss_dense_8`, `_16`, `_32`.
        logits: Class logits, `(B, K, H/4, W/4)`.
        hidden_states, attentions: Of the encoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UniSegFormerForUniversalSegmentationOutput(ModelOutput):
    """Output of `UniSegFormerForUniversalSegmentation`; field names are those of transformers' Mask2Former.

    Attributes:
        loss: Weighted sum of all terms, scalar. Only with labels.
        loss_dict: Its terms, already weighted: `loss_ce`, `loss_mask`, `loss_dice` of the last prediction, the same
            with `_0`, `_1`, ... of the auxiliary ones, `loss_dense`, `loss_dense_8`, `_16`, `_32` of the dense logits,
            and `loss_heat` with queries from pixels.
        class_queries_logits: Class logits, last class "no object", `(B, Q, K + 1)`.
        masks_queries_logits: Mask logits, `(B, Q, H/4, W/4)`.
        auxiliary_logits: With `output_auxiliary_logits`: a dictionary with both for each earlier prediction.
        pixel_embedding: `(B, M, H/4, W/4)`; `(B, M + 4, H/4, W/4)` with mask positions.
        heat_logits: With queries from pixels: logits of the heat map of object centers, `(B, H/8, W/8)`.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the encoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    class_queries_logits: torch.Tensor | None = None
    masks_queries_logits: torch.Tensor | None = None
    auxiliary_logits: list[dict[str, torch.Tensor]] | None = None
    pixel_embedding: torch.Tensor | None = None
    heat_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UniSegFormerForPreTrainingOutput(ModelOutput):
    """Output of `UniSegFormerForPreTraining`.

    Attributes:
        loss: Weighted sum of all terms, scalar. Only in training, or when texts or targets are given.
        loss_dict: `loss_mim`, `loss_contrastive` and the segmentation terms, those that apply, already weighted.
        reconstruction: Predicted pixels, normalised like `pixel_values`, `(B, 3, H, W)` padded to whole units.
        masked_units: 1 for units that were hidden, else 0, `(B, units)`, row by row.
        image_embeds: L2-normalised image embeddings, `(B, projection_size)`.
        text_embeds: L2-normalised text embeddings, `(B, projection_size)`. Only with texts.
        hidden_states, attentions: Of the encoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    reconstruction: torch.Tensor | None = None
    masked_units: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class UniSegFormerWindowAttention(Swinv2SelfAttention):
    """Swin V2's attention within windows; parameters are transformers', the kernel is the configuration's choice."""

    is_causal = False

    def __init__(self, config: UniSegFormerConfig, channels: int, num_heads: int, window: int, pretrained_window: Any):
        super().__init__(config.encoder_config, channels, num_heads, window, pretrained_window)
        self.config = config

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        output_attentions: bool | None = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attends within windows.

        Args:
            hidden_states: Tokens by window.
            attention_mask: Group 0..3 of every token; groups do not see each other.
            output_attentions: Ignored; weights are returned where the implementation keeps them.

        Shape:
            hidden_states: `(B * windows, T, C)`; attention_mask: `(B * windows, T)`.
            Output: `(B * windows, T, C)` and `(B * windows, heads, T, T)`.
        """
        query, key, value = (
            projection(hidden_states).unflatten(-1, (self.num_attention_heads, self.attention_head_size))
            for projection in (self.query, self.key, self.value)
        )
        table = self.relative_coords_table.to(self.continuous_position_bias_mlp[0].weight.dtype)
        table = 16 * self.continuous_position_bias_mlp(table).float().flatten(0, -2).sigmoid()  # (distances, heads)
        tokens = self.window_size[0] * self.window_size[1]
        bias = table[self.relative_position_index.flatten()].view(tokens, tokens, -1).permute(2, 0, 1)
        codes = (None, None) if attention_mask is None else group_codes(attention_mask, 4, SHIFT_PENALTY)
        attended, weights = cosine_attention(
            self,
            query,
            key,
            value,
            self.logit_scale.float().clamp(max=MAX_LOGIT_SCALE).exp(),
            bias,
            ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, biased_attention),
            *codes,
            dropout=self.dropout.p,
        )
        return attended.flatten(2), weights


class UniSegFormerLayer(Swinv2Layer):
    """Swin V2's layer on maps of any size: parameters are transformers', windows are cut as `layers.windows` says."""

    def __init__(
        self, config: UniSegFormerConfig, channels: int, resolution: tuple[int, int], num_heads: int, **kwargs
    ):
        super().__init__(config.encoder_config, channels, resolution, num_heads, **kwargs)
        pretrained = self.attention.self.pretrained_window_size
        self.attention.self = UniSegFormerWindowAttention(config, channels, num_heads, self.window_size, pretrained)

    def forward(self, hidden_states: torch.Tensor, input_dimensions: tuple[int, int], **kwargs) -> torch.Tensor:
        """Updates tokens.

        Shape:
            hidden_states: `(B, h * w, C)`; output: the same.
        """
        (height, width), size, shift = input_dimensions, self.window_size, self.shift_size
        batch_size, device, groups = hidden_states.shape[0], hidden_states.device, None
        if gathers():
            table = (batch_size, height, width, size, shift, device)
            index, region = window_tokens(*table, spare_windows())
            if shift > 0:
                groups = 2 * (region // 3 == 2).long() + (region % 3 == 2)
            attended, _ = self.attention.self(gather_tokens(hidden_states, index), groups)
            attended = self.attention.output(attended, hidden_states)
            attended = F.embedding(window_places(*table), attended.flatten(0, 1))  # (B, h * w, C)
        else:
            counts = (-(-height // size), -(-width // size))
            padding = (0, 0, 0, counts[1] * size - width, 0, counts[0] * size - height)
            tokens = F.pad(hidden_states.unflatten(1, (height, width)), padding)
            if shift > 0:
                tokens = tokens.roll((-shift, -shift), dims=(1, 2))
                groups = shift_groups(height, width, size, shift, counts, device).repeat(batch_size, 1)
            attended, _ = self.attention.self(to_windows(tokens, size, counts), groups)
            attended = self.attention.output(attended, hidden_states)
            tokens = from_windows(attended, size, counts, (tokens.shape[1], tokens.shape[2]))
            if shift > 0:
                tokens = tokens.roll((shift, shift), dims=(1, 2))
            attended = tokens[:, :height, :width].flatten(1, 2)
        hidden_states = hidden_states + self.drop_path(self.layernorm_before(attended))
        update = self.output(self.intermediate(hidden_states))
        return hidden_states + self.drop_path(self.layernorm_after(update))


class UniSegFormerPatchMerging(Swinv2PatchMerging):
    """Swin V2's merging of 2 x 2 tokens, on maps of any size."""

    def forward(self, input_feature: torch.Tensor, input_dimensions: tuple[int, int]) -> torch.Tensor:
        """Merges.

        Shape:
            input_feature: `(B, h * w, C)`; output: `(B, ceil(h / 2) * ceil(w / 2), 2 C)`.
        """
        if not gathers():
            return super().forward(input_feature, input_dimensions)
        index = quad_tokens(input_feature.shape[0], *input_dimensions, input_feature.device)
        return self.norm(self.reduction(gather_tokens(input_feature, index).flatten(2)))


class UniSegFormerPatchEmbeddings(Swinv2PatchEmbeddings):
    """Swin V2's patch embedding, of images of any size."""

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Embeds patches; zeros complete those at the right and bottom edge.

        Shape:
            pixel_values: `(B, 3, H, W)`; output: `(B, h * w, C)` and `(h, w)`.
        """
        (patch_height, patch_width), (height, width) = self.patch_size, pixel_values.shape[-2:]
        rows, columns = -(-height // patch_height), -(-width // patch_width)
        padding = (0, columns * patch_width - width, 0, rows * patch_height - height)
        return self.projection(F.pad(pixel_values, padding)).flatten(2).transpose(1, 2), (rows, columns)


class UniSegFormerStage(GradientCheckpointingLayer):
    """Swin V2's stage: layers, alternately with a shift, then (not in the last stage) merging of 2 x 2 patches."""

    def __init__(self, config: UniSegFormerConfig, level: int, grid: tuple[int, int], drop_path: list[float]):
        super().__init__()
        encoder = config.encoder_config
        channels = config.level_channels[level]
        resolution = (grid[0] // 2**level, grid[1] // 2**level)
        self.blocks = nn.ModuleList(
            [
                UniSegFormerLayer(
                    config,
                    channels,
                    resolution,
                    encoder.num_heads[level],
                    drop_path_rate=rate,
                    shift_size=0 if index % 2 == 0 else encoder.window_size // 2,
                    pretrained_window_size=encoder.pretrained_window_sizes[level],
                )
                for index, rate in enumerate(drop_path)
            ]
        )
        self.downsample = UniSegFormerPatchMerging(resolution, channels) if level < 3 else None

    def forward(self, tokens: torch.Tensor, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs a stage.

        Shape:
            tokens: `(B, h w, c)`; output: after merging `(B, ceil(h/2) ceil(w/2), 2c)`, before it `(B, h w, c)`.
        """
        for block in self.blocks:
            tokens = block(tokens, shape)
        return (tokens if self.downsample is None else self.downsample(tokens, shape)), tokens


class UniSegFormerSwin(nn.Module):
    """The stages, under the names of transformers' Swin V2."""

    def __init__(self, config: UniSegFormerConfig, grid: tuple[int, int]):
        super().__init__()
        depths = config.encoder_config.depths
        rates = torch.linspace(0, config.encoder_config.drop_path_rate, sum(depths), device="cpu").tolist()
        self.layers = nn.ModuleList(
            [
                UniSegFormerStage(config, level, grid, rates[sum(depths[:level]) : sum(depths[: level + 1])])
                for level in range(4)
            ]
        )


class UniSegFormerPreTrainedModel(RemoteCodeModel, PreTrainedModel):
    """Weight initialisation and what the model family supports."""

    config: UniSegFormerConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["UniSegFormerLayer", "CrossLevelExchange", "MaskedAttentionDecoderLayer", "SiglipEncoderLayer"]
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    # What a checkpoint of pre-training has more than a model for one task.
    _keys_to_ignore_on_load_unexpected = [
        r"mask_token$",
        r"^text_model\.",
        r"^pooling\.",
        r"^reconstruction\.",
        r"^contrastive_(scale|bias)$",
    ]

    def no_weight_decay(self) -> set[str]:
        """Names parameters that must not shrink: temperatures, gains, offsets, and the networks of position biases."""
        kept = ("logit_scale", "gamma", "mask_token", "contrastive_scale", "contrastive_bias")
        return {name for name, _ in self.named_parameters() if name.endswith(kept) or "position_bias" in name}

    @property
    def max_layer_depth(self) -> int:
        """Depth of everything behind the encoder's layers, for layer-wise learning rates."""
        return sum(self.config.encoder_config.depths) + 1

    def layer_depth(self, name: str) -> int:
        """Depth of a parameter: 0 for the patch embedding, then 1, 2, ... for the encoder's layers."""
        if "embeddings." in name and not name.startswith("text_model"):
            return 0
        found = re.search(r"encoder\.layers\.(\d+)\.(?:blocks\.(\d+)|downsample)", name)
        if found is None or name.startswith("text_model"):
            return self.max_layer_depth
        depths, stage = self.config.encoder_config.depths, int(found[1])
        block = depths[stage] - 1 if found[2] is None else int(found[2])
        return 1 + sum(depths[:stage]) + block

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, Swinv2SelfAttention):
            init.constant_(module.logit_scale, math.log(10))
            for name, table in zip(
                ("relative_coords_table", "relative_position_index"), module.create_coords_table_and_index()
            ):
                init.copy_(getattr(module, name), table)
        elif isinstance(module, Swinv2Embeddings):
            if module.mask_token is not None:
                # As SimMIM; zero, as in transformers, has no direction, and cosine attention asks for one.
                init.normal_(module.mask_token, std=self.config.initializer_range)
        elif isinstance(module, Swinv2PatchEmbeddings):
            # Else a patch of mean colour, such as padding, is a vector of zeros, which norms cannot scale.
            init.normal_(module.projection.bias, std=self.config.initializer_range)
        elif isinstance(module, CrossLevelExchange):
            init.constant_(module.logit_scale, math.log(10))
            init.constant_(module.gamma, self.config.clx_init)
        elif isinstance(module, MaskedAttentionDecoder):
            for embedding in (module.query_features, module.query_positions, module.level_embed):
                init.normal_(embedding.weight)
            for convolution in module.input_projections:
                if isinstance(convolution, nn.Conv2d):
                    init_convolution(convolution)
        elif isinstance(module, MaskedAttentionDecoderLayer):
            init_feedforward(module.fc1, module.fc2)
        elif isinstance(module, MultiHeadAttention):
            init_multi_head_attention(module)
        elif isinstance(module, MaskEmbedder):
            for layer in module.layers:
                init_linear(layer)  # type: ignore[arg-type]
        elif isinstance(module, UniSegFormerMaskHead):
            for convolution, _ in module.input_projections:
                init_convolution(convolution)  # type: ignore[arg-type]
            init_convolution(module.pixel_projection)
            init_linear(module.class_predictor)
        elif isinstance(module, UniSegFormerAttentionPooling):
            init.normal_(module.query, std=self.config.initializer_range)
        elif isinstance(module, UniSegFormerForPreTraining):
            init.constant_(module.contrastive_scale, math.log(self.config.contrastive_scale_init))
            init.constant_(module.contrastive_bias, self.config.contrastive_bias_init)
        init_mask_decoder_option(module)


class UniSegFormerBackbone(BackboneMixin, UniSegFormerPreTrainedModel):
    """The encoder: Swin V2 with cross-level exchange. Works as `AutoBackbone` for other heads.

    Args:
        config: The configuration.
        use_mask_token: Adds the learned token that replaces hidden patches in pre-training.
    """

    # Its weights lie here in the folders of the other classes.
    base_model_prefix = "model.encoder"
    has_attentions = True
    _can_record_outputs = {"attentions": OutputRecorder(UniSegFormerWindowAttention, index=1)}

    def __init__(self, config: UniSegFormerConfig, use_mask_token: bool = False):
        super().__init__(config)
        encoder, channels = config.encoder_config, config.level_channels
        self.num_features = [channels[0], *channels]
        self.embeddings = Swinv2Embeddings(encoder, use_mask_token=use_mask_token)
        self.embeddings.patch_embeddings = UniSegFormerPatchEmbeddings(encoder)
        self.encoder = UniSegFormerSwin(config, self.embeddings.patch_grid)
        coarse, fine = config.clx_window, 2 * config.clx_window
        pairs = [(level, channels[level], channels[level + 1]) for level in range(3)] if config.clx_enabled else []
        self.clx_up = nn.ModuleList(
            [CrossLevelExchange(high, low, encoder.num_heads[level], coarse, fine) for level, low, high in pairs]
        )
        self.clx_down = nn.ModuleList(
            [
                CrossLevelExchange(low, high, encoder.num_heads[level], fine, coarse, config.clx_halo)
                for level, low, high in pairs
            ]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width, eps=encoder.layer_norm_eps) for width in channels])
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the patch embedding."""
        return self.embeddings.patch_embeddings

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the patch embedding."""
        self.embeddings.patch_embeddings = value

    def attend(self) -> Callable:
        """Finds the attention function of the configuration."""
        return ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, biased_attention)

    def encode(
        self, pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor | None = None, downwards: bool = True
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Computes the levels.

        Args:
            pixel_values: Normalised images.
            bool_masked_pos: Patches that the mask token replaces.
            downwards: Whether coarse levels inform fine ones; pre-training by masks does without.

        Returns:
            Embedded patches, and the levels fine to coarse, not normalised.

        Shape:
            pixel_values: `(B, 3, H, W)`; bool_masked_pos: `(B, H/4 * W/4)`. Output: maps `(B, h, w, channels)`.
        """
        attend = self.attend()
        tokens, shape = self.embeddings(pixel_values, bool_masked_pos)
        stem, levels = tokens.unflatten(1, shape), []
        for level, stage in enumerate(self.encoder.layers):
            tokens, before = stage(tokens, shape)
            levels.append(before.unflatten(1, shape))  # (B, h, w, c)
            shape = (-(-shape[0] // 2), -(-shape[1] // 2))
            if level < len(self.clx_up):
                tokens = self.clx_up[level](tokens.unflatten(1, shape), levels[-1], attend).flatten(1, 2)
        if downwards:
            for level in reversed(range(len(self.clx_down))):
                levels[level] = self.clx_down[level](levels[level], levels[level + 1], attend)
        return stem, levels

    @can_return_tuple
    @filter_output_hidden_states
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        pixel_values: torch.Tensor,
        bool_masked_pos: torch.Tensor | None = None,
        downwards: bool = True,
        output_hidden_states: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BackboneOutput:
        """Computes the maps named by `out_features`.

        Args:
            pixel_values: Normalised images of any size.
            bool_masked_pos: Patches that the mask token replaces, if there is one.
            downwards: See `encode`.
            output_hidden_states: Returns the tokens of all levels too.

        Shape:
            pixel_values: `(B, 3, H, W)`. Output: `feature_maps`, each `(B, channels, H / stride, W / stride)`.
        """
        stem, levels = self.encode(pixel_values, bool_masked_pos, downwards)
        levels = [norm(level) for norm, level in zip(self.norms, levels)]
        maps = dict(zip(self.stage_names, [stem, *levels]))
        return BackboneOutput(
            feature_maps=tuple(
                maps[name].permute(0, 3, 1, 2) for name in self.stage_names if name in self.out_features
            ),
            hidden_states=tuple(level.flatten(1, 2) for level in maps.values()),
        )

    def load_swinv2(self, source: "str | PreTrainedModel") -> list[str]:
        """Puts weights of a Swin V2 checkpoint of transformers into the encoder.

        The position biases are functions of distances in units of the windows that the checkpoint was trained with:
        `encoder_config.pretrained_window_sizes` becomes those.

        Args:
            source: Folder, Hub name or instance; classifiers and backbones alike.

        Returns:
            Parameters without counterpart there, which keep their values.

        Raises:
            ValueError: If the source has other sizes.
        """
        if not isinstance(source, PreTrainedModel):
            source = Swinv2Model.from_pretrained(source, add_pooling_layer=False)
        state = {
            name.removeprefix("swinv2."): value
            for name, value in source.state_dict().items()
            if name.removeprefix("swinv2.").startswith(("embeddings.", "encoder."))
        }
        own = self.state_dict()
        wrong = [name for name, value in state.items() if name not in own or own[name].shape != value.shape]
        if wrong:
            raise ValueError(
                f"The Swin V2 checkpoint differs from encoder_config in {len(wrong)} tensor(s), e.g. "
                f"{', '.join(wrong[:3])}: give one with embed_dim {self.config.encoder_config.embed_dim}, depths "
                f"{list(self.config.encoder_config.depths)} and num_heads {list(self.config.encoder_config.num_heads)}."
            )
        self.load_state_dict(state, strict=False)
        windows = pretraining_windows(source.config)
        self.config.encoder_config.pretrained_window_sizes = windows
        for stage, window in zip(self.encoder.layers, windows):
            for block in stage.blocks:
                attention = block.attention.self
                attention.pretrained_window_size = (window, window)
                attention.relative_coords_table.copy_(attention.create_coords_table_and_index()[0])
        return [name for name in own if name not in state]


def pretraining_windows(config: Any) -> list[int]:
    """Window sides that a Swin V2 checkpoint was trained with, level by level: the scale of its position bias.

    Layers clip their window to the map; a checkpoint that was itself moved to larger windows says so.
    """
    side = config.image_size if isinstance(config.image_size, int) else min(config.image_size)
    grid = side // config.patch_size
    return [
        given or min(config.window_size, grid // 2**level) for level, given in enumerate(config.pretrained_window_sizes)
    ]


def enlarge(maps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Resizes maps bilinearly to the size of others."""
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


class UniSegFormerDecoderBlock(GradientCheckpointingLayer):
    """One step up: the coarser map, enlarged, and the encoder's map of this scale, mixed by two convolutions."""

    def __init__(self, coarse_channels: int, skip_channels: int, channels: int):
        super().__init__()
        self.coarse_projection = nn.Conv2d(coarse_channels, channels, 1)
        self.skip_projection = nn.Conv2d(skip_channels, channels, 1)
        self.conv1 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.norm1 = ChannelLayerNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = ChannelLayerNorm(channels)

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Decodes a scale.

        Shape:
            coarse: `(B, C', h/2, w/2)`; skip: `(B, c, h, w)`; output: `(B, C, h, w)`.
        """
        coarse = enlarge(self.coarse_projection(coarse), skip)
        mixed = self.conv1(torch.cat((coarse, self.skip_projection(skip)), dim=1))
        mixed = self.conv2(F.gelu(self.norm1(mixed)))
        return F.gelu(coarse + self.norm2(mixed))


class UniSegFormerDecoder(nn.Module):
    """U-Net decoder from F4..F1 to U4..U1."""

    def __init__(self, config: UniSegFormerConfig):
        super().__init__()
        widths, channels = config.decoder_widths, config.level_channels
        self.bottleneck = nn.Conv2d(channels[3], widths[3], 1)
        self.blocks = nn.ModuleList(
            [UniSegFormerDecoderBlock(widths[level + 1], channels[level], widths[level]) for level in range(3)]
        )

    def forward(self, feature_maps: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Decodes. Shape: F1..F4 to U1..U4, each `(B, channels, h, w)`."""
        maps = [self.bottleneck(feature_maps[3])]
        for level in (2, 1, 0):
            maps.insert(0, self.blocks[level](maps[0], feature_maps[level]))
        return tuple(maps)


class UniSegFormerDenseHead(nn.Module):
    """Class logits at every scale, each scale correcting the enlarged logits of the coarser one."""

    def __init__(self, config: UniSegFormerConfig):
        super().__init__()
        self.classifiers = nn.ModuleList([nn.Conv2d(width, config.num_labels, 1) for width in config.decoder_widths])

    def forward(self, decoder_maps: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Classifies pixels. Shape: U1..U4 to `(B, K, h, w)` at strides 4, 8, 16, 32."""
        logits = [self.classifiers[3](decoder_maps[3])]
        for level in (2, 1, 0):
            own = self.classifiers[level](decoder_maps[level])
            logits.insert(0, own + enlarge(logits[0], own))
        return tuple(logits)


class UniSegFormerModel(UniSegFormerPreTrainedModel):
    """Encoder and U-Net decoder.

    Args:
        config: The configuration.
        use_mask_token: See `UniSegFormerBackbone`.
    """

    def __init__(self, config: UniSegFormerConfig, use_mask_token: bool = False):
        super().__init__(config)
        self.encoder = UniSegFormerBackbone(config, use_mask_token=use_mask_token)
        self.decoder = UniSegFormerDecoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the patch embedding."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the patch embedding."""
        self.encoder.set_input_embeddings(value)

    def load_backbone(self, source: "str | PreTrainedModel") -> list[str]:
        """Puts weights of a Swin V2 checkpoint into the encoder; see `UniSegFormerBackbone.load_swinv2`."""
        return self.encoder.load_swinv2(source)

    @can_return_tuple
    def forward(self, pixel_values: torch.FloatTensor, **kwargs: Unpack[TransformersKwargs]) -> UniSegFormerModelOutput:
        """Encodes and decodes.

        Args:
            pixel_values: Normalised images of any size; multiples of 32 lose nothing to padding.

        Shape:
            pixel_values: `(B, 3, H, W)`.
        """
        encoded = self.encoder(pixel_values, **kwargs)
        maps = self.decoder(encoded.feature_maps)
        return UniSegFormerModelOutput(
            last_hidden_state=maps[0],
            decoder_maps=maps,
            feature_maps=encoded.feature_maps,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


class UniSegFormerMaskHead(UniSegFormerPreTrainedModel):
    """Mask classification on the decoder's maps: projections, masked-attention decoder, class predictor."""

    _can_record_outputs = {
        "hidden_states": MaskedAttentionDecoderLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: UniSegFormerConfig):
        super().__init__(config)
        widths = config.decoder_widths
        levels = min(3, config.decoder_layers)  # the layers take turns, coarse to fine
        self.input_projections = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(width, config.feature_size, 1), nn.GroupNorm(32, config.feature_size))
                for width in list(reversed(widths[1:]))[:levels]
            ]
        )
        self.pixel_projection = nn.Conv2d(widths[0], config.mask_feature_size, 3, padding=1)
        self.decoder = build_mask_decoder(config, levels)
        self.class_predictor = nn.Linear(config.hidden_size, config.num_labels + 1)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, decoder_maps: tuple[torch.Tensor, ...], all_levels: bool = False, **kwargs: Unpack[TransformersKwargs]
    ) -> UniSegFormerMaskHeadOutput:
        """Refines the queries.

        Args:
            decoder_maps: U1..U4.
            all_levels: Whether predictions before every layer are returned too.
        """
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        pixel_embedding = self.pixel_projection(decoder_maps[0])
        pyramid = tuple(
            project(features) for project, features in zip(self.input_projections, reversed(decoder_maps[1:]))
        )
        outputs = self.decoder(pyramid, pixel_embedding, attend, **kwargs)
        levels = slice(None) if all_levels else slice(-1, None)
        return UniSegFormerMaskHeadOutput(
            class_logits=self.class_predictor(torch.stack(outputs.queries[levels])),
            mask_embeddings=torch.stack(outputs.mask_embeddings[levels]),
            pixel_embedding=outputs.pixel_embedding,
            heat_logits=outputs.heat_logits,
            valid_queries=outputs.valid_queries,
        )


def pixel_classes(
    mask_labels: list[torch.Tensor], class_labels: list[torch.Tensor], size: tuple[int, int], ignore_index: int
) -> torch.Tensor:
    """Turns segments into the class of every pixel; pixels in no segment (or, of masks, in none) are ignored.

    Args:
        mask_labels: Per image an id map, or binary masks (later ones lie over earlier ones).
        class_labels: Per image the class of each segment.
        size: `(height, width)` of the padded input.
        ignore_index: Class of pixels without segment.

    Shape:
        Output: `(B, H, W)`, int64.
    """
    maps = []
    for masks, classes in zip(mask_labels, class_labels):
        if masks.dim() == 3:
            order = torch.arange(1, len(masks) + 1, device=masks.device)[:, None, None]
            masks = (masks.bool() * order).amax(0) if len(masks) else masks.new_zeros(masks.shape[1:])
        table = torch.cat((classes.new_full((1,), ignore_index), classes))
        of_pixels = table[masks.long().clamp(0, len(classes))]
        padding = (0, size[1] - of_pixels.shape[1], 0, size[0] - of_pixels.shape[0])
        maps.append(F.pad(of_pixels, padding, value=ignore_index))
    return torch.stack(maps)


def universal_losses(
    config: UniSegFormerConfig,
    outputs: UniSegFormerMaskHeadOutput,
    dense_logits: tuple[torch.Tensor, ...],
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    size: tuple[int, int],
    void_masks: list[torch.Tensor] | None = None,
    known_classes: torch.Tensor | None = None,
    normalizer: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Computes the weighted losses of queries and dense logits.

    Args:
        config: Weights.
        outputs: Predictions; of all levels for auxiliary losses.
        dense_logits: At strides 4, 8, 16, 32.
        mask_labels, class_labels: Segments.
        size: `(height, width)` of the padded input.
        void_masks: Per image the pixels about which nothing is known.
        known_classes: Classes whose absence is known; other classes are no alternative in the classification.
        normalizer: See `UniSegFormerForUniversalSegmentation.loss_normalizer`.

    Shape:
        known_classes: `(B, K)`, boolean.
    """
    class_logits = outputs.class_logits
    if known_classes is not None:
        closed = F.pad(~known_classes, (0, 1))[:, None]  # (B, 1, K + 1); "no object" stays open
        class_logits = class_logits.masked_fill(closed, torch.finfo(class_logits.dtype).min / 4)
        opened = F.pad(~known_classes, (0, 0))[:, :, None, None]
        dense_logits = tuple(logits.masked_fill(opened, torch.finfo(logits.dtype).min / 4) for logits in dense_logits)
    terms = mask_classification_loss(
        class_logits=class_logits,
        mask_embeddings=outputs.mask_embeddings,
        pixel_embedding=outputs.pixel_embedding,
        mask_labels=mask_labels,
        class_labels=class_labels,
        padded_size=size,
        weights=LossWeights(config.class_weight, config.mask_weight, config.dice_weight, config.no_object_weight),
        num_points=config.train_num_points,
        oversample_ratio=config.oversample_ratio,
        importance_sample_ratio=config.importance_sample_ratio,
        normalizer=None if normalizer is None else normalizer[:2],
        void_masks=void_masks,
    )
    terms |= heat_terms(config, outputs.heat_logits, mask_labels, class_labels, normalizer, void_masks)
    device = outputs.pixel_embedding.device
    labels = pixel_classes(
        [masks.to(device) for masks in mask_labels],
        [classes.to(device) for classes in class_labels],
        size,
        config.semantic_loss_ignore_index,
    )
    dense = multi_scale_cross_entropy(
        dense_logits,
        [thin_out(labels, stride) for stride in STRIDES],
        dense_weights(config),
        config.semantic_loss_ignore_index,
        None if normalizer is None else normalizer[2:],
    )
    return terms | named_dense(dense)


def dense_weights(config: UniSegFormerConfig) -> list[float]:
    """Weights of the pixel cross-entropy, fine to coarse."""
    return [float(weight) for weight in reversed(config.dense_loss_weights)]


def named_dense(losses: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names the pixel cross-entropies by their stride."""
    return {f"loss_dense_{stride}" if stride > 4 else "loss_dense": loss for stride, loss in zip(STRIDES, losses)}


class UniSegFormerForSemanticSegmentation(UniSegFormerPreTrainedModel):
    """Encoder, decoder and dense logits: a class per pixel, without queries."""

    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False
    _keys_to_ignore_on_load_unexpected = [
        *UniSegFormerPreTrainedModel._keys_to_ignore_on_load_unexpected,
        r"^mask_head\.",
    ]

    def __init__(self, config: UniSegFormerConfig):
        super().__init__(config)
        self.model = UniSegFormerModel(config)
        self.dense_head = UniSegFormerDenseHead(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the patch embedding."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the patch embedding."""
        self.model.set_input_embeddings(value)

    def scales(self, labels: torch.Tensor) -> list[torch.Tensor]:
        """Thins labels out to the coarser scales; the finest logits are enlarged to the labels instead."""
        return [labels, *(thin_out(labels, stride) for stride in STRIDES[1:])]

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts what the losses of a batch are divided by: the labelled pixels of every scale. Shape: `(4,)`."""
        ignore = self.config.semantic_loss_ignore_index
        return torch.stack([(labels != ignore).sum() for labels in self.scales(batch["labels"])]).float()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        labels: torch.LongTensor | None = None,
        loss_normalizer: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UniSegFormerForSemanticSegmentationOutput:
        """Classifies pixels and, with labels, computes the loss.

        Args:
            pixel_values: Normalised images.
            labels: Class of every pixel, `semantic_loss_ignore_index` where unknown.
            loss_normalizer: See `loss_normalizer()`; by default counted from these labels.

        Raises:
            ValueError: If labels do not fit the images or the classes.

        Shape:
            pixel_values: `(B, 3, H, W)`; labels: `(B, H, W)`.
        """
        config = self.config
        if labels is not None:
            check_labels(labels, len(pixel_values), config.num_labels, config.semantic_loss_ignore_index)
        outputs = self.model(pixel_values, **kwargs)
        logits = self.dense_head(outputs.decoder_maps)
        loss = loss_dict = None
        if labels is not None:
            labels = labels.to(logits[0].device)
            fine = F.interpolate(logits[0], size=labels.shape[-2:], mode="bilinear", align_corners=False)
            loss_dict = named_dense(
                multi_scale_cross_entropy(
                    (fine, *logits[1:]),
                    self.scales(labels),
                    dense_weights(config),
                    config.semantic_loss_ignore_index,
                    loss_normalizer,
                )
            )
            loss = torch.stack(list(loss_dict.values())).sum()
        return UniSegFormerForSemanticSegmentationOutput(
            loss=loss,
            loss_dict=loss_dict,
            logits=logits[0],
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class UniSegFormerForUniversalSegmentation(UniSegFormerPreTrainedModel):
    """Panoptic, instance and semantic segmentation from one set of masks; dense logits help in training."""

    accepts_loss_kwargs = False

    def __init__(self, config: UniSegFormerConfig):
        super().__init__(config)
        self.model = UniSegFormerModel(config)
        self.dense_head = UniSegFormerDenseHead(config)
        self.mask_head = UniSegFormerMaskHead(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the patch embedding."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the patch embedding."""
        self.model.set_input_embeddings(value)

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts what the losses of a batch are divided by.

        The sum of these over accumulated batches and processes, given back to `forward` as `loss_normalizer=`, makes
        the losses of the parts add up to the loss of the whole.

        Shape:
            Output: `(6,)`: targets, class weights of the queries, labelled pixels at strides 4, 8, 16, 32.
        """
        return universal_normalizer(
            self.config, batch["pixel_values"], batch["mask_labels"], batch["class_labels"], self.training
        )

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        mask_labels: list[torch.Tensor] | None = None,
        class_labels: list[torch.Tensor] | None = None,
        void_masks: list[torch.Tensor] | None = None,
        known_classes: torch.Tensor | None = None,
        output_auxiliary_logits: bool | None = None,
        loss_normalizer: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UniSegFormerForUniversalSegmentationOutput:
        """Predicts masks and their classes and, with labels, the loss.

        Args:
            pixel_values: Normalised images.
            mask_labels: Per image the segments: an integer map `(H, W)` whose value n is segment n, counted from 1 (0
                is nothing), or N binary masks `(N, H, W)`, which may overlap. A target smaller than the padded input
                counts as background beyond its edge.
            class_labels: Per image the class of each segment, `(N,)`. N may be 0.
            void_masks: Per image the pixels about which nothing is known, boolean `(H, W)`: masks are not compared
                there. Without them, a pixel of no segment is background of all.
            known_classes: Per image the classes whose presence was checked, boolean `(B, K)`; for data that is labelled
                in part, such as Open Images. Other classes are no alternative in the classification losses.
            output_auxiliary_logits: Returns the logits of earlier predictions; defaults to the configuration's value.
            loss_normalizer: See `loss_normalizer()`; by default counted from the labels of this batch.

        Raises:
            ValueError: If labels do not fit the batch, each other or the classes.

        Shape:
            pixel_values: `(B, 3, H, W)`. Outputs: see `UniSegFormerForUniversalSegmentationOutput`.
        """
        config = self.config
        auxiliary = config.output_auxiliary_logits if output_auxiliary_logits is None else output_auxiliary_logits
        if (mask_labels is None) != (class_labels is None):
            raise ValueError("mask_labels and class_labels belong together: give both for the loss, or neither.")
        with_loss = mask_labels is not None
        outputs = self.model(pixel_values, **kwargs)
        all_levels = auxiliary or (with_loss and config.use_auxiliary_loss)
        predictions = self.mask_head(outputs.decoder_maps, all_levels, **kwargs)
        pixel_embedding = predictions.pixel_embedding

        auxiliary_logits = None
        if auxiliary:
            auxiliary_logits = [
                {
                    "class_queries_logits": close_invalid_queries(logits, predictions.valid_queries),
                    "masks_queries_logits": mask_logits(embeddings, pixel_embedding, precise=config.mask_positions),
                }
                for logits, embeddings in zip(predictions.class_logits[:-1], predictions.mask_embeddings[:-1])
            ]
        loss = loss_dict = None
        if with_loss:
            levels = slice(None) if config.use_auxiliary_loss else slice(-1, None)
            loss_dict = universal_losses(
                config,
                UniSegFormerMaskHeadOutput(
                    predictions.class_logits[levels],
                    predictions.mask_embeddings[levels],
                    pixel_embedding,
                    predictions.heat_logits,
                ),
                self.dense_head(outputs.decoder_maps),
                mask_labels,
                class_labels,
                (pixel_values.shape[-2], pixel_values.shape[-1]),
                void_masks,
                known_classes,
                loss_normalizer,
            )
            loss = torch.stack(list(loss_dict.values())).sum()
        return UniSegFormerForUniversalSegmentationOutput(
            loss=loss,
            loss_dict=loss_dict,
            class_queries_logits=close_invalid_queries(predictions.class_logits[-1], predictions.valid_queries),
            masks_queries_logits=mask_logits(
                predictions.mask_embeddings[-1], pixel_embedding, precise=config.mask_positions
            ),
            auxiliary_logits=auxiliary_logits,
            pixel_embedding=pixel_embedding,
            heat_logits=predictions.heat_logits,
            hidden_states=predictions.hidden_states,
            attentions=predictions.attentions,
            cross_attentions=predictions.cross_attentions,
            encoder_hidden_states=outputs.hidden_states,
            encoder_attentions=outputs.attentions,
        )


def universal_normalizer(
    config: UniSegFormerConfig,
    pixel_values: torch.Tensor,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    training: bool = True,
) -> torch.Tensor:
    """Counts targets, class weights of the queries, and labelled pixels at strides 4, 8, 16, 32. Shape: `(6,)`."""
    ignore = config.semantic_loss_ignore_index
    counts = count_targets(class_labels, num_queries_in_use(config, training), config.no_object_weight)
    size = (pixel_values.shape[-2], pixel_values.shape[-1])
    labels = pixel_classes(mask_labels, class_labels, size, ignore)
    pixels = torch.stack([(thin_out(labels, stride) != ignore).sum() for stride in STRIDES]).float()
    return torch.cat((counts, pixels.to(counts.device)))


def selected_states(
    states: tuple[torch.Tensor, ...], wanted: bool | int | list[int] | None
) -> tuple[torch.Tensor | None, ...] | None:
    """Keeps the hidden states that the caller wants: all, none, or those of some indices, None in place of others."""
    if not wanted or wanted is True:
        return states if wanted else None
    wanted = [wanted] if isinstance(wanted, int) else wanted
    kept = {index % len(states) for index in wanted if -len(states) <= index < len(states)}
    return tuple(state if index in kept else None for index, state in enumerate(states))


class UniSegFormerAttentionPooling(nn.Module):
    """One learned query attends to the coarsest map; the result is projected to the text's space."""

    def __init__(self, config: UniSegFormerConfig, projection_size: int):
        super().__init__()
        channels = config.level_channels[3]
        self.query = nn.Parameter(torch.zeros(1, 1, channels))
        self.attention = MultiHeadAttention(channels, config.pooling_heads)
        self.projection = nn.Linear(channels, projection_size)

    def forward(self, tokens: torch.Tensor, attend: Callable = eager_attention) -> torch.Tensor:
        """Pools. Shape: `(B, T, C)` to `(B, projection_size)`."""
        query = self.query.expand(tokens.shape[0], -1, -1)
        return self.projection(self.attention(query, tokens, tokens, None, attend)[0][:, 0])


class UniSegFormerTextModel(RemoteCodeModel, SiglipTextModel):
    """SigLIP's text tower; as part of a model outside transformers' tree it keeps its rules of initialisation."""

    _no_split_modules = ["SiglipTextEmbeddings", "SiglipEncoderLayer"]


class UniSegFormerForPreTraining(UniSegFormerPreTrainedModel):
    """Masked reconstruction, image-text contrast, and segmentation of a share of images.

    One view of an image serves reconstruction and contrast: masked, or (`mim_image_share`) whole for the contrast
    alone. Images with segments come beside them (`segmentation_pixel_values`) and are not masked. Contrast sees the
    pairs of one micro-batch of all processes: accumulation adds up separate contrasts, unlike a larger batch, unless
    `contrast_accumulated` is set.
    """

    accepts_loss_kwargs = False
    _keys_to_ignore_on_load_unexpected = None

    def __init__(self, config: UniSegFormerConfig):
        super().__init__(config)
        self.model = UniSegFormerModel(config, use_mask_token=True)
        self.dense_head = UniSegFormerDenseHead(config)
        self.mask_head = UniSegFormerMaskHead(config)
        self.reconstruction = nn.Linear(config.level_channels[3], 3 * config.mim_patch**2)
        self.text_model = UniSegFormerTextModel(config.text_config)
        self.pooling = UniSegFormerAttentionPooling(config, config.text_config.projection_size)
        # One element instead of none: FSDP shards no scalars.
        self.contrastive_scale = nn.Parameter(torch.full((1,), math.log(config.contrastive_scale_init)))
        self.contrastive_bias = nn.Parameter(torch.full((1,), float(config.contrastive_bias_init)))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the patch embedding."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the patch embedding."""
        self.model.set_input_embeddings(value)

    def draw_mask(self, pixel_values: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draws the units to hide. Shape: `(B, 3, H, W)` to boolean `(B, ceil(H/32) * ceil(W/32))`."""
        height, width = (-(-side // self.config.mim_patch) for side in pixel_values.shape[-2:])
        return draw_masked_units(
            len(pixel_values), height * width, self.config.mim_mask_ratio, pixel_values.device, generator
        )

    def draw_batch_mask(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Draws the units to hide in a batch of training: in the first `mim_image_share` of it, at least one image.

        Shape: as `draw_mask`.
        """
        hidden = self.draw_mask(pixel_values)
        if self.training:
            hidden[max(1, round(self.config.mim_image_share * len(hidden))) :] = False
        return hidden

    def image_features(
        self, pixel_values: torch.Tensor, masked_units: torch.Tensor | None = None, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, BackboneOutput]:
        """Encodes images for reconstruction and contrast.

        Args:
            pixel_values: Normalised images.
            masked_units: Units to hide; None hides nothing.

        Returns:
            F4, normalised, channels last, L2-normalised embeddings, and all that the encoder gave.

        Shape:
            pixel_values: `(B, 3, H, W)`; masked_units: `(B, units)`.
            Output: `(B, h, w, 8 C)` and `(B, projection_size)`.
        """
        patches = None
        rows, columns = (-(-side // self.config.mim_patch) for side in pixel_values.shape[-2:])
        if masked_units is not None:
            units = masked_units.unflatten(1, (rows, columns))
            per_unit = self.config.mim_patch // STRIDES[0]
            patches = units.repeat_interleave(per_unit, 1).repeat_interleave(per_unit, 2)
            height, width = (-(-side // STRIDES[0]) for side in pixel_values.shape[-2:])
            patches = patches[:, :height, :width].flatten(1)
        encoded = self.model.encoder(
            pixel_values, patches, downwards=False, **{**kwargs, "output_hidden_states": True, "return_dict": True}
        )
        tokens = encoded.hidden_states[-1]  # (B, h w, 8C)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        pooled = self.pooling(tokens, attend)
        return tokens.unflatten(1, (rows, columns)), F.normalize(pooled.float(), dim=-1), encoded

    def text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes texts, L2-normalised. Shape: `(B, L)` to `(B, projection_size)`."""
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return F.normalize(outputs.pooler_output.float(), dim=-1)

    @torch.no_grad()
    def accumulation_inputs(
        self, batches: list[dict[str, Any]], model: Callable, device: torch.device
    ) -> list[dict[str, torch.Tensor]]:
        """Computes what each micro-batch has to know of the others: their embeddings, and its own hidden units.

        Args:
            batches: The micro-batches of one update.
            model: This model, as it is called (wrapped for several processes).
            device: Where it computes.

        Returns:
            Further arguments of `forward` per micro-batch; none without `contrast_accumulated`.
        """
        if not self.config.contrast_accumulated or len(batches) == 1 or "input_ids" not in batches[0]:
            return [{} for _ in batches]
        extras, embeddings = [], []
        for batch in batches:
            inputs = {
                name: batch[name].to(device)
                for name in ("pixel_values", "input_ids", "attention_mask", "masked_units")
                if batch.get(name) is not None
            }
            inputs.setdefault("masked_units", self.draw_batch_mask(inputs["pixel_values"]))
            extras.append({"masked_units": inputs["masked_units"]})
            outputs = model(**inputs, embeddings_only=True)
            embeddings.append(torch.stack((outputs["image_embeds"], outputs["text_embeds"])))  # (2, B, D)
        of_all = torch.stack(embeddings)  # (micro-batches, 2, B, D)
        gathered = gather_with_gradient(of_all.unsqueeze(0))  # (processes, micro-batches, 2, B, D)
        for number, extra in enumerate(extras):
            others = torch.cat((gathered[:, :number], gathered[:, number + 1 :]), dim=1)
            images, texts = others.unbind(2)  # (processes, micro-batches - 1, B, D)
            extra["other_image_embeds"], extra["other_text_embeds"] = images.flatten(0, 2), texts.flatten(0, 2)
        return extras

    def idle(self, *modules: nn.Module) -> torch.Tensor:
        """Computes a zero that depends on every parameter of modules without work in this batch.

        Processes then agree on which gradients there are, whatever their batches hold.
        """
        parameters = [parameter for part in modules for parameter in part.parameters()]
        # A sharded module that does not run keeps its shards.
        local = [one.to_local() if isinstance(one, DTensor) else one for one in parameters]
        return torch.stack([one.float().sum() * 0.0 for one in local]).sum()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.LongTensor | None = None,
        masked_units: torch.BoolTensor | None = None,
        segmentation_pixel_values: torch.FloatTensor | None = None,
        mask_labels: list[torch.Tensor] | None = None,
        class_labels: list[torch.Tensor] | None = None,
        void_masks: list[torch.Tensor] | None = None,
        known_classes: torch.BoolTensor | None = None,
        other_image_embeds: torch.FloatTensor | None = None,
        other_text_embeds: torch.FloatTensor | None = None,
        embeddings_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UniSegFormerForPreTrainingOutput:
        """Computes the losses that the batch allows.

        Args:
            pixel_values: Normalised images.
            input_ids: Tokens of each image's text.
            attention_mask: 1 at tokens, 0 at padding. SigLIP's towers were trained without one.
            masked_units: Units to hide; drawn if not given. All false trains the contrast on whole images.
            segmentation_pixel_values: Normalised images with segments.
            mask_labels, class_labels, void_masks, known_classes: Of these; see `UniSegFormerForUniversalSegmentation`.
            other_image_embeds, other_text_embeds: Embeddings of other micro-batches; see `accumulation_inputs`.
            embeddings_only: Returns the embeddings of images and texts and nothing else.

        Raises:
            ValueError: If labels come without their images or do not fit, or texts and images differ in number.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(B, L)`; masked_units: `(B, units)`;
            segmentation_pixel_values: `(S, 3, H', W')`.
        """
        config = self.config
        self.check(pixel_values, input_ids, segmentation_pixel_values, mask_labels, class_labels)
        wanted = kwargs.get("output_hidden_states", config.output_hidden_states)
        if masked_units is None:
            masked_units = self.draw_batch_mask(pixel_values)
        coarsest, image_embeds, encoded = self.image_features(pixel_values, masked_units, **kwargs)
        if embeddings_only:
            text_embeds = None if input_ids is None else self.text_features(input_ids, attention_mask)
            return UniSegFormerForPreTrainingOutput(image_embeds=image_embeds, text_embeds=text_embeds)
        predicted = self.reconstruction(coarsest).permute(0, 3, 1, 2)
        reconstruction = F.pixel_shuffle(predicted, config.mim_patch)  # (B, 3, H, W)
        terms = {
            "loss_mim": config.mim_weight
            * masked_reconstruction_loss(reconstruction, pixel_values, masked_units, config.mim_patch)
        }
        text_embeds = None
        idle: list[nn.Module] = []
        if input_ids is not None:
            text_embeds = self.text_features(input_ids, attention_mask)
            terms["loss_contrastive"] = config.contrastive_weight * sigmoid_contrastive_loss(
                image_embeds,
                text_embeds,
                self.contrastive_scale,
                self.contrastive_bias,
                other_image_embeds=other_image_embeds,
                other_text_embeds=other_text_embeds,
            )
        if segmentation_pixel_values is not None and mask_labels is not None and class_labels is not None:
            outputs = self.model(segmentation_pixel_values)
            predictions = self.mask_head(outputs.decoder_maps, config.use_auxiliary_loss)
            size = (segmentation_pixel_values.shape[-2], segmentation_pixel_values.shape[-1])
            segmentation = universal_losses(
                config,
                predictions,
                self.dense_head(outputs.decoder_maps),
                mask_labels,
                class_labels,
                size,
                void_masks,
                known_classes,
            )
            terms |= {name: config.segmentation_weight * value for name, value in segmentation.items()}
        elif self.training:
            encoder = self.model.encoder
            idle += [self.model.decoder, self.dense_head, self.mask_head, encoder.clx_down, encoder.norms]
        loss = torch.stack(list(terms.values())).sum()
        if self.training:
            if input_ids is None:
                idle += [self.text_model, self.pooling]
                loss = loss + 0.0 * (self.contrastive_scale + self.contrastive_bias).sum()
            if idle:
                loss = loss + self.idle(*idle)
        return UniSegFormerForPreTrainingOutput(
            loss=loss,
            loss_dict=terms,
            reconstruction=reconstruction,
            masked_units=masked_units.long(),
            image_embeds=image_embeds,
            text_embeds=text_embeds,
            hidden_states=selected_states(encoded.hidden_states, wanted),
            attentions=encoded.attentions,
        )

    @staticmethod
    def check(
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None,
        segmentation_pixel_values: torch.Tensor | None,
        mask_labels: list[torch.Tensor] | None,
        class_labels: list[torch.Tensor] | None,
    ) -> None:
        """Checks that what belongs together is there.

        Raises:
            ValueError: Naming what is missing.
        """
        if input_ids is not None and len(input_ids) != len(pixel_values):
            raise ValueError(
                f"Got {len(input_ids)} texts for {len(pixel_values)} images: every image-text pair needs both. Drop "
                "images without text, or give them in a batch of their own."
            )
        given = [segmentation_pixel_values is not None, mask_labels is not None, class_labels is not None]
        if any(given) and not all(given):
            raise ValueError(
                "segmentation_pixel_values, mask_labels and class_labels belong together: give all three for the "
                "segmentation term, or none."
            )


__all__ = [
    "UniSegFormerBackbone",
    "UniSegFormerForPreTraining",
    "UniSegFormerForSemanticSegmentation",
    "UniSegFormerForUniversalSegmentation",
    "UniSegFormerModel",
    "UniSegFormerPreTrainedModel",
]
