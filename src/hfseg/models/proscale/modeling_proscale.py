# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE: universal segmentation with progressive token length scaling.

Aich, Suh, Schulter, Chandraker: "Progressive Token Length Scaling in Transformer Encoders for Efficient Universal
Segmentation", ICLR 2025 (arXiv 2404.14657). Mask2Former spends half of its computation on a transformer encoder that
keeps all tokens of three scales through all layers. PRO-SCALE lets the token sequence grow: the first p1 layers see the
coarsest scale alone, the next p2 layers two scales, the last p3 all three. What the coarse scales miss meanwhile, token
re-calibration (TRC) gives them: a gate computed from the finest scale. A light pixel embedding (LPE) replaces the 3x3
convolution on the stride-4 map by max pooling.

Shape legend: B images, H x W padded input, s1..s4 backbone maps at strides 4, 8, 16, 32, L tokens of the encoder,
C `feature_size`, M `mask_feature_size`, Q queries, K classes.

Where this differs from the paper, it follows the official code, on which released weights depend: TRC reads s2 after
its projection, for s4 and s3 with the same weights, and reinterprets its memory without a transpose
(`trc_layout="raw"`); LPE pools the sum of lateral s1 and upsampled s2, then normalizes; the finest tokens are updated
p3 times. Where it differs from the official code, the numbers are the same: attention masks come from a pixel embedding
resized once per level (`layers.mask_decoder`), training compares masks of matched queries only
(`losses.mask_classification`), and frozen batch normalization is a property of the model (`freeze_batch_norm`) instead
of a layer type.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple, logging
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.initialization import init_linear
from ...layers.mask_decoder import (
    MaskedAttentionDecoderLayer,
    MultiHeadAttention,
    close_invalid_queries,
    eager_attention,
    mask_logits,
)
from ...losses.mask_classification import count_targets
from ..mask_decoding import (
    StuffClassesModel,
    auxiliary_predictions,
    build_mask_decoder,
    heat_terms,
    mask_terms,
    num_queries_in_use,
)
from ..outputs import MaskClassificationOutput
from .configuration_proscale import ProScaleConfig
from .encoder_proscale import BackboneOwner, ProScalePixelDecoder, ProScalePreTrainedModel
from .hybrid_proscale import ProScaleHybridPixelDecoder

logger = logging.get_logger(__name__)


@dataclass
class ProScaleMaskDecoderOutput(ModelOutput):
    """Queries after refinement.

    Attributes:
        last_hidden_state: Normalized queries of the last layer, `(B, Q, hidden_size)`.
        queries: Normalized queries before the first and after every layer.
        mask_embeddings: Their mask embeddings, each `(B, Q, M)`.
        pixel_embedding: What they are multiplied with; see `MaskDecoderOutput`.
        heat_logits, valid_queries: With queries from pixels; see `MaskDecoderOutput`.
        hidden_states: With `output_hidden_states=True`: queries before the first and after every layer, not normalized.
        attentions: With `output_attentions=True`: self-attention weights, `(B, heads, Q, Q)`.
        cross_attentions: Likewise, of the masked attention, `(B, heads, Q, tokens of the level)`.
    """

    last_hidden_state: torch.Tensor | None = None
    queries: tuple[torch.Tensor, ...] | None = None
    mask_embeddings: tuple[torch.Tensor, ...] | None = None
    pixel_embedding: torch.Tensor | None = None
    heat_logits: torch.Tensor | None = None
    valid_queries: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class ProScaleModelOutput(ModelOutput):
    """Output of the bare model.

    Attributes:
        last_hidden_state: Normalized queries, `(B, Q, hidden_size)`.
        masks_queries_logits: Mask logits at a quarter of the input's size, `(B, Q, H/4, W/4)`.
        pixel_embedding: `(B, M, H/4, W/4)`; `(B, M + 4, H/4, W/4)` with mask positions.
        multi_scale_features: Encoded maps, coarse to fine, each `(B, C, h, w)`.
        queries: Normalized queries of every prediction level, each `(B, Q, hidden_size)`.
        mask_embeddings: Their mask embeddings, each `(B, Q, M)`; `(B, Q, M + 4)` with mask positions.
        heat_logits: With queries from pixels: logits of the heat map of object centers, `(B, H/8, W/8)`.
        valid_queries: With queries from pixels: which queries stand for something, boolean `(B, Q)`.
        hidden_states, attentions, cross_attentions: Of the mask decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the pixel decoder, on request.
        gates: With `output_gates=True`; see `ProScalePixelDecoderOutput`.
    """

    last_hidden_state: torch.Tensor | None = None
    masks_queries_logits: torch.Tensor | None = None
    pixel_embedding: torch.Tensor | None = None
    multi_scale_features: tuple[torch.Tensor, ...] | None = None
    queries: tuple[torch.Tensor, ...] | None = None
    mask_embeddings: tuple[torch.Tensor, ...] | None = None
    heat_logits: torch.Tensor | None = None
    valid_queries: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None
    gates: tuple[torch.Tensor, ...] | None = None


