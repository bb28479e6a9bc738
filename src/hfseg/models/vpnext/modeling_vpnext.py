# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""VPNeXt: semantic segmentation on a plain vision transformer.

Tang, Huang, Yin, Duan: "VPNeXt - Rethinking Dense Decoding for Plain Vision Transformer" (arXiv 2502.16654). Two
additions to a ViT with a linear classifier. ViTUp runs the ViT's own patch embedding once more with a smaller stride:
a real high-resolution map, whose every r-th pixel is a token of the ViT. HiCLR refines it step by step; the last
block's map says where to look (deformable offsets) and what is there (context). VCR (visual context replay) supervises
two intermediate blocks in training: the spatial context of the last block, its deformable offsets and its affinity of
tokens, is replayed on their features before auxiliary classifiers. At inference VCR does not exist.

Shape legend: B images, H x W pixels, P patch size, C channels of the ViT, h = H / P, w = W / P, s `vitup_stride`, r = P
/ s, D `hiclr_channels`, K classes.

No code or weights of the authors are public. What the paper leaves open is decided here, and marked:

- Decided from the published cost table: D = 512, context of C channels, three iterations (`VPNeXtConfig`).
- Decided from the authors' public framework: how offsets and modulation are predicted (3x3 convolution, zero at first,
  sigmoid on the last nine channels), the loss, the weight 0.4 of auxiliary losses.
- Ours: `final_norm` before everything that reads the last block, because backbones differ in theirs; padding of 4
  before the fine patch embedding; normalizations and activations inside HiCLR; VCR's single-head scaled affinity; the
  two baselines `"align"` and `"mock_pyramid"`, which the paper names without a formula.
- Beyond the paper: convolutions that read the upsampled context run at the ViT's resolution with the same result
  (`layers.upsampled_convolution`), which saves a quarter of the multiplications of the whole model.
"""

import os
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from ...layers.channel_norm import ChannelLayerNorm
from ...layers.deformable_convolution import ModulatedDeformableConv2d
from ...layers.initialization import init_convolution
from ...layers.upsampled_convolution import convolve_upsampled
from ...losses.semantic import check_labels, focal_dice_cross_entropy, resize_labels
from ..backbone import build_backbone
from ..plain_vit import (
    freeze_mask_tokens,
    layer_depth,
    pad_to_patches,
    parameters_without_decay,
    patch_embedding_name,
)
from ..vision_model import VisionModel
from .configuration_vpnext import VPNeXtConfig, check_fine_grid
from .mask_transformer_vpnext import VPNeXtMaskTransformer

# Of a 3x3 deformable convolution: a pair of offsets and a modulation per tap.
OFFSETS, MODULATIONS = 18, 9


@dataclass
class VPNeXtModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        last_hidden_state: What the classifier reads: `(B, D, H / s, W / s)` with ViTUp, else the context.
        context: Normalized map of the last block, `(B, C, h, w)`.
        supervised_maps: Maps of the blocks that VCR supervises, each `(B, C, h, w)`.
        hidden_states, attentions: Of the backbone, on request.
    """

    last_hidden_state: torch.Tensor | None = None
    context: torch.Tensor | None = None
    supervised_maps: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class VPNeXtForSemanticSegmentationOutput(ModelOutput):
    """Output of `VPNeXtForSemanticSegmentation`.

    Attributes:
        loss: Sum of all terms, scalar. Only with labels.
        loss_dict: Its terms, already weighted: `loss_focal`, `loss_dice`, `loss_ce`, and the same with `_0`, `_1` of
            the auxiliary predictions (in training). Only with labels.
        logits: `(B, K, H / s, W / s)` with ViTUp, else `(B, K, h, w)`; sides that the patch does not divide count as
            padded.
        auxiliary_logits: With `output_auxiliary_logits` in training: those of the supervised blocks, `(B, K, h, w)`.
        affinities: With `output_affinities`: how much each token attends to each in VCR's replay, `(B, h w, h w)`; rows
            sum to 1.
        hidden_states, attentions: Of the backbone, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    logits: torch.Tensor | None = None
    auxiliary_logits: tuple[torch.Tensor, ...] | None = None
    affinities: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class NormalizedActivation(nn.Module):
    """LayerNorm over channels and GELU."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelLayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.norm(x))


