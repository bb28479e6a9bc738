# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses of semantic segmentation on class logits per pixel: focal, pooled Dice, cross-entropy.

All three are means over the labeled pixels of the batch, so one count normalizes their sum: micro-batches weighted by
their labeled pixels add up to the loss of the whole batch exactly.
"""

import torch
import torch.nn.functional as F


def resize_labels(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resizes label maps to the label at (about) each new pixel's center.

    Shape:
        `(B, H, W)` -> `(B, *size)`, integers.
    """
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    # Labels below 2^24 are exact in float32, and no float type is wider than needed.
    resized = F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")
    return resized[:, 0].to(labels.dtype)


def check_labels(labels: torch.Tensor, batch_size: int, num_labels: int, ignore_index: int) -> None:
    """Checks labels against the batch and the classes.

    Raises:
        ValueError: If they are no integer maps, of another batch size, or (on a CPU, where looking costs nothing) hold
            ids outside the classes.
    """
    if labels.dim() != 3 or labels.is_floating_point() or len(labels) != batch_size:
        raise ValueError(
            f"labels have the shape {tuple(labels.shape)} and type {labels.dtype}; give class ids as integers "
            f"({batch_size}, height, width)."
        )
    if labels.device.type == "cpu" and labels.numel():
        wrong = labels[(labels != ignore_index) & ((labels < 0) | (labels >= num_labels))]
        if wrong.numel():
            raise ValueError(
                f"labels hold {wrong.unique()[:5].tolist()}; must be 0..{num_labels - 1}, and {ignore_index} for "
                "pixels to ignore."
            )


def focal_dice_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    focal_weight: float = 20.0,
    dice_weight: float = 1.0,
    cross_entropy_weight: float = 1.0,
    gamma: float = 2.0,
    ignore_index: int = 255,
    epsilon: float = 1e-7,
) -> dict[str, torch.Tensor]:
    """Computes weighted focal, Dice and cross-entropy losses in float32.

    - focal: sigmoid per class, `(1 - p_t) ** gamma` times binary cross-entropy, mean over classes, then over labeled
      pixels;
    - Dice: sigmoid, all classes and labeled pixels of an image in one quotient, `1 - (2 sum PG + e) / (sum P + sum G
      + e)`, images weighted by their labeled pixels;
    - cross-entropy: softmax, mean over labeled pixels.

    Returns:
        `focal`, `dice`, `cross_entropy`, weights included; a weight of 0 leaves its term out. All zero without labeled
        pixels.

    Shape:
        logits: `(B, K, H, W)`; labels: `(B, H, W)`, int64; outputs: scalars.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        labeled = labels != ignore_index  # (B, H, W)
        pixels = labeled.sum((1, 2)).float()  # (B,)
        count = pixels.sum().clamp(min=1.0)
        targets = torch.where(labeled, labels, 0).long()
        losses = {}
        if focal_weight or dice_weight:
            truth = torch.zeros_like(logits).scatter_(1, targets[:, None], 1.0)  # (B, K, H, W)
            probability = logits.sigmoid()
            inside = labeled[:, None].float()
            if focal_weight:
                entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
                # 1 - p_t, the probability of the wrong answer.
                wrong = probability + truth - 2 * probability * truth
                per_pixel = (wrong.pow(gamma) * entropy).mean(1)  # (B, H, W)
                losses["focal"] = focal_weight * (per_pixel * labeled).sum() / count
            if dice_weight:
                both = (probability * truth * inside).sum((1, 2, 3))  # (B,)
                either = (probability * inside).sum((1, 2, 3)) + pixels  # one true class per labeled pixel
                dice = 1 - (2 * both + epsilon) / (either + epsilon)
                losses["dice"] = dice_weight * (dice * pixels).sum() / count
        if cross_entropy_weight:
            entropy = F.cross_entropy(logits, targets, reduction="none")
            losses["cross_entropy"] = cross_entropy_weight * (entropy * labeled).sum() / count
        return losses
