# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE for object detection: DINO on an encoder whose token sequence grows (Table T1 of the paper's appendix).

Zhang et al.: "DINO: DETR with Improved DeNoising Anchor Boxes for End-to-End Object Detection", ICLR 2023. The paper
replaces DINO's encoder, six deformable layers on all tokens of four scales (`encoder="full"`), by (p1, p2, p3, p4) =
(3, 3, 3, 3) layers on s5, then s5 and s4, and so on. The rest is DINO: the best tokens become anchors while the content
of queries is learned (mixed query selection), noised ground-truth boxes are restored or rejected beside the queries
(contrastive denoising), and boxes look forward twice (`layers.box_decoder`).

No code of the paper's detector was published. What is not stated follows the mask model: token re-calibration reads the
finest scale, by one module for the three coarser ones, in the layout of `trc_layout`; padding is not masked, boxes are
shares of the padded input. The paper's "encoder" GFLOPs (179.0 for DINO, 126.0 for PRO-SCALE) are those of the whole
transformer, encoder, query selection and decoder, of one image of 800 x 1199 pixels, as for its other R50 models:
counted here 177.7 and 125.1 (`scripts/benchmarks/detection_cost.py`); the encoders alone have 153.3 and 100.6.

Shape legend: B images, H x W padded input, s2..s5 maps at strides 8, 16, 32, 64, L tokens of all scales, Q queries, D
noised queries, K classes. Boxes are (center x, center y, width, height), 0..1 of the padded input.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.rt_detr.modeling_rt_detr import get_contrastive_denoising_training_group
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from transformers.utils.generic import maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from ...layers.box_decoder import BoxDecoder, BoxDecoderLayer, Perceptron, token_anchors
from ...layers.deformable_attention import MultiScaleDeformableAttention, Shapes
from ...layers.initialization import init_feedforward, init_linear, init_projection
from ...layers.mask_decoder import MultiHeadAttention, eager_attention
from ...losses.box_detection import (
    BoxWeights,
    box_losses,
    box_normalizer,
    check_boxes,
    count_boxes,
    match_boxes,
    noised_pairs,
)
from ...losses.levels import weighted_terms
from .configuration_proscale import ProScaleConfig
from .encoder_proscale import BackboneOwner, ProScaleEncoder, ProScalePreTrainedModel

# Logit of a fresh class predictor: every class has a probability of 1 % (Lin et al., "Focal Loss", section 4.1).
CLASS_BIAS = -4.59512


