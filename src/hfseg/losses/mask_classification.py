# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching and loss of mask classification (Mask2Former, CVPR 2022, sections 3.3 and 4; detectron2's PointRend sampling).

Every prediction level is matched to the targets on its own. Masks are compared at points only, and three exact rewrites
keep what is computed close to what is used: the matching costs read the pixel embedding at the points and multiply it
with the mask embeddings (interpolation commutes with the channel product), so that no mask is made for them; masks are
made for matched queries alone; targets are read from id maps without ever becoming float masks. The costs of all levels
and images travel to the host together, once.

Random points are drawn in the order of the original code (last prediction first; per level the points of each image, then
candidates, then fresh points), so that one seed gives the same loss there and here.

Shape legend: P levels of prediction, B images, Q queries, K classes, M embedding channels, T targets of an image,
N matched pairs of a batch, S points.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from transformers.utils.generic import maybe_autocast

from .point_sampling import sample_embedding, sample_masks, sample_targets

# Point reads (levels x pairs x points) handled at once: bounds memory, does not change results.
READS_AT_ONCE = 2**24


class LossWeights(NamedTuple):
    """Weights of the terms; the first three also weigh the matching costs.

    Attributes:
        ce: Classification.
        mask: Binary cross-entropy of the masks.
        dice: Dice loss of the masks.
        no_object: Weight of the "no object" class inside the classification loss.
    """

    ce: float
    mask: float
    dice: float
    no_object: float


def count_targets(class_labels: list[torch.Tensor], num_queries: int, no_object: float) -> torch.Tensor:
    """Counts what mask-classification losses are divided by.

    Args:
        class_labels: Per image the class of each target.
        num_queries: Q.
        no_object: Weight of the "no object" class.

    Returns:
        The targets, and the class weights of all queries (1 for a matched one, `no_object` for the others). Both may be
        summed over batches and processes.

    Shape:
        Output: `(2,)`, float32.
    """
    counts = [len(labels) for labels in class_labels]
    matched = sum(min(count, num_queries) for count in counts)
    class_weights = matched + no_object * (len(counts) * num_queries - matched)
    return torch.tensor([float(sum(counts)), class_weights])


def check_targets(
    mask_labels: list[torch.Tensor], class_labels: list[torch.Tensor], batch_size: int, num_classes: int
) -> None:
    """Checks that targets fit the batch, each other and the classes.

    Raises:
        ValueError: Naming the image and what is wrong with it.
    """
    if len(mask_labels) != batch_size or len(class_labels) != batch_size:
        raise ValueError(
            f"Got {len(mask_labels)} mask_labels and {len(class_labels)} class_labels for a batch of {batch_size} images: "
            "give one entry of each per image."
        )
    for index, (masks, classes) in enumerate(zip(mask_labels, class_labels)):
        if masks.dim() not in (2, 3):
            raise ValueError(
                f"mask_labels[{index}] has shape {tuple(masks.shape)}: give an id map (H, W) or binary masks (N, H, W)."
            )
        if masks.dim() == 2 and masks.is_floating_point():
            raise ValueError(f"mask_labels[{index}] is a map of {masks.dtype}: segment ids must be integers.")
        if masks.dim() == 3 and len(masks) != len(classes):
            raise ValueError(
                f"Image {index} has {len(masks)} masks but {len(classes)} class labels: give one class per mask."
            )
        if (
            classes.device.type == "cpu"
            and len(classes)
            and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes
        ):
            raise ValueError(
                f"class_labels[{index}] has values from {int(classes.min())} to {int(classes.max())}; legal are "
                f"0..{num_classes - 1} for the {num_classes} classes of the model (num_labels, id2label)."
            )


class Points(NamedTuple):
    """Random points of one prediction level, (x, y) in 0..1.

    Attributes:
        matching: Per image `(S, 2)`.
        candidates: `(N, oversampled S, 2)`.
        fresh: `(N, uniform S, 2)`.
    """

    matching: list[torch.Tensor]
    candidates: torch.Tensor
    fresh: torch.Tensor


