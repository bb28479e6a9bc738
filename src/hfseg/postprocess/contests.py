# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Which query, and which class, wins which pixel, tile by tile: most cannot win anywhere in most tiles."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .resizing import BandResizer
from .tiles import TileGrid

__all__ = ["Contest", "classes_in_tiles", "contest_in_tiles"]

# If more of all pairs of query and tile take part, bands of all queries are as fast.
LARGEST_SHARE = 0.3
# Bounds are compared with a distance that rounding cannot bridge.
MARGIN = 1e-4
# Share of the best score by which queries that are left out may change any score of a tile.
LEFT_OUT = 1e-2
# What resizing a logit and its sigmoid cost, in products with a class's weight; and a pair in tiles, in pairs of bands.
RESIZE_PRODUCTS, TILE_DEARNESS = 25, 6
# Pixels whose classes come too close, as a share of all, from which on bands are as fast; one tile in so many tells.
LARGEST_OPEN_SHARE = 0.1
TRIAL = 50
# Mask probabilities of pixels looked at with all queries, at once.
OPEN_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class Contest:
    """What the queries of an image won.

    Attributes:
        own_area: Pixels where a query's mask probability reaches the threshold, int64.
        won_area: Pixels where its score is the largest, int64.
        painted_area: Pixels where both hold, int64.
        painted_map: 0 where the winner's probability is below the threshold, else 1 + its index, int32.

    Shape:
        areas (N,), map (H, W).
    """

    own_area: Tensor
    won_area: Tensor
    painted_area: Tensor
    painted_map: Tensor


def _alive(extremes: tuple[Tensor, Tensor], scores: Tensor, logit_threshold: float) -> Tensor:
    """Whether a query can win a pixel of a tile or has pixels of its own there; in every tile one can.

    Shape: extremes twice (N, tiles), scores (N,); result (N, tiles).
    """
    smallest, largest = extremes
    column = scores.view(-1, 1)
    best_of_worst = (smallest.sigmoid() * column).amax(0)
    own = largest >= logit_threshold - MARGIN * (1 + abs(logit_threshold))
    return own | (largest.sigmoid() * column >= best_of_worst * (1 - MARGIN))


def contest_in_tiles(resizer: BandResizer, scores: Tensor, logit_threshold: float) -> Contest | None:
    """Gives every pixel to the query with the largest class score times mask probability, the first of equal ones.

    The result is that of all queries at all pixels, up to the rounding of the resized logits; None where too many
    queries take part in too many tiles for this to pay off, or a logit is not finite.

    Args:
        resizer: Of the masks, see `tiles_pay`.
        scores: Class score of each query, not negative.
        logit_threshold: A mask's own pixels are those whose logit is at least this.

    Shape:
        scores (N,).
    """
    number = len(resizer.mask_logits)
    grid = TileGrid(resizer)
    extremes = grid.extremes()
    if extremes is None:
        return None
    alive = _alive(extremes, scores, logit_threshold)
    if alive.count_nonzero() > LARGEST_SHARE * alive.numel():
        return None
    winners = torch.empty(len(grid), grid.side_y, grid.side_x, dtype=torch.int32)
    painted = torch.empty_like(winners)
    own_area = torch.zeros(number, dtype=torch.int64)
    for tiles, queries, counts in grid.batches(alive):
        resized = grid.resize(tiles, queries)  # (t, y, k, x)
        passes = resized >= logit_threshold
        inside = grid.inside(tiles)
        valid = passes if inside is None else passes & inside[:, :, None]
        own_area.index_add_(0, queries.flatten(), (valid.sum(3).sum(1) * counts).flatten())
        values = resized.sigmoid_().mul_(torch.where(counts, scores[queries], -1.0)[:, None, :, None])
        best, slot = values[:, :, 0], torch.zeros(len(tiles), grid.side_y, grid.side_x, dtype=torch.int64)
        for other in range(1, queries.shape[1]):
            better = values[:, :, other] > best
            best = torch.where(better, values[:, :, other], best)
            slot.masked_fill_(better, other)
        winner = queries.gather(1, slot.flatten(1)).view_as(slot)
        winners[tiles] = winner.to(torch.int32)
        shown = passes.gather(2, slot[:, :, None])[:, :, 0]
        painted[tiles] = ((winner + 1) * shown).to(torch.int32)
    painted_map = grid.whole(painted).contiguous()
    won_area = torch.bincount(grid.whole(winners).flatten(), minlength=number)
    painted_area = torch.bincount(painted_map.flatten(), minlength=number + 1)[1:]
    return Contest(own_area, won_area, painted_area, painted_map)


@dataclass(frozen=True)
class _Field:
    """Classes and queries that matter in each tile.

    Attributes:
        candidates: Classes that can win a pixel, `(K, tiles)`.
        alive: Queries that are resized, `(Q, tiles)`; of the others the mean of their bounds stands for all pixels.
        middle: That mean, `(Q, tiles)`.
        tolerance: The most by which that can change a score, `(tiles,)`.
    """

    candidates: Tensor
    alive: Tensor
    middle: Tensor
    tolerance: Tensor

    @classmethod
    def of(cls, weights: Tensor, extremes: tuple[Tensor, Tensor]) -> "_Field | None":
        """Shape: weights (K, Q), extremes twice (Q, tiles). None if so many matter that bands are as fast."""
        low, high = (limit.sigmoid() for limit in extremes)
        best = (weights @ low).amax(0)
        candidates = weights @ high >= best * (1 - MARGIN)
        doubt = (high - low) * (weights.amax(0)[:, None] / 2)
        alive = doubt * len(doubt) > LEFT_OUT * best
        alive[doubt.argmax(0), torch.arange(alive.shape[1])] = True  # one at least, which keeps shapes simple
        taking_part = alive.sum(0).double()
        cost = (taking_part * (candidates.sum(0) + RESIZE_PRODUCTS)).sum() * TILE_DEARNESS
        if cost > weights.numel() * alive.shape[1] * (1 + RESIZE_PRODUCTS / max(1, len(weights))):
            return None
        return cls(candidates, alive, (low + high) / 2, (doubt * ~alive).sum(0))


