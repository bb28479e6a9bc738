# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Scored instance masks from queries; they may overlap and are kept as bits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bits import pack_masks, unpack_masks
from .duplicates import distinct_pairs
from .reductions import precise
from .resizing import BAND_ELEMENTS_ACCELERATOR, BAND_ELEMENTS_CPU, BandResizer
from .sizes import Size, check_logits, check_shares, complete_sizes, logit_of

# Share of all masks' pixels that may pass the threshold, up to which masks are made one by one in their regions.
LARGEST_SHARE = 0.5


@dataclass(frozen=True)
class InstanceMasks:
    """Instances of one image, best first; masks may overlap and several instances may share one (same query).

    Shape:
        scores (N,) float32, label_ids (N,), mask_indices (N,) and areas (N,) int64, on the CPU;
        packed_masks (M, H, ceil(W / 8)) uint8, see `unpack_masks`, M <= N;
        segmentation (H, W) int32: 1 + position of the best instance at each pixel, 0 = none.
    """

    scores: Tensor
    label_ids: Tensor
    areas: Tensor
    mask_indices: Tensor
    packed_masks: Tensor
    segmentation: Tensor

    def masks(self) -> Tensor:
        """Boolean masks (N, H, W)."""
        indices = self.mask_indices.to(self.packed_masks.device)
        return unpack_masks(self.packed_masks, self.segmentation.shape[1])[indices]


@torch.no_grad()
def instance_segmentation(
    class_logits: Tensor,
    mask_logits: Tensor,
    *,
    padded_size: Size | None = None,
    image_sizes: Sequence[Size] | None = None,
    output_sizes: Sequence[Size] | None = None,
    canvas_sizes: Sequence[Size] | None = None,
    threshold: float = 0.0,
    mask_threshold: float = 0.5,
    num_instances: int = 100,
    stuff_label_ids: Sequence[int] | set[int] = (),
    query_scores: Tensor | None = None,
    suppress_duplicates: bool = False,
    min_segment_area: int = 0,
) -> list[InstanceMasks]:
    """Scored, possibly overlapping instance masks per image.

    The `num_instances` (query, class) pairs of largest class probability are taken, then pairs of a stuff class are
    dropped. A mask holds the pixels with probability above `mask_threshold`; the score is the class probability
    times the mean mask probability inside the mask (0 for an empty mask, which is kept as the authors keep it).

    Args:
        class_logits: logits of K classes and no-object.
        mask_logits: mask logits at the model's output stride.
        padded_size, image_sizes, output_sizes, canvas_sizes: see `hfseg.postprocess.sizes`.
        threshold: smallest score, inclusive; 0 keeps all, as average precision wants.
        mask_threshold: mask probability above which a pixel belongs to the mask.
        num_instances: number of pairs looked at, before stuff classes are dropped.
        stuff_label_ids: classes that are no things.
        query_scores: quality of each mask `(B, Q)`, a factor of the scores.
        suppress_duplicates: whether a query gives way to a better one that covers half of its mask, see
            `distinct_queries`. All classes of a query stay or go together.
        min_segment_area: smallest mask, in pixels of the output.

    Shape:
        class_logits (B, Q, K + 1), mask_logits (B, Q, h, w).

    Raises:
        ValueError: if shapes, sizes or thresholds are not legal.
    """
    check_logits(class_logits, mask_logits)
    geometry = complete_sizes(mask_logits, padded_size, image_sizes, output_sizes, canvas_sizes)
    logit_threshold = logit_of(mask_threshold, "mask_threshold")
    check_shares(threshold=threshold)
    if num_instances < 1:
        raise ValueError(f"num_instances must be at least 1, got {num_instances}.")
    num_labels = class_logits.shape[-1] - 1
    pair_scores = class_logits.float().softmax(-1)[..., :-1].flatten(1)  # (B, Q * K)
    best = pair_scores.topk(min(num_instances, pair_scores.shape[1]), dim=1)
    class_scores, pairs = best.values.cpu(), best.indices.cpu()
    stuff = torch.tensor(sorted(stuff_label_ids), dtype=torch.int64)

    results = []
    with torch.autocast(mask_logits.device.type, enabled=False):
        for index in range(len(mask_logits)):
            queries, labels = pairs[index] // num_labels, pairs[index] % num_labels
            is_thing = ~torch.isin(labels, stuff)
            if query_scores is None:
                is_thing &= class_scores[index] >= threshold  # the mean probability, a factor, is at most 1
            if suppress_duplicates:
                quality = None if query_scores is None else query_scores[index]
                pairs_of_image = (queries, class_scores[index], is_thing, quality)
                sizes = (geometry.padded, geometry.images[index])
                is_thing &= distinct_pairs(mask_logits[index], *pairs_of_image, *sizes, mask_threshold)
            # Several pairs may share a query: its mask is resized once.
            used, mask_indices = queries[is_thing].unique(return_inverse=True)
            logits = mask_logits[index].index_select(0, used.to(mask_logits.device))
            masks = _masks_of_image(BandResizer(logits, *geometry.of(index)), logit_threshold)
            scores = class_scores[index, is_thing] * masks.means[mask_indices]
            if query_scores is not None:
                scores = scores * query_scores[index].float().cpu()[queries[is_thing]]
            limits = (threshold, min_segment_area)
            results.append(_ranked(masks, scores, labels[is_thing], mask_indices, limits, geometry.outputs[index][1]))
    return results


