# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class maps from queries or from class logits per pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .reductions import descending, first_argmax
from .resizing import BandResizer
from .sizes import Size, check_logits, complete_sizes


@torch.no_grad()
def semantic_segmentation(
    class_logits: Tensor,
    mask_logits: Tensor,
    *,
    padded_size: Size | None = None,
    image_sizes: Sequence[Size] | None = None,
    output_sizes: Sequence[Size] | None = None,
    canvas_sizes: Sequence[Size] | None = None,
    return_scores: bool = False,
) -> tuple[list[Tensor], list[Tensor] | None]:
    """Class map per image: argmax of the sum over queries of class probability times mask probability.

    The no-object class (last) is dropped after the softmax.

    Args:
        class_logits: logits of K classes and no-object.
        mask_logits: mask logits at the model's output stride.
        padded_size, image_sizes, output_sizes, canvas_sizes: see `hfseg.postprocess.sizes`.
        return_scores: whether to return the class scores as well (K float maps at output size).

    Shape:
        class_logits (B, Q, K + 1), mask_logits (B, Q, h, w); maps (H, W) int64, scores (K, H, W) float32.

    Returns:
        The list of maps, and the list of scores or None.

    Raises:
        ValueError: if shapes or sizes do not fit together.
    """
    check_logits(class_logits, mask_logits)
    geometry = complete_sizes(mask_logits, padded_size, image_sizes, output_sizes, canvas_sizes)
    device = mask_logits.device
    with torch.autocast(device.type, enabled=False):
        class_probabilities = class_logits.float().softmax(-1)[..., :-1]
        ramp = descending(class_probabilities.shape[-1], device)
        maps: list[Tensor] = []
        scores: list[Tensor] = []
        for index, output_size in enumerate(geometry.outputs):
            weights = class_probabilities[index].t().contiguous()  # (K, Q)
            label_map = torch.empty(output_size, dtype=torch.int64, device=device)
            num_labels = len(weights)
            score_map = torch.empty((num_labels, *output_size), device=device) if return_scores else None
            for rows, band in BandResizer(mask_logits[index], *geometry.of(index)).bands():
                band_scores = (weights @ band.sigmoid_().flatten(1)).view(num_labels, *band.shape[1:])
                label_map[rows] = first_argmax(band_scores, ramp, torch.empty_like(band_scores))
                if score_map is not None:
                    score_map[:, rows] = band_scores
            maps.append(label_map)
            if score_map is not None:
                scores.append(score_map)
    return maps, scores if return_scores else None


@torch.no_grad()
def resize_class_logits(
    logits: Tensor, padded_size: Size, image_sizes: Sequence[Size], output_sizes: Sequence[Size]
) -> list[Tensor]:
    """Resizes class logits per pixel to the images.

    Bilinearly, straight from the network's output if nothing was padded, else by way of the padded input, of which the
    image is cut out.

    Args:
        logits: Of a semantic model.
        padded_size: Height and width of its input.
        image_sizes: Size of each image inside the input, at its top left.
        output_sizes: Size of each result.

    Shape:
        logits: `(B, K, h, w)`; per image `(K, H, W)`, float32.
    """
    results = []
    for scores, inner, target in zip(logits.float().split(1), image_sizes, output_sizes):
        if tuple(inner) != tuple(padded_size):
            if tuple(scores.shape[-2:]) != tuple(padded_size):
                scores = functional.interpolate(scores, tuple(padded_size), mode="bilinear", align_corners=False)
            scores = scores[:, :, : inner[0], : inner[1]]
        if tuple(scores.shape[-2:]) != tuple(target):  # of equal size the copy is exact, and as dear as the resize
            scores = functional.interpolate(scores, tuple(target), mode="bilinear", align_corners=False)
        results.append(scores[0])
    return results
