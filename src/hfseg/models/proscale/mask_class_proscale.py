# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MaskCLIP's image tower: a CLIP ViT in which every mask has a token, and which refines the masks.

Ding, Wang, Tu: "Open-Vocabulary Universal Image Segmentation with MaskCLIP", ICML 2023 (arXiv 2208.08984), section 3.
A mask class token starts as CLIP's class token and looks at the class token and at the patches that its mask touches;
nobody looks at it, so CLIP's own tokens stay what they are. In some layers the attention is relative to the mask: a
code of the mask's pixels in a patch is compared with the patch, beside the token; the products of token and patch
become changes of the mask's pixels.

Shape legend: B images, Q masks, S side of CLIP's images and of the masks, p side of a patch, T = (S / p)^2 patches, D
width, D' of the joint space, h heads.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPVisionConfig
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import (
    CLIPEncoderLayer,
    CLIPPreTrainedModel,
    CLIPVisionEmbeddings,
    eager_attention_forward,
)

from ...files.remote_code import RemoteCodeModel


class MaskClasses(NamedTuple):
    """What the tower says about masks.

    Attributes:
        embeddings: In CLIP's joint space, not normalized, `(B, Q, D')`.
        masks: Logits after every relative mask attention, each `(B, Q, S, S)`; those that came in where there is none.
    """

    embeddings: torch.Tensor
    masks: tuple[torch.Tensor, ...]


def patch_side(config: CLIPVisionConfig) -> int:
    """Side of a patch in pixels; CLIP has no others than square ones."""
    return cast(int, config.patch_size)


def quick_gelu(values: torch.Tensor) -> torch.Tensor:
    """CLIP's activation. Shape: any."""
    return values * torch.sigmoid(1.702 * values)


