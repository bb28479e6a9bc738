# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Backbones through transformers' `AutoBackbone`, timm's included.

transformers' Swin computes the same as ever here, without what keeps its program from serving a second image size: it
pads where a remainder says so, and cuts away only what was padded. Each such question, asked at each stage, becomes a
condition on the size of the image (`torch.export` collects them for minutes and ends in constants). Where nothing has
to be differentiated the parts below ask none of them: they gather tokens by index (`layers.shifted_windows`), which
costs fewer copies too. In training they are transformers' own; a gather's gradient is a slower scatter.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoBackbone
from transformers.models.beit.modeling_beit import BeitBackbone
from transformers.models.dinov2.modeling_dinov2 import Dinov2Backbone
from transformers.models.swin.modeling_swin import SwinBackbone, SwinLayer, SwinPatchEmbeddings, SwinPatchMerging

from ..layers.shifted_windows import (
    embed_patches,
    gather_tokens,
    quad_tokens,
    spare_windows,
    window_places,
    window_tokens,
)
from ..layers.windows import gathers


class AnySizePatchEmbeddings(SwinPatchEmbeddings):
    """Patch embedding of an image of any size."""

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Embeds patches. Shape: `(B, 3, H, W)` to `(B, h * w, C)` and `(h, w)`."""
        return embed_patches(pixel_values, self.patch_size, self.projection)


class AnySizePatchMerging(SwinPatchMerging):
    """Patch merging on a map of any size."""

    def forward(self, input_feature: torch.Tensor, input_dimensions: tuple[int, int]) -> torch.Tensor:
        """Joins 2x2 tokens.

        Shape:
            input_feature: `(B, h * w, C)`; output: `(B, ceil(h / 2) * ceil(w / 2), 2 C)`.
        """
        if not gathers():
            return super().forward(input_feature, input_dimensions)
        index = quad_tokens(input_feature.shape[0], *input_dimensions, input_feature.device)
        return self.reduction(self.norm(gather_tokens(input_feature, index).flatten(2)))


class AnySizeSwinLayer(SwinLayer):
    """Attention within shifted windows, and a feed-forward block, on a map of any size."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        input_dimensions: tuple[int, int],
        always_partition: bool = False,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Updates tokens.

        Shape:
            hidden_states: `(B, h * w, C)`; output: the same, and attention weights `(B * n, heads, s * s, s * s)`.
        """
        if not (gathers() and always_partition):
            outputs = super().forward(hidden_states, input_dimensions, always_partition, **kwargs)
            return cast(tuple[torch.Tensor, torch.Tensor | None], outputs)
        table = (hidden_states.shape[0], *input_dimensions, self.window_size, self.shift_size, hidden_states.device)
        index, region = window_tokens(*table, spare_windows())
        windows = gather_tokens(self.layernorm_before(hidden_states), index)  # (B * n, s * s, C)
        mask = None
        if self.shift_size > 0:
            mask = torch.where(region[:, None] == region[:, :, None], 0.0, -100.0).to(windows.dtype)
        attended, weights = self.attention(windows, mask, **kwargs)
        attended = F.embedding(window_places(*table), self.dropout(attended).flatten(0, 1))  # (B, h * w, C)
        hidden_states = hidden_states + self.drop_path(attended)
        return hidden_states + self.dropout(self.mlp(self.layernorm_after(hidden_states))), weights


ANY_SIZE = {
    SwinPatchEmbeddings: AnySizePatchEmbeddings,
    SwinPatchMerging: AnySizePatchMerging,
    SwinLayer: AnySizeSwinLayer,
}


# Arguments by which timm would read files or the Hub: a configuration describes a network, and brings none.
NOT_OF_A_NETWORK = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


def check_timm_kwargs(timm_kwargs: Mapping[str, Any]) -> None:
    """Checks that arguments of `timm.create_model` describe the network alone.

    Raises:
        ValueError: One would load weights.
    """
    loading = [name for name in timm_kwargs if name in NOT_OF_A_NETWORK]
    if loading:
        raise ValueError(
            f"timm_kwargs has {', '.join(loading)}, which would load weights: leave it out, and name the weights of a "
            "new model as model.backbone of a recipe."
        )


def build_backbone(config: Any, **timm_kwargs: Any) -> Any:
    """Builds the backbone of a dense-prediction model, without parameters that no feature map depends on.

    Args:
        config: Of any backbone that `AutoBackbone` knows. A `timm_backbone` may have `stage_blocks`, the number of
            blocks kept of each stage, see `cut_stages`; an MViTv2 also `window_size` and `global_blocks`, see
            `timm_attention.adapt_pooling_attention`.
        timm_kwargs: Arguments of `timm.create_model`, for a `timm_backbone` only.

    `SwinBackbone` and `BeitBackbone` normalize their last tokens for a classifier that dense models do not have, and
    `Dinov2Backbone` keeps a norm that `apply_layernorm=False` leaves unused. Such a layer would cost time, count as a
    parameter and, never receiving a gradient, stop distributed training.

    Raises:
        ValueError: `timm_kwargs` name what the network does not take, or files.
    """
    check_timm_kwargs(timm_kwargs)
    try:
        backbone = AutoBackbone.from_config(config, **timm_kwargs)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError) as error:
        if not timm_kwargs:
            raise
        raise ValueError(f"timm_kwargs={timm_kwargs} do not fit {config.backbone!r}: {error!r}") from error
    if config.model_type == "timm_backbone":
        from timm.layers import Conv2dSame

        from .timm_attention import adapt_pooling_attention
        from .timm_convolution import AnySizeConv2dSame
        from .timm_weights import FreshTimmBackbone

        backbone.__class__ = FreshTimmBackbone
        backbone.timm_kwargs = timm_kwargs
        for module in backbone.modules():
            if type(module) is Conv2dSame:
                module.__class__ = AnySizeConv2dSame
        adapt_pooling_attention(backbone, getattr(config, "window_size", None), getattr(config, "global_blocks", None))
        if getattr(config, "stage_blocks", None) is not None:
            cut_stages(backbone, config.stage_blocks)
    if isinstance(backbone, SwinBackbone):
        backbone.swin.layernorm = cast(nn.LayerNorm, nn.Identity())
        for module in backbone.modules():
            # Only the forward differs. Another class, for what holds parameters would be built twice otherwise.
            module.__class__ = ANY_SIZE.get(type(module), type(module))
    elif isinstance(backbone, BeitBackbone):
        backbone.beit.layernorm = nn.Identity()
    elif isinstance(backbone, Dinov2Backbone) and not config.apply_layernorm:
        backbone.layernorm = cast(nn.LayerNorm, nn.Identity())
    return backbone


def cut_stages(backbone: Any, stage_blocks: list[int]) -> None:
    """Keeps the first blocks of each stage of a timm network with `blocks`, such as an EfficientNet.

    The last stages of a classifier hold most of its parameters, and little that small objects need. A stage may be left
    out if it does not change the resolution.

    Raises:
        ValueError: The network has other stages, or a stage left out would change the resolution.
    """
    network = backbone._backbone
    stages: Any = getattr(network, "blocks", ())
    lengths = [len(stage) for stage in stages]
    if len(stage_blocks) != len(lengths) or any(not 0 <= few <= all_ for few, all_ in zip(stage_blocks, lengths)):
        raise ValueError(
            f"backbone_config.stage_blocks={list(stage_blocks)} must have a number of blocks for each stage of "
            f"{backbone.config.backbone!r}, at most {lengths}."
        )
    channels = None
    by_stage = {feature["stage"]: place for place, feature in enumerate(network.feature_info.info)}
    for stage, few in enumerate(stage_blocks):
        removed = stages[stage][few:]
        if few == 0 and any(m.stride != (1, 1) for m in removed.modules() if isinstance(m, nn.Conv2d)):
            raise ValueError(f"backbone_config.stage_blocks={list(stage_blocks)}: stage {stage} halves the resolution.")
        stages[stage] = stages[stage][:few]
        if few:
            channels = [m for m in stages[stage].modules() if isinstance(m, nn.Conv2d)][-1].out_channels
        if stage + 1 in by_stage:
            network.feature_info.info[by_stage[stage + 1]]["num_chs"] = channels
            backbone.num_features[by_stage[stage + 1]] = channels
