# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Matching of masks with the entities of a caption, and alignment (Unpair-Seg, sections 3.4 and 3.5).

Nothing says which mask shows which noun: CLIP does, noisily. Region embeddings of an image's masks, averaged over
several input sizes, are assigned to the embeddings of the entities, and the adapter learns the pairs.

Equation 3.6 as printed is a softmax of distances without a temperature, which is nearly flat; the official code
assigns by the probability over entities, and so does the default here. The rest are options.

Shape legend: S input sizes, n masks, E entities, D size of the common space.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

COSTS = ("neg_softmax", "eq36", "cosine", "legacy")
MATCHINGS = ("bipartite", "greedy")


class RegionPairs(NamedTuple):
    """Matched masks and entities.

    Attributes:
        regions: Index of the mask, `(N,)`, ascending.
        entities: Index of its entity, `(N,)`.
    """

    regions: torch.Tensor
    entities: torch.Tensor


def ensemble_share(step: float, total_steps: int) -> float:
    """Share of the adapter in matching: grows to one half over training."""
    return 0.5 * step / max(1, total_steps)


@torch.no_grad()
def region_probabilities(
    regions: torch.Tensor,
    entities: torch.Tensor,
    logit_scale: torch.Tensor | float,
    normalize_scales: bool = False,
    adapted: torch.Tensor | None = None,
    share: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes cosines and probabilities over entities of masks described at several sizes.

    Args:
        regions: Embeddings of the masks at each size.
        entities: Normalized embeddings.
        logit_scale: Factor of the cosine before the softmax.
        normalize_scales: Whether sizes are normalized before their mean.
        adapted: Embeddings by the adapter, mixed in.
        share: Their share.

    Shape:
        regions: `(S, n, D)`; entities: `(E, D)`; output: twice `(n, E)`.
    """
    mean = (F.normalize(regions, dim=-1) if normalize_scales else regions).mean(0)
    embedding = F.normalize(mean, dim=-1)
    if adapted is not None:
        embedding = F.normalize((1 - share) * embedding + share * F.normalize(adapted, dim=-1), dim=-1)
    cosine = embedding @ entities.t()
    return cosine, (logit_scale * cosine).softmax(-1)


@torch.no_grad()
def matching_cost(
    regions: torch.Tensor, cosine: torch.Tensor, probabilities: torch.Tensor, entities: torch.Tensor,
    logit_scale: torch.Tensor | float, cost: str,
) -> torch.Tensor:  # fmt: skip
    """Computes the cost of giving each mask each entity.

    Shape:
        regions: `(S, n, D)`; cosine, probabilities: `(n, E)`; output: `(n, E)`.

    Raises:
        ValueError: For an unknown cost.
    """
    if cost == "neg_softmax":
        return -probabilities
    if cost == "cosine":
        return 1 - cosine
    if cost == "eq36":
        return (1 - cosine).softmax(-1)
    if cost == "legacy":
        by_scale = logit_scale * (F.normalize(regions, dim=-1) @ entities.t())  # (S, n, E)
        return 1 - by_scale.softmax(-1).mean(0)
    raise ValueError(f"cost={cost!r} is not known: choose one of {', '.join(COSTS)}.")


@torch.no_grad()
def greedy_threshold(
    best: torch.Tensor, num_sigmas: float, momentum: float, state: torch.Tensor | None, update: bool = True
) -> torch.Tensor | None:
    """Moves the threshold on `-log P` of greedy matching and returns it; None for less than two masks, which are kept.

    `state[0]` is the moving threshold, 0 before the first image; processes average. Every process must call this once
    per image of its batch, with the same number of images: one with less than two masks takes part in the average with
    nothing of its own. If no process has two masks, the threshold stays.

    Without `update` (evaluation, where processes may have different numbers of images) the threshold stays as it is,
    and nothing is said to other processes; before the first image it is the image's own.

    Shape:
        best: `(n,)`, largest probability of each mask; n may be 0.
    """
    own = len(best) >= 2
    threshold = best.new_zeros(())
    if own:
        surprise = -(best + 1e-8).log()
        threshold = surprise.mean() + num_sigmas * surprise.std()
    if not update:
        known = state is not None and bool(state[0] != 0)
        return (cast(torch.Tensor, state)[0] if known else threshold) if own else None
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        total = torch.stack((threshold, threshold.new_tensor(float(own))))
        torch.distributed.all_reduce(total)
        if total[1] == 0:
            return None
        threshold = total[0] / total[1]
    elif not own:
        return None
    if state is not None:
        if state[0] != 0:
            threshold = momentum * state[0] + (1 - momentum) * threshold
        state[0] = threshold
    return threshold if own else None


@torch.no_grad()
def match_regions(
    regions: torch.Tensor,
    entities: torch.Tensor,
    logit_scale: torch.Tensor | float,
    *,
    matching: str = "bipartite",
    cost: str = "neg_softmax",
    normalize_scales: bool = False,
    topk: float = 1.0,
    num_sigmas: float = 1.0,
    momentum: float = 0.999,
    min_similarity: float | None = None,
    state: torch.Tensor | None = None,
    adapted: torch.Tensor | None = None,
    total_steps: int | None = None,
    update: bool = True,
) -> RegionPairs:
    """Matches the masks of an image with the entities of its caption.

    Masks whose embedding is zero at every size (nothing was left of them) take no part.

    Args:
        regions: CLIP's embeddings of the masks at each size.
        entities: Normalized text embeddings.
        logit_scale: CLIP's.
        matching: `"bipartite"`: as many one-to-one pairs as there are masks or entities. `"greedy"`: every mask takes
            its most probable entity, if that is not too improbable.
        cost: See the module.
        normalize_scales: See `region_probabilities`.
        topk: Share of the cheapest pairs that are kept, with the `"legacy"` cost.
        num_sigmas: See `greedy_threshold`.
        momentum: Likewise.
        min_similarity: Smallest cosine of a pair.
        state: Moving threshold and number of steps, `(2,)`.
        adapted: The adapter's embeddings, for self-ensembling.
        total_steps: Of training, for self-ensembling.
        update: Whether the moving threshold learns from the image, with all processes; not in evaluation.

    Shape:
        regions: `(S, n, D)`; entities: `(E, D)`; adapted: `(n, D)`.

    Raises:
        ValueError: For an unknown matching or cost.
    """
    if matching not in MATCHINGS:
        raise ValueError(f"matching={matching!r} is not known: choose one of {', '.join(MATCHINGS)}.")
    device = regions.device
    present = (regions.abs().amax((0, 2)) > 0).nonzero().flatten()
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    if not len(present) or not len(entities):
        if matching == "greedy":  # the processes' thresholds are averaged image by image
            greedy_threshold(regions.new_zeros(0), num_sigmas, momentum, state, update)
        return RegionPairs(nothing, nothing)
    regions = regions[:, present]
    share = 0.0
    if adapted is not None and total_steps is not None and state is not None:
        adapted, share = adapted[present], ensemble_share(float(state[1]), total_steps)
    cosine, probabilities = region_probabilities(
        regions, entities, logit_scale, normalize_scales, adapted if share else None, share
    )
    if matching == "greedy":
        best, columns = probabilities.max(-1)
        rows = torch.arange(len(best), device=device)
        threshold = greedy_threshold(best, num_sigmas, momentum, state, update)
        if threshold is not None:
            kept = -(best + 1e-8).log() <= threshold
            rows, columns = rows[kept], columns[kept]
    else:
        costs = matching_cost(regions, cosine, probabilities, entities, logit_scale, cost)
        solved = linear_sum_assignment(torch.nan_to_num(costs, nan=torch.finfo(costs.dtype).max).cpu().numpy())
        rows, columns = (torch.as_tensor(part, device=device) for part in solved)
        if cost == "legacy" and topk < 1:
            number = max(1, int(len(rows) * topk))
            order = costs[rows, columns].argsort()[:number].sort().values
            rows, columns = rows[order], columns[order]
    if min_similarity is not None:
        kept = cosine[rows, columns] >= min_similarity
        rows, columns = rows[kept], columns[kept]
    return RegionPairs(present[rows], columns)


def alignment_loss(
    described: torch.Tensor, texts: torch.Tensor, parameters: Iterable[torch.Tensor] = ()
) -> torch.Tensor:
    """Computes the mean over pairs of one minus the cosine (equation 3.8).

    Args:
        described: The adapter's embedding of each matched mask.
        texts: Embedding of its entity.
        parameters: Get a gradient of zero where there is no pair.

    Shape:
        Both `(N, D)`; output: scalar.
    """
    nothing = sum((parameter.sum() for parameter in parameters), start=described.sum()) * 0.0
    if not len(described):
        return nothing
    return (1 - F.cosine_similarity(described, texts, dim=-1)).mean() + nothing
