# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""UniSegFormer's encoder: Swin V2 on maps of any size, with exchange between its levels.

See `modeling_unisegformer` for the whole and for the letters of shapes.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, PreTrainedModel, SwinModel, Swinv2Config, Swinv2Model
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
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.cosine_attention import biased_attention, cosine_attention, group_codes
from ...layers.cross_level_exchange import MAX_LOGIT_SCALE, CrossLevelExchange
from ...layers.initialization import init_mask_classification
from ...layers.shifted_windows import (
    embed_patches,
    gather_tokens,
    quad_tokens,
    spare_windows,
    window_places,
    window_tokens,
)
from ...layers.windows import from_windows, gathers, shift_groups, to_windows
from ..sub_configs import sub_config
from ..vision_model import VisionModel
from .configuration_unisegformer import UniSegFormerConfig

# Added twice by Swin V2 to the scores of tokens that the cyclic shift made neighbors.
SHIFT_PENALTY = -200.0
# Of F1..F4.
STRIDES = (4, 8, 16, 32)


# Names of a Swin's layers, as newer releases of transformers have them, to Swin V2's.
SWIN_NAMES = {
    ".attention.q_proj.": ".attention.self.query.",
    ".attention.k_proj.": ".attention.self.key.",
    ".attention.v_proj.": ".attention.self.value.",
    ".attention.o_proj.": ".attention.output.dense.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}


class UniSegFormerWindowAttention(Swinv2SelfAttention):
    """Swin V2's attention within windows; parameters are transformers', the kernel is the configuration's choice."""

    is_causal = False

    def __init__(self, config: UniSegFormerConfig, channels: int, num_heads: int, window: int, pretrained_window: Any):
        super().__init__(
            sub_config(config.encoder_config, Swinv2Config), channels, num_heads, window, pretrained_window
        )
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
        # Of a layer in int8 `weight` is a method, and what comes in and out is float32.
        weight = self.continuous_position_bias_mlp[0].weight
        table = self.relative_coords_table.to(getattr(weight, "dtype", torch.float32))
        table = 16 * self.continuous_position_bias_mlp(table).float().flatten(0, -2).sigmoid()  # (distances, heads)
        rows, columns = cast(tuple[int, int], self.window_size)
        tokens = rows * columns
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
        super().__init__(sub_config(config.encoder_config, Swinv2Config), channels, resolution, num_heads, **kwargs)
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
        """Embeds patches. Shape: `(B, 3, H, W)` to `(B, h * w, C)` and `(h, w)`."""
        return embed_patches(pixel_values, self.patch_size, self.projection)


class UniSegFormerStage(GradientCheckpointingLayer):
    """Swin V2's stage: layers, alternately with a shift, then (not in the last stage) merging of 2 x 2 patches."""

    def __init__(self, config: UniSegFormerConfig, level: int, grid: tuple[int, int], drop_path: list[float]):
        super().__init__()
        encoder = sub_config(config.encoder_config, Swinv2Config)
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
        self.downsample = UniSegFormerPatchMerging(cast(Any, resolution), channels) if level < 3 else None

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
        encoder = sub_config(config.encoder_config, Swinv2Config)
        depths = encoder.depths
        rates = torch.linspace(0, encoder.drop_path_rate, sum(depths), device="cpu").tolist()
        self.layers = nn.ModuleList(
            [
                UniSegFormerStage(config, level, grid, rates[sum(depths[:level]) : sum(depths[: level + 1])])
                for level in range(4)
            ]
        )


class UniSegFormerPreTrainedModel(VisionModel):
    """Weight initialization and what the model family supports."""

    config: UniSegFormerConfig
    _no_split_modules = ["UniSegFormerLayer", "CrossLevelExchange", "MaskedAttentionDecoderLayer", "SiglipEncoderLayer"]
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
        return sum(self.config.depths) + 1

    def layer_depth(self, name: str) -> int:
        """Depth of a parameter: 0 for the patch embedding, then 1, 2, ... for the encoder's layers."""
        if "embeddings." in name and not name.startswith("text_model"):
            return 0
        found = re.search(r"encoder\.layers\.(\d+)\.(?:blocks\.(\d+)|downsample)", name)
        if found is None or name.startswith("text_model"):
            return self.max_layer_depth
        depths, stage = self.config.depths, int(found[1])
        block = depths[stage] - 1 if found[2] is None else int(found[2])
        return 1 + sum(depths[:stage]) + block

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        init_mask_classification(module)
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
            # Else a patch of mean color, such as padding, is a vector of zeros, which norms cannot scale.
            init.normal_(cast(torch.Tensor, module.projection.bias), std=self.config.initializer_range)
        elif isinstance(module, CrossLevelExchange):
            init.constant_(module.logit_scale, math.log(10))
            init.constant_(module.gamma, self.config.clx_init)


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
        encoder, channels = sub_config(config.encoder_config, Swinv2Config), config.level_channels
        self.num_features = [channels[0], *channels]
        self.embeddings = Swinv2Embeddings(encoder, use_mask_token=use_mask_token)
        self.embeddings.patch_embeddings = UniSegFormerPatchEmbeddings(encoder)
        self.encoder = UniSegFormerSwin(config, self.embeddings.patch_grid)
        coarse = config.clx_window or 1
        fine = 2 * coarse
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
        self.embeddings.patch_embeddings = cast(Swinv2PatchEmbeddings, value)

    def attend(self) -> Callable:
        """Finds the attention function of the configuration."""
        return ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, biased_attention)

    def encode(
        self, pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor | None = None, downwards: bool = True
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Computes the levels.

        Args:
            pixel_values: Normalized images.
            bool_masked_pos: Patches that the mask token replaces.
            downwards: Whether coarse levels inform fine ones; pre-training by masks does without.

        Returns:
            Embedded patches, and the levels fine to coarse, not normalized.

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
            pixel_values: Normalized images of any size.
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
        """Puts weights of a Swin V2 checkpoint of transformers into the encoder, or of a Swin as far as it goes.

        The position biases are functions of distances in units of the windows that the checkpoint was trained with:
        `encoder_config.pretrained_window_sizes` becomes those. A Swin (the first version) gives patch embedding,
        projections and feed-forward layers; its norms stand at other places, and its position biases are tables, so
        norms, biases, temperatures and the merging of patches keep their values.

        Args:
            source: Folder, Hub name or instance; classifiers and backbones alike.

        Returns:
            Parameters without counterpart there, which keep their values.

        Raises:
            ValueError: If the source has other sizes.
        """
        if not isinstance(source, PreTrainedModel):
            first = AutoConfig.from_pretrained(source).model_type == "swin"
            source = (SwinModel if first else Swinv2Model).from_pretrained(source, add_pooling_layer=False)
        if source.config.model_type == "swin":
            return self._load_first_swin(source)
        state = {
            name.removeprefix("swinv2."): value
            for name, value in source.state_dict().items()
            if name.removeprefix("swinv2.").startswith(("embeddings.", "encoder."))
        }
        own = self.state_dict()
        wrong = [name for name, value in state.items() if name not in own or own[name].shape != value.shape]
        self._refuse_other_network("Swin V2", wrong)
        self.load_state_dict(state, strict=False)
        windows = pretraining_windows(source.config)
        sub_config(self.config.encoder_config, Swinv2Config).pretrained_window_sizes = windows
        for stage, window in zip(cast(Iterable[UniSegFormerStage], self.encoder.layers), windows):
            for block in cast(Iterable[UniSegFormerLayer], stage.blocks):
                attention = cast(UniSegFormerWindowAttention, block.attention.self)
                attention.pretrained_window_size = (window, window)
                cast(torch.Tensor, attention.relative_coords_table).copy_(attention.create_coords_table_and_index()[0])
        return [name for name in own if name not in state]

    def _refuse_other_network(self, kind: str, wrong: list[str]) -> None:
        """Raises a ValueError if a checkpoint lacks tensors, or has them in other sizes."""
        if not wrong:
            return
        encoder = sub_config(self.config.encoder_config, Swinv2Config)
        raise ValueError(
            f"The {kind} checkpoint differs from encoder_config in {len(wrong)} tensor(s), e.g. "
            f"{', '.join(wrong[:3])}: give one with embed_dim {encoder.embed_dim}, depths "
            f"{list(encoder.depths)} and num_heads {list(encoder.num_heads)}."
        )

    def _load_first_swin(self, source: PreTrainedModel) -> list[str]:
        """Copies what a Swin of the first version and this encoder have in common."""
        own, state = self.state_dict(), {}
        for name, value in source.state_dict().items():
            name = name.removeprefix("swin.")
            for theirs, ours in SWIN_NAMES.items():
                name = name.replace(theirs, ours)
            if name in own and own[name].shape == value.shape and "norm" not in name:
                state[name] = value
        layers = [name for name in own if re.search(r"(query|key|value|dense)\.weight$", name)]
        wrong = [name for name in ("embeddings.patch_embeddings.projection.weight", *layers) if name not in state]
        self._refuse_other_network("Swin", wrong)
        self.load_state_dict(state, strict=False)
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


__all__ = [
    "UniSegFormerBackbone",
    "UniSegFormerPreTrainedModel",
]
