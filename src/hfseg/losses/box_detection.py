# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching and losses of detectors that predict a set of boxes (DETR), with DINO's focal classification.

Zhang et al., "DINO", ICLR 2023, appendix D: focal loss (alpha 0.25, gamma 2; Lin et al., ICCV 2017), L1 and generalized
IoU (Rezatofighi et al., CVPR 2019) of matched boxes, each divided by the number of ground-truth boxes. Every prediction
level has its own matching; noised queries know their box and need none.

Shape legend: P prediction levels, B images, Q queries, K classes, T boxes at most per image, N pairs of a level. Boxes
are (center x, center y, width, height), 0..1 of the padded input.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers.utils.generic import maybe_autocast

from .mask_classification import Pairs, match, mean_targets

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


class BoxWeights(NamedTuple):
    """Weights of the losses and of the matching cost.

    Attributes:
        ce: Focal classification loss.
        box: L1 distance of the four numbers.
        giou: Generalized IoU.
        ce_cost: Focal cost in matching; `box` and `giou` are the other costs' weights.
    """

    ce: float
    box: float
    giou: float
    ce_cost: float


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Turns (center x, center y, width, height) into (left, top, right, bottom). Shape: `(..., 4)`."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((center - half, center + half), dim=-1)


def generalized_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Computes IoU minus the share of the smallest enclosing box that neither box covers.

    Args:
        first, second: Boxes, which broadcast against each other.

    Shape:
        `(..., 4)` each to `(...)`, between -1 and 1.
    """
    first, second = corners(first), corners(second)
    area_1, area_2 = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (first, second))
    least, most = torch.minimum(first, second), torch.maximum(first, second)
    inner = (least[..., 2:] - most[..., :2]).clamp(min=0).prod(-1)
    outer = (most[..., 2:] - least[..., :2]).prod(-1)
    union = area_1 + area_2 - inner
    tiny = torch.finfo(union.dtype).tiny
    return inner / union.clamp(min=tiny) - (outer - union) / outer.clamp(min=tiny)


def focal_terms(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes the focal loss of every logit if its class is present, and if it is absent. Shape: as the logits."""
    probability = logits.sigmoid()
    present = FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * F.softplus(-logits)
    absent = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * F.softplus(logits)
    return present, absent


def check_boxes(labels: Sequence[Mapping[str, Any]], batch_size: int, num_classes: int) -> None:
    """Checks that targets fit the batch, each other and the classes.

    Raises:
        ValueError: Naming the image and what is wrong with it.
    """
    if len(labels) != batch_size:
        raise ValueError(f"Got labels of {len(labels)} images for a batch of {batch_size}: give one entry per image.")
    for index, entry in enumerate(labels):
        missing = {"class_labels", "boxes"} - set(entry)
        if missing:
            raise ValueError(f"labels[{index}] has no {', '.join(sorted(missing))}; it has {', '.join(entry)}.")
        classes, boxes = entry["class_labels"], entry["boxes"]
        if boxes.shape != (len(classes), 4):
            raise ValueError(
                f"labels[{index}] has boxes of shape {tuple(boxes.shape)} and {len(classes)} class_labels: give one "
                "(center x, center y, width, height) per class."
            )
        if boxes.device.type != "cpu" or not len(classes):
            continue
        if not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
            raise ValueError(
                f"labels[{index}] has class_labels from {int(classes.min())} to {int(classes.max())}; must be one of "
                f"0..{num_classes - 1} for the {num_classes} classes of the model (num_labels, id2label)."
            )
        if not bool(((boxes >= 0) & (boxes <= 1)).all()):
            raise ValueError(
                f"labels[{index}] has boxes beyond 0..1: give (center x, center y, width, height) as shares of the "
                "padded input."
            )