def _distinct(weights: Tensor) -> Tensor:
    """Classes that differ from all earlier ones in some query, ascending: others never win. Shape: (K, Q) -> (k,)."""
    groups, group = weights.unique(dim=0, return_inverse=True)
    first = torch.full((len(groups),), len(weights)).scatter_reduce_(0, group, torch.arange(len(weights)), "amin")
    return first.sort().values


def _listed(candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates as lists. Shape: (K, t) -> classes (t, n), ascending, and which of them count (t, n)."""
    numbers = candidates.sum(0)
    tile, candidate = candidates.t().nonzero(as_tuple=True)
    classes = torch.zeros(len(numbers), int(numbers.amax()), dtype=torch.int64)
    classes[tile, torch.arange(len(tile)) - (numbers.cumsum(0) - numbers)[tile]] = candidate
    return classes, torch.arange(classes.shape[1]) < numbers[:, None]


def _first_two(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score's place, the first of equal ones, and its lead over the second, less what rounding may change.

    Shape: scores (t, n, pixels), n >= 1 -> twice (t, pixels).
    """
    best, place = scores[:, 0].clone(), torch.zeros(scores[:, 0].shape, dtype=torch.int64)
    second = torch.full_like(best, -1.0)
    for other in range(1, scores.shape[1]):
        value = scores[:, other]
        place.masked_fill_(value > best, other)
        second = torch.maximum(second, torch.minimum(value, best))
        best = torch.maximum(value, best)
    return place, best * (1 - MARGIN) - second


def _best_of_all(weights: Tensor, resizer: BandResizer, pixels: Tensor) -> Tensor:
    """Classes of some pixels with all queries, the first of equal ones. Shape: weights (K, Q), pixels (n,) -> (n,)."""
    step = max(1, OPEN_ELEMENTS // len(resizer.mask_logits))
    width = resizer.output_size[1]
    parts = [(weights @ resizer.at(part // width, part % width).sigmoid_()).argmax(0) for part in pixels.split(step)]
    return torch.cat(parts)


def classes_in_tiles(resizer: BandResizer, weights: Tensor) -> Tensor | None:
    """Class of each pixel: the largest sum over queries of weight times mask probability, the first of equal ones.

    In a tile, the bounds of the probabilities bound the scores, and so tell the classes that can win there; queries
    whose probability hardly changes in it count with the mean of their bounds. Where that leaves two classes too close
    to each other, all queries are looked at.

    Args:
        resizer: Of the masks, see `tiles_pay`.
        weights: Of each class, by query, not negative.

    Returns:
        The map, or None where too many queries and classes take part for this to pay off, or a logit is not finite.

    Shape:
        weights (K, Q); result (H, W), int64.
    """
    if not (weights.numel() and bool(weights.isfinite().all())):
        return None
    grid = TileGrid(resizer)
    extremes = grid.extremes()
    distinct = _distinct(weights)
    weights = weights[distinct]
    field = None if extremes is None else _Field.of(weights, extremes)
    if field is None:
        return None
    rest = weights @ (field.middle * ~field.alive)  # (K, tiles)
    winners = torch.empty(len(grid), grid.side_y, grid.side_x, dtype=torch.int64)
    close = torch.zeros(len(grid), grid.side_y, grid.side_x, dtype=torch.bool)
    in_trial = torch.arange(len(grid)) % TRIAL == TRIAL // 2
    for some in (in_trial, ~in_trial):
        for tiles, queries, counts in grid.batches(field.alive, some.nonzero()[:, 0]):
            classes, listed = _listed(field.candidates[:, tiles])
            pairs = weights[classes[:, :, None], queries[:, None]] * counts[:, None]  # (t, n, k)
            shown = grid.resize(tiles, queries).sigmoid_().transpose(1, 2).flatten(2)  # (t, k, pixels)
            start = rest[classes, tiles[:, None]].masked_fill(~listed, -1.0)[..., None]
            slot, lead = _first_two(torch.baddbmm(start, pairs, shown))
            winners[tiles] = classes.gather(1, slot).view(-1, grid.side_y, grid.side_x)
            doubtful = ~(lead > 2 * field.tolerance[tiles][:, None]) & (listed.sum(1) > 1)[:, None]
            close[tiles] = doubtful.view(-1, grid.side_y, grid.side_x)
        if close[some].count_nonzero() > LARGEST_OPEN_SHARE * close[some].numel():
            return None
    label_map = grid.whole(winners).contiguous()
    open_pixels = grid.whole(close).flatten().nonzero()[:, 0]
    if len(open_pixels):
        label_map.view(-1)[open_pixels] = _best_of_all(weights, resizer, open_pixels)
    return distinct[label_map]
