# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE's encoder: token re-calibration, layers on growing sequences, light pixel embedding.

Masks and boxes share the layers (`ProScaleEncoder`). The mask model feeds s4, s3 and s2 and adds the light pixel
embedding; the detector may add a fourth scale at stride 64 (`detection_proscale`).

Shape legend: B images, H x W padded input, s1..s4 backbone maps at strides 4, 8, 16, 32, L tokens of the encoder,
C `feature_size`, M `mask_feature_size`.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.deformable_attention import DeformableEncoderLayer, MultiScaleDeformableAttention, Shapes
from ...layers.initialization import (
    init_convolution,
    init_feature_pyramid,
    init_linear_bias,
    init_mask_classification,
    init_projection,
)
from ...layers.positions import pixel_centers, pixel_sine_positions, sine_positions
from ...layers.simple_pyramid import QUARTERS, SimpleFeaturePyramid
from ..backbone import build_backbone
from ..plain_vit import (
    freeze_mask_tokens,
    layer_depth,
    num_blocks,
    pad_to_patches,
    parameters_without_decay,
    patch_embedding_name,
    plain_stride,
)
from ..vision_model import VisionModel
from .configuration_proscale import ProScaleConfig, check_strides_of_options, has_one_stride, has_stages


@dataclass
class ProScalePixelDecoderOutput(ModelOutput):
    """Maps for the mask decoder.

    Attributes:
        last_hidden_state: Encoded tokens of s4, s3 and s2, `(B, L, C)`.
        multi_scale_features: The same as maps, coarse to fine, each `(B, C, h, w)`.
        pixel_embedding: Stride-4 embedding, `(B, M, H/4, W/4)`.
        hidden_states: With `output_hidden_states=True`: tokens before the first and after every layer. Their number
            grows with the stages.
        attentions: With `output_attentions=True`: weights of the sampled points, `(B, L, heads, levels, points)`.
        gates: With `output_gates=True`: what token re-calibration multiplies s4 and s3 with, each `(B, h, w)`.
    """

    last_hidden_state: torch.Tensor | None = None
    multi_scale_features: tuple[torch.Tensor, ...] | None = None
    pixel_embedding: torch.Tensor | None = None
    gates: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def without_finest_norm(backbone: nn.Module) -> None:
    """Removes the norm of a backbone's map at stride 4, if it has one, for models that leave this map out.

    Such a norm would count as a parameter and, never receiving a gradient, stop distributed training.
    """
    norms = getattr(backbone, "hidden_states_norms", None)
    if norms is not None:
        norms[next(iter(norms))] = nn.Identity()


def build_four_stage_backbone(config: ProScaleConfig) -> Any:
    """Builds the backbone of a configuration.

    Raises:
        ValueError: It is neither a backbone of stages that gives four maps nor a plain ViT with a pyramid.
    """
    settings: Any = config.backbone_config
    backbone: Any = build_backbone(settings, **(config.timm_kwargs or {}))
    if settings.model_type == "timm_backbone":  # of others the configuration knows it
        stride, name = plain_stride(backbone), repr(settings.backbone)
        if config.backbone_pyramid is not None and stride is None:
            raise ValueError(has_stages(name))
        if config.backbone_pyramid is None and stride is not None:
            raise ValueError(has_one_stride(name, stride))
    if config.backbone_pyramid is not None:
        return backbone
    if len(backbone.channels) != 4:
        raise ValueError(
            f"The backbone gives {len(backbone.channels)} maps, PRO-SCALE needs four, at strides 4, 8, 16 and 32: set "
            "out_features or out_indices of backbone_config."
        )
    return backbone


