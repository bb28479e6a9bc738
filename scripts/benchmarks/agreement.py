# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Agreement of fast paths with their plain forms, on the tensors of a real forward pass."""

import torch
import torch.nn.functional as F

from hfseg.layers.deformable_attention import MultiScaleDeformableSampling, deformable_attention_grid_sample
from hfseg.layers.mask_decoder import mask_logits, steering_masks


@torch.no_grad()
def attention_difference(model: torch.nn.Module, pixel_values: torch.Tensor) -> float:
    """Measures how far deformable attention, as this device runs it, is from one `grid_sample` per level.

    Returns:
        Largest absolute difference over all layers.
    """
    worst = [0.0]

    def compare(module, arguments, output):
        value, _, shapes, _, locations, weights, _ = arguments
        plain = deformable_attention_grid_sample(value, tuple(shapes), locations, weights)
        worst.append((output.float() - plain.float()).abs().max().item())

    handles = [
        module.register_forward_hook(compare)
        for module in model.modules()
        if isinstance(module, MultiScaleDeformableSampling)
    ]
    try:
        model(pixel_values)
    finally:
        for handle in handles:
            handle.remove()
    return max(worst)


@torch.no_grad()
def steering_difference(model: torch.nn.Module, pixel_values: torch.Tensor) -> dict:
    """Compares the masks that steer the attention with those of the usual form: mask at full size, then resized.

    Returns:
        `bits` compared, how many `flipped`, and the largest absolute difference of the `logits` behind them.
    """
    outputs = model.model(pixel_values)  # type: ignore[operator]
    pixel_embedding, maps = outputs.pixel_embedding, outputs.multi_scale_features
    bits, flipped, worst = 0, 0, 0.0
    for index, embeddings in enumerate(outputs.mask_embeddings[:-1]):
        size = tuple(maps[index % len(maps)].shape[-2:])
        small = F.interpolate(pixel_embedding, size=size, mode="bilinear", align_corners=False).flatten(2)  # (B, M, T)
        fast = steering_masks(embeddings, small)[:, 0]  # (B, Q, T)
        full = mask_logits(embeddings, pixel_embedding)  # (B, Q, H/4, W/4)
        plain_logits = F.interpolate(full, size=size, mode="bilinear", align_corners=False).flatten(2)  # (B, Q, T)
        blocked = plain_logits.sigmoid() < 0.5
        plain = ~(blocked & ~blocked.all(-1, keepdim=True))
        bits += fast.numel()
        flipped += int((fast != plain).sum())
        worst = max(worst, (torch.bmm(embeddings, small) - plain_logits).abs().max().item())
    return {"bits": bits, "flipped": flipped, "logits": worst}


@torch.no_grad()
def output_difference(model: torch.nn.Module, reference: torch.nn.Module, pixel_values: torch.Tensor) -> dict:
    """Compares a model's outputs with those of transformers' Mask2Former of the same weights.

    Returns:
        Largest absolute differences of `class` and `mask` logits, the largest `magnitude` of a mask logit, and how many
        of the mask's `bits` (signs) `flipped`.
    """
    ours, theirs = model(pixel_values), reference(pixel_values)
    masks, reference_masks = ours.masks_queries_logits, theirs.masks_queries_logits
    return {
        "class": (ours.class_queries_logits - theirs.class_queries_logits).abs().max().item(),
        "mask": (masks - reference_masks).abs().max().item(),
        "magnitude": reference_masks.abs().max().item(),
        "flipped": int(((masks >= 0) != (reference_masks >= 0)).sum()),
        "bits": masks.numel(),
    }


def plain_panoptic(
    class_logits: torch.Tensor,
    masks: torch.Tensor,
    padded_size: tuple[int, int],
    output_size: tuple[int, int],
    stuff: set[int],
    threshold: float = 0.8,
    overlap: float = 0.8,
) -> tuple[torch.Tensor, list[dict]]:
    """Computes a panoptic map of one unpadded image in the order of the authors' description, query by query.

    Shape:
        class_logits: `(Q, K + 1)`; masks: logits `(Q, h, w)`; output: `(H, W)`, int32.
    """
    masks = F.interpolate(masks[None], size=padded_size, mode="bilinear", align_corners=False)
    masks = F.interpolate(masks, size=output_size, mode="bilinear", align_corners=False)[0].sigmoid()  # (Q, H, W)
    scores, labels = class_logits.softmax(-1).max(-1)
    keep = (labels != class_logits.shape[-1] - 1) & (scores > threshold)
    scores, labels, masks = scores[keep], labels[keep], masks[keep]
    id_map = torch.zeros(output_size, dtype=torch.int32)
    segments: list[dict] = []
    if len(masks) == 0:
        return id_map, segments
    winner = (scores[:, None, None] * masks).argmax(0)
    for query, label in enumerate(labels.tolist()):
        own, visible = masks[query] >= 0.5, winner == query
        if not (own & visible).any() or visible.sum() / own.sum() < overlap:
            continue
        same = next((s for s in segments if label in stuff and s["label_id"] == label), None)
        if same is None:
            same = {"id": len(segments) + 1, "label_id": label}
            segments.append(same)
        id_map[own & visible] = same["id"]
    return id_map, segments
