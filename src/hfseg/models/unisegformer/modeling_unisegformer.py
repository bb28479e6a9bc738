# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
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

A program exported with dynamic sizes serves any image with more than 32 pixels per side (two rows and columns of the
coarsest map; tracing takes a single one for a constant, with torch's `backed_size_oblivious` too). Smaller ones are
refused by the program's own guard: export one with that size fixed for them, or call the model.

Shape legend: B images, H x W input, F1..F4 encoder maps and U1..U4 decoder maps at strides 4, 8, 16, 32, C channels of
F1, Q queries, K classes, M channels of the pixel embedding, T tokens of a window, L text tokens.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple

from ...layers.channel_norm import ChannelLayerNorm
from ...layers.mask_decoder import close_invalid_queries, mask_logits
from ...losses.multi_scale import multi_scale_cross_entropy, thin_out
from ...losses.semantic import check_labels
from ..mask_decoding import StuffClassesModel, auxiliary_predictions
from ..outputs import MaskClassificationOutput
from .configuration_unisegformer import UniSegFormerConfig
from .encoder_unisegformer import STRIDES, UniSegFormerBackbone, UniSegFormerPreTrainedModel
from .heads_unisegformer import (
    UniSegFormerDenseHead,
    UniSegFormerMaskHead,
    UniSegFormerMaskHeadOutput,
    dense_weights,
    enlarge,
    named_dense,
    universal_losses,
    universal_normalizer,
)


@dataclass
class UniSegFormerModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        last_hidden_state: U1, `(B, decoder_widths[0], H/4, W/4)`.
        decoder_maps: U1..U4, fine to coarse.
        feature_maps: F1..F4, fine to coarse, normalized.
        hidden_states: On request: tokens after the patch embedding and of every level, `(B, h w, channels)`.
        attentions: On request: attention weights of all Swin layers, `(B * windows, heads, T, T)`.
    """

    last_hidden_state: torch.Tensor | None = None
    decoder_maps: tuple[torch.Tensor, ...] | None = None
    feature_maps: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


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
class UniSegFormerForUniversalSegmentationOutput(MaskClassificationOutput):
    """Output of `UniSegFormerForUniversalSegmentation`.

    `loss_dict` also holds `loss_dense`, `loss_dense_8`, `_16`, `_32` of the dense logits, already weighted.
    """


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
    def forward(self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]) -> UniSegFormerModelOutput:
        """Encodes and decodes.

        Args:
            pixel_values: Normalized images of any size; multiples of 32 lose nothing to padding.

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

    def scales(self, labels: torch.Tensor) -> list[torch.Tensor]:
        """Thins labels out to the coarser scales; the finest logits are enlarged to the labels instead."""
        return [labels, *(thin_out(labels, stride) for stride in STRIDES[1:])]

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts what the losses of a batch are divided by: the labeled pixels of every scale. Shape: `(4,)`."""
        ignore = self.config.semantic_loss_ignore_index
        return torch.stack([(labels != ignore).sum() for labels in self.scales(batch["labels"])]).float()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        loss_normalizer: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> UniSegFormerForSemanticSegmentationOutput:
        """Classifies pixels and, with labels, computes the loss.

        Args:
            pixel_values: Normalized images.
            labels: Class of every pixel, `semantic_loss_ignore_index` where unknown.
            loss_normalizer: See `loss_normalizer()`; by default counted from these labels.

        Raises:
            ValueError: If labels do not fit the images or the classes.

        Shape:
            pixel_values: `(B, 3, H, W)`; labels: `(B, H, W)`.
        """
        config = self.config
        if labels is not None:
            check_labels(labels, len(pixel_values), config.num_labels or 0, config.semantic_loss_ignore_index)
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


class UniSegFormerForUniversalSegmentation(StuffClassesModel, UniSegFormerPreTrainedModel):
    """Panoptic, instance and semantic segmentation from one set of masks; dense logits help in training."""

    accepts_loss_kwargs = False

    def __init__(self, config: UniSegFormerConfig):
        super().__init__(config)
        self.model = UniSegFormerModel(config)
        self.dense_head = UniSegFormerDenseHead(config)
        self.mask_head = UniSegFormerMaskHead(config)
        self.post_init()

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts what the losses of a batch are divided by.

        The sum of these over accumulated batches and processes, given back to `forward` as `loss_normalizer=`, makes
        the losses of the parts add up to the loss of the whole.

        Shape:
            Output: `(6,)`: targets, class weights of the queries, labeled pixels at strides 4, 8, 16, 32.
        """
        return universal_normalizer(
            self.config, batch["pixel_values"], batch["mask_labels"], batch["class_labels"], self.training
        )

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
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
            pixel_values: Normalized images.
            mask_labels: Per image the segments: an integer map `(H, W)` whose value n is segment n, counted from 1 (0
                is nothing), or N binary masks `(N, H, W)`, which may overlap. A target smaller than the padded input
                counts as background beyond its edge.
            class_labels: Per image the class of each segment, `(N,)`. N may be 0.
            void_masks: Per image the pixels about which nothing is known, boolean `(H, W)`: masks are not compared
                there. Without them, a pixel of no segment is background of all.
            known_classes: Per image the classes whose presence was checked, boolean `(B, K)`; for data that is labeled
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
        outputs = self.model(pixel_values, **kwargs)
        all_levels = auxiliary or (mask_labels is not None and config.use_auxiliary_loss)
        predictions = self.mask_head(outputs.decoder_maps, all_levels, **kwargs)
        pixel_embedding = predictions.pixel_embedding

        auxiliary_logits = None
        if auxiliary:
            everything = (predictions.class_logits, predictions.mask_embeddings, pixel_embedding)
            auxiliary_logits = auxiliary_predictions(*everything, predictions.valid_queries, config.mask_positions)
        loss = loss_dict = None
        if mask_labels is not None and class_labels is not None:
            levels = slice(None) if config.use_auxiliary_loss else slice(-1, None)
            logits, embeddings = predictions.class_logits[levels], predictions.mask_embeddings[levels]
            loss_dict = universal_losses(
                config,
                UniSegFormerMaskHeadOutput(logits, embeddings, pixel_embedding, predictions.heat_logits),
                self.dense_head(outputs.decoder_maps),
                mask_labels,
                class_labels,
                (pixel_values.shape[-2], pixel_values.shape[-1]),
                void_masks,
                known_classes,
                loss_normalizer,
            )
            loss = torch.stack(list(loss_dict.values())).sum()
        masks = mask_logits(predictions.mask_embeddings[-1], pixel_embedding, precise=config.mask_positions)
        return UniSegFormerForUniversalSegmentationOutput(
            loss=loss,
            loss_dict=loss_dict,
            class_queries_logits=close_invalid_queries(predictions.class_logits[-1], predictions.valid_queries),
            masks_queries_logits=masks,
            auxiliary_logits=auxiliary_logits,
            pixel_embedding=pixel_embedding,
            heat_logits=predictions.heat_logits,
            hidden_states=predictions.hidden_states,
            attentions=predictions.attentions,
            cross_attentions=predictions.cross_attentions,
            encoder_hidden_states=outputs.hidden_states,
            encoder_attentions=outputs.attentions,
        )


__all__ = [
    "UniSegFormerBackbone",
    "UniSegFormerForSemanticSegmentation",
    "UniSegFormerForUniversalSegmentation",
    "UniSegFormerModel",
    "UniSegFormerPreTrainedModel",
]
