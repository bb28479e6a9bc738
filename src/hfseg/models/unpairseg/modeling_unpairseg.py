# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
# mypy: disable-error-code="union-attr, arg-type, assignment, operator, index"
"""Unpair-Seg: promptable and open-vocabulary segmentation learned from unpaired masks and texts.

Wang et al., "Open-Vocabulary Segmentation with Unpaired Mask-Text Supervision" (arXiv 2402.08960). A frozen CLIP
ConvNeXt feeds two learned parts. Stage 1 learns *where*: points and boxes become short sequences of tokens, and a mask
decoder turns each into masks and a score, trained on masks without names. Stage 2 learns *what*: masks of an image are
matched with the nouns of a caption of the same image in CLIP's space, and a light adapter learns to describe a mask
like its noun, without a single mask-text pair. A name from any list of words is then the text nearest to a mask.

Shape legend: B images, H x W network input, Q prompts, P points of a prompt, K tokens of a prompt, M masks of a prompt,
C channels, D size of CLIP's common space, N masks of an image (Q M), V words.

Where the paper and the authors' code disagree, released weights decide: location tokens carry corner and sign
embeddings, and the type and content of the prompt are not added to the mask tokens; position codes are random Fourier
features, with three independent matrices; a 1x1 convolution and one perceptron per granularity stand between token
and mask; there is no attention from the image to the prompts. What differs from the authors' code without changing
numbers: the 1x1 convolution runs once per image instead of once per layer, masks that steer the attention come from a
pixel embedding resized once per level, and full masks are made at the end, for the prompts that are asked for.
What nobody published (the adapter's sizes, for example) is a field of the configuration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPTextModelWithProjection, ConvNextModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from transformers.utils.generic import maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...files.remote_code import RemoteCodeModel
from ...layers.deformable_attention import DeformableEncoderLayer, MultiScaleDeformableAttention
from ...layers.initialization import (
    init_convolution,
    init_deformable_attention,
    init_feedforward,
    init_linear,
    init_multi_head_attention,
)
from ...layers.mask_decoder import (
    MaskedAttentionDecoderLayer,
    MaskEmbedder,
    MultiHeadAttention,
    eager_attention,
    mask_logits,
)
from ...layers.positions import FourierPositions, level_sizes, pixel_centres
from ...losses.promptable import PromptableLossWeights, promptable_loss
from ...losses.region_text import alignment_loss, match_regions
from ...postprocess import mask_nms
from .configuration_unpairseg import UnpairSegConfig


@dataclass
class UnpairSegImageEmbeddings(ModelOutput):
    """What prompts read of an image; made once, used for any number of prompts.

    Attributes:
        mask_features: Pixel decoder's stride-4 map, `(B, C, H/4, W/4)`.
        multi_scale_features: Its maps at strides 32, 16 and 8, each `(B, C, h, w)`.
        feature_maps: CLIP's maps at strides 4, 8, 16 and 32.
        input_size: `(H, W)` of the network input, to which prompts refer.
    """

    mask_features: torch.Tensor | None = None
    multi_scale_features: tuple[torch.Tensor, ...] | None = None
    feature_maps: tuple[torch.Tensor, ...] | None = None
    input_size: tuple[int, int] | None = None


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


@dataclass
class UnpairSegMaskDecoderOutput(ModelOutput):
    """Prompts after refinement.

    Attributes:
        last_hidden_state: Tokens of all prompts, `(B, Q, K, C)`.
        readouts: Normalised tokens that masks are read from, before the first and after every layer,
            each `(B, Q, M, C)`.
        mask_embeddings: Their mask embeddings, each `(B, Q, M, C)`.
        hidden_states: With `output_hidden_states=True`: tokens before the first and after every layer.
        attentions: With `output_attentions=True`: attention among the tokens of a prompt, `(B * Q, heads, K, K)`.
        cross_attentions: Likewise, of the masked attention, `(B, heads, Q * K, pixels of the level)`.
    """

    last_hidden_state: torch.Tensor | None = None
    readouts: tuple[torch.Tensor, ...] | None = None
    mask_embeddings: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UnpairSegModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        last_hidden_state: Tokens of all prompts after the last layer, `(B, Q, K, C)`.
        iou_scores: Predicted quality of each mask, 0..1, `(B, Q, M)`.
        pred_masks: Mask logits at a quarter of the input's size, `(B, Q, M, H/4, W/4)`, unless `output_masks=False`.
        mask_embeddings: `(B, Q, M, C)`. Their product with `pixel_embedding` are the masks.
        pixel_embedding: `(B, C, H/4, W/4)`.
        all_mask_embeddings: Of every prediction level, each `(B, Q, M, C)`.
        all_iou_scores: Of every prediction level, each `(B, Q, M)`, in training; else of the last only.
        input_points: Points used, `(B, Q, P, 2)`, if prompts were points.
        image_embeddings: What was read of the image.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder, on request.
    """

    last_hidden_state: torch.Tensor | None = None
    iou_scores: torch.Tensor | None = None
    pred_masks: torch.Tensor | None = None
    mask_embeddings: torch.Tensor | None = None
    pixel_embedding: torch.Tensor | None = None
    all_mask_embeddings: tuple[torch.Tensor, ...] | None = None
    all_iou_scores: tuple[torch.Tensor, ...] | None = None
    input_points: torch.Tensor | None = None
    feature_maps: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UnpairSegMaskGenerationOutput(ModelOutput):
    """Output of `UnpairSegForMaskGeneration`; `iou_scores` and `pred_masks` are named as in transformers' SAM.

    Attributes:
        loss: Weighted sum of all terms, scalar. Only with labels.
        loss_dict: Its terms, already weighted: `loss_mask`, `loss_dice`, `loss_iou` of the last prediction, and the
            same with `_0`, `_1`, ... of earlier ones. Only with labels.
        iou_scores: Predicted quality of each mask, 0..1, `(B, Q, M)`.
        pred_masks: Mask logits, `(B, Q, M, H/4, W/4)`, unless `output_masks=False`.
        mask_embeddings: `(B, Q, M, C)`.
        pixel_embedding: `(B, C, H/4, W/4)`.
        input_points: Points used, `(B, Q, P, 2)`, if prompts were points.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    iou_scores: torch.Tensor | None = None
    pred_masks: torch.Tensor | None = None
    mask_embeddings: torch.Tensor | None = None
    pixel_embedding: torch.Tensor | None = None
    input_points: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class UnpairSegOpenVocabularyOutput(ModelOutput):
    """Output of `UnpairSegForOpenVocabularySegmentation`.

    Attributes:
        loss: Alignment loss of stage 2, scalar. Only with entities.
        loss_dict: `{"loss_align"}`. Only with entities.
        class_queries_logits: Scaled cosine of every mask with every class, `(B, N, V)`; there is no void class. Only
            with texts.
        masks_queries_logits: Mask logits, `(B, N, H/4, W/4)`, point by point, granularities inside; unless
            `output_masks=False`.
        iou_scores: Predicted quality of each mask, `(B, N)`.
        region_embeds: Normalised description of each mask in CLIP's space, `(B, N, D)`.
        text_embeds: Normalised rows of the classes, `(V, R, D)`.
        mask_embeddings: `(B, N, C)`.
        pixel_embedding: `(B, C, H/4, W/4)`.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    class_queries_logits: torch.Tensor | None = None
    masks_queries_logits: torch.Tensor | None = None
    iou_scores: torch.Tensor | None = None
    region_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    mask_embeddings: torch.Tensor | None = None
    pixel_embedding: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


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