@dataclass
class ProScaleDetectionEncoderOutput(ModelOutput):
    """Encoded tokens.

    Attributes:
        last_hidden_state: Tokens of all scales, coarse to fine, `(B, L, C)`.
        spatial_shapes: `(height, width)` of each scale.
        hidden_states: With `output_hidden_states=True`: tokens before the first and after every layer.
        attentions: With `output_attentions=True`: weights of the sampled points, `(B, L, heads, levels, points)`.
    """

    last_hidden_state: torch.Tensor | None = None
    spatial_shapes: Shapes | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class ProScaleBoxDecoderOutput(ModelOutput):
    """Queries after refinement.

    Attributes:
        last_hidden_state: Normalized queries of the last layer, `(B, Q, C)`.
        queries: Normalized queries after every layer.
        boxes: Their boxes, each `(B, Q, 4)`, float32.
        hidden_states: With `output_hidden_states=True`: queries before the first and after every layer, not normalized.
        attentions: With `output_attentions=True`: self-attention weights, `(B, heads, Q, Q)`.
        cross_attentions: Likewise: weights of the sampled points, `(B, Q, heads, levels, points)`.
    """

    last_hidden_state: torch.Tensor | None = None
    queries: tuple[torch.Tensor, ...] | None = None
    boxes: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class ProScaleDetectionModelOutput(ModelOutput):
    """Output of the bare detector.

    Attributes:
        last_hidden_state: Normalized queries, `(B, Q, C)`.
        pred_boxes: Their boxes, `(B, Q, 4)`, float32.
        queries, boxes: Of every layer; in training with noised queries, those come first, `(B, D + Q, ...)`.
        encoder_logits: Class logits of the tokens that became anchors, `(B, Q, K)`.
        encoder_boxes: The anchors, `(B, Q, 4)`, float32.
        encoder_last_hidden_state: Encoded tokens, coarse to fine, `(B, L, C)`.
        hidden_states, attentions, cross_attentions: Of the decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the encoder, on request.
    """

    last_hidden_state: torch.Tensor | None = None
    pred_boxes: torch.Tensor | None = None
    queries: tuple[torch.Tensor, ...] | None = None
    boxes: tuple[torch.Tensor, ...] | None = None
    encoder_logits: torch.Tensor | None = None
    encoder_boxes: torch.Tensor | None = None
    encoder_last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class ProScaleForObjectDetectionOutput(ModelOutput):
    """Output of the detector.

    Attributes:
        loss: Sum of the weighted losses of all levels, with labels.
        loss_dict: Its terms: `loss_ce`, `loss_box`, `loss_giou`, of earlier layers with `_0`, `_1`, ..., of the anchors
            with `encoder_`, of noised queries with `denoising_` before the name.
        logits: Class logits, one sigmoid each, `(B, Q, K)`.
        pred_boxes: Boxes, `(B, Q, 4)`, float32.
        input_sizes: Height and width of the padded input, of which boxes are shares, `(B, 2)`.
        auxiliary_outputs: With `output_auxiliary_logits`: `logits` and `pred_boxes` of the earlier layers.
        last_hidden_state: Normalized queries, `(B, Q, C)`.
        encoder_last_hidden_state: Encoded tokens, coarse to fine, `(B, L, C)`.
        hidden_states, attentions, cross_attentions: Of the decoder, on request.
        encoder_hidden_states, encoder_attentions: Of the encoder, on request.
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    logits: torch.Tensor | None = None
    pred_boxes: torch.Tensor | None = None
    input_sizes: torch.Tensor | None = None
    auxiliary_outputs: list[dict[str, torch.Tensor]] | None = None
    last_hidden_state: torch.Tensor | None = None
    encoder_last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    cross_attentions: tuple[torch.Tensor, ...] | None = None
    encoder_hidden_states: tuple[torch.Tensor, ...] | None = None
    encoder_attentions: tuple[torch.Tensor, ...] | None = None


class NoisedQueries(NamedTuple):
    """Ground truth with noise, as further queries.

    Attributes:
        content: Embeddings of the noised classes, `(B, D, C)`.
        boxes: Noised boxes, `(B, D, 4)`.
        attention_mask: Which queries, noised ones first, may look at which, boolean `(1, 1, D + Q, D + Q)`.
        positives: Per image the noised queries to be restored, groups one after the other.
        groups: Groups, each of which holds every box once to be restored and once to be rejected.
    """

    content: torch.Tensor
    boxes: torch.Tensor
    attention_mask: torch.Tensor
    positives: tuple[torch.Tensor, ...]
    groups: int


class ProScaleDetectionPreTrainedModel(ProScalePreTrainedModel):
    """Weight initialization of the detector's own parts, which is DINO's."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, BoxDecoderLayer):
            init_feedforward(module.fc1, module.fc2)
        elif isinstance(module, BoxDecoder):
            init_feedforward(*cast(Any, module.position_encoder.layers))
            init_box_predictor(module.box_predictor)
        elif isinstance(module, ProScaleAnchorSelection):
            init_projection(module.projection)
            init_class_predictor(module.class_predictor)
            init_box_predictor(module.box_predictor)
        elif isinstance(module, ProScaleDetectionModel):
            init.normal_(module.query_features.weight)
        elif isinstance(module, ProScaleForObjectDetection):
            init_class_predictor(module.class_predictor)
            init.normal_(module.label_embedding.weight)


def init_class_predictor(predictor: nn.Linear):
    """Draws a class predictor whose first answer is "nothing"."""
    init_linear(predictor)
    init.constant_(predictor.bias, CLASS_BIAS)


def init_box_predictor(predictor: Perceptron):
    """Draws a box predictor whose first answer is the anchor."""
    init_linear(*predictor.layers[:-1])
    for parameter in predictor.layers[-1].parameters():
        init.zeros_(parameter)


class ProScaleDetectionEncoder(ProScaleEncoder):
    """Encodes three or four scales with growing token length."""

    def __init__(self, config: ProScaleConfig, in_channels: list[int]):
        super().__init__(config, in_channels)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, feature_maps: tuple[torch.Tensor, ...], **kwargs: Unpack[TransformersKwargs]
    ) -> ProScaleDetectionEncoderOutput:
        """Encodes backbone maps.

        Shape:
            feature_maps: s2, s3, s4, each `(B, C_i, H / stride_i, W / stride_i)`.
        """
        dtype = self.level_embed.dtype
        with maybe_autocast(feature_maps[0].device.type, enabled=False):
            levels, shapes = self.project([features.to(dtype) for features in feature_maps])
            tokens = self.encode(levels, shapes)
        return ProScaleDetectionEncoderOutput(last_hidden_state=tokens, spatial_shapes=shapes)