def count_boxes(labels: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Counts ground-truth boxes, which the losses are divided by. Shape: `(1,)`, float32."""
    return torch.tensor([float(sum(len(entry["class_labels"]) for entry in labels))])


@torch.no_grad()
def match_boxes(
    logits: torch.Tensor, boxes: torch.Tensor, labels: Sequence[Mapping[str, Any]], weights: BoxWeights
) -> Pairs:
    """Assigns ground-truth boxes to queries, for every level and image at the least cost.

    Shape:
        logits: `(P, B, Q, K)`; boxes: `(P, B, Q, 4)`.
    """
    counts = [len(entry["class_labels"]) for entry in labels]
    most = max(counts, default=0)
    if most == 0:
        none = torch.zeros(len(logits), 0, dtype=torch.int64, device=logits.device)
        return Pairs(none[0], none, none, counts)
    classes = torch.stack(
        [F.pad(entry["class_labels"].long(), (0, most - n)) for entry, n in zip(labels, counts)]
    )  # (B, T)
    truth = torch.stack([F.pad(entry["boxes"].float(), (0, 0, 0, most - n)) for entry, n in zip(labels, counts)])
    present, absent = focal_terms(logits.float())
    index = classes[None, :, None, :].expand(*logits.shape[:3], most)
    cost = weights.ce_cost * (present - absent).gather(3, index)  # (P, B, Q, T)
    predicted, truth = boxes.float().unsqueeze(3), truth[None, :, None]  # (P, B, Q, 1, 4), (1, B, 1, T, 4)
    cost += weights.box * (predicted - truth).abs().sum(-1)
    cost -= weights.giou * generalized_iou(predicted, truth)
    # What is not a number is matched last; the solver would refuse it.
    cost = torch.nan_to_num(cost, nan=1e4, posinf=1e4, neginf=-1e4)
    return match(cost.transpose(0, 1), counts)


def box_losses(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    labels: Sequence[Mapping[str, Any]],
    pairs: Pairs,
    count: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """Computes the losses of matched queries, unweighted, for every level.

    Args:
        logits: Class logits.
        boxes: Predicted boxes.
        labels: Ground truth.
        pairs: Which query is which box; queries without one have no class.
        count: What losses are divided by.

    Shape:
        logits: `(P, B, Q, K)`; boxes: `(P, B, Q, 4)`; each loss: `(P,)`.
    """
    with maybe_autocast(logits.device.type, enabled=False):
        logits, boxes = logits.float(), boxes.float()
        levels = torch.arange(len(logits), device=logits.device)[:, None]  # (P, 1)
        classes = torch.cat([entry["class_labels"] for entry in labels]).long()
        truth = torch.cat([entry["boxes"] for entry in labels]).float()
        counts = torch.tensor([len(entry["class_labels"]) for entry in labels], device=logits.device)
        row = (counts.cumsum(0) - counts)[pairs.images] + pairs.targets  # (P, N), of the concatenated truth
        present, absent = focal_terms(logits)
        kind = torch.zeros_like(logits, dtype=torch.bool)
        kind[levels, pairs.images, pairs.queries, classes[row]] = True
        predicted, truth = boxes[levels, pairs.images, pairs.queries], truth[row]  # (P, N, 4)
        return {
            "ce": torch.where(kind, present, absent).sum((1, 2, 3)) / count,
            "box": (predicted - truth).abs().sum((1, 2)) / count,
            "giou": (1 - generalized_iou(predicted, truth)).sum(1) / count,
        }


def noised_pairs(positives: Sequence[torch.Tensor], counts: Sequence[int], groups: int, num_levels: int) -> Pairs:
    """Pairs of noised queries that are to be restored: each group holds every box of the image once.

    Args:
        positives: Per image the queries to be restored, groups one after the other.
        counts: Boxes per image.
        groups: Groups G.
        num_levels: Prediction levels P.

    Shape:
        positives: each `(G * n,)`.
    """
    device = positives[0].device
    targets = [torch.arange(count, device=device).repeat(groups) for count in counts]
    images = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor([groups * count for count in counts]))
    return Pairs(
        images.to(device),
        torch.cat(list(positives)).expand(num_levels, -1),
        torch.cat(targets).expand(num_levels, -1),
        [groups * count for count in counts],
    )


def box_normalizer(
    labels: Sequence[Mapping[str, Any]], device: torch.device, given: torch.Tensor | None = None
) -> torch.Tensor:
    """What losses are divided by: ground-truth boxes, by default the mean over processes, at least 1. Shape: `()`."""
    if given is not None:
        return given.to(device).reshape(())
    return mean_targets(int(count_boxes(labels)), device)
