# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The mask decoder of PRO-SCALE and UniSegFormer as their configurations describe it: building it, its heat loss."""

from collections.abc import Sequence
from typing import Any

import torch

from ..layers.mask_decoder import MaskedAttentionDecoder, close_invalid_queries, mask_logits
from ..layers.query_selection import PixelQuerySelection
from ..losses.center_heat import center_heat_loss
from ..losses.mask_classification import LossWeights, mask_classification_loss


class StuffClassesModel:
    """Mixin of models with such a configuration, before `PreTrainedModel`: outputs name the stuff classes.

    They are a plain attribute, `stuff_class_ids`, that only image processors look at; with queries from pixels
    `num_learned_queries` is another. Compiled and exported programs give outputs without them.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outputs = super().__call__(*args, **kwargs)  # type: ignore[misc]
        if torch.compiler.is_compiling() or isinstance(outputs, tuple):
            return outputs
        config = self.config  # type: ignore[attr-defined]
        if config.stuff_class_ids is not None:
            outputs.stuff_class_ids = tuple(config.stuff_class_ids)
        if config.query_selection == "pixels":
            outputs.num_learned_queries = config.num_learned_queries
        return outputs


def build_mask_decoder(config: Any, num_levels: int = 3) -> MaskedAttentionDecoder:
    """Builds the mask decoder of a configuration."""
    selection, num_learned = None, config.num_queries
    if config.query_selection == "pixels":
        num_learned = config.num_learned_queries
        selection = PixelQuerySelection(
            config.hidden_size,
            num_queries=config.num_queries - num_learned,
            max_queries=(config.max_queries or 2 * config.num_queries) - num_learned,
            threshold=config.heat_threshold,
        )
    return MaskedAttentionDecoder(
        hidden_size=config.hidden_size,
        mask_feature_size=config.mask_feature_size,
        num_queries=num_learned,
        num_layers=config.decoder_layers,
        num_heads=config.num_attention_heads,
        feedforward_size=config.dim_feedforward,
        feature_size=config.feature_size,
        num_levels=num_levels,
        dropout=config.dropout,
        mask_positions=config.mask_positions,
        pixel_positions=config.position_code == "pixels",
        query_selection=selection,
    )


def num_queries_in_use(config: Any, training: bool) -> int:
    """Tells how many queries an image has: with queries from pixels more in evaluation than in training."""
    if config.query_selection == "learned" or training:
        return config.num_queries
    return config.max_queries or 2 * config.num_queries


def auxiliary_predictions(
    class_logits: torch.Tensor,
    mask_embeddings: Sequence[torch.Tensor] | torch.Tensor,
    pixel_embedding: torch.Tensor,
    valid_queries: torch.Tensor | None,
    precise: bool,
) -> list[dict[str, torch.Tensor]]:
    """Computes the logits of all predictions but the last, under the names of the model's output.

    Args:
        precise: Whether masks are computed in float32, as mask positions want.

    Shape:
        class_logits: `(levels, B, Q, K + 1)`; mask_embeddings: levels of `(B, Q, M)`; pixel_embedding: `(B, M, h, w)`;
        valid_queries: `(B, Q)`.
    """
    return [
        {
            "class_queries_logits": close_invalid_queries(logits, valid_queries),
            "masks_queries_logits": mask_logits(embeddings, pixel_embedding, precise=precise),
        }
        for logits, embeddings in zip(class_logits[:-1], mask_embeddings[:-1])
    ]


def mask_terms(
    config: Any,
    class_logits: torch.Tensor,
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    size: tuple[int, int],
    normalizer: torch.Tensor | None = None,
    void_masks: list[torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Computes the weighted losses of classes and masks as a configuration describes them.

    Arguments and results as of `losses.mask_classification.mask_classification_loss`; `size` is that of the network
    input.
    """
    return mask_classification_loss(
        class_logits=class_logits,
        mask_embeddings=mask_embeddings,
        pixel_embedding=pixel_embedding,
        mask_labels=mask_labels,
        class_labels=class_labels,
        padded_size=size,
        weights=LossWeights(config.class_weight, config.mask_weight, config.dice_weight, config.no_object_weight),
        num_points=config.train_num_points,
        oversample_ratio=config.oversample_ratio,
        importance_sample_ratio=config.importance_sample_ratio,
        normalizer=normalizer,
        void_masks=void_masks,
    )


def heat_terms(
    config: Any,
    heat_logits: torch.Tensor | None,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    normalizer: torch.Tensor | None = None,
    void_masks: list[torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Computes the weighted loss of the heat map; nothing without one.

    Args:
        config: Weight and stuff classes.
        heat_logits: Of the mask decoder, `(B, h, w)`.
        mask_labels, class_labels: Segments.
        normalizer: See `losses.mask_classification.count_targets`; its first entry counts.
        void_masks: Per image the pixels about which nothing is known.
    """
    if heat_logits is None:
        return {}
    loss = center_heat_loss(
        heat_logits,
        mask_labels,
        class_labels,
        config.stuff_class_ids or (),
        None if normalizer is None else normalizer[0],
        void_masks,
    )
    return {"loss_heat": config.heat_weight * loss}