@dataclass
class ProScaleForUniversalSegmentationOutput(MaskClassificationOutput):
    """Output of `ProScaleForUniversalSegmentation`; the encoder's states are those of the pixel decoder.

    Attributes:
        gates: With `output_gates=True`: what token re-calibration multiplies s4 and s3 with, each `(B, h, w)`.
    """

    gates: tuple[torch.Tensor, ...] | None = None


class ProScaleMaskDecoder(ProScalePreTrainedModel):
    """Mask2Former's masked-attention decoder (`layers.mask_decoder`) under this model's configuration."""

    _no_split_modules = ["MaskedAttentionDecoderLayer"]
    _can_record_outputs = {
        "hidden_states": MaskedAttentionDecoderLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: ProScaleConfig):
        super().__init__(config)
        self.decoder = build_mask_decoder(config)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        multi_scale_features: tuple[torch.Tensor, ...],
        pixel_embedding: torch.Tensor,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScaleMaskDecoderOutput:
        """Refines the queries. Shapes: see `MaskedAttentionDecoder`."""
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        outputs = self.decoder(multi_scale_features, pixel_embedding, attend, **kwargs)
        return ProScaleMaskDecoderOutput(
            last_hidden_state=outputs.queries[-1],
            queries=tuple(outputs.queries),
            mask_embeddings=tuple(outputs.mask_embeddings),
            pixel_embedding=outputs.pixel_embedding,
            heat_logits=outputs.heat_logits,
            valid_queries=outputs.valid_queries,
        )


class ProScaleModel(BackboneOwner, ProScalePreTrainedModel):
    """Backbone, pixel decoder and mask decoder: class-agnostic masks and the queries that made them."""

    def __init__(self, config: ProScaleConfig):
        super().__init__(config)
        if config.num_feature_levels != 3:
            raise ValueError(
                f"encoder_stage_layers={tuple(config.encoder_stage_layers)} has {config.num_feature_levels} scales, as "
                "the detector (ProScaleForObjectDetection) may have; masks need three, (p1, p2, p3)."
            )
        channels = self.build_maps(finest=config.encoder != "hybrid")
        decoder_class = ProScaleHybridPixelDecoder if config.encoder == "hybrid" else ProScalePixelDecoder
        self.pixel_decoder = decoder_class(config, channels)
        self.mask_decoder = ProScaleMaskDecoder(config)
        self.freeze_batch_norm()
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, output_gates: bool = False, **kwargs: Unpack[TransformersKwargs]
    ) -> ProScaleModelOutput:
        """Predicts masks.

        Args:
            pixel_values: Normalized images. Height and width need not be multiples of 32, but the authors' numbers are
                those of images padded so.
            output_gates: Also returns the gates of token re-calibration.

        Shape:
            pixel_values: `(B, 3, H, W)`.
        """
        feature_maps = self.feature_maps(pixel_values)
        pixels = self.pixel_decoder(feature_maps, output_gates=output_gates, **kwargs)
        queries = self.mask_decoder(pixels.multi_scale_features, pixels.pixel_embedding, **kwargs)
        return ProScaleModelOutput(
            last_hidden_state=queries.last_hidden_state,
            masks_queries_logits=mask_logits(
                queries.mask_embeddings[-1], queries.pixel_embedding, precise=self.config.mask_positions
            ),
            pixel_embedding=queries.pixel_embedding,
            multi_scale_features=pixels.multi_scale_features,
            queries=queries.queries,
            mask_embeddings=queries.mask_embeddings,
            heat_logits=queries.heat_logits,
            valid_queries=queries.valid_queries,
            hidden_states=queries.hidden_states,
            attentions=queries.attentions,
            cross_attentions=queries.cross_attentions,
            encoder_hidden_states=pixels.hidden_states,
            encoder_attentions=pixels.attentions,
            gates=pixels.gates,
        )


