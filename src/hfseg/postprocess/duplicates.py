# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Suppression of duplicates: several queries for one object."""

import math

import torch
from torch import Tensor

from .mask_suppression import mask_nms
from .sizes import Size, logit_of


@torch.no_grad()
def distinct_queries(
    mask_logits: Tensor,
    scores: Tensor,
    exempt: Tensor | None = None,
    *,
    padded_size: Size | None = None,
    image_size: Size | None = None,
    mask_threshold: float = 0.5,
    cover_threshold: float = 0.5,
) -> Tensor:
    """Tells which queries of an image remain when duplicates give way, greedily by score.

    From the best down, a query that remains removes every worse one of whose mask it covers a share of
    `cover_threshold`. Masks are compared as the model gives them, before any resize. A query's score is its class
    probability times the mean probability inside its mask. Empty masks are removed by any other.

    Args:
        mask_logits: of the queries of one image.
        scores: class probabilities.
        exempt: queries that neither remove nor are removed, such as those of stuff; default: none.
        padded_size: size of the network input; default: that of the mask logits.
        image_size: size of the image inside it (top left); default: no padding.
        mask_threshold: smallest mask probability of a pixel, inclusive.
        cover_threshold: smallest share that removes.

    Shape:
        mask_logits (N, h, w); scores, exempt (N,); result (N,) bool.
    """
    height, width = mask_logits.shape[-2:]
    if padded_size is not None and image_size is not None:  # what lies in the padding counts for nothing
        height = math.ceil(height * image_size[0] / padded_size[0])
        width = math.ceil(width * image_size[1] / padded_size[1])
    logits = mask_logits[:, :height, :width].float()
    masks = logits >= logit_of(mask_threshold, "mask_threshold")
    inside = (logits.sigmoid() * masks).flatten(1).sum(1) / (masks.flatten(1).sum(1) + 1e-6)
    keep = torch.zeros(len(masks), dtype=torch.bool, device=masks.device) if exempt is None else exempt.clone()
    candidates = (~keep).nonzero()[:, 0]
    chosen = mask_nms(masks[candidates], (scores * inside)[candidates], 1.1, cover_threshold)
    keep[candidates[chosen]] = True
    return keep


def distinct_pairs(
    mask_logits: Tensor,
    queries: Tensor,
    class_scores: Tensor,
    is_thing: Tensor,
    query_scores: Tensor | None,
    padded_size: Size,
    image_size: Size,
    mask_threshold: float,
) -> Tensor:
    """Tells which (query, class) pairs, best first, belong to queries that remain. Shape: all (N,), on the CPU."""
    things = queries[is_thing]
    used, inverse = things.unique(return_inverse=True)
    best = torch.zeros(len(used)).scatter_reduce_(0, inverse, class_scores[is_thing], reduce="amax")
    if query_scores is not None:
        best = best * query_scores.float().cpu()[used]
    device = mask_logits.device
    distinct = distinct_queries(
        mask_logits.index_select(0, used.to(device)),
        best.to(device),
        padded_size=padded_size,
        image_size=image_size,
        mask_threshold=mask_threshold,
    ).cpu()
    keep = torch.zeros_like(is_thing)
    keep[is_thing] = distinct[inverse]
    return keep
