# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks of single logit maps: one per prompt or expression."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .resizing import BandResizer
from .sizes import Size, complete_sizes, logit_of


@torch.no_grad()
def binary_segmentation(
    mask_logits: Tensor,
    *,
    padded_size: Size | None = None,
    image_sizes: Sequence[Size] | None = None,
    output_sizes: Sequence[Size] | None = None,
    canvas_sizes: Sequence[Size] | None = None,
    mask_threshold: float = 0.5,
    return_probabilities: bool = False,
) -> list[Tensor]:
    """Binary masks (foreground probability above a threshold) at output size, per image.

    Args:
        mask_logits: mask logits at the model's output stride, N masks per image.
        padded_size, image_sizes, output_sizes, canvas_sizes: see `hfseg.postprocess.sizes`.
        mask_threshold: probability above which a pixel is foreground.
        return_probabilities: whether to return float32 probabilities instead of booleans.

    Shape:
        mask_logits (B, h, w) or (B, N, h, w); results (H, W) or (N, H, W).

    Raises:
        ValueError: if shapes, sizes or the threshold are not legal.
    """
    if mask_logits.ndim not in (3, 4):
        raise ValueError(f"mask_logits must be (B, h, w) or (B, N, h, w), got {tuple(mask_logits.shape)}.")
    geometry = complete_sizes(mask_logits, padded_size, image_sizes, output_sizes, canvas_sizes)
    logit_threshold = logit_of(mask_threshold, "mask_threshold")
    dtype = torch.float32 if return_probabilities else torch.bool
    results = []
    with torch.autocast(mask_logits.device.type, enabled=False):
        for index, output_size in enumerate(geometry.outputs):
            logits = mask_logits[index] if mask_logits.ndim == 4 else mask_logits[index : index + 1]
            masks = torch.empty((len(logits), *output_size), dtype=dtype, device=mask_logits.device)
            if len(logits):
                for rows, band in BandResizer(logits, *geometry.of(index)).bands():
                    masks[:, rows] = band.sigmoid_() if return_probabilities else band > logit_threshold
            results.append(masks if mask_logits.ndim == 4 else masks[0])
    return results