class ProScaleForUniversalSegmentation(StuffClassesModel, ProScalePreTrainedModel):
    """PRO-SCALE with class predictor and loss: panoptic, instance and semantic segmentation from one set of masks."""

    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False

    def __init__(self, config: ProScaleConfig):
        super().__init__(config)
        self.model = ProScaleModel(config)
        self.class_predictor = nn.Linear(config.hidden_size, len(config.id2label or ()) + 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, ProScaleForUniversalSegmentation):
            init_linear(module.class_predictor)

    @classmethod
    def from_mask2former(cls, source: "str | PreTrainedModel", **overrides) -> "ProScaleForUniversalSegmentation":
        """Builds a model from a Mask2Former checkpoint: all of it with `encoder="full"`, else a warm start.

        Args:
            source: Folder, Hub name or instance of `Mask2FormerForUniversalSegmentation`.
            overrides: Fields of `ProScaleConfig`, for example `encoder_stage_layers=(1, 1, 1)` or `num_labels=19`.

        Raises:
            ValueError: If the source's architecture has no counterpart here.
        """
        from transformers import Mask2FormerForUniversalSegmentation

        from .convert_proscale import config_from_mask2former, warm_start

        if not isinstance(source, PreTrainedModel):
            source = Mask2FormerForUniversalSegmentation.from_pretrained(source)
        model = cls(config_from_mask2former(source.config, **overrides))
        fresh = warm_start(model, source)
        if fresh:
            logger.info(f"Randomly initialized, without counterpart in Mask2Former: {', '.join(fresh)}")
        nn.Module.to(model, dtype=source.dtype)
        return model

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts what the losses of a batch are divided by: its targets, and the class weights of its queries.

        The sum of these over accumulated batches and processes, given back to `forward` as `loss_normalizer=`, makes
        the losses of the parts add up to the loss of the whole.
        """
        num_queries = num_queries_in_use(self.config, self.training)
        return count_targets(batch["class_labels"], num_queries, self.config.no_object_weight)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        mask_labels: list[torch.Tensor] | None = None,
        class_labels: list[torch.Tensor] | None = None,
        output_auxiliary_logits: bool | None = None,
        loss_normalizer: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScaleForUniversalSegmentationOutput:
        """Predicts masks and their classes and, with labels, the loss.

        Args:
            pixel_values: Normalized images.
            mask_labels: Per image the segments: an integer map `(H, W)` whose value n is segment n, counted from 1 (0
                is nothing), or N binary masks `(N, H, W)`, which may overlap. A target smaller than the padded input
                counts as background beyond its edge.
            class_labels: Per image the class of each segment, `(N,)`. N may be 0.
            output_auxiliary_logits: Returns the logits of earlier predictions; defaults to the configuration's value.
            loss_normalizer: See `loss_normalizer()`; by default counted from the labels of this batch.

        Raises:
            ValueError: If labels do not fit the batch, each other or the classes.

        Shape:
            pixel_values: `(B, 3, H, W)`. Outputs: see `ProScaleForUniversalSegmentationOutput`.
        """
        config = self.config
        auxiliary = config.output_auxiliary_logits if output_auxiliary_logits is None else output_auxiliary_logits
        if (mask_labels is None) != (class_labels is None):
            raise ValueError("mask_labels and class_labels belong together: give both for the loss, or neither.")
        outputs = self.model(pixel_values, **kwargs)
        all_levels = auxiliary or (mask_labels is not None and config.use_auxiliary_loss)
        queries = torch.stack(outputs.queries if all_levels else outputs.queries[-1:])  # (levels, B, Q, hidden_size)
        class_logits = self.class_predictor(queries)  # (levels, B, Q, K + 1)

        auxiliary_logits = None
        if auxiliary:
            auxiliary_logits = auxiliary_predictions(
                class_logits,
                outputs.mask_embeddings,
                outputs.pixel_embedding,
                outputs.valid_queries,
                config.mask_positions,
            )

        loss = loss_dict = None
        if mask_labels is not None and class_labels is not None:
            levels = slice(None) if config.use_auxiliary_loss else slice(-1, None)
            loss_dict = mask_terms(
                config,
                class_logits[levels],
                torch.stack(outputs.mask_embeddings[levels]),
                outputs.pixel_embedding,
                mask_labels,
                class_labels,
                (pixel_values.shape[-2], pixel_values.shape[-1]),
                loss_normalizer,
            )
            loss_dict |= heat_terms(config, outputs.heat_logits, mask_labels, class_labels, loss_normalizer)
            loss = torch.stack(list(loss_dict.values())).sum()
        return ProScaleForUniversalSegmentationOutput(
            loss=loss,
            loss_dict=loss_dict,
            class_queries_logits=close_invalid_queries(class_logits[-1], outputs.valid_queries),
            masks_queries_logits=outputs.masks_queries_logits,
            auxiliary_logits=auxiliary_logits,
            pixel_embedding=outputs.pixel_embedding,
            heat_logits=outputs.heat_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
            gates=outputs.gates,
        )


__all__ = ["ProScaleForUniversalSegmentation", "ProScaleModel", "ProScalePreTrainedModel"]
