# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Text-to-pixel contrast: pixels of the referent should match the sentence, all others should not."""

import torch
import torch.nn.functional as F

RESIZES = ("nearest", "aligned")


def resize_mask_labels(mask_labels: torch.Tensor, size: tuple[int, int], resize: str = "nearest") -> torch.Tensor:
    """Brings masks to the size of the logits.

    `"nearest"` takes the upper left pixel of every block, as the authors do. Post-processing, however, spreads logits
    from corner to corner (`align_corners=True`), which moves them by up to three pixels against these targets.
    `"aligned"` takes the mean of 3x3 pixels around the place from which post-processing reads.

    Shape:
        mask_labels: `(B, K, H, W)`; output: `(B, K, *size)`.
    """
    if resize == "nearest":
        return F.interpolate(mask_labels, size=size, mode="nearest")
    # Mean and interpolation act on rows and columns apart: two small products instead of a pass over all pixels.
    with torch.autocast(mask_labels.device.type, enabled=False):  # which would round products of targets
        sides = zip(mask_labels.shape[-2:], size)
        rows, columns = (_aligned_rows(given, wanted, mask_labels) for given, wanted in sides)
        return rows @ mask_labels @ columns.T


def _aligned_rows(given: int, wanted: int, like: torch.Tensor) -> torch.Tensor:
    """Computes what each of the `wanted` places reads of `given` pixels in a row.

    Shape:
        Output: `(wanted, given)`.
    """
    pixels = torch.eye(given, dtype=like.dtype, device=like.device)[None]  # (1, pixels, places)
    smooth = F.avg_pool1d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    return F.interpolate(smooth, size=wanted, mode="linear", align_corners=True)[0].T


def text_to_pixel_loss(logits: torch.Tensor, mask_labels: torch.Tensor, resize: str = "nearest") -> torch.Tensor:
    """Computes the text-to-pixel contrastive loss of CRIS (equations 2.9 and 2.10 of the thesis).

    Both equations together are the binary cross-entropy of the match between sentence and pixel, averaged over all
    pixels of all expressions. Soft masks, whose border values come from a linear warp, are used as they are. Computed
    in float32.

    Args:
        logits: Match of sentence and pixel.
        mask_labels: Probability of belonging to the referent, in [0, 1].
        resize: See `resize_mask_labels`.

    Raises:
        ValueError: If the leading dimensions differ.

    Shape:
        logits: `(B, K, h, w)`; mask_labels: `(B, H, W)` for K = 1, or `(B, K, H, W)`; output: scalar.
    """
    if mask_labels.dim() == 3:
        mask_labels = mask_labels[:, None]  # (B, 1, H, W)
    if mask_labels.shape[:2] != logits.shape[:2]:
        raise ValueError(
            f"mask_labels has the shape {tuple(mask_labels.shape)}, but there are {logits.shape[0]} images with "
            f"{logits.shape[1]} expression(s): give (images, expressions, height, width), or (images, height, width) "
            "for one expression each."
        )
    target = resize_mask_labels(mask_labels.float(), (logits.shape[-2], logits.shape[-1]), resize)  # (B, K, h, w)
    return F.binary_cross_entropy_with_logits(logits.float(), target)
