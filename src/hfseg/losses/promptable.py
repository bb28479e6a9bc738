# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching and losses of promptable segmentation (Unpair-Seg, section 3.3, as in the official code).

Masks have no names, and a point may mean a part, an object or a group. So every point is matched on its own: its M
masks with all true masks that contain it (many to many: a true mask is also matched by many points). Masks without a
partner are not supervised. A box has one mask and one truth. The matching of points is made once, on the last
prediction, and used for all.

Where true masks do not overlap, a point has one partner, and nothing tells the scores of its other masks that they are
bad. `score_targets="all"` lets these learn their quality too, as SAM's do (Kirillov et al. 2023, section 3); not in the
paper.

Shape legend: P levels of prediction, B images, Q prompts, M masks of a prompt, T true masks of an image, N pairs of a
batch, C channels of the pixel embedding.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from transformers.utils.generic import maybe_autocast

from .levels import weighted_terms
from .mask_classification import Pairs, Points, draw_points, mask_losses, mean_targets
from .point_sampling import Targets

# Added to the cost of a mask that does not contain the point; such pairs are dropped.
OUTSIDE = 1e6
IOU_TARGETS = ("dice", "iou")
SCORE_TARGETS = ("matched", "all")


class PromptableLossWeights(NamedTuple):
    """Weights of the terms; mask and Dice also weigh the matching costs.

    Attributes:
        mask: Binary cross-entropy of the masks.
        dice: Dice loss of the masks.
        iou: Regression of the masks' quality.
    """

    mask: float
    dice: float
    iou: float


def binary_targets(mask_labels: list[torch.Tensor], size: tuple[int, int]) -> list[torch.Tensor]:
    """Brings true masks to binary form at the size of the padded input.

    Shape:
        mask_labels: each `(T, H, W)` or an id map `(H, W)`; output: boolean, each `(T, *size)`.

    Raises:
        ValueError: For other shapes, maps that are not integer, or masks larger than the input.
    """
    targets = []
    for index, masks in enumerate(mask_labels):
        if masks.dim() not in (2, 3):
            raise ValueError(
                f"mask_labels[{index}] has shape {tuple(masks.shape)}: give binary masks (T, H, W) or an id map (H, W)."
            )
        if masks.dim() == 2:
            if masks.is_floating_point():
                raise ValueError(f"mask_labels[{index}] is a map of {masks.dtype}: mask ids must be integers.")
            count = int(masks.max()) if masks.numel() else 0
            masks = masks == torch.arange(1, count + 1, device=masks.device)[:, None, None]
        else:
            masks = masks > 0
        height, width = masks.shape[-2:]
        if height > size[0] or width > size[1]:
            raise ValueError(
                f"mask_labels[{index}] is {height} x {width}, larger than the padded input of {size[0]} x {size[1]}: "
                "resize masks together with their image (the image processor does)."
            )
        targets.append(F.pad(masks, (0, size[1] - width, 0, size[0] - height)))
    return targets


