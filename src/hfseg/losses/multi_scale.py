# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pixel cross-entropy of class logits at several scales."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def thin_out(labels: torch.Tensor, stride: int) -> torch.Tensor:
    """Takes the label under the center of every cell of `stride` pixels.

    Shape:
        `(B, H, W)` -> `(B, ceil(H / stride), ceil(W / stride))`.
    """
    if stride == 1:
        return labels
    rows, columns = (
        (torch.arange(-(-side // stride), device=labels.device) * stride + stride // 2).clamp(max=side - 1)
        for side in labels.shape[-2:]
    )
    return labels[:, rows[:, None], columns]


def multi_scale_cross_entropy(
    logits: Sequence[torch.Tensor],
    labels: Sequence[torch.Tensor],
    weights: Sequence[float],
    ignore_index: int = 255,
    normalizer: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """Computes the weighted cross-entropy of class logits at several scales, in float32, means over labeled pixels.

    Args:
        logits: Per scale.
        labels: Per scale.
        weights: Per scale.
        ignore_index: Label of pixels left out.
        normalizer: Labeled pixels per scale over all parts of a larger batch; default: those of `labels`.

    Shape:
        logits: each `(B, K, h, w)`; labels: each `(B, h, w)`; normalizer: `(scales,)`.
    """
    terms = []
    for index, (scores, truth, weight) in enumerate(zip(logits, labels, weights)):
        with torch.autocast(scores.device.type, enabled=False):
            total = F.cross_entropy(scores.float(), truth.long(), ignore_index=ignore_index, reduction="sum")
            count = (truth != ignore_index).sum() if normalizer is None else normalizer[index].to(total.device)
            terms.append(weight * total / count.clamp(min=1))
    return terms