class UnpairSegPromptEncoder(nn.Module):
    """Tokens of prompts (section 3.2): two corners with type and content, then the mask tokens.

    A point is the box of `point_anchor_size` pixels around it. Content is the pixel embedding at the centre.
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


def pool_regions(features: torch.Tensor, region_logits: torch.Tensor) -> torch.Tensor:
    """Averages features over the foreground of masks; a mask without foreground gives zeros.

    Mask *logits* are resized to the features and binarised there, as in the authors' code.

    Shape:
        features: `(B, D, h, w)`; region_logits: `(B, N, h', w')`; output: `(B, N, D)`.
    """
    if region_logits.shape[-2:] != features.shape[-2:]:
        region_logits = F.interpolate(region_logits, size=features.shape[-2:], mode="bilinear", align_corners=False)
    inside = (region_logits >= 0).flatten(2).to(features.dtype)  # (B, N, T)
    total = inside @ features.flatten(2).transpose(1, 2)  # (B, N, D)
    # The count and the small number that keeps it from zero are in float32: float16 knows no 1e-8.
    return (total / (inside.sum(-1, keepdim=True, dtype=torch.float32) + 1e-8)).to(features.dtype)


def normalized(embeddings: torch.Tensor) -> torch.Tensor:
    """Scales vectors to length 1 in float32; zeros stay zeros, in float16 too.

    Shape:
        embeddings: `(..., D)`, also the output.
    """
    return F.normalize(embeddings.float(), dim=-1).to(embeddings.dtype)


class UnpairSegLowRankAdapter(nn.Module):
    """Semantic adapter (equation 3.7): low-rank updates of CLIP's four maps, resized to one, fused by a perceptron.

    The first layer of the perceptron is applied to each scale before the resize: both are linear, and the
    concatenation of all scales never exists.
    """

    def __init__(self, config: UnpairSegConfig, projection_dim: int):
        super().__init__()
        channels = list(config.backbone_config.hidden_sizes)
        widths = channels if config.adapter_residual else [config.adapter_dim] * len(channels)
        self.residual, self.stride, self.widths = config.adapter_residual, config.adapter_stride, widths
        self.down = nn.ModuleList([nn.Linear(size, config.adapter_rank) for size in channels])
        self.up = nn.ModuleList([nn.Linear(config.adapter_rank, width) for width in widths])
        hidden = config.adapter_hidden_size or channels[-1]
        self.fuse = nn.Linear(sum(widths), hidden)
        self.projection = nn.Linear(hidden, projection_dim)

    def forward(self, feature_maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Describes pixels.

        Shape:
            feature_maps: each `(B, C_i, h_i, w_i)`, at strides 4, 8, 16, 32; output: `(B, D, h, w)`.
        """
        height, width = feature_maps[0].shape[-2:]
        size = (max(1, height * 4 // self.stride), max(1, width * 4 // self.stride))
        parts = zip(feature_maps, self.down, self.up, self.fuse.weight.split(self.widths, dim=1))
        fused: Any = self.fuse.bias.view(1, -1, 1, 1)
        for features, down, up, weight in parts:
            tokens = features.permute(0, 2, 3, 1)  # (B, h_i, w_i, C_i)
            update = up(F.gelu(down(tokens)))
            tokens = tokens + update if self.residual else update
            hidden = F.linear(tokens, weight).permute(0, 3, 1, 2)
            fused = fused + F.interpolate(hidden, size=size, mode="bilinear", align_corners=False)
        return self.projection(F.gelu(fused.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class UnpairSegCrossAttentionAdapter(nn.Module):
    """The ablation's adapter: CLIP's region embeddings look at CLIP's maps again, two layers, before the projection."""

    def __init__(self, config: UnpairSegConfig, projection_dim: int):
        super().__init__()
        hidden = config.hidden_size
        self.query = nn.Linear(projection_dim, hidden)
        self.inputs = nn.ModuleList([nn.Linear(size, hidden) for size in config.backbone_config.hidden_sizes[1:]])
        self.layers = nn.ModuleList(
            [
                MaskedAttentionDecoderLayer(hidden, config.num_attention_heads, config.dim_feedforward, config.dropout)
                for _ in range(config.adapter_layers)
            ]
        )
        self.projection = nn.Linear(hidden, projection_dim)

    def forward(self, region_embeds: torch.Tensor, feature_maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Shape: region_embeds `(B, N, D)`; feature_maps as above; output `(B, N, D)`."""
        maps = zip(feature_maps[1:], self.inputs)
        memory = torch.cat([project(features.flatten(2).transpose(1, 2)) for features, project in maps], dim=1)
        queries = self.query(region_embeds)
        visible = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=queries.device)
        for layer in self.layers:
            queries = layer(queries, torch.zeros_like(queries), memory, memory, visible)
        return region_embeds + self.projection(queries)


class UnpairSegVisualProjection(nn.Module):
    """CLIP's projection of normalised pooled features into the common space (F_v without its norm)."""

    def __init__(self, hidden_size: int, projection_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, hidden_size)
        self.fc2 = nn.Linear(hidden_size, projection_dim, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Shape: `(..., C)` to `(..., D)`."""
        return self.fc2(F.gelu(self.fc1(features)))


class UnpairSegPreTrainedModel(RemoteCodeModel, PreTrainedModel):
    """Weight initialisation (that of the authors) and what the model family supports."""

    config: UnpairSegConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["DeformableEncoderLayer", "UnpairSegDecoderLayer", "ConvNextLayer", "CLIPEncoderLayer"]
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, MultiScaleDeformableAttention):
            init_deformable_attention(module)
        elif isinstance(module, (DeformableEncoderLayer, MaskedAttentionDecoderLayer)):
            init_feedforward(module.fc1, module.fc2)
        elif isinstance(module, MultiHeadAttention):
            init_multi_head_attention(module)
        elif isinstance(module, FourierPositions):
            init.normal_(module.matrix, std=module.scale)
        elif isinstance(module, UnpairSegFeaturePyramid):
            for convolution in (module.lateral[0], module.convolution, module.projection):
                init_convolution(convolution)  # type: ignore[arg-type]
        elif isinstance(module, UnpairSegPixelDecoder):
            for convolution in module.input_projections:
                init.xavier_uniform_(convolution.weight)  # type: ignore[arg-type]
                init.zeros_(convolution.bias)  # type: ignore[arg-type]
            init.normal_(module.level_embed)
        elif isinstance(module, UnpairSegPromptEncoder):
            for embedding in (
                module.corner_embeddings,
                module.point_embedding,
                module.box_embedding,
                module.sign_embeddings.weight,
                module.mask_embeddings,
            ):
                init.normal_(embedding)
        elif isinstance(module, UnpairSegMaskDecoder):
            init.normal_(module.level_embed.weight)
            for convolution in module.input_projections:
                if isinstance(convolution, nn.Conv2d):
                    init_convolution(convolution)
            # PyTorch's default, on which the authors rely here.
            init.kaiming_uniform_(module.pixel_projection.weight, a=5**0.5)
            bound = module.pixel_projection.in_channels**-0.5
            init.uniform_(module.pixel_projection.bias, -bound, bound)
        elif isinstance(module, MaskEmbedder):
            for layer in module.layers:
                init_linear(layer)  # type: ignore[arg-type]
        elif isinstance(module, UnpairSegVisualProjection):
            for linear in (module.fc1, module.fc2):
                init_linear(linear)
        elif isinstance(module, UnpairSegLowRankAdapter):
            for linear in module.down:
                init_linear(linear)  # type: ignore[arg-type]
            for linear in module.up:
                init_linear(linear) if not module.residual else init.zeros_(linear.weight)  # type: ignore[arg-type, func-returns-value]
                init.zeros_(linear.bias)  # type: ignore[arg-type]
            init_linear(module.fuse)
            self._init_adapter_output(module.projection)
        elif isinstance(module, UnpairSegCrossAttentionAdapter):
            for linear in (module.query, *module.inputs):
                init_linear(linear)  # type: ignore[arg-type]
            self._init_adapter_output(module.projection)
        elif isinstance(module, UnpairSegForOpenVocabularySegmentation):
            init.constant_(module.logit_scale, 2.6592600)  # ln(1 / 0.07)
        if isinstance(module, UnpairSegForOpenVocabularySegmentation) and hasattr(module, "matching_state"):
            init.zeros_(module.matching_state)

    def _init_adapter_output(self, linear: nn.Linear):
        if self.config.clip_residual:  # starts as the baseline
            init.zeros_(linear.weight)
            init.zeros_(linear.bias)
        else:
            init_linear(linear)


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
            references = pixel_centres(shapes, tokens.device)
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


@dataclass
class UnpairSegMemory(ModelOutput):
    """The image as the mask decoder reads it, the same for all prompts.

    Attributes:
        keys, values: Tokens of the levels with and without position code, each `(B, T, C)`.
        resized: Pixel embedding at the size of each level, each `(B, C, T)`.
        pixel_embedding: `(B, C, H/4, W/4)`.
    """

    keys: tuple[torch.Tensor, ...] | None = None
    values: tuple[torch.Tensor, ...] | None = None
    resized: tuple[torch.Tensor, ...] | None = None
    pixel_embedding: torch.Tensor | None = None


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
        parts = zip(heads, readouts.unbind(-2))  # type: ignore[arg-type]
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
            normalised = self.layer_norm(states[:, :, first_token : first_token + num_masks])  # (B, Q, M, C)
            parts = zip(heads, normalised.unbind(2))  # type: ignore[arg-type]
            return normalised, torch.stack([head(part) for head, part in parts], dim=2)

        flat = tokens.flatten(0, 1)  # (B*Q, K, C)
        attended, _ = self.token_attention(flat, flat, flat, None, attend, **kwargs)
        states = self.token_attention_layer_norm(tokens + attended.view(tokens.shape))
        readout, embedding = read(states)
        readouts, embeddings = [readout], [embedding]
        for index, layer in enumerate(self.layers):
            level = index % 3
            visible = self.visible_pixels(embedding, memory.resized[level], tokens.shape[2])
            states = layer(states, tokens, memory.keys[level], memory.values[level], visible, attend, **kwargs)
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


class UnpairSegModel(UnpairSegPreTrainedModel):
    """CLIP's visual trunk, pixel decoder, prompt encoder and mask decoder: masks and scores of prompts."""

    def __init__(self, config: UnpairSegConfig):
        super().__init__(config)
        # A ConvNeXt has no attention, and refuses to be told how to compute it.
        config.backbone_config._attn_implementation = "eager"  # type: ignore[union-attr]
        self.backbone = ConvNextModel(config.backbone_config)  # type: ignore[arg-type]
        self.pixel_decoder = UnpairSegPixelDecoder(config, list(config.backbone_config.hidden_sizes))  # type: ignore[union-attr]
        self.mask_decoder = UnpairSegMaskDecoder(config)
        if config.freeze_backbone:
            self.backbone.requires_grad_(False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the backbone's patch embedding."""
        return self.backbone.embeddings.patch_embeddings

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the backbone's patch embedding."""
        self.backbone.embeddings.patch_embeddings = value  # type: ignore[assignment]

    def train(self, mode: bool = True) -> "UnpairSegModel":
        """Sets training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.config.freeze_backbone:
            self.backbone.eval()
        return self

    def extract_features(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes CLIP's maps at strides 4, 8, 16, 32, as they leave its stages (without a norm).

        Shape:
            pixel_values: `(B, 3, H, W)`; output: each `(B, C_i, H / stride_i, W / stride_i)`.
        """
        maps = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_backbone):
            features = self.backbone.embeddings(pixel_values)
            for stage in self.backbone.encoder.stages:
                features = stage(features)
                maps.append(features)
        return tuple(maps)

    def get_image_embeddings(self, pixel_values: torch.Tensor, **kwargs: Any) -> UnpairSegImageEmbeddings:
        """Computes what prompts read of images; give it to `forward` as `image_embeddings`.

        Shape:
            pixel_values: `(B, 3, H, W)`.
        """
        feature_maps = self.extract_features(pixel_values)
        pixels = self.pixel_decoder(feature_maps, **kwargs)
        return UnpairSegImageEmbeddings(
            mask_features=pixels.mask_features,
            multi_scale_features=pixels.multi_scale_features,
            feature_maps=feature_maps,
            input_size=(pixel_values.shape[-2], pixel_values.shape[-1]),
        )

    def point_grid(
        self,
        batch_size: int,
        input_size: tuple[int, int],
        original_sizes: torch.Tensor | None = None,
        points_per_side: int | None = None,
    ) -> torch.Tensor:
        """Lays a regular grid of points over each image, none of them on its padding; jittered in training.

        Args:
            batch_size: B.
            input_size: `(H, W)` of the network input.
            original_sizes: (height, width) of each image before it was resized and padded; default: no padding.
            points_per_side: Default: the configuration's, in training its own.

        Shape:
            original_sizes: `(B, 2)`; output: `(B, Q, 1, 2)`, rows of the grid one after the other.
        """
        config, device = self.config, self.device
        side = points_per_side or (config.train_points_per_side if self.training else config.points_per_side)
        last = (level_sizes((input_size,), device) - 1).expand(batch_size, 2)  # (x, y) of the last pixel
        if original_sizes is None:
            extent = last
        else:
            original = (original_sizes.to(device, torch.float32).flip(-1) - 1).clamp(min=0)  # (B, 2)
            # One scale for both axes, by the longer side.
            extent = original * (last / original.amax(-1, keepdim=True).clamp(min=1)).amin(-1, keepdim=True)
        steps = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        grid = torch.stack((x, y), dim=-1).view(1, -1, 2)  # (1, Q, 2)
        if self.training and config.point_jitter:
            shift = (2 * torch.rand(batch_size, side * side, 2, device=device) - 1) * (config.point_jitter / side)
            grid = (grid + shift).clamp(0, 1)
        return (grid * extent[:, None]).unsqueeze(2)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor | None = None,
        input_points: torch.FloatTensor | None = None,
        input_labels: torch.LongTensor | None = None,
        input_boxes: torch.FloatTensor | None = None,
        original_sizes: torch.LongTensor | None = None,
        image_embeddings: UnpairSegImageEmbeddings | None = None,
        output_masks: bool = True,
        points_per_side: int | None = None,
        prompt_chunk_size: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UnpairSegModelOutput:
        """Predicts masks of prompts; without prompts, of a grid of points.

        Args:
            pixel_values: Normalised images.
            input_points: (x, y) in pixels of the network input, P points for each of Q prompts. One point gives M
                masks of different granularity, several points of one object give one mask.
            input_labels: 1 for points on the object, 0 for points beside it. Default: all on it.
            input_boxes: (x0, y0, x1, y1) in pixels of the network input; one mask each. Instead of points.
            original_sizes: (height, width) of images before resizing, where the grid of points must avoid padding.
            image_embeddings: From `get_image_embeddings`, instead of `pixel_values`.
            output_masks: Whether to make masks of all prompts; otherwise embeddings are returned, from which the masks
                that pass a score threshold can be made.
            points_per_side: Of the grid; default: the configuration's.
            prompt_chunk_size: Prompts decoded at once; default: the configuration's. Bounds memory only.

        Raises:
            ValueError: For missing images, or points together with boxes.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_points: `(B, Q, P, 2)`; input_labels: `(B, Q, P)`; input_boxes:
            `(B, Q, 4)`; original_sizes: `(B, 2)`. Outputs: see `UnpairSegModelOutput`.
        """
        if input_points is not None and input_boxes is not None:
            raise ValueError("Give input_points or input_boxes, not both: they are prompts of their own.")
        encoder_hidden_states = encoder_attentions = None
        if image_embeddings is None:
            if pixel_values is None:
                raise ValueError("Give pixel_values, or image_embeddings from get_image_embeddings().")
            feature_maps = self.extract_features(pixel_values)
            pixels = self.pixel_decoder(feature_maps, **kwargs)
            mask_features, maps = pixels.mask_features, pixels.multi_scale_features
            encoder_hidden_states, encoder_attentions = pixels.hidden_states, pixels.attentions
            size = (pixel_values.shape[-2], pixel_values.shape[-1])
        else:
            mask_features, maps = image_embeddings.mask_features, image_embeddings.multi_scale_features
            feature_maps, size = image_embeddings.feature_maps, image_embeddings.input_size
        batch_size, decoder = mask_features.shape[0], self.mask_decoder

        if input_boxes is not None:
            tokens = decoder.prompt_encoder.boxes(input_boxes, mask_features, size)
            places = decoder.readout_places(tokens.shape[2], None)
        else:
            if input_points is None:
                input_points = self.point_grid(batch_size, size, original_sizes, points_per_side)
            tokens = decoder.prompt_encoder.points(input_points, input_labels, mask_features, size)
            places = decoder.readout_places(tokens.shape[2], input_points.shape[2])

        memory = decoder.read_image(mask_features, maps)
        at_once = tokens.shape[1] if self.training else prompt_chunk_size or self.config.prompt_chunk_size
        chunks = [decoder(part, memory, places, **kwargs) for part in tokens.split(max(1, at_once), dim=1)]
        decoded = merge_chunks(chunks, batch_size)

        levels = decoded.readouts if self.training else decoded.readouts[-1:]
        all_iou_scores = tuple(decoder.iou_scores(readouts, places[1]) for readouts in levels)
        embeddings = decoded.mask_embeddings[-1]  # (B, Q, M, C)
        pred_masks = None
        if output_masks:
            pred_masks = mask_logits(embeddings.flatten(1, 2), memory.pixel_embedding)
            pred_masks = pred_masks.unflatten(1, embeddings.shape[1:3])  # (B, Q, M, H/4, W/4)
        return UnpairSegModelOutput(
            last_hidden_state=decoded.last_hidden_state,
            iou_scores=all_iou_scores[-1],
            pred_masks=pred_masks,
            mask_embeddings=embeddings,
            pixel_embedding=memory.pixel_embedding,
            all_mask_embeddings=decoded.mask_embeddings,
            all_iou_scores=all_iou_scores,
            input_points=input_points,
            feature_maps=feature_maps,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attentions=encoder_attentions,
        )


class UnpairSegForMaskGeneration(UnpairSegPreTrainedModel):
    """Stage 1: masks and scores of points and boxes, with the loss that learns them from masks without names."""

    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False
    # A folder of the open-vocabulary model serves this class too.
    _keys_to_ignore_on_load_unexpected = [
        r"^text_model\.",
        r"^visual_projection\.",
        r"^adapter\.",
        r"^logit_scale$",
        r"^matching_state$",
    ]

    def __init__(self, config: UnpairSegConfig):
        super().__init__(config)
        self.model = UnpairSegModel(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the backbone's patch embedding."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the backbone's patch embedding."""
        self.model.set_input_embeddings(value)

    def get_image_embeddings(self, pixel_values: torch.Tensor, **kwargs: Any) -> UnpairSegImageEmbeddings:
        """Computes what prompts read of images; see `UnpairSegModel.get_image_embeddings`."""
        return self.model.get_image_embeddings(pixel_values, **kwargs)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor | None = None,
        input_points: torch.FloatTensor | None = None,
        input_labels: torch.LongTensor | None = None,
        input_boxes: torch.FloatTensor | None = None,
        original_sizes: torch.LongTensor | None = None,
        image_embeddings: UnpairSegImageEmbeddings | None = None,
        mask_labels: list[torch.Tensor] | None = None,
        box_labels: torch.LongTensor | None = None,
        output_masks: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UnpairSegMaskGenerationOutput:
        """Predicts masks of prompts and, with labels, the loss.

        Args:
            pixel_values: Normalised images.
            input_points: See `UnpairSegModel.forward`.
            input_labels: Likewise.
            input_boxes: Likewise.
            original_sizes: Likewise.
            image_embeddings: Likewise.
            mask_labels: Per image T masks without names: binary `(T, H, W)`, which may overlap, or an integer map
                `(H, W)` whose value n is mask n, counted from 1. T may be 0.
            box_labels: With boxes: index of the mask that each box frames, -1 for a box that fills the batch up.
            output_masks: See `UnpairSegModel.forward`.

        Raises:
            ValueError: If prompts or labels do not fit.

        Shape:
            pixel_values: `(B, 3, H, W)`; prompts: see `UnpairSegModel.forward`; box_labels: `(B, Q)`.
            Outputs: see `UnpairSegMaskGenerationOutput`.
        """
        config = self.config
        outputs = self.model(
            pixel_values,
            input_points,
            input_labels,
            input_boxes,
            original_sizes,
            image_embeddings,
            output_masks=output_masks,
            **kwargs,
        )
        loss = loss_dict = None
        if mask_labels is not None:
            if input_boxes is not None and box_labels is None:
                raise ValueError("Training with input_boxes needs box_labels: which mask each box frames.")
            size = image_embeddings.input_size if pixel_values is None else pixel_values.shape[-2:]  # type: ignore[union-attr]
            levels = slice(None) if config.use_auxiliary_loss and self.training else slice(-1, None)
            loss_dict = promptable_loss(
                mask_embeddings=torch.stack(outputs.all_mask_embeddings[levels]),
                iou_scores=torch.stack(outputs.all_iou_scores[levels]),
                pixel_embedding=outputs.pixel_embedding,
                mask_labels=mask_labels,
                points=None if outputs.input_points is None else outputs.input_points[:, :, 0],
                box_labels=box_labels,
                padded_size=(size[0], size[1]),
                weights=PromptableLossWeights(config.mask_weight, config.dice_weight, config.iou_weight),
                iou_target=config.iou_target,
                num_points=config.train_num_points,
                oversample_ratio=config.oversample_ratio,
                importance_sample_ratio=config.importance_sample_ratio,
            )
            # Points and boxes use different parameters; a gradient of zero keeps distributed training in step.
            unused = sum(parameter.sum() for parameter in self.model.mask_decoder.parameters()) * 0.0
            loss = torch.stack(list(loss_dict.values())).sum() + unused
        return UnpairSegMaskGenerationOutput(
            loss=loss,
            loss_dict=loss_dict,
            iou_scores=outputs.iou_scores,
            pred_masks=outputs.pred_masks,
            mask_embeddings=outputs.mask_embeddings,
            pixel_embedding=outputs.pixel_embedding,
            input_points=outputs.input_points,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
        )


class UnpairSegForOpenVocabularySegmentation(UnpairSegPreTrainedModel):
    """Stage 2 and inference: masks of prompts, each described in CLIP's space and compared with texts.

    Everything but the adapter is frozen: masks come from stage 1, texts and pixels from CLIP.
    """

    accepts_loss_kwargs = False
    input_modalities = ["image", "text"]
    # The adapter has no layers to recompute, and the rest keeps no activations.
    supports_gradient_checkpointing = False

    def __init__(self, config: UnpairSegConfig):
        super().__init__(config)
        projection_dim = config.text_config.projection_dim  # type: ignore[union-attr]
        self.model = UnpairSegModel(config)
        self.text_model = CLIPTextModelWithProjection(config.text_config)  # type: ignore[arg-type]
        self.visual_projection = UnpairSegVisualProjection(config.backbone_config.hidden_sizes[-1], projection_dim)  # type: ignore[union-attr]
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.requires_grad_(False)
        self.adapter: nn.Module | None = None
        if config.adapter == "low_rank":
            self.adapter = UnpairSegLowRankAdapter(config, projection_dim)
        elif config.adapter == "cross_attention":
            self.adapter = UnpairSegCrossAttentionAdapter(config, projection_dim)
        if self.adapter is not None:
            # Moving threshold of greedy matching (nan-free: 0 before the first image) and steps done.
            self.register_buffer("matching_state", torch.zeros(2))
        self.post_init()
        # CLIP's text tower also names a part of the visual tower, which is not here.
        self._no_split_modules = [name for name in self._no_split_modules if name != "CLIPVisionEmbeddings"]

    def get_input_embeddings(self) -> nn.Module:
        """Returns the backbone's patch embedding."""
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the backbone's patch embedding."""
        self.model.set_input_embeddings(value)

    def train(self, mode: bool = True) -> "UnpairSegForOpenVocabularySegmentation":
        """Sets training mode of the adapter; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in (self.model, self.text_model, self.visual_projection):
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.eval()
        return self

    def get_image_embeddings(self, pixel_values: torch.Tensor, **kwargs: Any) -> UnpairSegImageEmbeddings:
        """Computes what prompts read of images; see `UnpairSegModel.get_image_embeddings`."""
        return self.model.get_image_embeddings(pixel_values, **kwargs)

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds texts, not normalised. Shape: input_ids `(N, L)`; output `(N, D)`."""
        return self.text_model(input_ids=input_ids, attention_mask=attention_mask).text_embeds

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embeds whole images as CLIP does, not normalised. Shape: pixel_values `(B, 3, H, W)`; output `(B, D)`."""
        return self.project_regions(self.model.extract_features(pixel_values)[-1].mean((-2, -1)))

    def project_regions(self, pooled: torch.Tensor) -> torch.Tensor:
        """Brings pooled features of CLIP's last map into the common space (F_v). Shape: `(..., C4)` to `(..., D)`."""
        return self.visual_projection(self.model.backbone.layernorm(pooled))

    def clip_regions(self, features: torch.Tensor, region_logits: torch.Tensor) -> torch.Tensor:
        """Describes masks by CLIP alone: pooling of its last map, then F_v. Not normalised.

        Shape:
            features: `(B, C4, h, w)`; region_logits: `(B, N, h', w')`; output: `(B, N, D)`.
        """
        return self.project_regions(pool_regions(features, region_logits))

    def adapter_regions(self, feature_maps: tuple[torch.Tensor, ...], region_logits: torch.Tensor) -> torch.Tensor:
        """Describes masks by the adapter (r'). Not normalised.

        Shape:
            feature_maps: CLIP's four maps; region_logits: `(B, N, h', w')`; output: `(B, N, D)`.
        """
        if isinstance(self.adapter, UnpairSegCrossAttentionAdapter):
            return self.adapter(self.clip_regions(feature_maps[-1], region_logits), feature_maps)
        assert self.adapter is not None
        described = self.adapter(feature_maps)  # (B, D, h, w)
        if self.config.clip_residual:
            pixels = self.project_regions(feature_maps[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            size = (described.shape[-2], described.shape[-1])
            described = described + F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        return pool_regions(described, region_logits)

    def describe(self, feature_maps: tuple[torch.Tensor, ...], region_logits: torch.Tensor) -> torch.Tensor:
        """Describes masks as `region_source` says; normalised.

        Shape:
            feature_maps: CLIP's four maps; region_logits: `(B, N, h', w')`; output: `(B, N, D)`.
        """
        config = self.config
        if config.region_source == "clip":
            return normalized(self.clip_regions(feature_maps[-1], region_logits))
        regions = self.adapter_regions(feature_maps, region_logits)
        if config.region_source == "ensemble":
            clip = self.clip_regions(feature_maps[-1], region_logits)
            regions = config.ensemble_weight * regions + (1 - config.ensemble_weight) * clip
        return normalized(regions)

    def classify(self, region_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Compares masks with classes: the best row of a class counts.

        Args:
            region_embeds: Normalised.
            text_embeds: Normalised rows. Classes with fewer rows repeat one, which changes nothing.

        Shape:
            region_embeds: `(B, N, D)`; text_embeds: `(V, R, D)`; output: `(B, N, V)`.
        """
        similarity = region_embeds.float() @ text_embeds.flatten(0, 1).float().t()  # (B, N, V*R)
        similarity = similarity.unflatten(-1, text_embeds.shape[:2]).amax(-1)
        return similarity * self.logit_scale.float().exp().clamp(max=100)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor | None = None,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeds: torch.FloatTensor | None = None,
        input_points: torch.FloatTensor | None = None,
        input_labels: torch.LongTensor | None = None,
        input_boxes: torch.FloatTensor | None = None,
        original_sizes: torch.LongTensor | None = None,
        image_embeddings: UnpairSegImageEmbeddings | None = None,
        entity_labels: list[torch.Tensor] | None = None,
        output_masks: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UnpairSegOpenVocabularyOutput:
        """Predicts masks of prompts (default: a grid of points) and compares them with texts.

        Args:
            pixel_values: Normalised images.
            input_ids: Token ids of one text per class.
            attention_mask: Of the texts.
            text_embeds: Embeddings of the classes, instead of token ids: rows are normalised here.
            input_points: See `UnpairSegModel.forward`.
            input_labels: Likewise.
            input_boxes: Likewise.
            original_sizes: Likewise.
            image_embeddings: Likewise.
            entity_labels: Per image the text embeddings of the entities in its caption. Then the loss of stage 2 is
                computed: masks are matched with entities, and the adapter learns to describe a mask like its entity.
            output_masks: See `UnpairSegModel.forward`.

        Raises:
            ValueError: If prompts do not fit, or entities are given without adapter.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(V, L)`; text_embeds: `(V, R, D)`; entity_labels: each `(E, D)`.
            Outputs: see `UnpairSegOpenVocabularyOutput`.
        """
        outputs = self.model(
            pixel_values,
            input_points,
            input_labels,
            input_boxes,
            original_sizes,
            image_embeddings,
            output_masks=False,
            **kwargs,
        )
        feature_maps = outputs.feature_maps
        embeddings = outputs.mask_embeddings.flatten(1, 2)  # (B, N, C)
        # Resizing commutes with the product: masks are made at the size at which they are pooled.
        clip_only = self.adapter is None or self.config.region_source == "clip"
        size = feature_maps[-1 if clip_only else 1].shape[-2:]
        small = F.interpolate(outputs.pixel_embedding, size=size, mode="bilinear", align_corners=False)
        region_embeds = self.describe(feature_maps, mask_logits(embeddings, small))

        if text_embeds is None and input_ids is not None:
            text_embeds = self.get_text_features(input_ids, attention_mask).unsqueeze(1)  # (V, 1, D)
        class_logits = None
        if text_embeds is not None:
            text_embeds = F.normalize(text_embeds.to(region_embeds.dtype), dim=-1)
            class_logits = self.classify(region_embeds, text_embeds)
        masks = mask_logits(embeddings, outputs.pixel_embedding) if output_masks else None

        loss = loss_dict = None
        if entity_labels is not None:
            assert pixel_values is not None
            loss = self.alignment(pixel_values, outputs, entity_labels)
            loss_dict = {"loss_align": loss}
        return UnpairSegOpenVocabularyOutput(
            loss=loss,
            loss_dict=loss_dict,
            class_queries_logits=class_logits,
            masks_queries_logits=masks,
            iou_scores=outputs.iou_scores.flatten(1),
            region_embeds=region_embeds,
            text_embeds=text_embeds,
            mask_embeddings=embeddings,
            pixel_embedding=outputs.pixel_embedding,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
        )

    @torch.no_grad()
    def select_masks(self, outputs: UnpairSegModelOutput, index: int) -> torch.Tensor:
        """Selects the masks of one image as inference does: by score, then by mask non-maximum suppression.

        Shape:
            Output: mask logits `(n, H/4, W/4)`.
        """
        config = self.config
        scores = outputs.iou_scores[index].flatten()
        kept = (scores >= config.score_threshold).nonzero().flatten()
        embeddings = outputs.mask_embeddings[index].flatten(0, 1)[kept]
        logits = mask_logits(embeddings[None], outputs.pixel_embedding[index : index + 1])[0]
        fine = F.interpolate(logits[None], scale_factor=2, mode="bilinear", align_corners=False)[0] > 0
        return logits[mask_nms(fine, scores[kept], config.iou_threshold, config.cover_threshold)]

    @torch.no_grad()
    def multi_scale_regions(self, pixel_values: torch.Tensor, logits: list[torch.Tensor]) -> list[torch.Tensor]:
        """Describes masks by CLIP at several input sizes (equation 3.5).

        Args:
            pixel_values: Normalised, padded images.
            logits: Per image the logits of its masks.

        Returns:
            Per image the embedding of each mask at each size, not normalised; zeros where a mask vanishes.

        Shape:
            pixel_values: `(B, 3, H, W)`; logits: each `(n, h, w)`; output: each `(sizes, n, D)`.
        """
        longest = max(pixel_values.shape[-2:])
        regions: list[list[torch.Tensor]] = [[] for _ in logits]
        for side in self.config.region_sizes:
            size = [max(32, round(length * side / longest)) for length in pixel_values.shape[-2:]]
            images = pixel_values
            if size != list(pixel_values.shape[-2:]):
                images = F.interpolate(pixel_values, size=size, mode="bilinear", align_corners=False, antialias=True)
            features = self.model.extract_features(images)[-1]
            for index, masks in enumerate(logits):
                pooled = pool_regions(features[index : index + 1], masks[None])[0]
                present = pooled.abs().amax(-1, keepdim=True) > 0
                regions[index].append(self.project_regions(pooled) * present)
        return [torch.stack(parts) for parts in regions]

    def alignment(
        self, pixel_values: torch.Tensor, outputs: UnpairSegModelOutput, entity_labels: list[torch.Tensor]
    ) -> torch.Tensor:
        """Computes the loss of stage 2 (equation 3.8): mean over all matched pairs of one minus their cosine."""
        config = self.config
        if self.adapter is None:
            raise ValueError('entity_labels train the adapter, but this model has none: set adapter="low_rank".')
        if len(entity_labels) != len(pixel_values):
            raise ValueError(
                f"Got entity_labels for {len(entity_labels)} of {len(pixel_values)} images: one per image."
            )
        masks = [self.select_masks(outputs, index).float() for index in range(len(pixel_values))]
        with torch.no_grad():
            targets = [F.normalize(entities.float().to(self.device), dim=-1) for entities in entity_labels]
            regions = self.multi_scale_regions(pixel_values, masks)
        described, texts = [], []
        for index, (logits, entities) in enumerate(zip(masks, targets)):
            maps = tuple(features[index : index + 1] for features in outputs.feature_maps)
            adapted = self.adapter_regions(maps, logits[None])[0].float()  # (n, D)
            with maybe_autocast(pixel_values.device.type, enabled=False):
                pairs = match_regions(
                    regions[index].float(),
                    entities,
                    self.logit_scale.float().exp().clamp(max=100),
                    matching=config.matching,
                    cost=config.matching_cost,
                    normalize_scales=config.normalize_scales,
                    topk=config.matching_topk,
                    num_sigmas=config.matching_num_sigmas,
                    momentum=config.matching_momentum,
                    min_similarity=config.min_similarity,
                    state=self.matching_state,
                    adapted=None if config.self_ensemble_steps is None else adapted.detach(),
                    total_steps=config.self_ensemble_steps,
                )
            described.append(adapted[pairs.regions])
            texts.append(entities[pairs.entities])
        if self.training:
            self.matching_state[1] += 1
        return config.align_weight * alignment_loss(torch.cat(described), torch.cat(texts), self.adapter.parameters())


__all__ = [
    "UnpairSegForMaskGeneration",
    "UnpairSegForOpenVocabularySegmentation",
    "UnpairSegModel",
    "UnpairSegPreTrainedModel",
]
