# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching and loss of mask classification (Mask2Former, CVPR 2022, sections 3.3 and 4; PointRend sampling).

Every prediction level is matched to the targets on its own. Masks are compared at points only, and three exact rewrites
keep what is computed close to what is used: for the matching costs, maps larger than the number of points are read
before they are multiplied with the mask embeddings (interpolation commutes with the channel product), smaller ones
after; for the losses masks are made for matched queries alone; targets are read from id maps without ever becoming
float masks. The costs of all levels and images travel to the host together, once.

Random points are drawn in the order of the original code (last prediction first; per level the points of each image,
then candidates, then fresh points), so that one seed gives the same loss there and here.

Shape legend: P levels of prediction, B images, Q queries, K classes, M embedding channels, T targets of an image,
N matched pairs of a batch, S points.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from transformers.utils import logging
from transformers.utils.generic import maybe_autocast

from .levels import weighted_terms
from .point_losses import PointTargets, parts_of, point_losses, softplus
from .point_sampling import KnownPixels, Targets, sample_embedding

logger = logging.get_logger(__name__)

# Numbers (levels x images x points x channels) made at once for matching: bounds memory, does not change results. On
# CPU they should stay in the cache.
EMBEDDINGS_AT_ONCE_CPU = 2**21
EMBEDDINGS_AT_ONCE_ACCELERATOR = 2**23


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
    mask_labels: list[torch.Tensor],
    class_labels: list[torch.Tensor],
    batch_size: int,
    num_classes: int,
    padded_size: tuple[int, int],
) -> None:
    """Checks that targets fit the batch, each other and the classes.

    Raises:
        ValueError: Naming the image and what is wrong with it.
    """
    if len(mask_labels) != batch_size or len(class_labels) != batch_size:
        raise ValueError(
            f"Got {len(mask_labels)} mask_labels and {len(class_labels)} class_labels for a batch of {batch_size} "
            "files.images: give one entry of each per image."
        )
    for index, (masks, classes) in enumerate(zip(mask_labels, class_labels)):
        if masks.dim() not in (2, 3):
            raise ValueError(
                f"mask_labels[{index}] has shape {tuple(masks.shape)}: give an id map (H, W) or binary masks (N, H, W)."
            )
        if masks.dim() == 2 and masks.is_floating_point():
            raise ValueError(f"mask_labels[{index}] is a map of {masks.dtype}: segment ids must be integers.")
        height, width = masks.shape[-2:]
        if height > padded_size[0] or width > padded_size[1]:
            raise ValueError(
                f"mask_labels[{index}] is {height} x {width}, larger than the padded input of {padded_size[0]} x "
                f"{padded_size[1]}: resize targets together with their image (the image processor does)."
            )
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
                f"class_labels[{index}] has values from {int(classes.min())} to {int(classes.max())}; must be one of "
                f"0..{num_classes - 1} for the {num_classes} classes of the model (num_labels, id2label)."
            )


class Points(NamedTuple):
    """Random points, (x, y) in 0..1.

    Attributes:
        matching: `(P, B, S, 2)`.
        candidates: `(P, N, oversampled S, 2)`.
        fresh: `(P, N, uniform S, 2)`.
    """

    matching: torch.Tensor
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
) -> Points:
    """Draws all random points, last level first, and returns them in the order of levels."""
    num_fresh = num_points - int(importance_sample_ratio * num_points)
    counts = (num_pairs, int(num_points * oversample_ratio), 2), (num_pairs, num_fresh, 2)
    matching = torch.empty(num_levels, batch_size, num_points, 2, device=device)
    candidates, fresh = (torch.empty(num_levels, *count, device=device) for count in counts)
    for level in (num_levels - 1, *range(num_levels - 1)):
        for part in (*matching[level], candidates[level], fresh[level]):
            part.uniform_(generator=generator)
    return Points(matching, candidates, fresh)