class VPNeXtHiCLRIteration(GradientCheckpointingLayer):
    """One iteration of HiCLR: the fine map samples itself where the context says, and takes the context in.

    `v = GELU(LN(DCN(u; offsets(context))))`, `q = GELU(LN(conv3x3([v; context])))`, `u' = GELU(u + LN(conv3x3(q)))`.
    """

    def __init__(self, config: VPNeXtConfig, context_channels: int, ratio: int):
        super().__init__()
        channels = config.hiclr_channels
        self.ratio = ratio
        self.offsets = nn.Conv2d(context_channels, OFFSETS + MODULATIONS, 3, padding=1)
        self.sample = ModulatedDeformableConv2d(channels, channels, 3, config.dcn_impl)
        self.sample_norm = NormalizedActivation(channels)
        # Reads the fine map, then the context: one 3x3 convolution of their concatenation.
        self.fuse = nn.Conv2d(channels + context_channels, channels, 3, padding=1, bias=False)
        self.fuse_norm = NormalizedActivation(channels)
        self.output = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.output_norm = ChannelLayerNorm(channels)

    def forward(self, hidden_states: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Refines the fine map.

        Shape:
            hidden_states: `(B, D, H / s, W / s)`, also the output; context: `(B, Ch, h, w)`, not upsampled.
        """
        channels = hidden_states.shape[1]
        fuse_fine, fuse_context = self.fuse.weight.split((channels, context.shape[1]), dim=1)
        # All that reads the upsampled context, in one product at its own resolution.
        kernels = torch.cat((self.offsets.weight, fuse_context))
        from_context = convolve_upsampled(context, kernels, self.ratio)  # (B, 27 + D, H / s, W / s)
        steering, from_context = from_context.split((OFFSETS + MODULATIONS, channels), dim=1)
        sampled = deform(self.sample, hidden_states, steering + cast(torch.Tensor, self.offsets.bias)[:, None, None])
        sampled = self.sample_norm(sampled)
        fused = self.fuse_norm(F.conv2d(sampled, fuse_fine, padding=1) + from_context)
        return F.gelu(hidden_states + self.output_norm(self.output(fused)))


def deform(convolution: ModulatedDeformableConv2d, x: torch.Tensor, steering: torch.Tensor) -> torch.Tensor:
    """Applies a deformable convolution to predicted offsets and modulation logits.

    Shape:
        x: `(B, C, H, W)`; steering: `(B, 27, H, W)`; output: `(B, O, H, W)`.
    """
    offsets, modulation = steering.split((OFFSETS, MODULATIONS), dim=1)
    return convolution(x, offsets, modulation.sigmoid())


class VPNeXtViTUp(nn.Module):
    """ViTUp: a fine patch embedding refined by HiCLR (the paper's section on ViTUp)."""

    def __init__(self, config: VPNeXtConfig, channels: int, ratio: int):
        super().__init__()
        self.proj: nn.Module | None = None
        context_channels = channels
        if config.hiclr_context_channels is not None:
            context_channels = config.hiclr_context_channels
            self.proj = nn.Sequential(
                nn.Conv2d(channels, context_channels, 1, bias=False), ChannelLayerNorm(context_channels)
            )
        self.input = nn.Sequential(
            nn.Conv2d(channels, config.hiclr_channels, 1, bias=False), NormalizedActivation(config.hiclr_channels)
        )
        self.iterations = nn.ModuleList(
            [VPNeXtHiCLRIteration(config, context_channels, ratio) for _ in range(config.hiclr_iterations)]
        )

    def forward(self, fine: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Refines the fine patch embedding.

        Shape:
            fine: `(B, C, H / s, W / s)`; context: `(B, C, h, w)`; output: `(B, D, H / s, W / s)`.
        """
        if self.proj is not None:
            context = self.proj(context)
        hidden_states = self.input(fine)
        for iteration in self.iterations:
            hidden_states = iteration(hidden_states, context)
        return hidden_states


class VPNeXtMockPyramid(nn.Module):
    """A baseline of the paper's ablation: the last block's map enlarged by learned doublings, without a fine map."""

    def __init__(self, config: VPNeXtConfig, channels: int, ratio: int):
        super().__init__()
        layers: list[nn.Module] = []
        while ratio > 1:
            layers += [
                nn.ConvTranspose2d(channels, config.hiclr_channels, 2, stride=2, bias=False),
                NormalizedActivation(config.hiclr_channels),
            ]
            channels, ratio = config.hiclr_channels, ratio // 2
        layers += [
            nn.Conv2d(channels, config.hiclr_channels, 3, padding=1, bias=False),
            NormalizedActivation(config.hiclr_channels),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Enlarges. Shape: `(B, C, h, w)` -> `(B, D, H / s, W / s)`."""
        return self.layers(context)


class VPNeXtContextReplay(nn.Module):
    """VCR: replays the last block's spatial context on the features of earlier blocks (equations 2 and 3).

    Local context: offsets and modulation predicted once from the last block, for all layers. Global context: the
    affinity of the last block's tokens, `A = softmax(Q K^T / sqrt(d))`, again once. Per layer
    `y = A phi(GELU(LN(DCN(LN(x)))))`.
    """

    def __init__(self, config: VPNeXtConfig, channels: int):
        super().__init__()
        layers = range(len(config.supervised_layers))
        self.detach_context = config.vcr_detach_context
        self.offsets = nn.Conv2d(channels, OFFSETS + MODULATIONS, 3, padding=1)
        self.query = nn.Linear(channels, config.vcr_affinity_dim, bias=False)
        self.key = nn.Linear(channels, config.vcr_affinity_dim, bias=False)
        self.norms = nn.ModuleList([ChannelLayerNorm(channels) for _ in layers])
        self.local = nn.ModuleList([ModulatedDeformableConv2d(channels, channels, 3, config.dcn_impl) for _ in layers])
        self.local_norms = nn.ModuleList([NormalizedActivation(channels) for _ in layers])
        self.value = nn.ModuleList([nn.Linear(channels, channels, bias=False) for _ in layers])
        self.classifiers = nn.ModuleList([nn.Conv2d(channels, config.num_labels or 1, 1) for _ in layers])

    def forward(
        self, maps: tuple[torch.Tensor, ...], context: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Classifies the supervised blocks.

        Returns:
            Logits per block, and further losses by name (none).

        Shape:
            maps: each `(B, C, h, w)`; context: `(B, C, h, w)`; logits: each `(B, K, h, w)`.
        """
        if self.detach_context:
            context = context.detach()
        size = (context.shape[-2], context.shape[-1])
        steering = self.offsets(context)
        values = []
        layers = zip(maps, self.norms, self.local, self.local_norms, self.value)
        for features, norm, local, local_norm, value in layers:
            replayed = local_norm(deform(cast(ModulatedDeformableConv2d, local), norm(features), steering))
            values.append(value(replayed.flatten(2).transpose(1, 2)))  # (B, h w, C)
        tokens = context.flatten(2).transpose(1, 2)  # (B, h w, C)
        # The layers share the affinity: their values side by side, as channels of one attention.
        replayed = F.scaled_dot_product_attention(
            self.query(tokens)[:, None], self.key(tokens)[:, None], torch.cat(values, dim=-1)[:, None]
        )
        replayed = replayed[:, 0].transpose(1, 2).unflatten(2, size)  # (B, layers C, h, w)
        parts = replayed.chunk(len(maps), dim=1)
        return tuple(classify(part) for classify, part in zip(self.classifiers, parts)), {}

    def affinity(self, context: torch.Tensor) -> torch.Tensor:
        """Computes the affinity of tokens that is replayed (equation 3). Shape: `(B, C, h, w)` to `(B, h w, h w)`."""
        tokens = context.flatten(2).transpose(1, 2)
        scores = self.query(tokens) @ self.key(tokens).transpose(1, 2)
        return (scores.float() / self.query.out_features**0.5).softmax(-1)


class VPNeXtDeepSupervision(nn.Module):
    """Baselines of the paper's ablation: classifiers on normalized earlier blocks, if asked pulled to the last."""

    def __init__(self, config: VPNeXtConfig, channels: int):
        super().__init__()
        layers = range(len(config.supervised_layers))
        self.align, self.detach_context = config.vcr_mode == "align", config.vcr_detach_context
        self.weight = config.aux_loss_weight
        self.norms = nn.ModuleList([ChannelLayerNorm(channels) for _ in layers])
        self.classifiers = nn.ModuleList([nn.Conv2d(channels, config.num_labels or 1, 1) for _ in layers])

    def forward(
        self, maps: tuple[torch.Tensor, ...], context: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Classifies the supervised blocks; see `VPNeXtContextReplay.forward`. `align` adds its losses."""
        features = [norm(part) for norm, part in zip(self.norms, maps)]
        losses = {}
        if self.align:
            target = context.detach() if self.detach_context else context
            for index, part in enumerate(features):
                losses[f"loss_align_{index}"] = self.weight * F.mse_loss(part.float(), target.float())
        return tuple(classify(part) for classify, part in zip(self.classifiers, features)), losses


class VPNeXtPreTrainedModel(VisionModel):
    """Weight initialization and what the model family supports."""

    config: VPNeXtConfig
    _no_split_modules = ["VPNeXtHiCLRIteration"]
    _supports_flash_attn = True
    # The auxiliary heads of training come and go.
    _keys_to_ignore_on_load_missing = [r"^vcr\."]
    _keys_to_ignore_on_load_unexpected = [r"^vcr\."]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, (VPNeXtHiCLRIteration, VPNeXtContextReplay)):
            # Taps begin on the regular grid, modulated by one half.
            init.zeros_(module.offsets.weight)
            init.zeros_(cast(torch.Tensor, module.offsets.bias))
        if isinstance(module, VPNeXtHiCLRIteration):
            init_convolution(module.sample, module.fuse, module.output, by_outputs=True)
        elif isinstance(module, VPNeXtViTUp):
            init_convolution(module.input[0], by_outputs=True)
            if module.proj is not None:
                init_convolution(cast(nn.Sequential, module.proj)[0], by_outputs=True)
        elif isinstance(module, VPNeXtMockPyramid):
            init_convolution(*module.layers, by_outputs=True)
        elif isinstance(module, VPNeXtContextReplay):
            init_convolution(*module.local, by_outputs=True)
            for projection in (module.query, module.key, *module.value):
                init.xavier_uniform_(cast(nn.Linear, projection).weight)
        elif isinstance(module, VPNeXtMaskTransformer):
            module.draw()
        elif isinstance(module, VPNeXtForSemanticSegmentation) and isinstance(module.classifier, nn.Conv2d):
            init_classifier(module.classifier)
        if isinstance(module, (VPNeXtContextReplay, VPNeXtDeepSupervision)):
            for classifier in module.classifiers:
                init_classifier(classifier)


def init_classifier(classifier: Any):
    """Draws a classifier so that every class begins with the probability 0.01, which the focal loss wants."""
    init.normal_(classifier.weight, std=0.01)
    init.constant_(classifier.bias, -4.59511985013459)  # -log 99


class VPNeXtModel(VPNeXtPreTrainedModel):
    """Backbone and ViTUp: the map that a classifier reads."""

    def __init__(self, config: VPNeXtConfig):
        super().__init__(config)
        config.tap_backbone()  # `use_vcr` may have been set after the configuration was made
        config.validate_architecture()
        self.backbone: Any = build_backbone(config.backbone_config, **(config.timm_kwargs or {}))
        freeze_mask_tokens(self.backbone)
        self._check_maps()
        self.patch_embedding_name = patch_embedding_name(self.backbone)
        self.patch_size = self.patch_embedding.kernel_size[0]
        check_fine_grid(self.patch_size, config)
        channels = self.backbone.channels[-1]
        self.final_norm = ChannelLayerNorm(channels)
        ratio = self.patch_size // config.vitup_stride
        upsamplers = {"hiclr": VPNeXtViTUp, "mock_pyramid": VPNeXtMockPyramid}
        upsampler: Any = upsamplers[config.vitup_upsampler]
        self.vitup: nn.Module | None = upsampler(config, channels, ratio) if config.upsamples else None
        self.post_init()

    def _check_maps(self) -> None:
        """Raises a ValueError unless the backbone gives equal maps, one per supervised block and the last."""
        channels, wanted = list(self.backbone.channels), len(self.config.supervised_layers) + 1
        if len(channels) != wanted or len(set(channels)) != 1:
            raise ValueError(
                f"{type(self.backbone).__name__} gives maps of {channels} channels, but VPNeXt needs {wanted} of equal "
                "size: a plain ViT, whose blocks all have the resolution of its patches."
            )

    @property
    def patch_embedding(self) -> nn.Conv2d:
        """The backbone's patch embedding."""
        return self.backbone.get_submodule(self.patch_embedding_name)

    @property
    def output_channels(self) -> int:
        """Channels of `last_hidden_state`."""
        return self.config.hiclr_channels if self.vitup is not None else self.backbone.channels[-1]

    def get_input_embeddings(self) -> nn.Module:
        """Returns the backbone's patch embedding."""
        return self.patch_embedding

    def set_input_embeddings(self, value: nn.Module):
        """Replaces the backbone's patch embedding."""
        self.backbone.set_submodule(self.patch_embedding_name, value)

    def pad(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Pads images with zeros at the right and bottom to whole patches.

        Raises:
            ValueError: For images smaller than a patch.

        Shape:
            `(B, 3, H, W)`.
        """
        return pad_to_patches(pixel_values, self.patch_size)

    def fine_patch_embedding(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Embeds patches at the fine stride with the backbone's own kernel (section 3 of the paper).

        With p = `vitup_pad_before` zeros before and P - s - p after, position (r j + p / s) sees exactly the pixels of
        token j: the fine map contains the ViT's own patch embeddings. It has no position embedding.

        Shape:
            `(B, 3, H, W)` with whole patches -> `(B, C, H / s, W / s)`.
        """
        embedding, config = self.patch_embedding, self.config
        before = config.vitup_pad_before
        after = self.patch_size - config.vitup_stride - before
        pixel_values = F.pad(pixel_values, (before, after, before, after)).to(embedding.weight.dtype)
        return F.conv2d(pixel_values, embedding.weight, embedding.bias, stride=config.vitup_stride)

    @can_return_tuple
    def forward(self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> VPNeXtModelOutput:
        """Computes the map to classify.

        Args:
            pixel_values: Normalized images, of any size from one patch; padded to whole patches.

        Shape:
            pixel_values: `(B, 3, H, W)`. Outputs: see `VPNeXtModelOutput`.
        """
        padded = self.pad(pixel_values)
        flags = {
            name: kwargs.get(name, getattr(self.config, name)) for name in ("output_hidden_states", "output_attentions")
        }
        outputs = self.backbone(padded, **flags)
        *supervised, last = outputs.feature_maps
        dtype = self.final_norm.weight.dtype
        context = self.final_norm(last.to(dtype))
        features = context
        # By the configuration, not by type: peft wraps modules.
        if self.vitup is not None and self.config.vitup_upsampler == "hiclr":
            features = self.vitup(self.fine_patch_embedding(padded), context)
        elif self.vitup is not None:
            features = self.vitup(context)
        return VPNeXtModelOutput(
            last_hidden_state=features,
            context=context,
            supervised_maps=tuple(supervised) or None,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class VPNeXtForSemanticSegmentation(VPNeXtPreTrainedModel):
    """VPNeXt with classifier, loss and, in training, the auxiliary heads of VCR.

    Saved folders have no auxiliary heads unless `config.save_vcr`; `from_pretrained(folder, use_vcr=True)` makes fresh
    ones for further training.
    """

    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False

    def __init__(self, config: VPNeXtConfig):
        super().__init__(config)
        self.model = VPNeXtModel(config)
        channels = self.model.output_channels
        self.classifier: nn.Module = nn.Conv2d(channels, config.num_labels or 1, 1)
        if config.decoder_type == "mask_transformer":
            self.classifier = VPNeXtMaskTransformer(config, channels)
        heads = VPNeXtContextReplay if config.vcr_mode == "replay" else VPNeXtDeepSupervision
        self.vcr: nn.Module | None = heads(config, self.model.backbone.channels[-1]) if config.use_vcr else None
        self.post_init()

    # ---------------------------------------------------------------------------------------------------- training
    @property
    def max_layer_depth(self) -> int:
        """Depth of everything after the backbone's blocks, for layer-wise decay."""
        return (self.config.num_blocks or 0) + 1

    def layer_depth(self, name: str) -> int:
        """Gives a parameter's depth for layer-wise decay: embeddings 0, block b (from 0) b + 1, else the largest."""
        return layer_depth(name, self.max_layer_depth)

    def no_weight_decay(self) -> set[str]:
        """Names parameters of the backbone that weight decay leaves alone: patch embedding, tokens, vectors."""
        return parameters_without_decay(self, self.model.patch_embedding_name)

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts the labeled pixels of a batch, over which its loss is a mean."""
        return (batch["labels"] != self.config.semantic_loss_ignore_index).sum().float()

    def prediction_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, padded_size: tuple[int, int], size: tuple[int, int]
    ) -> dict[str, torch.Tensor]:
        """Computes the three losses of one prediction, enlarged to the padded input and cut to the images.

        Shape:
            logits: `(B, K, ., .)`; labels: `(B, H, W)` of `size`.
        """
        config = self.config
        logits = F.interpolate(logits.float(), size=padded_size, mode="bilinear", align_corners=False)
        losses = focal_dice_cross_entropy(
            logits[:, :, : size[0], : size[1]],
            labels,
            focal_weight=config.loss_focal_weight,
            dice_weight=config.loss_dice_weight,
            cross_entropy_weight=config.loss_ce_weight,
            gamma=config.focal_gamma,
            ignore_index=config.semantic_loss_ignore_index,
        )
        names = {"focal": "loss_focal", "dice": "loss_dice", "cross_entropy": "loss_ce"}
        return {names[name]: value for name, value in losses.items()}

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_auxiliary_logits: bool = False,
        output_affinities: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> VPNeXtForSemanticSegmentationOutput:
        """Classifies pixels and, with labels, computes the loss.

        Args:
            pixel_values: Normalized images.
            labels: Class ids, `config.semantic_loss_ignore_index` where none; resized to the images if of another size.
            output_auxiliary_logits: Returns the logits of the supervised blocks (in training mode).
            output_affinities: Returns the affinity of tokens that VCR replays, for figure 4 of the paper.

        Raises:
            ValueError: If labels do not fit the batch or the classes; affinities of a model without VCR's heads.

        Shape:
            pixel_values: `(B, 3, H, W)`; labels: `(B, H, W)`. Outputs: see `VPNeXtForSemanticSegmentationOutput`.
        """
        config = self.config
        if labels is not None:
            check_labels(labels, len(pixel_values), config.num_labels or 1, config.semantic_loss_ignore_index)
        if output_affinities and (self.vcr is None or config.vcr_mode != "replay"):
            raise ValueError(
                "output_affinities needs the heads of VCR, which saved folders leave out: load a folder that was saved "
                'with save_vcr=True, or train with from_pretrained(..., use_vcr=True) and vcr_mode="replay".'
            )
        outputs = self.model(pixel_values, **kwargs)
        logits = self.classifier(outputs.last_hidden_state)

        # After the main path, so that random numbers (dropout) are the same with and without.
        auxiliary: tuple[torch.Tensor, ...] | None = None
        extra: dict[str, torch.Tensor] = {}
        if self.training and self.vcr is not None and (labels is not None or output_auxiliary_logits):
            dtype = outputs.context.dtype
            auxiliary, extra = self.vcr(tuple(part.to(dtype) for part in outputs.supervised_maps), outputs.context)

        loss = loss_dict = None
        if labels is not None:
            size = (pixel_values.shape[-2], pixel_values.shape[-1])
            patch = self.model.patch_size
            padded = (size[0] + -size[0] % patch, size[1] + -size[1] % patch)
            resized = resize_labels(labels, size)
            loss_dict = self.prediction_loss(logits, resized, padded, size)
            for index, prediction in enumerate(auxiliary or ()):
                terms = self.prediction_loss(prediction, resized, padded, size)
                loss_dict |= {f"{name}_{index}": config.aux_loss_weight * value for name, value in terms.items()}
            loss_dict |= extra
            loss = torch.stack(list(loss_dict.values())).sum()
        return VPNeXtForSemanticSegmentationOutput(
            loss=loss,
            loss_dict=loss_dict,
            logits=logits,
            auxiliary_logits=auxiliary if output_auxiliary_logits else None,
            affinities=cast(Any, self.vcr).affinity(outputs.context) if output_affinities else None,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    # ------------------------------------------------------------------------------------------------------ saving
    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: dict | None = None,
        **kwargs: Any,
    ) -> None:
        """Saves the model, by default without the auxiliary heads; see `PreTrainedModel.save_pretrained`."""
        if self.vcr is None or self.config.save_vcr:
            return super().save_pretrained(save_directory, is_main_process, state_dict=state_dict, **kwargs)
        state_dict = self.state_dict() if state_dict is None else state_dict
        kept = {name: value for name, value in state_dict.items() if not name.startswith("vcr.")}
        self.config.use_vcr = False  # the folder is that of a model without them
        self.config.tap_backbone()
        try:
            super().save_pretrained(save_directory, is_main_process, state_dict=kept, **kwargs)
        finally:
            self.config.use_vcr = True
            self.config.tap_backbone()


__all__ = ["VPNeXtForSemanticSegmentation", "VPNeXtModel", "VPNeXtPreTrainedModel"]