def draw_points(
    num_levels: int,
    batch_size: int,
    num_pairs: int,
    num_points: int,
    oversample_ratio: float,
    importance_sample_ratio: float,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> list[Points]:
    """Draws all random points, last level first, and returns them in the order of levels."""
    num_uncertain = int(importance_sample_ratio * num_points)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, 2, device=device, generator=generator)

    def level() -> Points:
        matching = [draw(1, num_points)[0] for _ in range(batch_size)]
        candidates = draw(num_pairs, int(num_points * oversample_ratio))
        return Points(matching, candidates, draw(num_pairs, num_points - num_uncertain))

    last, *earlier = [level() for _ in range(num_levels)]
    return [*earlier, last]


@torch.no_grad()
def matching_costs(
    class_logits: torch.Tensor,
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    target: torch.Tensor,
    classes: torch.Tensor,
    points: torch.Tensor,
    padded_size: tuple[int, int],
    weights: LossWeights,
) -> torch.Tensor:
    """Computes the cost of giving each target to each query, for all prediction levels of one image.

    Class cost: minus the class probability. Mask cost: mean binary cross-entropy over the points. Dice cost: with 1 added
    to numerator and denominator.

    Shape:
        class_logits: `(P, Q, K + 1)`; mask_embeddings: `(P, Q, M)`; pixel_embedding: `(M, h, w)`;
        target: `(H, W)` or `(T, H, W)`; classes: `(T,)`; points: `(P, S, 2)`.
        Output: `(P, Q, T)`, finite.
    """
    segments = torch.arange(len(classes), device=target.device)
    truth = torch.stack([sample_targets(target, segments, level, padded_size) for level in points])  # (P, T, S)
    sampled = sample_embedding(pixel_embedding, points)  # (P, S, M)
    logits = torch.bmm(mask_embeddings, sampled.transpose(1, 2))  # (P, Q, S)
    probabilities = logits.sigmoid()
    # t softplus(-x) + (1 - t) softplus(x) = softplus(x) - t x: one product with the targets instead of two.
    products = torch.bmm(torch.cat((logits, probabilities), dim=1), truth.transpose(1, 2))  # (P, 2Q, T)
    overlap, intersection = products.chunk(2, dim=1)
    cost_mask = (F.softplus(logits).sum(-1, keepdim=True) - overlap) / points.shape[1]
    total = probabilities.sum(-1, keepdim=True) + truth.sum(-1)[:, None, :]
    cost_dice = 1 - (2 * intersection + 1) / (total + 1)
    cost_class = -class_logits.softmax(-1)[..., classes]
    cost = weights.mask * cost_mask + weights.ce * cost_class + weights.dice * cost_dice
    largest = torch.finfo(cost.dtype).max  # a diverged prediction is matched last instead of stopping the run
    return torch.nan_to_num(cost, nan=largest, posinf=largest, neginf=largest)


def match(costs: list[torch.Tensor | None], num_levels: int, device: torch.device) -> list[torch.Tensor]:
    """Solves the assignments of all levels and images with one copy to the host and one back.

    Args:
        costs: Per image `(P, Q, T)`, or None without targets.

    Returns:
        Per image the matched pairs, queries in ascending order.

    Shape:
        Output: int64, each `(P, 2, min(Q, T))`: queries, then targets.
    """
    given = [cost for cost in costs if cost is not None]
    on_host = torch.cat([cost.flatten() for cost in given]).cpu().numpy() if given else np.empty(0)
    pairs, position = [], 0
    for cost in costs:
        if cost is None:
            pairs.append(np.empty((num_levels, 2, 0), dtype=np.int64))
            continue
        levels = on_host[position : position + cost.numel()].reshape(cost.shape)
        position += cost.numel()
        pairs.append(np.stack([np.stack(linear_sum_assignment(level)) for level in levels]).astype(np.int64))
    flat = torch.from_numpy(np.concatenate([pair.ravel() for pair in pairs])).to(device)
    chunks = flat.split([pair.size for pair in pairs])
    return [chunk.view(pair.shape) for chunk, pair in zip(chunks, pairs)]