def _ranked(
    masks: "_Masks", scores: Tensor, label_ids: Tensor, mask_indices: Tensor, limits: tuple[float, int], width: int
) -> InstanceMasks:
    """Instances at or above the limits of score and area, best first, with the masks that they use."""
    order = scores.argsort(descending=True, stable=True)
    order = order[(scores[order] >= limits[0]) & (masks.areas[mask_indices[order]] >= limits[1])]
    used, mask_indices = mask_indices[order].unique(return_inverse=True)
    packed = masks.packed
    if len(used) < len(packed):
        packed = packed.index_select(0, used.to(packed.device))
    if masks.regions is None:
        topmost = _topmost_instance(packed, mask_indices, width)
    else:
        topmost = _topmost_in_regions(packed, mask_indices, [masks.regions[row] for row in used.tolist()], width)
    return InstanceMasks(
        scores=scores[order],
        label_ids=label_ids[order],
        areas=masks.areas[used][mask_indices],
        mask_indices=mask_indices,
        packed_masks=packed,
        segmentation=topmost,
    )


@dataclass(frozen=True)
class _Masks:
    """Masks of the queries of one image.

    Attributes:
        packed: Bits, on the device of the logits.
        areas: Pixels, on the CPU.
        means: Mean probability inside, on the CPU.
        regions: On the CPU, parts of the output outside of which a mask has no pixel; else None.
    """

    packed: Tensor
    areas: Tensor
    means: Tensor
    regions: list[tuple[int, int, int, int] | None] | None = None


def _masks_of_image(resizer: BandResizer, logit_threshold: float) -> _Masks:
    """All masks by the way that is faster: on CPU, masks of small things are made where they are and nowhere else."""
    if resizer.mask_logits.device.type == "cpu":
        regions = resizer.regions(logit_threshold)
        share = sum((bottom - top) * (right - left) for top, bottom, left, right in filter(None, regions))
        if share < LARGEST_SHARE * len(regions) * math.prod(resizer.output_size):
            return _masks_by_region(resizer, regions, logit_threshold)
    return _masks_by_band(resizer, logit_threshold)