@torch.no_grad()
def logits_at_points(
    mask_embeddings: torch.Tensor, pixel_embedding: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """Reads the masks of all queries at points: interpolation and channel product commute, the cheaper comes last.

    Shape:
        mask_embeddings: `(P, B, Q, M)`; pixel_embedding: `(B, M, h, w)`; points: `(P, B, S, 2)`.
        Output: `(B, P, Q, S)`.
    """
    num_levels, _, num_points, _ = points.shape
    embeddings, (height, width) = mask_embeddings.transpose(0, 1), pixel_embedding.shape[-2:]
    if height * width < num_points:
        masks = embeddings @ pixel_embedding.flatten(2)[:, None]  # (B, P, Q, h*w)
        grid = (2 * points.transpose(0, 1).flatten(0, 1) - 1).unsqueeze(1)  # (B*P, 1, S, 2)
        read = F.grid_sample(masks.flatten(0, 1).unflatten(-1, (height, width)), grid, align_corners=False)
        return read[:, :, 0].unflatten(0, (-1, num_levels))
    by_image = points.transpose(0, 1).flatten(1, 2)  # (B, P*S, 2)
    sampled = sample_embedding(pixel_embedding, by_image).unflatten(1, (num_levels, -1))  # (B, P, S, M)
    return embeddings @ sampled.transpose(2, 3)


@torch.no_grad()
def matching_costs(
    class_logits: torch.Tensor,
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    targets: Targets,
    class_labels: list[torch.Tensor],
    points: torch.Tensor,
    weights: LossWeights,
    known: KnownPixels | None = None,
) -> torch.Tensor:
    """Computes the cost of giving each target to each query, for all prediction levels and images.

    Class cost: minus the class probability. Mask cost: mean binary cross-entropy over the points. Dice cost: with 1
    added to numerator and denominator. Points that are not known count in none of the two.

    Shape:
        class_logits: `(P, B, Q, K + 1)`; mask_embeddings: `(P, B, Q, M)`; pixel_embedding: `(B, M, h, w)`;
        class_labels: each `(T,)`; points: `(P, B, S, 2)`.
        Output: `(B, P, Q, T)` with T the most targets of an image, finite; columns of missing targets mean nothing.
    """
    num_levels, _, num_points, _ = points.shape
    by_image = points.transpose(0, 1).flatten(1, 2)  # (B, P*S, 2)
    truth = targets.read_all(by_image).unflatten(2, (num_levels, -1)).transpose(1, 2)  # (B, P, T, S)
    logits = logits_at_points(mask_embeddings, pixel_embedding, points)  # (B, P, Q, S)
    probabilities, penalties, count = logits.sigmoid(), softplus(logits), num_points
    if known is not None:
        inside = known.read_all(by_image).unflatten(1, (num_levels, 1, -1))  # (B, P, 1, S)
        probabilities, penalties, truth = probabilities * inside, penalties * inside, truth * inside
        count = inside.sum(-1, keepdim=True).clamp(min=1)
    # t softplus(-x) + (1 - t) softplus(x) = softplus(x) - t x: one product with the targets instead of two.
    by_point = truth.transpose(2, 3)  # (B, P, S, T)
    cost_mask = (penalties.sum(-1, keepdim=True) - logits @ by_point) / count
    total = probabilities.sum(-1, keepdim=True) + truth.sum(-1).unsqueeze(2)
    cost_dice = 1 - (2 * (probabilities @ by_point) + 1) / (total + 1)
    classes = torch.nn.utils.rnn.pad_sequence(class_labels, batch_first=True)  # (B, T)
    wanted = classes[:, None, None, :].expand(-1, num_levels, class_logits.shape[2], -1)
    cost_class = -class_logits.softmax(-1).transpose(0, 1).gather(3, wanted)
    cost = weights.mask * cost_mask + weights.ce * cost_class + weights.dice * cost_dice
    largest = torch.finfo(cost.dtype).max  # a diverged prediction is matched last instead of stopping the run
    return torch.nan_to_num(cost, nan=largest, posinf=largest, neginf=largest)


class Pairs(NamedTuple):
    """Matched queries and targets of all levels, images one after the other, queries ascending within an image.

    Attributes:
        images: Index of the image, `(N,)`.
        queries: Index of the query, `(P, N)`.
        targets: Index of the target within its image, `(P, N)`.
        counts: Pairs per image.
    """

    images: torch.Tensor
    queries: torch.Tensor
    targets: torch.Tensor
    counts: list[int]


def match(costs: torch.Tensor, counts: list[int]) -> Pairs:
    """Solves the assignments of all levels and images with one copy to the host and one back.

    Args:
        costs: Cost of each query and target.
        counts: Per image the number of targets; further columns are ignored. Of more targets than queries, those that
            match worst are left out, which is warned of once.

    Shape:
        costs: `(B, P, Q, T)`.
    """
    if max(counts) > costs.shape[2]:
        logger.warning_once(
            f"Some images have more objects than the model has queries in training ({costs.shape[2]}). A query learns "
            "one object, so that the others count as background. Raise model.config.num_queries, or train on smaller "
            "crops."
        )
    on_host = costs.cpu().numpy()
    solved = [
        np.stack([np.stack(linear_sum_assignment(level[:, :count])) for level in levels])  # (P, 2, n)
        for levels, count in zip(on_host, counts)
    ]
    numbers = [pairs.shape[-1] for pairs in solved]
    images = np.repeat(np.arange(len(counts)), numbers)
    together = np.concatenate([np.concatenate(solved, axis=2).reshape(-1, len(images)), images[None]])  # (2P + 1, N)
    indices = torch.from_numpy(together.astype(np.int64)).to(costs.device)
    return Pairs(indices[-1], indices[0:-1:2], indices[1:-1:2], numbers)


def classification_losses(
    class_logits: torch.Tensor,
    pairs: Pairs | None,
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
    if pairs is not None:
        padded = torch.nn.utils.rnn.pad_sequence(class_labels, batch_first=True)  # (B, T)
        level = torch.arange(num_levels, device=truth.device)[:, None]
        truth[level, pairs.images, pairs.queries] = padded[pairs.images, pairs.targets]
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
    pairs: Pairs,
    targets: Targets,
    points: Points,
    known: KnownPixels | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes binary cross-entropy and Dice loss of the matched masks, summed over pairs, for some levels.

    Shape:
        mask_embeddings: `(P, B, Q, M)`; pixel_embedding: `(B, M, h, w)`.
        Output: twice `(P,)`.
    """
    num_levels, num_pairs = pairs.queries.shape
    level = torch.arange(num_levels, device=mask_embeddings.device)[:, None]
    matched = mask_embeddings[level, pairs.images, pairs.queries]  # (P, N, M)
    masks = torch.cat(
        [part @ pixels for part, pixels in zip(matched.split(pairs.counts, dim=1), pixel_embedding.flatten(2))], dim=1
    ).view(num_levels * num_pairs, *pixel_embedding.shape[-2:])  # (P*N, h, w)
    target = PointTargets(targets, pairs.images.repeat(num_levels), pairs.targets.flatten(), known)
    candidates, fresh = points.candidates.flatten(0, 1), points.fresh.flatten(0, 1)  # (P*N, points, 2)
    num_uncertain = points.matching.shape[2] - fresh.shape[1]
    bce, dice = point_losses(masks, target, candidates, fresh, num_uncertain)
    return bce.view(num_levels, -1).sum(1), dice.view(num_levels, -1).sum(1)


def mean_targets(num_targets: int, device: torch.device) -> torch.Tensor:
    """Averages the number of targets over processes; at least 1."""
    count = torch.full((), float(num_targets), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count.clamp(min=1)


def match_levels(
    class_logits: torch.Tensor,
    mask_embeddings: torch.Tensor,
    pixel_embedding: torch.Tensor,
    targets: Targets,
    class_labels: list[torch.Tensor],
    counts: list[int],
    points: Points,
    weights: LossWeights,
    known: KnownPixels | None,
) -> Pairs:
    """Matches queries and targets at all levels, as many levels at once as memory allows."""
    numbers = points.matching[0, ..., 0].numel() * pixel_embedding.shape[1]
    on_cpu = pixel_embedding.device.type == "cpu"
    at_once = EMBEDDINGS_AT_ONCE_CPU if on_cpu else EMBEDDINGS_AT_ONCE_ACCELERATOR
    costs = [
        matching_costs(
            class_logits[some],
            mask_embeddings[some],
            pixel_embedding,
            targets,
            class_labels,
            points.matching[some],
            weights,
            known,
        )
        for some in parts_of(len(class_logits), at_once // numbers)
    ]
    return match(torch.cat(costs, dim=1), counts)


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
    void_masks: list[torch.Tensor] | None = None,
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
        normalizer: Sum of `count_targets` over all parts of a larger batch, used as given. By default the masks' losses
            are divided by the mean number of targets per process, the classification loss by the weights of this batch.
        generator: Source of the random points.
        void_masks: Per image the pixels about which nothing is known: points there count neither in the matching nor in
            the masks' losses. By default a pixel of no segment is background of all.

    Returns:
        `loss_ce`, `loss_mask`, `loss_dice` of the last level and `..._i` of earlier ones, each a weighted scalar.
        Without any target the mask terms are zero, with a gradient of zero.

    Raises:
        ValueError: If the targets do not fit.

    Shape:
        class_logits: `(P, B, Q, K + 1)`; mask_embeddings: `(P, B, Q, M)`; pixel_embedding: `(B, M, h, w)`;
        mask_labels: each `(H, W)` or `(T, H, W)`; class_labels: each `(T,)`; void_masks: each boolean `(H, W)`.
    """
    num_levels, batch_size, num_queries, num_outputs = class_logits.shape
    device, padded_size = class_logits.device, (padded_size[0], padded_size[1])
    check_targets(mask_labels, class_labels, batch_size, num_outputs - 1, padded_size)
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
        pairs = targets = known = None
        if num_pairs:
            if void_masks is not None:
                known = KnownPixels([void.to(device) for void in void_masks], mask_labels, padded_size)
            targets = Targets(mask_labels, counts, padded_size)
            predictions = (class_logits, mask_embeddings, pixel_embedding)
            pairs = match_levels(*predictions, targets, class_labels, counts, points, weights, known)

        if normalizer is not None:
            normalizer = normalizer.to(device, torch.float32)
            num_masks = normalizer[0]
        else:
            num_masks = mean_targets(sum(counts), device)
        loss_ce = classification_losses(class_logits, pairs, class_labels, weights.no_object, normalizer)
        if pairs is not None and targets is not None:
            sums = mask_losses(mask_embeddings, pixel_embedding, pairs, targets, points, known)
            loss_mask, loss_dice = (part / num_masks for part in sums)
        else:
            nothing = (mask_embeddings.sum() + pixel_embedding.sum()) * 0.0
            loss_mask = loss_dice = nothing.expand(num_levels)

    return weighted_terms({"ce": loss_ce, "mask": loss_mask, "dice": loss_dice}, weights._asdict())
