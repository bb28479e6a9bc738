# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Non-overlapping segments from queries."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .contests import Contest, contest_in_tiles
from .duplicates import distinct_queries
from .reductions import count, descending, first_argmax, precise
from .resizing import BandResizer
from .sizes import Size, check_logits, check_shares, complete_sizes, logit_of
from .tiles import tiles_pay


def _best_classes(
    class_logits: Tensor, threshold: float, query_scores: Tensor | None
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Scores and classes of queries, on the CPU, and which of them take part; see `panoptic_segmentation`.

    Shape: class_logits (B, Q, K + 1); results (B, Q).
    """
    best = class_logits.float().softmax(-1).max(-1)
    scores, labels = torch.stack([best.values, best.indices.float()]).cpu()  # (B, Q) each, in one copy
    labels = labels.to(torch.int64)
    kept_queries = (labels.ne(class_logits.shape[-1] - 1) & scores.gt(threshold)).numpy()
    if query_scores is not None:
        scores = scores * query_scores.float().cpu()
    return scores, labels, kept_queries


def _distinct(
    queries: Tensor,
    mask_logits: Tensor,
    scores: Tensor,
    fuse: Tensor,
    sizes: tuple[Size, Size],
    mask_threshold: float,
) -> Tensor:
    """Leaves out duplicates, see `distinct_queries`; `queries` are indices, the rest is of all queries of an image.

    Shape: queries (n,); mask_logits (Q, h, w); scores, fuse (Q,).
    """
    device = mask_logits.device
    distinct = distinct_queries(
        mask_logits.index_select(0, queries.to(device)),
        scores[queries].to(device),
        fuse[queries].to(device),
        padded_size=sizes[0],
        image_size=sizes[1],
        mask_threshold=mask_threshold,
    )
    return queries[distinct.cpu()]


def _chosen(mask_logits: Tensor, queries: Tensor) -> Tensor:
    """Masks of some queries, without a copy where it is all of them. Shape: (Q, h, w), queries (n,) -> (n, h, w)."""
    return mask_logits if len(queries) == len(mask_logits) else mask_logits[queries.to(mask_logits.device)]


@torch.no_grad()
def panoptic_segmentation(
    class_logits: Tensor,
    mask_logits: Tensor,
    *,
    padded_size: Size | None = None,
    image_sizes: Sequence[Size] | None = None,
    output_sizes: Sequence[Size] | None = None,
    canvas_sizes: Sequence[Size] | None = None,
    threshold: float = 0.8,
    mask_threshold: float = 0.5,
    overlap_mask_area_threshold: float = 0.8,
    label_ids_to_fuse: Sequence[int] | set[int] = (),
    query_scores: Tensor | None = None,
    suppress_duplicates: bool = False,
    min_segment_area: int = 0,
) -> list[tuple[Tensor, list[dict[str, Any]]]]:
    """Non-overlapping segments per image, as an id map and a table.

    A query takes part when its most probable class is not no-object and has a probability above `threshold`. Every
    pixel goes to the query with the largest class probability times mask probability. A query becomes a segment when
    the number of its pixels is at least `overlap_mask_area_threshold` of its own area (pixels where its mask
    probability reaches `mask_threshold`); of its pixels those inside its own area are painted. Segments of a class in
    `label_ids_to_fuse` (stuff) are merged into the first one of that class.

    Args:
        class_logits: logits of K classes and no-object.
        mask_logits: mask logits at the model's output stride.
        padded_size, image_sizes, output_sizes, canvas_sizes: see `hfseg.postprocess.sizes`.
        threshold: smallest class probability, exclusive.
        mask_threshold: smallest mask probability of a pixel, inclusive.
        overlap_mask_area_threshold: smallest visible part of a mask, inclusive.
        label_ids_to_fuse: classes that form one segment per image.
        query_scores: quality of each mask `(B, Q)`, a factor of the scores (not of what `threshold` is compared with).
        suppress_duplicates: whether a query of a class that is not fused gives way to a better one that covers half of
            its mask, see `distinct_queries`, before pixels are given away.
        min_segment_area: a segment of a class that is not fused is dropped if fewer pixels than this are painted.

    Shape:
        class_logits (B, Q, K + 1), mask_logits (B, Q, h, w); id maps (H, W) int32.

    Returns:
        Per image the id map (0 = void, ids from 1 in query order) and a list of
        `{"id", "label_id", "was_fused", "score", "area"}`. Score is the class probability (of the first query for
        fused segments), area the number of pixels, `was_fused` whether the class is one of those to fuse.

    Raises:
        ValueError: if shapes, sizes or thresholds are not legal.
    """
    check_logits(class_logits, mask_logits)
    geometry = complete_sizes(mask_logits, padded_size, image_sizes, output_sizes, canvas_sizes)
    logit_threshold = logit_of(mask_threshold, "mask_threshold")
    check_shares(threshold=threshold, overlap_mask_area_threshold=overlap_mask_area_threshold)
    # First wait: the classes decide which masks are resized at all.
    scores, labels, kept_queries = _best_classes(class_logits, threshold, query_scores)
    fused = torch.tensor(sorted(label_ids_to_fuse), dtype=torch.int64)

    maps, tables, kept = list[Tensor](), list[Tensor](), list[Tensor]()
    with torch.autocast(mask_logits.device.type, enabled=False):
        for index in range(len(mask_logits)):
            queries = torch.from_numpy(np.flatnonzero(kept_queries[index]))
            if len(queries) == 0:
                kept.append(queries)
                maps.append(torch.zeros(geometry.outputs[index], dtype=torch.int32, device=mask_logits.device))
                continue
            device, fuse = mask_logits.device, torch.isin(labels[index], fused)
            if suppress_duplicates:
                sizes = (geometry.padded, geometry.images[index])
                queries = _distinct(queries, mask_logits[index], scores[index], fuse, sizes, mask_threshold)
            kept.append(queries)
            masks = BandResizer(_chosen(mask_logits[index], queries), *geometry.of(index))
            own = (scores[index, queries].to(device), labels[index, queries].to(device), fuse[queries].to(device))
            id_map, table = _panoptic_of_image(
                masks, *own, logit_threshold, overlap_mask_area_threshold, min_segment_area
            )
            maps.append(id_map)
            tables.append(table)

    # Second wait: ids and areas of all images at once.
    rows = iter(torch.cat(tables).tolist() if tables else [])
    return [(maps[i], _segments(kept[i], rows, scores[i], labels[i], set(label_ids_to_fuse))) for i in range(len(maps))]


def _segments(
    queries: Tensor, rows: Iterator[list[int]], scores: Tensor, labels: Tensor, fused_labels: set[int]
) -> list[dict[str, Any]]:
    """Table of the segments of one image, from the next rows of (segment id, painted area), one per query."""
    segments: dict[int, dict[str, Any]] = {}
    for query in queries.tolist():
        segment_id, area = next(rows)
        if segment_id == 0:
            continue
        label = int(labels[query])
        founder = {
            "id": segment_id,
            "label_id": label,
            "was_fused": label in fused_labels,
            "score": float(scores[query]),
            "area": 0,
        }
        segments.setdefault(segment_id, founder)["area"] += area
    return list(segments.values())


def _panoptic_of_image(
    resizer: BandResizer,
    scores: Tensor,
    labels: Tensor,
    is_fused: Tensor,
    logit_threshold: float,
    overlap_threshold: float,
    min_area: int = 0,
) -> tuple[Tensor, Tensor]:
    """Id map (H, W) int32 of one image and the table (N, 2) int64 of segment id (0 = dropped) and painted area."""
    won = contest_in_tiles(resizer, scores, logit_threshold) if tiles_pay(resizer) else None
    if won is None:
        won = _contest(resizer, scores, logit_threshold)
    painted_area = won.painted_area

    visible = precise(won.won_area) / precise(won.own_area.clamp(min=1))
    is_valid = (painted_area > 0) & (visible >= overlap_threshold)  # painted > 0 implies won > 0 and own > 0
    is_valid &= is_fused | (painted_area >= min_area)
    # A fused query founds a segment only when no earlier valid query has its class.
    same_fused = (labels[:, None] == labels[None, :]) & is_fused[:, None]  # (N, N)
    earlier = torch.ones_like(same_fused).tril(-1)
    founds = is_valid & ~(same_fused & earlier & is_valid).any(1)
    founded_ids = founds.cumsum(0) * founds
    fused_ids = (same_fused * founded_ids).sum(1)  # at most one founder per fused class
    ids = torch.where(is_fused, fused_ids, founded_ids) * is_valid
    lookup = torch.nn.functional.pad(ids.to(torch.int32), (1, 0))
    id_map = lookup.index_select(0, won.painted_map.flatten()).view(resizer.output_size)
    return id_map, torch.stack([ids, painted_area], 1)


def _contest(resizer: BandResizer, scores: Tensor, logit_threshold: float) -> Contest:
    """What `contest_in_tiles` does, of all queries at all pixels, in bands of rows and without a wait."""
    num_queries, device = len(scores), scores.device
    ramp, score_column = descending(num_queries, device), scores.view(-1, 1, 1)
    own_area = torch.zeros(num_queries, dtype=torch.int64, device=device)
    won_area, painted_area = torch.zeros_like(own_area), torch.zeros(num_queries + 1, dtype=torch.int64, device=device)
    # 0 = not painted, k + 1 = query k: becomes the id map by one table look-up once the valid segments are known.
    painted_map = torch.empty(resizer.output_size, dtype=torch.int32, device=device)
    inside = scratch = torch.empty(0, device=device)
    for rows, band in resizer.bands():
        if inside.shape != band.shape:
            inside, scratch = torch.empty_like(band), torch.empty_like(band)
        torch.ge(band, logit_threshold, out=inside)  # probability >= mask_threshold, as 0.0 / 1.0
        own_area += inside.flatten(1).sum(1).to(torch.int64)
        winner = first_argmax(band.sigmoid_().mul_(score_column), ramp, scratch)  # (rows, W)
        painted = (winner + 1) * inside.gather(0, winner.unsqueeze(0))[0].to(torch.int64)
        won_area += count(winner, num_queries)
        painted_area += count(painted, num_queries + 1)
        painted_map[rows] = painted
    return Contest(own_area, won_area, painted_area[1:], painted_map)