def classification_losses(
    class_logits: torch.Tensor,
    pairs: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    no_object: float,
    normalizer: torch.Tensor | None,
) -> torch.Tensor:
    """Computes the weighted cross-entropy of every level over all queries; unmatched ones are "no object".

    Shape:
        class_logits: `(P, B, Q, K + 1)`; output: `(P,)`.
    """
    num_levels, _, _, num_outputs = class_logits.shape
    truth = torch.full(class_logits.shape[:3], num_outputs - 1, dtype=torch.int64, device=class_logits.device)
    for image, (pair, classes) in enumerate(zip(pairs, class_labels)):
        truth[:, image].scatter_(1, pair[:, 0], classes.to(truth.device)[pair[:, 1]])
    class_weights = torch.ones(num_outputs, device=class_logits.device)
    class_weights[-1:].fill_(no_object)
    losses = F.cross_entropy(class_logits.flatten(0, 2), truth.flatten(), weight=class_weights, reduction="none")
    sums = losses.view(num_levels, -1).sum(1)
    if normalizer is None:
        return sums / class_weights[truth].flatten(1).sum(1)
    return sums / normalizer[1]


def mask_losses(
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    pairs: list[torch.Tensor],
    mask_labels: list[torch.Tensor],
    points: list[Points],
    padded_size: tuple[int, int],
    num_uncertain: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes binary cross-entropy and Dice loss of the matched masks, summed over pairs, for some levels.

    Shape:
        mask_embeddings: `(P, B, Q, M)`; pixel_embedding: `(B, M, h, w)`; pairs: each `(P, 2, n)`.
        Output: twice `(P,)`.
    """
    num_levels = len(mask_embeddings)
    level_index = torch.arange(num_levels, device=mask_embeddings.device)[:, None]
    masks = torch.cat(
        [
            (mask_embeddings[level_index, image, pair[:, 0]].flatten(0, 1) @ pixel_embedding[image].flatten(1))
            .unflatten(0, (num_levels, -1))
            .unflatten(-1, pixel_embedding.shape[-2:])
            for image, pair in enumerate(pairs)
        ],
        dim=1,
    ).flatten(0, 1)  # (P*N, h, w)

    candidates = torch.stack([level.candidates for level in points]).flatten(0, 1)  # (P*N, candidates, 2)
    with torch.no_grad():
        uncertainty = -sample_masks(masks, candidates).abs()  # (P*N, candidates)
        chosen = uncertainty.topk(num_uncertain, dim=1).indices
        uncertain = candidates.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 2))
        fresh = torch.stack([level.fresh for level in points]).flatten(0, 1)
        places = torch.cat((uncertain, fresh), dim=1)  # (P*N, S, 2)
        by_image = places.unflatten(0, (num_levels, -1)).split([pair.shape[-1] for pair in pairs], dim=1)
        truth = torch.cat(
            [
                sample_targets(target, pair[:, 1].flatten(), place.flatten(0, 1), padded_size).unflatten(
                    0, (num_levels, -1)
                )
                for target, pair, place in zip(mask_labels, pairs, by_image)
            ],
            dim=1,
        ).flatten(0, 1)  # (P*N, S)

    logits = sample_masks(masks, places)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1)
    probabilities = logits.sigmoid()
    dice = 1 - (2 * (probabilities * truth).sum(1) + 1) / (probabilities.sum(1) + truth.sum(1) + 1)
    return cross_entropy.view(num_levels, -1).sum(1), dice.view(num_levels, -1).sum(1)


def mean_targets(num_targets: int, device: torch.device) -> torch.Tensor:
    """Averages the number of targets over processes; at least 1."""
    count = torch.full((), float(num_targets), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count.clamp(min=1)


def mask_classification_loss(
    class_logits: torch.Tensor,
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    padded_size: tuple[int, int],
    weights: LossWeights,
    num_points: int = 12544,
    oversample_ratio: float = 3.0,
    importance_sample_ratio: float = 0.75,
    normalizer: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, torch.Tensor]:
    """Computes the weighted losses of all prediction levels.

    Args:
        class_logits: Class logits, last class "no object"; the last level is the model's output.
        mask_embeddings: Mask embeddings of the same levels.
        pixel_embedding: Its product with a mask embedding is a mask.
        mask_labels: Per image an id map (value n + 1 is target n, 0 nothing) or binary masks.
        class_labels: Per image the class of each target.
        padded_size: `(height, width)` of the network's input.
        weights: Weights of the terms.
        num_points: Points per mask.
        oversample_ratio: Candidates per point.
        importance_sample_ratio: Share of the points chosen for uncertainty.
        normalizer: Sum of `count_targets` over all parts of a larger batch, used as given. By default the masks' losses are divided
            by the mean number of targets per process, the classification loss by the weights of this batch.
        generator: Source of the random points.

    Returns:
        `loss_ce`, `loss_mask`, `loss_dice` of the last level and `..._i` of earlier ones, each a weighted scalar. Without
        any target the mask terms are zero, with a gradient of zero.

    Raises:
        ValueError: If the targets do not fit.

    Shape:
        class_logits: `(P, B, Q, K + 1)`; mask_embeddings: `(P, B, Q, M)`; pixel_embedding: `(B, M, h, w)`;
        mask_labels: each `(H, W)` or `(T, H, W)`; class_labels: each `(T,)`.
    """
    num_levels, batch_size, num_queries, num_outputs = class_logits.shape
    check_targets(mask_labels, class_labels, batch_size, num_outputs - 1)
    device, padded_size = class_logits.device, tuple(padded_size)
    mask_labels = [masks.to(device) for masks in mask_labels]
    class_labels = [classes.to(device) for classes in class_labels]
    with maybe_autocast(device.type, enabled=False):
        class_logits, mask_embeddings = class_logits.float(), mask_embeddings.float()
        pixel_embedding = pixel_embedding.float()
        counts = [len(classes) for classes in class_labels]
        num_pairs = sum(min(count, num_queries) for count in counts)
        points = draw_points(
            num_levels, batch_size, num_pairs, num_points, oversample_ratio, importance_sample_ratio, device, generator
        )
        costs = [
            matching_costs(
                class_logits[:, image],
                mask_embeddings[:, image],
                pixel_embedding[image],
                mask_labels[image],
                class_labels[image],
                torch.stack([level.matching[image] for level in points]),
                padded_size,
                weights,
            )
            if counts[image]
            else None
            for image in range(batch_size)
        ]
        pairs = match(costs, num_levels, device)

        if normalizer is not None:
            normalizer = normalizer.to(device, torch.float32)
            num_masks = normalizer[0]
        else:
            num_masks = mean_targets(sum(counts), device)
        loss_ce = classification_losses(class_logits, pairs, class_labels, weights.no_object, normalizer)
        if num_pairs:
            reads = num_pairs * max(int(num_points * oversample_ratio), pixel_embedding[0, 0].numel())
            at_once = max(1, READS_AT_ONCE // reads)
            parts = [
                mask_losses(
                    mask_embeddings[first : first + at_once],
                    pixel_embedding,
                    [pair[first : first + at_once] for pair in pairs],
                    mask_labels,
                    points[first : first + at_once],
                    padded_size,
                    int(importance_sample_ratio * num_points),
                )
                for first in range(0, num_levels, at_once)
            ]
            loss_mask, loss_dice = (torch.cat(part) / num_masks for part in zip(*parts))
        else:
            nothing = (mask_embeddings.sum() + pixel_embedding.sum()) * 0.0
            loss_mask = loss_dice = nothing.expand(num_levels)

    suffixes = [*(f"_{level}" for level in range(num_levels - 1)), ""]
    terms = {}
    for level in (num_levels - 1, *range(num_levels - 1)):  # the output's own terms first
        terms[f"loss_ce{suffixes[level]}"] = weights.ce * loss_ce[level]
        terms[f"loss_mask{suffixes[level]}"] = weights.mask * loss_mask[level]
        terms[f"loss_dice{suffixes[level]}"] = weights.dice * loss_dice[level]
    return terms
