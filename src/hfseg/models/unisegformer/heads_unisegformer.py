# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
# Sub-configurations and outputs are optional by their declared types only.
"""UniSegFormer's heads and their losses: class logits at every scale, and mask classification.

See `modeling_unisegformer` for the whole and for the letters of shapes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.initialization import init_convolution, init_linear
from ...layers.mask_decoder import MaskedAttentionDecoderLayer, MultiHeadAttention, eager_attention
from ...losses.mask_classification import count_targets
from ...losses.multi_scale import multi_scale_cross_entropy, thin_out
from ..mask_decoding import build_mask_decoder, heat_terms, mask_terms, num_queries_in_use
from ..outputs import always_set
from .configuration_unisegformer import UniSegFormerConfig
from .encoder_unisegformer import STRIDES, UniSegFormerPreTrainedModel

NO_CLASS = -100  # of pixels outside all segments; 255 is a class where there are more


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

    class_logits: torch.Tensor = always_set()
    mask_embeddings: torch.Tensor = always_set()
    pixel_embedding: torch.Tensor = always_set()
    heat_logits: torch.Tensor | None = None
    valid_queries: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


def enlarge(maps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Resizes maps bilinearly to the size of others."""
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


class UniSegFormerDenseHead(nn.Module):
    """Class logits at every scale, each scale correcting the enlarged logits of the coarser one."""

    def __init__(self, config: UniSegFormerConfig):
        super().__init__()
        num_labels = config.num_labels or 0
        self.classifiers = nn.ModuleList([nn.Conv2d(width, num_labels, 1) for width in config.decoder_widths])

    def forward(self, decoder_maps: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Classifies pixels. Shape: U1..U4 to `(B, K, h, w)` at strides 4, 8, 16, 32."""
        logits = [self.classifiers[3](decoder_maps[3])]
        for level in (2, 1, 0):
            own = self.classifiers[level](decoder_maps[level])
            logits.insert(0, own + enlarge(logits[0], own))
        return tuple(logits)


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
        self.class_predictor = nn.Linear(config.hidden_size, (config.num_labels or 0) + 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is self:
            init_convolution(*(part.get_submodule("0") for part in self.input_projections), self.pixel_projection)
            init_linear(self.class_predictor)

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
    embeddings, pixels = outputs.mask_embeddings, outputs.pixel_embedding
    of_masks = None if normalizer is None else normalizer[:2]
    terms = mask_terms(config, class_logits, embeddings, pixels, mask_labels, class_labels, size, of_masks, void_masks)
    terms |= heat_terms(config, outputs.heat_logits, mask_labels, class_labels, normalizer, void_masks)
    device = outputs.pixel_embedding.device
    labels = pixel_classes(
        [masks.to(device) for masks in mask_labels],
        [classes.to(device) for classes in class_labels],
        size,
        NO_CLASS,
    )
    dense = multi_scale_cross_entropy(
        dense_logits,
        [thin_out(labels, stride) for stride in STRIDES],
        dense_weights(config),
        NO_CLASS,
        None if normalizer is None else normalizer[2:],
    )
    return terms | named_dense(dense)


def universal_normalizer(
    config: UniSegFormerConfig,
    pixel_values: torch.Tensor,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    training: bool = True,
) -> torch.Tensor:
    """Counts targets, class weights of the queries, and labeled pixels at strides 4, 8, 16, 32. Shape: `(6,)`."""
    counts = count_targets(class_labels, num_queries_in_use(config, training), config.no_object_weight)
    size = (pixel_values.shape[-2], pixel_values.shape[-1])
    labels = pixel_classes(mask_labels, class_labels, size, NO_CLASS)
    pixels = torch.stack([(thin_out(labels, stride) != NO_CLASS).sum() for stride in STRIDES]).float()
    return torch.cat((counts, pixels.to(counts.device)))


def dense_weights(config: UniSegFormerConfig) -> list[float]:
    """Weights of the pixel cross-entropy, fine to coarse."""
    return [float(weight) for weight in reversed(config.dense_loss_weights)]


def named_dense(losses: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names the pixel cross-entropies by their stride."""
    return {f"loss_dense_{stride}" if stride > 4 else "loss_dense": loss for stride, loss in zip(STRIDES, losses)}


__all__ = [
    "UniSegFormerDenseHead",
    "UniSegFormerMaskHead",
]
