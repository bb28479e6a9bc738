# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Binary cross-entropy and Dice loss of masks at their most uncertain points (PointRend; Kirillov et al., CVPR 2020).

A few masks are handled at a time, with their gradients: what is made at the points of some masks stays in the
processor's cache, and only the points, and what the two losses say about them, are kept for the backward pass.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from .point_sampling import KnownPixels, Targets, sample_masks

# Reads (masks x points) handled at once: bounds memory, does not change results. Each takes about 100 bytes for a
# moment (four corners: index, share, value). On CPU they should stay in the cache, accelerators want more work.
READS_AT_ONCE_CPU = 2**18
READS_AT_ONCE_ACCELERATOR = 2**20
# The smallest numbers of a row this long are looked for below what every 37th number says, plus a share of the row.
_LONG_ROW = 8192
_SAMPLED = 37
_MARGIN = 0.05


class PointTargets(NamedTuple):
    """What masks are compared with.

    Attributes:
        targets: All segments of the batch.
        images: Index of the image of each mask, `(N,)`.
        segments: Index of the segment of each mask within its image, `(N,)`.
        known: Pixels about which something is known; None for all.
    """

    targets: Targets
    images: torch.Tensor
    segments: torch.Tensor
    known: KnownPixels | None = None


def softplus(values: torch.Tensor) -> torch.Tensor:
    """Computes log(1 + exp(x)) to the last bits, four times as fast as the library on CPU, where `log1p` is slow."""
    small = torch.exp(-values.abs())
    raised = 1 + small
    # log1p(z) = log(1 + z) z / ((1 + z) - 1), in which the rounding of 1 + z cancels (Kahan).
    log = torch.where(raised == 1, small, torch.log(raised) * (small / (raised - 1)))
    return log + values.clamp(min=0)


def smallest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Finds the `count` smallest numbers of each row; their indices are in no order.

    Shape:
        values: `(N, S)`, float32; output: `(N, count)`, int64.
    """
    width = values.shape[1]
    if values.device.type != "cpu" or width < _LONG_ROW or not count:
        return values.topk(count, dim=1, largest=False, sorted=False).indices
    rows = []
    for row in values.numpy():
        found = _smallest_of_row(row, count)
        if found is None:  # equal numbers at the border, or NaN
            found = torch.from_numpy(row).topk(count, largest=False, sorted=False).indices.numpy()
        rows.append(found)
    return torch.from_numpy(np.stack(rows))


def _smallest_of_row(row: np.ndarray, count: int) -> np.ndarray | None:
    """Indices of the smallest numbers, among those that a sample puts below them; None if they are not unique."""
    sample = row[::_SAMPLED]
    place = int((count / len(row) + _MARGIN) * len(sample))
    if place >= len(sample):
        return None
    low = np.flatnonzero(row <= np.partition(sample, place)[place])
    if len(low) < count:
        return None
    candidates = row.take(low)
    chosen = low[candidates <= np.partition(candidates, count - 1)[count - 1]]
    return chosen if len(chosen) == count else None


def point_losses(
    masks: torch.Tensor, target: PointTargets, candidates: torch.Tensor, fresh: torch.Tensor, num_uncertain: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes binary cross-entropy and Dice loss of masks at uncertain and at fresh points.

    Of the candidates the `num_uncertain` with logits nearest to zero are taken. Points that are not known do not count.

    Args:
        masks: Logits; gradients go to them.
        target: What they are compared with.
        candidates: Points, (x, y) in 0..1, of which the uncertain ones are chosen.
        fresh: Points that are taken in any case.
        num_uncertain: Number of points that are chosen.

    Shape:
        masks: `(N, h, w)`; candidates: `(N, C, 2)`; fresh: `(N, F, 2)`; output: twice `(N,)`.
    """
    bce, dice = _PointLosses.apply(masks, target, candidates, fresh, num_uncertain)
    return bce, dice


class _Terms(NamedTuple):
    """Losses of some masks, their points, and the losses' derivatives by the logits at the points."""

    bce: torch.Tensor
    dice: torch.Tensor
    places: torch.Tensor
    bce_slopes: torch.Tensor
    dice_slopes: torch.Tensor