class ProScaleRelativeMaskAttention(nn.Module):
    """What relative mask attention adds to a layer of CLIP: codes of masks, keys for them, and changes of masks."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        width, self.patch_size, self.num_heads = config.hidden_size, patch_side(config), config.num_attention_heads
        self.code = nn.Conv2d(1, width, self.patch_size, stride=self.patch_size)
        self.code_norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, width)
        self.refine = nn.Linear(width, self.patch_size**2)

    def logits(self, masks: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Compares codes of masks with patches, head by head, not scaled.

        Shape:
            masks: `(B, Q, S, S)`; patches: `(B, T, D)`, normalized; output: `(B, h, Q, T)`.
        """
        codes = self.code(masks.tanh().flatten(0, 1).unsqueeze(1)).flatten(2).transpose(1, 2)  # (B*Q, T, D)
        codes = self.code_norm(codes).unflatten(0, masks.shape[:2]).unflatten(-1, (self.num_heads, -1))
        keys = self.key(patches).unflatten(-1, (self.num_heads, -1))  # (B, T, h, D/h)
        return (codes * keys.unsqueeze(1)).sum(-1).permute(0, 3, 1, 2)

    def changes(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Turns products of mask class tokens and patches into changes of mask logits.

        Shape:
            queries: `(B, h, Q, D/h)`, scaled; keys: `(B, h, T, D/h)`; output: `(B, Q, S, S)`.
        """
        queries, keys = queries.transpose(1, 2).flatten(2), keys.transpose(1, 2).flatten(2)
        pixels = self.refine(quick_gelu(queries.unsqueeze(2) * keys.unsqueeze(1)))  # (B, Q, T, p*p)
        side = int(keys.shape[1] ** 0.5)
        pixels = pixels.unflatten(3, (self.patch_size, -1)).unflatten(2, (side, side))  # (B, Q, y, x, p, p)
        return pixels.transpose(3, 4).flatten(4, 5).flatten(2, 3)


class ProScaleMaskClassLayer(CLIPEncoderLayer):
    """A layer of CLIP's image tower for its own tokens and for mask class tokens."""

    def __init__(self, config: CLIPVisionConfig, relative: bool):
        super().__init__(config)
        self.relative = ProScaleRelativeMaskAttention(config) if relative else None

    def forward(
        self, tokens: torch.Tensor, classes: torch.Tensor, masks: torch.Tensor, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Updates tokens and, in a relative layer, masks.

        Shape:
            tokens: CLIP's, its class token first, `(B, 1 + T, D)`; classes: `(B, Q, D)`; masks: `(B, Q, S, S)`; the
            same come out.
        """
        attention, count = self.self_attn, classes.shape[1]
        together = torch.cat((classes, tokens), dim=1)
        normalized = self.layer_norm1(together)
        own = normalized[:, count:]
        queries, keys, values = (
            part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for part in (attention.q_proj(normalized), attention.k_proj(own), attention.v_proj(own))
        )
        bias = self.visibility(masks).unsqueeze(1).to(queries.dtype)  # (B, 1, Q, 1 + T)
        class_keys = keys
        if self.relative is not None:
            compared = self.relative.logits(masks.to(own.dtype), own[:, 1:]) * attention.scale
            # Both comparisons count half: a half of the one is a half of its keys.
            bias = bias + F.pad(compared / 2, (1, 0))
            class_keys = torch.cat((keys[:, :, :1], keys[:, :, 1:] / 2), dim=2)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            attention.config._attn_implementation or "eager", eager_attention_forward
        )
        dropout = attention.dropout if self.training else 0.0
        options = {"scaling": attention.scale, "dropout": dropout}
        seen_by_classes, _ = attend(attention, queries[:, :, :count], class_keys, values, bias, **options)
        seen, _ = attend(attention, queries[:, :, count:], keys, values, None, **options)
        seen = torch.cat((seen_by_classes, seen), dim=1).flatten(2)
        if self.relative is not None:
            change = self.relative.changes(queries[:, :, :count] * attention.scale, keys[:, :, 1:])
            masks = masks + change.to(masks.dtype)
        together = together + attention.out_proj(seen)
        together = together + self.mlp(self.layer_norm2(together))
        return together[:, count:], together[:, :count], masks

    def visibility(self, masks: torch.Tensor) -> torch.Tensor:
        """What hides from a mask class token the patches that its mask does not touch.

        Shape:
            masks: `(B, Q, S, S)`; output: `(B, Q, 1 + T)`, 0 or the type's lowest number.
        """
        patch = patch_side(cast(CLIPVisionConfig, self.self_attn.config))
        touched = F.max_pool2d(masks.detach(), patch).flatten(2) >= 0
        hidden = torch.zeros_like(touched, dtype=masks.dtype).masked_fill(~touched, torch.finfo(masks.dtype).min / 2)
        return F.pad(hidden, (1, 0))


class ProScaleMaskClassEncoder(RemoteCodeModel, CLIPPreTrainedModel):
    """CLIP's image tower with mask class tokens.

    Args:
        config: Of the tower.
        interval: Every so many layers are relative.
    """

    config_class = CLIPVisionConfig
    _no_split_modules = ["ProScaleMaskClassLayer", "CLIPVisionEmbeddings"]
    _can_record_outputs = {}

    def __init__(self, config: CLIPVisionConfig, interval: int):
        super().__init__(config)
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(
            [
                ProScaleMaskClassLayer(config, number % interval == 0)
                for number in range(1, config.num_hidden_layers + 1)
            ]
        )
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.visual_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, ProScaleRelativeMaskAttention):
            for layer in (module.code, module.refine, module.key):
                init.kaiming_normal_(layer.weight)
            for bias in (module.code.bias, module.refine.bias):
                init.uniform_(cast(torch.Tensor, bias))
            init.zeros_(module.key.bias)
        elif isinstance(module, ProScaleMaskClassEncoder):
            projection = module.visual_projection
            init.normal_(projection.weight, std=projection.in_features**-0.5 * self.config.initializer_factor)

    def get_input_embeddings(self) -> nn.Module:
        """Returns the patch embedding."""
        return self.embeddings.patch_embedding

    def added_modules(self) -> list[nn.Module]:
        """Lists what is not CLIP's."""
        return [module for module in self.modules() if isinstance(module, ProScaleRelativeMaskAttention)]

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Embeds whole images as CLIP does. Shape: `(B, 3, S, S)` to `(B, D')`, not normalized."""
        tokens = self.pre_layernorm(self.embeddings(images))
        for layer in self.layers:
            tokens = CLIPEncoderLayer.forward(cast(Any, layer), tokens, cast(Any, None))
        return self.visual_projection(self.post_layernorm(tokens[:, 0]))

    def forward(self, images: torch.Tensor, masks: torch.Tensor) -> MaskClasses:
        """Embeds what masks show, and refines the masks.

        Shape:
            images: Normalized as CLIP wants them, `(B, 3, S, S)`; masks: Logits, `(B, Q, S, S)`.
        """
        tokens = self.pre_layernorm(self.embeddings(images))
        classes = tokens[:, :1].expand(-1, masks.shape[1], -1)
        refined = []
        for layer in self.layers:
            tokens, classes, masks = layer(tokens, classes, masks)
            if layer.relative is not None:
                refined.append(masks)
        embeddings = self.visual_projection(self.post_layernorm(classes))
        return MaskClasses(embeddings, tuple(refined) or (masks,))


__all__ = ["MaskClasses", "ProScaleMaskClassEncoder"]
