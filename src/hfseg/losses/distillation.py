# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Distillation of mask classification: what another model's queries say becomes the target of this one's.

Knowledge distillation (Hinton, Vinyals, Dean, 2015) for sets of queries: every prediction level is matched to the
teacher's queries, as it would be to labels (Mask2Former, CVPR 2022), and learns the teacher's class probabilities and
its masks as they are, uncertainty included. No labels are needed. Every term is zero where student and teacher agree.

Shape legend: P levels of prediction, B images, Q queries of the student, R of the teacher, K classes, M embedding
channels, S points.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from transformers.utils.generic import maybe_autocast

from .levels import weighted_terms
from .mask_classification import LossWeights

__all__ = ["mask_distillation_loss"]


def _read(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Reads maps at points, bilinearly, with gradients. Shape: `(B, M, h, w)`, `(B, S, 2)` -> `(B, M, S)`."""
    grid = (2 * points - 1).unsqueeze(1)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)[:, :, 0]


def _squares(probabilities: torch.Tensor) -> torch.Tensor:
    return probabilities.square().sum(-1)


@torch.no_grad()
def _match(
    log_classes: torch.Tensor,
    logits: torch.Tensor,
    teacher_classes: torch.Tensor,
    teacher_masks: torch.Tensor,
    objectness: torch.Tensor,
    weights: LossWeights,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gives every query of the teacher one of the student, the surest ones theirs first.

    Shape:
        log_classes: `(P, B, Q, K + 1)`; logits: `(P, B, Q, S)`; teacher_classes: `(B, R, K + 1)`; teacher_masks:
        `(B, R, S)`, probabilities; objectness: `(B, R)`. Output: queries of student and teacher, twice `(P, B, N)`.
    """
    count = logits.shape[-1]
    classes = -(log_classes @ teacher_classes.transpose(1, 2))  # (P, B, Q, R)
    overlap = logits @ teacher_masks.transpose(1, 2)
    entropy = (F.softplus(logits).sum(-1, keepdim=True) - overlap) / count
    probabilities = logits.sigmoid()
    shared = probabilities @ teacher_masks.transpose(1, 2)
    total = _squares(probabilities).unsqueeze(-1) + _squares(teacher_masks).unsqueeze(1)
    dice = 1 - (2 * shared + 1) / (total + 1)
    cost = (weights.ce * classes + weights.mask * entropy + weights.dice * dice) * objectness.unsqueeze(1)
    on_host = torch.nan_to_num(cost, nan=1e9, posinf=1e9, neginf=1e9).cpu().numpy()
    solved = [[np.stack(linear_sum_assignment(image)) for image in level] for level in on_host]
    pairs = torch.from_numpy(np.array(solved)).to(logits.device)  # (P, B, 2, N)
    return pairs[:, :, 0], pairs[:, :, 1]


def mask_distillation_loss(
    class_logits: torch.Tensor,
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    teacher_class_logits: torch.Tensor,
    teacher_mask_logits: torch.Tensor,
    weights: LossWeights,
    num_points: int = 12544,
    generator: torch.Generator | None = None,
) -> dict[str, torch.Tensor]:
    """Computes the weighted losses of all prediction levels against a teacher's prediction.

    A query of the teacher counts as far as it is sure to be an object: in the masks' terms with the probability o of
    not being "no object", in the classes' term with o + `weights.no_object` (1 - o). Classes: Kullback-Leibler
    divergence; masks: that of each point, and the Dice loss with squares in its denominator (V-Net, 3DV 2016), both at
    uniformly drawn points that all masks of an image share.

    Args:
        class_logits: Student's class logits, last class "no object"; the last level is the model's output.
        mask_embeddings: Student's mask embeddings of the same levels.
        pixel_embedding: Its product with a mask embedding is a mask.
        teacher_class_logits: Of the same classes.
        teacher_mask_logits: Of the same images, at any resolution.
        weights: Weights of the terms, which also weigh the matching costs.
        num_points: Points per image.
        generator: Source of the points.

    Returns:
        `loss_ce`, `loss_mask`, `loss_dice` of the last level and `..._i` of earlier ones, each a weighted scalar.

    Raises:
        ValueError: The classes or the images are not as many.

    Shape:
        class_logits: `(P, B, Q, K + 1)`; mask_embeddings: `(P, B, Q, M)`; pixel_embedding: `(B, M, h, w)`;
        teacher_class_logits: `(B, R, K + 1)`; teacher_mask_logits: `(B, R, h', w')`.
    """
    own, others = class_logits.shape, teacher_class_logits.shape
    if (own[1], own[3]) != (others[0], others[2]):
        raise ValueError(
            f"The student predicts {own[3] - 1} classes for {own[1]} images, the teacher {others[2] - 1} for "
            f"{others[0]}; both must be equal."
        )
    device = class_logits.device
    with maybe_autocast(device.type, enabled=False):
        log_classes = class_logits.float().log_softmax(-1)
        teacher_classes = teacher_class_logits.detach().float().softmax(-1)
        points = torch.rand(own[1], num_points, 2, device=device, generator=generator)
        logits = mask_embeddings.float() @ _read(pixel_embedding.float(), points)  # (P, B, Q, S)
        teacher_logits = _read(teacher_mask_logits.detach().float(), points)  # (B, R, S)
        objectness = 1 - teacher_classes[..., -1]  # (B, R)
        queries, taught = _match(log_classes, logits, teacher_classes, teacher_logits.sigmoid(), objectness, weights)

        image = torch.arange(own[1], device=device)[:, None]
        level = torch.arange(own[0], device=device)[:, None, None]
        log_classes, logits = log_classes[level, image, queries], logits[level, image, queries]  # (P, B, N, ...)
        truth, target = teacher_classes[image, taught], teacher_logits[image, taught]
        sure = objectness[image, taught]  # (P, B, N)
        counted = sure + weights.no_object * (1 - sure)

        divergence = F.kl_div(log_classes, truth, reduction="none").sum(-1)
        loss_ce = (divergence * counted).sum((1, 2)) / counted.sum((1, 2)).clamp(min=1e-6)
        probabilities, wanted = logits.sigmoid(), target.sigmoid()
        entropy = F.softplus(target) - wanted * target
        masks = (F.softplus(logits) - wanted * logits - entropy).mean(-1)
        shared = (probabilities * wanted).sum(-1)
        dice = 1 - (2 * shared + 1) / (_squares(probabilities) + _squares(wanted) + 1)
        objects = sure.sum((1, 2)).clamp(min=1)
        loss_mask, loss_dice = ((part * sure).sum((1, 2)) / objects for part in (masks, dice))
    return weighted_terms({"ce": loss_ce, "mask": loss_mask, "dice": loss_dice}, weights._asdict())