class _PointLosses(torch.autograd.Function):
    """`point_losses`, whose derivatives at the points are written down by hand."""

    @staticmethod
    def forward(ctx: Any, masks: Any, target: Any, candidates: Any, fresh: Any, num_uncertain: int) -> Any:
        num_masks, num_points = len(masks), num_uncertain + fresh.shape[1]
        bce, dice = masks.new_empty(num_masks), masks.new_empty(num_masks)
        places = masks.new_empty(num_masks, num_points, 2)
        slopes = masks.new_empty(2, num_masks, num_points)
        for some in _parts(masks, candidates.shape[1]):
            part = target._replace(images=target.images[some], segments=target.segments[some])
            terms = _terms(masks[some], part, candidates[some], fresh[some], num_uncertain)
            bce[some], dice[some], places[some] = terms.bce, terms.dice, terms.places
            slopes[0, some], slopes[1, some] = terms.bce_slopes, terms.dice_slopes
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(places, slopes)
            ctx.size = masks.shape[1:]
        return bce, dice

    @staticmethod
    def backward(ctx: Any, bce_gradient: torch.Tensor, dice_gradient: torch.Tensor) -> Any:
        places, (bce_slopes, dice_slopes) = ctx.saved_tensors
        gradient = places.new_empty(len(places), *ctx.size)
        for some in _parts(gradient, places.shape[1]):
            slopes = bce_slopes[some] * bce_gradient[some, None] + dice_slopes[some] * dice_gradient[some, None]
            grid = (2 * places[some] - 1).unsqueeze(1)
            # The values of the masks matter to the gradient of the points only, which nobody wants.
            made = torch.ops.aten.grid_sampler_2d_backward(
                slopes[:, None, None], gradient[some, None], grid, 0, 0, False, [True, False]
            )[0]
            gradient[some] = made[:, 0]
        return gradient, None, None, None, None


def _parts(masks: torch.Tensor, points: int) -> list[slice]:
    at_once = READS_AT_ONCE_CPU if masks.device.type == "cpu" else READS_AT_ONCE_ACCELERATOR
    return parts_of(len(masks), at_once // max(points, masks[0].numel() if len(masks) else 1))


def parts_of(number: int, at_once: int) -> list[slice]:
    """Cuts a range into slices of at most `at_once`, at least 1."""
    at_once = max(1, at_once)
    return [slice(first, first + at_once) for first in range(0, number, at_once)]


def _terms(
    masks: torch.Tensor, target: PointTargets, candidates: torch.Tensor, fresh: torch.Tensor, num_uncertain: int
) -> _Terms:
    """Losses of some masks. Shape: as `point_losses`; points and slopes are `(N, S, ...)`, S chosen and fresh ones."""
    logits = sample_masks(masks, candidates)
    certainty = logits.abs()
    if target.known is not None:  # a place about which nothing is known teaches nothing
        certainty = certainty.masked_fill(target.known.read(target.images, candidates) == 0, torch.inf)
    chosen = smallest(certainty, num_uncertain)
    first = torch.arange(len(masks), device=masks.device)[:, None] * candidates.shape[1]
    uncertain = candidates.flatten(0, 1).index_select(0, (chosen + first).flatten()).view(*chosen.shape, 2)
    places = torch.cat((uncertain, fresh), dim=1)  # (N, S, 2)
    logits = torch.cat((logits.gather(1, chosen), sample_masks(masks, fresh)), dim=1)  # (N, S)
    truth = target.targets.read(target.images, target.segments, places)

    probabilities = logits.sigmoid()
    cross_entropy = softplus(logits) - truth * logits
    slopes = probabilities - truth
    rise = probabilities * (1 - probabilities)
    if target.known is None:
        bce, slopes = cross_entropy.mean(1), slopes / logits.shape[1]
    else:
        inside = target.known.read(target.images, places)
        count = inside.sum(1, keepdim=True).clamp(min=1)
        bce, slopes = (cross_entropy * inside / count).sum(1), slopes * inside / count
        probabilities, truth, rise = probabilities * inside, truth * inside, rise * inside
    shared = 2 * (probabilities * truth).sum(1) + 1
    total = probabilities.sum(1) + truth.sum(1) + 1
    dice_slopes = (shared / total.square())[:, None] - (2 / total)[:, None] * truth
    return _Terms(bce, 1 - shared / total, places, slopes, dice_slopes * rise)