class ProScaleAnchorSelection(nn.Module):
    """Chooses the tokens that the encoder's class predictor trusts most as anchors (two-stage Deformable DETR)."""

    def __init__(self, config: ProScaleConfig):
        super().__init__()
        channels = config.feature_size
        self.num_queries = config.num_queries
        self.projection = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.class_predictor = nn.Linear(channels, len(config.id2label or ()))
        self.box_predictor = Perceptron(channels, channels, channels, 4)

    def forward(self, tokens: torch.Tensor, shapes: Shapes) -> tuple[torch.Tensor, torch.Tensor]:
        """Selects anchors.

        Returns:
            Class logits and boxes of the chosen tokens, best first. Where there are fewer tokens than queries, the last
            token is taken again.

        Shape:
            tokens: `(B, L, C)`; output: `(B, Q, K)` and `(B, Q, 4)`, float32.
        """
        anchors, valid = token_anchors(shapes, tokens.device)
        features = self.norm(self.projection(tokens * valid))
        logits = self.class_predictor(features)  # (B, L, K)
        best = F.pad(logits.detach().amax(-1), (0, self.num_queries), value=-torch.inf)
        chosen = best.topk(self.num_queries, dim=1).indices.clamp(max=tokens.shape[1] - 1).unsqueeze(-1)  # (B, Q, 1)
        # Boxes of the chosen ones only: the perceptron works token by token.
        selected = features.gather(1, chosen.expand(-1, -1, features.shape[-1]))
        start = anchors.expand(tokens.shape[0], -1, -1).gather(1, chosen.expand(-1, -1, 4))
        boxes = (self.box_predictor(selected).float() + start).sigmoid()
        return logits.gather(1, chosen.expand(-1, -1, logits.shape[-1])), boxes


class ProScaleBoxDecoder(ProScaleDetectionPreTrainedModel):
    """DINO's decoder (`layers.box_decoder`) under this model's configuration."""

    _no_split_modules = ["BoxDecoderLayer"]
    _can_record_outputs = {
        "hidden_states": BoxDecoderLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiScaleDeformableAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: ProScaleConfig):
        super().__init__(config)
        self.decoder = BoxDecoder(
            config.feature_size,
            config.decoder_layers,
            config.num_attention_heads,
            config.dim_feedforward,
            config.num_feature_levels,
            config.decoder_num_points,
            config.dropout,
        )
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        queries: torch.Tensor,
        anchors: torch.Tensor,
        tokens: torch.Tensor,
        shapes: Shapes,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScaleBoxDecoderOutput:
        """Refines queries. Shapes: see `BoxDecoder`."""
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation or "eager", eager_attention)
        outputs = self.decoder(queries, anchors, tokens, shapes, attention_mask, attend, **kwargs)
        return ProScaleBoxDecoderOutput(
            last_hidden_state=outputs.queries[-1], queries=tuple(outputs.queries), boxes=tuple(outputs.boxes)
        )


class ProScaleDetectionModel(BackboneOwner, ProScaleDetectionPreTrainedModel):
    """Backbone, encoder, anchor selection and decoder: boxes, and the queries that made them."""

    def __init__(self, config: ProScaleConfig):
        super().__init__(config)
        if config.encoder == "hybrid":
            raise ValueError('encoder="hybrid" is of masks; a detector has one of progressive, full, lite.')
        channels = self.build_maps(finest=False)
        self.encoder = ProScaleDetectionEncoder(config, channels[1:])
        self.anchor_selection = ProScaleAnchorSelection(config)
        self.query_features = nn.Embedding(config.num_queries, config.feature_size)
        self.decoder = ProScaleBoxDecoder(config)
        self.freeze_batch_norm()
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        noised_queries: NoisedQueries | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScaleDetectionModelOutput:
        """Predicts boxes.

        Args:
            pixel_values: Normalized images.
            noised_queries: Ground truth with noise, in training.

        Shape:
            pixel_values: `(B, 3, H, W)`.
        """
        encoded = self.encoder(self.feature_maps(pixel_values)[1:], **kwargs)
        tokens, shapes = encoded.last_hidden_state, encoded.spatial_shapes
        encoder_logits, encoder_boxes = self.anchor_selection(tokens, shapes)
        content = self.query_features.weight.unsqueeze(0).expand(tokens.shape[0], -1, -1)
        anchors, mask = encoder_boxes.detach(), None
        if noised_queries is not None:
            content = torch.cat((noised_queries.content.to(content.dtype), content), dim=1)
            anchors = torch.cat((noised_queries.boxes.to(anchors.dtype), anchors), dim=1)
            mask = noised_queries.attention_mask
        decoded = self.decoder(content, anchors, tokens, shapes, mask, **kwargs)
        last = slice(-self.config.num_queries, None)
        return ProScaleDetectionModelOutput(
            last_hidden_state=decoded.last_hidden_state[:, last],
            pred_boxes=decoded.boxes[-1][:, last],
            queries=decoded.queries,
            boxes=decoded.boxes,
            encoder_logits=encoder_logits,
            encoder_boxes=encoder_boxes,
            encoder_last_hidden_state=tokens,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )


class ProScaleForObjectDetection(ProScaleDetectionPreTrainedModel):
    """PRO-SCALE as a detector: a class and a box per query.

    The configuration has the fields of the mask model; DINO's are `num_queries=900`, `decoder_layers=6`,
    `encoder_feedforward_dim=2048`, `position_temperature=20`, and four `encoder_stage_layers`. Fields of masks and of
    queries from pixels have no effect; `feature_size` is the channels of tokens and queries.

    Example:

    ```python
    >>> import torch
    >>> from hfseg import ProScaleConfig, ProScaleForObjectDetection

    >>> stages = ["stage1", "stage2", "stage3", "stage4"]
    >>> configuration = ProScaleConfig(
    ...     backbone_config={"model_type": "resnet", "layer_type": "basic", "embedding_size": 8, "depths": [1, 1, 1, 1],
    ...                      "hidden_sizes": [8, 16, 32, 64], "out_features": stages},
    ...     encoder_stage_layers=(1, 1, 1, 1), feature_size=64, num_attention_heads=4, decoder_layers=2, num_queries=10,
    ...     dim_feedforward=64, encoder_feedforward_dim=64, num_labels=3,
    ... )
    >>> model = ProScaleForObjectDetection(configuration).eval()
    >>> outputs = model(torch.zeros(1, 3, 64, 96))
    >>> outputs.logits.shape, outputs.pred_boxes.shape
    (torch.Size([1, 10, 3]), torch.Size([1, 10, 4]))

    ```
    """

    # forward takes **kwargs, but the loss is not divided by Trainer's num_items_in_batch.
    accepts_loss_kwargs = False

    def __init__(self, config: ProScaleConfig):
        super().__init__(config)
        num_labels = len(config.id2label or ())
        self.model = ProScaleDetectionModel(config)
        self.class_predictor = nn.Linear(config.feature_size, num_labels)
        # One row more, for entries that fill up images with fewer boxes than others of the batch.
        self.label_embedding = nn.Embedding(num_labels + 1, config.feature_size)
        self.post_init()

    def loss_normalizer(self, batch: dict) -> torch.Tensor:
        """Counts what the losses of a batch are divided by: its ground-truth boxes.

        The sum of these over accumulated batches and processes, given back to `forward` as `loss_normalizer=`, makes
        the losses of the parts add up to the loss of the whole.
        """
        return count_boxes(batch["labels"])

    def noised_queries(self, labels: list[dict[str, torch.Tensor]]) -> NoisedQueries | None:
        """Draws noised ground truth (DINO, section 3.3); None without boxes or where it is turned off.

        Args:
            labels: As in `forward`.
        """
        config = self.config
        content, logits, mask, about = get_contrastive_denoising_training_group(
            targets=labels,
            num_classes=self.class_predictor.out_features,
            num_queries=config.num_queries,
            class_embed=self.label_embedding,
            num_denoising_queries=config.num_denoising_queries,
            label_noise_ratio=config.label_noise_ratio,
            box_noise_scale=config.box_noise_scale,
        )
        if content is None or logits is None or mask is None or about is None:
            return None
        # Without noise the library leaves boxes as they are; with noise it gives their logits.
        boxes = logits.sigmoid() if config.box_noise_scale > 0 else logits
        groups = int(about["dn_num_group"])
        return NoisedQueries(content, boxes, (mask == 0)[None, None], about["dn_positive_idx"], groups)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: list[dict[str, torch.Tensor]] | None = None,
        output_auxiliary_logits: bool | None = None,
        loss_normalizer: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ProScaleForObjectDetectionOutput:
        """Predicts classes and boxes and, with labels, the loss.

        Args:
            pixel_values: Normalized images.
            labels: Per image `class_labels` (N,) and `boxes` (N, 4), (center x, center y, width, height) as shares of
                the padded input. N may be 0.
            output_auxiliary_logits: Returns the predictions of earlier layers; defaults to the configuration's value.
            loss_normalizer: See `loss_normalizer()`; by default counted from the labels of this batch.

        Raises:
            ValueError: If labels do not fit the batch or the classes.

        Shape:
            pixel_values: `(B, 3, H, W)`. Outputs: see `ProScaleForObjectDetectionOutput`.
        """
        config = self.config
        auxiliary = config.output_auxiliary_logits if output_auxiliary_logits is None else output_auxiliary_logits
        noised = None
        if labels is not None:
            check_boxes(labels, len(pixel_values), self.class_predictor.out_features)
            noised = self.noised_queries(labels) if self.training else None
        outputs = self.model(pixel_values, noised_queries=noised, **kwargs)
        all_levels = auxiliary or labels is not None
        class_logits = self.class_predictor(torch.stack(outputs.queries if all_levels else outputs.queries[-1:]))
        boxes = torch.stack(outputs.boxes if all_levels else outputs.boxes[-1:])  # (levels, B, D + Q, 4)
        loss = loss_dict = None
        if labels is not None:
            loss_dict = self.losses(class_logits, boxes, outputs, labels, noised, loss_normalizer)
            loss = torch.stack(list(loss_dict.values())).sum()
        class_logits, boxes = class_logits[:, :, -config.num_queries :], boxes[:, :, -config.num_queries :]
        earlier = [{"logits": a, "pred_boxes": b} for a, b in zip(class_logits[:-1], boxes[:-1])]
        one = torch.ones_like(class_logits[-1, :, 0, 0], dtype=torch.int64)
        return ProScaleForObjectDetectionOutput(
            loss=loss,
            loss_dict=loss_dict,
            logits=class_logits[-1],
            pred_boxes=boxes[-1],
            input_sizes=torch.stack([one * side for side in pixel_values.shape[-2:]], dim=-1),
            auxiliary_outputs=earlier if auxiliary else None,
            last_hidden_state=outputs.last_hidden_state,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
        )

    def losses(
        self,
        class_logits: torch.Tensor,
        boxes: torch.Tensor,
        outputs: ProScaleDetectionModelOutput,
        labels: list[dict[str, torch.Tensor]],
        noised: NoisedQueries | None,
        normalizer: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Computes the weighted losses of the decoder's layers, of the anchors, and of noised queries.

        Shape:
            class_logits: `(P, B, D + Q, K)`; boxes: `(P, B, D + Q, 4)`.
        """
        config = self.config
        weights = BoxWeights(config.box_class_weight, config.box_weight, config.giou_weight, config.box_class_cost)
        by_name = weights._asdict()
        count = box_normalizer(labels, class_logits.device, normalizer)
        split = class_logits.shape[2] - config.num_queries
        levels = slice(None) if config.use_auxiliary_loss else slice(-1, None)
        predicted = (class_logits[levels, :, split:], boxes[levels, :, split:])
        pairs = match_boxes(*predicted, labels, weights)
        terms = weighted_terms(box_losses(*predicted, labels, pairs, count), by_name)
        assert outputs.encoder_logits is not None and outputs.encoder_boxes is not None
        anchors = (outputs.encoder_logits[None], outputs.encoder_boxes[None])
        pairs = match_boxes(*anchors, labels, weights)
        found = weighted_terms(box_losses(*anchors, labels, pairs, count), by_name)
        terms |= {f"encoder_{name}": value for name, value in found.items()}
        if noised is not None:
            restored = (class_logits[levels, :, :split], boxes[levels, :, :split])
            counts = [len(entry["class_labels"]) for entry in labels]
            pairs = noised_pairs(noised.positives, counts, noised.groups, len(restored[0]))
            found = weighted_terms(box_losses(*restored, labels, pairs, count * noised.groups), by_name)
            terms |= {f"denoising_{name}": value for name, value in found.items()}
        elif self.training:
            # No noised query in this batch: the embedding takes part, as distributed training asks of all parameters.
            terms["loss_ce"] = terms["loss_ce"] + 0.0 * self.label_embedding.weight.sum()
        return terms


__all__ = ["ProScaleDetectionModel", "ProScaleForObjectDetection"]