def read_nearest(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Samples binary masks at every s-th pixel. Shape: `(T, H, W)` to float `(T, *size)`."""
    if not len(masks):
        return masks.new_zeros((0, *size), dtype=torch.float32)
    return F.interpolate(masks[:, None].float(), size=size, mode="nearest")[:, 0]


def pair_dice(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Computes one minus the soft Dice coefficient of pairs. Shape: twice `(N, S)` to `(N,)`."""
    probabilities = logits.sigmoid()
    return 1 - (2 * (probabilities * truth).sum(-1) + 1) / (probabilities.sum(-1) + truth.sum(-1) + 1)


def binary_iou(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Computes the intersection over union of binarized pairs. Shape: twice `(N, S)` to `(N,)`."""
    inside, truth = logits >= 0, truth > 0.5
    return (inside & truth).sum(-1) / (inside | truth).sum(-1).clamp(min=1)


class ScoredMasks(NamedTuple):
    """Masks without a partner whose scores learn nevertheless.

    Attributes:
        images: Of each mask, `(K,)`.
        queries: Index into the Q M masks of its image, `(K,)`.
        quality: What its score should be, `(K,)`.
    """

    images: torch.Tensor
    queries: torch.Tensor
    quality: torch.Tensor


class PromptMatch(NamedTuple):
    """Matched masks and truths, images one after the other, masks ascending within an image.

    Attributes:
        pairs: Indices; `queries` (into the Q M masks) and `targets` are `(1, N)`.
        quality: What the predicted score of each pair should be, `(N,)`; None where every level has its own.
        others: The masks without a partner, of points that some true mask contains; None where only pairs count.
    """

    pairs: Pairs
    quality: torch.Tensor | None
    others: ScoredMasks | None = None


def assign(costs: list[torch.Tensor], num_points: int) -> Pairs:
    """Assigns the masks of every point, on its own, to the true masks around it by their cost; on the host.

    Shape:
        costs: each `(Q*M, T)`.
    """
    queries, matched_targets, counts = [], [], []
    for cost in costs:
        on_host = cost.cpu().numpy().reshape(num_points, len(cost) // num_points, -1)
        rows: list[np.ndarray] = []
        columns: list[np.ndarray] = []
        for point, block in enumerate(on_host):
            if not (block < OUTSIDE).any():
                continue
            row, column = linear_sum_assignment(block)
            inside = block[row, column] < OUTSIDE
            rows.append(row[inside] + point * len(block))
            columns.append(column[inside])
        queries.append(np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64))
        matched_targets.append(np.concatenate(columns) if columns else np.zeros(0, dtype=np.int64))
        counts.append(len(queries[-1]))
    indices = np.stack(
        [
            np.repeat(np.arange(len(costs)), counts),
            np.concatenate(queries).astype(np.int64),
            np.concatenate(matched_targets).astype(np.int64),
        ]
    )
    images, query, target = torch.from_numpy(indices).to(costs[0].device)
    return Pairs(images, query[None], target[None], counts)


@torch.no_grad()
def match_points(
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    targets: list[torch.Tensor],
    points: torch.Tensor,
    weights: PromptableLossWeights,
    iou_target: str = "dice",
    score_targets: str = "matched",
) -> PromptMatch:
    """Matches the M masks of every point with the true masks that contain it.

    Costs are computed at half the resolution of the pixel embedding: binary cross-entropy, averaged over all pixels,
    and Dice with 1 added to numerator and denominator. One copy to the host for all points.

    Args:
        mask_embeddings: Of the last prediction.
        pixel_embedding: Its product with a mask embedding is a mask.
        targets: Binary masks at input size.
        points: (x, y) in pixels of the input.
        weights: Of the costs.
        iou_target: `"dice"` or `"iou"`: what the scores learn.
        score_targets: `"matched"`, or `"all"`: then masks without a partner get the quality that they have for the
            true mask around their point that they fit best.

    Shape:
        mask_embeddings: `(B, Q, M, C)`; pixel_embedding: `(B, C, h, w)`; targets: each `(T, H, W)`;
        points: `(B, Q, 2)`.
    """
    num_points, num_masks = mask_embeddings.shape[1:3]
    half = F.interpolate(pixel_embedding, scale_factor=0.5, mode="bilinear", align_corners=False)
    size = (half.shape[-2], half.shape[-1])
    costs, dices, contained = [], [], []
    all_logits = torch.bmm(mask_embeddings.flatten(1, 2), half.flatten(2))  # (B, Q*M, S)
    small = [read_nearest(masks, size).flatten(1) for masks in targets]  # each (T, S)
    for index, (masks, truth) in enumerate(zip(targets, small)):
        logits = all_logits[index]
        probabilities = logits.sigmoid()
        overlap, intersection = logits @ truth.t(), probabilities @ truth.t()  # (Q*M, T)
        # t softplus(-x) + (1 - t) softplus(x) = softplus(x) - t x
        cost_mask = (F.softplus(logits).sum(-1, keepdim=True) - overlap) / logits.shape[-1]
        total = probabilities.sum(-1, keepdim=True) + truth.sum(-1)
        cost_dice = 1 - (2 * intersection + 1) / (total + 1)
        x = points[index, :, 0].long().clamp(0, masks.shape[-1] - 1)
        y = points[index, :, 1].long().clamp(0, masks.shape[-2] - 1)
        outside = ~masks[:, y, x].t().repeat_interleave(num_masks, dim=0)  # (Q*M, T)
        cost = weights.mask * cost_mask + weights.dice * cost_dice + outside * OUTSIDE
        # A diverged prediction is matched last instead of stopping the run.
        costs.append(torch.nan_to_num(cost, nan=OUTSIDE, posinf=OUTSIDE, neginf=OUTSIDE))
        dices.append(cost_dice)
        contained.append(~outside.all(-1))

    pairs = assign(costs, num_points)

    def quality_of(index: int, queries: torch.Tensor, truths: torch.Tensor) -> torch.Tensor:
        if iou_target == "dice":
            return 1 - dices[index][queries, truths]
        return binary_iou(all_logits[index][queries], small[index][truths])

    matched = list(zip(pairs.queries[0].split(pairs.counts), pairs.targets[0].split(pairs.counts)))
    quality = torch.cat([quality_of(index, *indices) for index, indices in enumerate(matched)])
    if score_targets == "matched":
        return PromptMatch(pairs, quality)
    parts = []
    for index, (cost, inside) in enumerate(zip(costs, contained)):
        rest = inside.clone()
        rest[matched[index][0]] = False
        rows = rest.nonzero().flatten()
        best = cost[rows].argmin(-1) if len(rows) else rows
        parts.append(ScoredMasks(torch.full_like(rows, index), rows, quality_of(index, rows, best)))
    return PromptMatch(pairs, quality, ScoredMasks(*(torch.cat(part) for part in zip(*parts))))


def pair_boxes(box_labels: torch.Tensor, targets: list[torch.Tensor]) -> PromptMatch:
    """Pairs every box with the mask it frames.

    Shape:
        box_labels: `(B, Q)`, -1 for none.

    Raises:
        ValueError: For indices without a mask.
    """
    on_host = box_labels.cpu()
    if len(on_host) != len(targets):
        raise ValueError(f"box_labels are for {len(on_host)} images, mask_labels for {len(targets)}.")
    for index, (labels, masks) in enumerate(zip(on_host, targets)):
        if len(labels) and int(labels.max()) >= len(masks):
            raise ValueError(f"box_labels[{index}] names mask {int(labels.max())}, but the image has {len(masks)}.")
    images, queries = (on_host >= 0).nonzero(as_tuple=True)
    counts = torch.bincount(images, minlength=len(targets)).tolist()
    chosen = on_host[images, queries]
    device = box_labels.device
    return PromptMatch(Pairs(images.to(device), queries[None].to(device), chosen[None].to(device), counts), None)


def promptable_loss(
    mask_embeddings: torch.Tensor,
    iou_scores: torch.Tensor,
    pixel_embedding: torch.Tensor,
    mask_labels: list[torch.Tensor],
    points: torch.Tensor | None,
    box_labels: torch.Tensor | None,
    padded_size: tuple[int, int],
    weights: PromptableLossWeights,
    iou_target: str = "dice",
    score_targets: str = "matched",
    num_points: int = 12544,
    oversample_ratio: float = 3.0,
    importance_sample_ratio: float = 0.75,
    random_points: Points | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, torch.Tensor]:
    """Computes the weighted losses of all prediction levels.

    Args:
        mask_embeddings: Of all levels; the last level is the model's output.
        iou_scores: Predicted quality at the same levels.
        pixel_embedding: Its product with a mask embedding is a mask.
        mask_labels: Per image true masks: binary, or an id map.
        points: Prompts as (x, y) in pixels of the input; or
        box_labels: the mask that each box prompt frames, -1 for none.
        padded_size: `(height, width)` of the network's input.
        weights: Weights of the terms.
        iou_target: `"dice"` or `"iou"`: what the scores learn.
        score_targets: Whose scores learn: `"matched"` masks' only (official code), or those of `"all"` masks of points
            that a true mask contains; `loss_iou` is then the mean over these masks.
        num_points: Points per mask at which masks are compared.
        oversample_ratio: Candidates per point.
        importance_sample_ratio: Share of the points chosen for uncertainty.
        random_points: Uniform draws to use instead of new ones.
        generator: Source of the random points.

    Returns:
        `loss_mask`, `loss_dice`, `loss_iou` of the last level and `..._i` of earlier ones, each a weighted scalar,
        divided by the number of pairs (mean over processes, at least 1). Without pairs zero, with a gradient of zero.

    Raises:
        ValueError: If labels do not fit.

    Shape:
        mask_embeddings: `(P, B, Q, M, C)`; iou_scores: `(P, B, Q, M)`; pixel_embedding: `(B, C, h, w)`; mask_labels:
        each `(T, H, W)` or `(H, W)`; points: `(B, Q, 2)`; box_labels: `(B, Q)`.
    """
    num_levels, batch_size = mask_embeddings.shape[:2]
    device = mask_embeddings.device
    chosen = {"iou_target": (iou_target, IOU_TARGETS), "score_targets": (score_targets, SCORE_TARGETS)}
    for name, (given, legal) in chosen.items():
        if given not in legal:
            raise ValueError(f"{name}={given!r} is not known: choose one of {', '.join(legal)}.")
    if len(mask_labels) != batch_size:
        raise ValueError(f"Got mask_labels for {len(mask_labels)} of {batch_size} images: give one entry per image.")
    masks = binary_targets([labels.to(device) for labels in mask_labels], padded_size)
    with maybe_autocast(device.type, enabled=False):
        mask_embeddings, pixel_embedding = mask_embeddings.float(), pixel_embedding.float()
        if box_labels is not None:
            match = pair_boxes(box_labels.to(device), masks)
        elif points is not None:
            last = mask_embeddings[-1]
            match = match_points(last, pixel_embedding, masks, points.float(), weights, iou_target, score_targets)
        else:
            raise ValueError("Give the points, or box_labels, that the masks are to be compared with.")
        num_pairs = len(match.pairs.images)
        normalizer = mean_targets(num_pairs, device)
        flat = mask_embeddings.flatten(2, 3)  # (P, B, Q*M, C)
        scores = iou_scores.float().flatten(2, 3)  # (P, B, Q*M)
        if num_pairs:
            counts = (num_levels, batch_size, num_pairs, num_points)
            drawn = random_points or draw_points(*counts, oversample_ratio, importance_sample_ratio, device, generator)
            predictions = (flat, scores, pixel_embedding)
            losses = sums_of_levels(*predictions, masks, match, drawn, padded_size, iou_target) / normalizer  # (P, 3)
        else:
            nothing = (flat.sum() + scores.sum() + pixel_embedding.sum()) * 0.0
            losses = nothing.expand(num_levels, 3)

    return weighted_terms(dict(zip(weights._fields, losses.unbind(1))), weights._asdict())


def sums_of_levels(
    mask_embeddings: torch.Tensor,
    scores: torch.Tensor,
    pixel_embedding: torch.Tensor,
    masks: list[torch.Tensor],
    match: PromptMatch,
    points: Points,
    padded_size: tuple[int, int],
    iou_target: str,
) -> torch.Tensor:
    """Computes the losses of masks (cross-entropy, Dice) and of scores, summed over the pairs of a match, per level.

    Shape:
        mask_embeddings: `(P, B, Q*M, C)`; scores: `(P, B, Q*M)`; pixel_embedding: `(B, C, h, w)`; output: `(P, 3)`.
    """
    pairs, small = match.pairs, None
    targets = Targets([stack.to(torch.uint8) for stack in masks], [len(stack) for stack in masks], padded_size)
    if match.quality is None:
        size = (pixel_embedding.shape[-2], pixel_embedding.shape[-1])
        small = [read_nearest(stack, size).flatten(1) for stack in masks]
    sums = []
    for level in range(len(mask_embeddings)):  # one at a time: the masks of all pairs are the largest tensor here
        loss_mask, loss_dice = mask_losses(
            mask_embeddings[level : level + 1],
            pixel_embedding,
            pairs,
            targets,
            Points(*(part[level : level + 1] for part in points)),
        )
        quality = match.quality
        if small is not None:
            quality = box_quality(mask_embeddings[level], pixel_embedding, pairs, small, iou_target)
        predicted = scores[level, pairs.images, pairs.queries[0]]
        assert quality is not None  # only boxes leave it to their level
        loss_score = F.smooth_l1_loss(predicted, quality, reduction="sum")
        if match.others is not None:
            images, queries, wanted = match.others
            loss_score = loss_score + F.smooth_l1_loss(scores[level, images, queries], wanted, reduction="sum")
            loss_score = loss_score * (len(quality) / (len(quality) + len(wanted)))  # a mean, as without them
        sums.append(torch.stack((loss_mask[0], loss_dice[0], loss_score)))
    return torch.stack(sums)


@torch.no_grad()
def box_quality(
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    pairs: Pairs,
    truths: list[torch.Tensor],
    iou_target: str,
) -> torch.Tensor:
    """Computes the quality of the masks of boxes at the resolution of the pixel embedding.

    Shape:
        mask_embeddings: `(B, Q, C)`; pixel_embedding: `(B, C, h, w)`; truths: each `(T, h * w)`; output: `(N,)`.
    """
    parts = []
    indices = zip(pairs.queries[0].split(pairs.counts), pairs.targets[0].split(pairs.counts))
    for index, (queries, targets) in enumerate(indices):
        logits = mask_embeddings[index, queries] @ pixel_embedding[index].flatten(1)  # (n, h*w)
        truth = truths[index][targets]
        parts.append(1 - pair_dice(logits, truth) if iou_target == "dice" else binary_iou(logits, truth))
    return torch.cat(parts)