class BackboneOwner(nn.Module):
    """What bare models have in common: the backbone, whose batch normalization may be frozen, and its maps.

    Over a plain ViT they have a `pyramid`, and `patch_size`, `patch_embedding_name` and `num_blocks` of the ViT.
    """

    backbone: Any
    pyramid: SimpleFeaturePyramid | None
    patch_size: int
    patch_embedding_name: str
    num_blocks: int
    config: ProScaleConfig

    def build_maps(self, finest: bool = True) -> list[int]:
        """Builds the backbone and, if asked for, the pyramid over it.

        Args:
            finest: Whether the map at stride 4 is used.

        Returns:
            Channels of s1, s2, s3, s4.

        Raises:
            ValueError: See `build_four_stage_backbone`; options that count in strides that the pyramid has not.
        """
        self.backbone, self.pyramid = build_four_stage_backbone(self.config), None
        if self.config.backbone_pyramid is None:
            if not finest:
                without_finest_norm(self.backbone)
            return list(self.backbone.channels)
        freeze_mask_tokens(self.backbone)
        self.patch_embedding_name = patch_embedding_name(self.backbone)
        self.patch_size = self.backbone.get_submodule(self.patch_embedding_name).kernel_size[0]
        check_strides_of_options(self.config, self.patch_size)
        self.num_blocks = num_blocks(self.backbone)
        channels = self.config.feature_size
        quarters = QUARTERS if finest else QUARTERS[1:]
        self.pyramid = SimpleFeaturePyramid(self.backbone.channels[-1], channels, self.patch_size, quarters)
        return [channels] * 4

    def feature_maps(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Computes s1, s2, s3, s4. With a pyramid that leaves s1 out, s2 stands in its place too.

        Raises:
            ValueError: Images smaller than a patch of a plain ViT.

        Shape:
            pixel_values: `(B, 3, H, W)`; outputs: `(B, C_i, H / stride_i, W / stride_i)`, rounded up.
        """
        if self.pyramid is None:
            return self.backbone(pixel_values).feature_maps
        last = self.backbone(pad_to_patches(pixel_values, self.patch_size)).feature_maps[-1]
        dtype = next(self.pyramid.parameters()).dtype
        maps = self.pyramid(last.to(dtype), (pixel_values.shape[-2], pixel_values.shape[-1]))
        return (*maps[: 4 - len(maps)], *maps)

    def freeze_batch_norm(self):
        """Takes the gradients of frozen layers; their statistics are frozen by `train`."""
        if self.config.freeze_batch_norm:
            for module in self.frozen_modules():
                module.requires_grad_(False)

    def get_input_embeddings(self) -> nn.Module:
        """Returns the backbone's patch embedding."""
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the backbone's patch embedding."""
        self.backbone.set_input_embeddings(value)

    def frozen_modules(self) -> list[nn.Module]:
        """Lists the batch normalization layers of the backbone."""
        return [m for m in self.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def train(self, mode: bool = True) -> "BackboneOwner":
        """Sets training mode; frozen batch normalization stays in evaluation mode."""
        super().train(mode)
        if self.config.freeze_batch_norm:
            for module in self.frozen_modules():
                module.eval()
        return self


class ProScaleTokenRecalibration(nn.Module):
    """Token re-calibration (section 3.1 of the paper): gates coarse tokens by a map of the finest scale.

    `gate = sigmoid(temperature * W resize(s2))`, one scalar per token. In the `"raw"` layout the token-major memory of
    s2 is read as a channel-major map and back, as the official code does: the gate of a token does not see s2 at the
    token's place, but released weights were trained that way.
    """

    def __init__(self, config: ProScaleConfig):
        super().__init__()
        self.variant, self.layout, self.temperature = config.trc, config.trc_layout, config.trc_temperature
        self.projection = nn.Linear(config.feature_size, 1)

    def gate(self, shape: tuple[int, int], source: torch.Tensor, source_shape: tuple[int, int]) -> torch.Tensor:
        """Computes the gate of a coarse level, between 0 and 1.

        Args:
            shape: `(height, width)` of the level.
            source: Projected tokens of s2.
            source_shape: Its `(height, width)`.

        Shape:
            source: `(B, T2, C)`; output: `(B, T, 1)` per token (`"linear"`), or `(B, 1, h, w)` (`"conv"`).
        """
        channels = source.shape[-1]
        raw = self.layout == "raw"
        source_map = source if raw else source.transpose(1, 2)
        # Flat first: a direct reshape makes torch.export assume relations between height, width and channels.
        source_map = source_map.flatten(1).unflatten(1, (channels, *source_shape))  # (B, C, H2, W2)
        resized = F.interpolate(source_map, size=shape, mode="bilinear", align_corners=False)  # (B, C, h, w)
        if self.variant == "linear":
            resized = resized.flatten(1).unflatten(1, (-1, channels)) if raw else resized.flatten(2).transpose(1, 2)
            return torch.sigmoid(self.temperature * self.projection(resized))
        weight, bias = self.projection.weight[:, :, None, None], self.projection.bias
        return torch.sigmoid(self.temperature * F.conv2d(resized, weight, bias))

    def forward(
        self, tokens: torch.Tensor, shape: tuple[int, int], source: torch.Tensor, source_shape: tuple[int, int]
    ):
        """Gates tokens.

        Args:
            tokens: Tokens of the coarse level.
            shape, source, source_shape: See `gate`.

        Shape:
            tokens: `(B, T, C)`; source: `(B, T2, C)`; output: `(B, T, C)`.
        """
        gate = self.gate(shape, source, source_shape)
        if self.variant == "linear":
            return tokens * gate
        # The convolution gates positions of the map: in the raw layout also the tokens are read as a map.
        if self.layout == "raw":
            gated = tokens.flatten(1).unflatten(1, (source.shape[-1], *shape)) * gate  # (B, C, h, w)
            return gated.flatten(1).unflatten(1, (-1, source.shape[-1]))
        return tokens * gate.flatten(2).transpose(1, 2)


class ProScaleEncoderLayer(DeformableEncoderLayer):
    """Deformable attention and feed-forward, each followed by addition and LayerNorm."""

    def __init__(self, config: ProScaleConfig, num_levels: int):
        super().__init__(
            config.feature_size,
            config.encoder_attention_heads or config.num_attention_heads,
            num_levels,
            config.encoder_num_points,
            config.encoder_feedforward_dim,
            config.dropout,
        )


class ProScaleLightPixelEmbedding(nn.Module):
    """Pixel embedding at stride 4 (section 3.1.1): lateral s1 plus upsampled s2, pooled, normalized, projected."""

    def __init__(self, config: ProScaleConfig, in_channels: int):
        super().__init__()
        channels = config.feature_size
        self.lateral = nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.GroupNorm(32, channels))
        self.mix = {
            "max": lambda: nn.MaxPool2d(3, stride=1, padding=1),
            "average": lambda: nn.AvgPool2d(3, stride=1, padding=1),
            "conv": lambda: nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        }[str(config.lpe)]()
        self.norm = nn.GroupNorm(32, channels)
        self.projection = nn.Conv2d(channels, config.mask_feature_size, 1)

    def forward(self, finest: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """Embeds pixels.

        Shape:
            finest: s1, `(B, C1, H/4, W/4)`; encoded: `(B, C, H/8, W/8)`; output: `(B, M, H/4, W/4)`.
        """
        # Tokens are channels-last in memory; pooling that layout is several times faster on a CPU.
        lateral = self.lateral(finest.contiguous(memory_format=torch.channels_last))
        mixed = lateral + F.interpolate(encoded, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return self.projection(F.relu(self.norm(self.mix(mixed))))


class ProScalePreTrainedModel(VisionModel):
    """Weight initialization (that of the authors) and what the model family supports."""

    config: ProScaleConfig
    # Each part lists its own; transformers joins them.
    _no_split_modules = []

    @property
    def max_layer_depth(self) -> int | None:
        """Depth of everything after a plain ViT's blocks, for layer-wise decay; None for other backbones."""
        return self.plain_owner().num_blocks + 1 if self.config.backbone_pyramid is not None else None

    def layer_depth(self, name: str) -> int:
        """Gives a parameter's depth for layer-wise decay; see `plain_vit.layer_depth`."""
        return layer_depth(name, self.max_layer_depth or 0)

    def no_weight_decay(self) -> set[str]:
        """Names parameters of a plain ViT that weight decay leaves alone; nothing of other backbones."""
        if self.config.backbone_pyramid is None:
            return set()
        return parameters_without_decay(self, self.plain_owner().patch_embedding_name)

    def plain_owner(self) -> BackboneOwner:
        """Finds the part that has the backbone."""
        return next(part for part in self.modules() if isinstance(part, BackboneOwner))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        init_mask_classification(module)
        if isinstance(module, ProScaleTokenRecalibration):
            init.xavier_uniform_(module.projection.weight)
            init_linear_bias(module.projection)
        elif isinstance(module, ProScaleLightPixelEmbedding):
            init_convolution(module.lateral[0], module.mix, module.projection)
        elif isinstance(module, SimpleFeaturePyramid):
            init_feature_pyramid(module)
        elif isinstance(module, ProScaleEncoder):
            init_projection(*(part.get_submodule("0") for part in module.input_projections))
            init.normal_(module.level_embed)


class ProScaleEncoder(ProScalePreTrainedModel):
    """Projections of the scales and the layers that encode them, as `config.layer_plan` says.

    Runs in the type of its weights even under autocast, as the authors' does: offsets are coordinates.

    Args:
        config: The model's.
        in_channels: Channels of the backbone's maps that are encoded, fine to coarse. Where the configuration has one
            scale more, it is a 3x3 convolution with stride 2 of the last, as in Deformable DETR.
    """

    _no_split_modules = ["ProScaleEncoderLayer"]
    _can_record_outputs = {
        "hidden_states": ProScaleEncoderLayer,
        "attentions": OutputRecorder(MultiScaleDeformableAttention, index=1),
    }

    def __init__(self, config: ProScaleConfig, in_channels: list[int]):
        super().__init__(config)
        channels, self.num_levels = config.feature_size, config.num_feature_levels
        convolutions = [nn.Conv2d(c, channels, 1) for c in reversed(in_channels)]
        if self.num_levels > len(in_channels):
            convolutions.insert(0, nn.Conv2d(in_channels[-1], channels, 3, stride=2, padding=1))
        self.input_projections = nn.ModuleList(
            [nn.Sequential(conv, nn.GroupNorm(32, channels)) for conv in convolutions]
        )
        self.level_embed = nn.Parameter(torch.empty(self.num_levels, channels))
        self.token_recalibration = ProScaleTokenRecalibration(config) if config.trc != "none" else None
        self.layers = nn.ModuleList([ProScaleEncoderLayer(config, attended) for _, _, attended in config.layer_plan])

    def project(self, feature_maps: list[torch.Tensor]) -> tuple[list[torch.Tensor], Shapes]:
        """Projects the backbone's maps to tokens.

        Returns:
            Tokens of every scale and its `(height, width)`, coarse to fine.

        Shape:
            feature_maps: each `(B, C_i, h, w)`, fine to coarse; tokens: each `(B, T, C)`.
        """
        coarse_to_fine = feature_maps[::-1]
        if self.num_levels > len(coarse_to_fine):
            coarse_to_fine = [coarse_to_fine[0], *coarse_to_fine]
        maps = [project(features) for project, features in zip(self.input_projections, coarse_to_fine)]
        shapes = tuple((features.shape[-2], features.shape[-1]) for features in maps)
        return [features.flatten(2).transpose(1, 2) for features in maps], shapes

    def gates(self, levels: list[torch.Tensor], shapes: Shapes) -> tuple[torch.Tensor, ...]:
        """The gates of the levels that token re-calibration gates, coarse to fine. Shape: each `(B, h, w)`."""
        gate_of = self.token_recalibration
        if gate_of is None:
            return ()
        entering = min(max(attended for _, _, attended in self.config.layer_plan), len(levels) - 1)
        found = [gate_of.gate(shapes[level], levels[-1], shapes[-1]) for level in range(entering)]
        return tuple(gate.flatten(1).unflatten(1, shape) for gate, shape in zip(found, shapes))

    def encode(self, levels: list[torch.Tensor], shapes: Shapes) -> torch.Tensor:
        """Runs the layers, letting the sequence grow as the plan says.

        Shape:
            levels: each `(B, T, C)`, coarse to fine; output: `(B, L, C)`.
        """
        config, device, dtype = self.config, levels[0].device, levels[0].dtype
        coarsest = 4 << self.num_levels  # input pixels per token of the first scale
        if config.position_code == "pixels":
            sines = [
                pixel_sine_positions(*shape, coarsest >> level, config.feature_size, device, dtype)
                for level, shape in enumerate(shapes)
            ]
        else:
            sine = (config.feature_size, device, dtype, float(config.position_temperature))
            sines = [sine_positions(*shape, *sine) for shape in shapes]
        codes = [sine + self.level_embed[level] for level, sine in enumerate(sines)]  # each (1, T, C)
        starts = [0]
        for height, width in shapes:
            starts.append(starts[-1] + height * width)
        source, source_shape = levels[-1], shapes[-1]

        tokens, growing, entered, updated = levels[0], 0, levels[0], None
        for layer, (start, stop, attended) in zip(self.layers, config.layer_plan):
            while growing < attended:  # a scale enters, recalibrated unless it is the finest
                level = levels[growing]
                if self.token_recalibration is not None and growing < self.num_levels - 1:
                    level = self.token_recalibration(level, shapes[growing], source, source_shape)
                tokens = torch.cat((tokens, level), dim=1) if growing else level
                if config.trc_residual:
                    entered = torch.cat((entered, level), dim=1) if growing else level
                growing += 1
            if updated != (start, stop):
                updated = (start, stop)
                positions = torch.cat(codes[start:stop], dim=1)
                references = pixel_centers(shapes[start:stop], device)
            if stop - start == attended:
                tokens = layer(tokens, tokens, positions, references, shapes[:attended])
            else:
                first, last = starts[start], starts[stop]
                part = layer(tokens[:, first:last], tokens, positions, references, shapes[:attended])
                tokens = torch.cat((tokens[:, :first], part, tokens[:, last:]), dim=1)
            if config.trc_residual and attended < self.num_levels:
                tokens = tokens + entered
        return torch.cat((tokens, *levels[growing:]), dim=1) if growing < self.num_levels else tokens


class ProScalePixelDecoder(ProScaleEncoder):
    """Encodes three scales with growing token length and builds the pixel embedding."""

    def __init__(self, config: ProScaleConfig, in_channels: list[int]):
        super().__init__(config, in_channels[1:])
        self.light_pixel_embedding = ProScaleLightPixelEmbedding(config, in_channels[0])
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        feature_maps: tuple[torch.Tensor, ...],
        output_gates: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScalePixelDecoderOutput:
        """Encodes backbone maps.

        Args:
            feature_maps: s1, s2, s3, s4.
            output_gates: Also returns the gates of token re-calibration (none without it).

        Shape:
            feature_maps: `(B, C_i, H / stride_i, W / stride_i)`.
        """
        dtype = self.level_embed.dtype
        with maybe_autocast(feature_maps[0].device.type, enabled=False):
            finest, *coarser = [features.to(dtype) for features in feature_maps]
            levels, shapes = self.project(coarser)  # each (B, T, C), coarse to fine
            tokens = self.encode(levels, shapes)
            gates = self.gates(levels, shapes) if output_gates else None
            lengths = [height * width for height, width in shapes]
            encoded = tuple(
                level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(tokens.split(lengths, dim=1), shapes)
            )
            pixel_embedding = self.light_pixel_embedding(finest, encoded[-1])
        return ProScalePixelDecoderOutput(
            last_hidden_state=tokens, multi_scale_features=encoded, pixel_embedding=pixel_embedding, gates=gates
        )