def _masks_by_region(
    resizer: BandResizer, regions: list[tuple[int, int, int, int] | None], logit_threshold: float
) -> _Masks:
    """Each mask where its logits can pass the threshold."""
    num_masks, (height, width) = len(resizer.mask_logits), resizer.output_size
    # Zeros of NumPy take no memory until they are written.
    packed = np.zeros((num_masks, height, (width + 7) // 8), dtype=np.uint8)
    sums = torch.zeros((2, num_masks), dtype=torch.float64)
    for index, region in enumerate(regions):
        if region is None:
            continue
        columns = slice(region[2] // 8, (region[3] + 7) // 8)
        for rows, band in resizer.bands_of(index, region):
            inside = band > logit_threshold
            area = int(inside.count_nonzero())
            if area:
                packed[index, rows, columns] = np.packbits(inside.numpy(), axis=-1)
                sums[0, index] += area
                sums[1, index] += band.sigmoid_().mul_(inside).sum(dtype=torch.float64)
    area, total = sums
    means = (total / (area + 1e-6)).to(torch.float32)
    return _Masks(torch.from_numpy(packed), area.to(torch.int64), means, regions)


def _masks_by_band(resizer: BandResizer, logit_threshold: float) -> _Masks:
    """All masks, a band of rows at a time: no wait for the accelerator between them."""
    num_masks, device = len(resizer.mask_logits), resizer.mask_logits.device
    height, width = resizer.output_size
    packed = torch.empty((num_masks, height, (width + 7) // 8), dtype=torch.uint8, device=device)
    sums = precise(torch.zeros((2, num_masks), device=device))
    if num_masks:
        inside = torch.empty(0, device=device)
        for rows, band in resizer.bands():
            if inside.shape != band.shape:
                inside = torch.empty_like(band)
            torch.gt(band, logit_threshold, out=inside)
            packed[:, rows] = pack_masks(inside.to(torch.bool))
            sums[0] += inside.flatten(1).sum(1)
            sums[1] += inside.mul_(band.sigmoid_()).flatten(1).sum(1)
    area, total = sums.cpu()
    return _Masks(packed, area.to(torch.int64), (total / (area + 1e-6)).to(torch.float32))


def _topmost_in_regions(
    packed: Tensor, mask_indices: Tensor, regions: list[tuple[int, int, int, int] | None], width: int
) -> Tensor:
    """As `_topmost_instance`, painting from the last instance to the first inside its region."""
    bits = packed.numpy()
    id_map = np.zeros((packed.shape[1], width), dtype=np.int32)
    for position in range(len(mask_indices) - 1, -1, -1):
        index = int(mask_indices[position])
        region = regions[index]
        if region is not None:
            top, bottom, left, right = region
            part = bits[index, top:bottom, left // 8 : (right + 7) // 8]
            inside = np.unpackbits(part, axis=-1, count=right - left).view(bool)
            np.putmask(id_map[top:bottom, left:right], inside, position + 1)
    return torch.from_numpy(id_map)


def _topmost_instance(packed: Tensor, mask_indices: Tensor, width: int) -> Tensor:
    """Id map (H, W) int32 in which the best-ranked of overlapping instances is on top."""
    num_masks, height = packed.shape[:2]
    id_map = torch.zeros((height, width), dtype=torch.int32, device=packed.device)
    num_instances = len(mask_indices)
    if num_instances == 0:
        return id_map
    # Rank from the top: the largest wins. A shared mask shows its best instance.
    ranks = torch.zeros(num_masks, dtype=torch.int32)
    ranks.scatter_reduce_(
        0, mask_indices, torch.arange(num_instances, 0, -1, dtype=torch.int32), reduce="amax", include_self=True
    )
    ranks = ranks.to(packed.device).view(-1, 1, 1)
    budget = BAND_ELEMENTS_CPU if packed.device.type == "cpu" else BAND_ELEMENTS_ACCELERATOR
    step = max(1, budget // (num_masks * width))
    for row in range(0, height, step):
        top = (unpack_masks(packed[:, row : row + step], width) * ranks).amax(0)
        id_map[row : row + step] = torch.where(top > 0, num_instances + 1 - top, 0)
    return id_map
