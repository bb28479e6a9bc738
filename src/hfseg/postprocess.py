# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Segmentation maps from class and mask logits of query-based models: pure tensor functions.

All functions follow the post-processing with which PRO-SCALE and Mask2Former were evaluated: mask logits are resized
bilinearly to the padded network input, cropped to the image, resized bilinearly to the output, and only then passed
through a sigmoid.

How it is computed. Both resizes and the crop are linear and act on rows and columns separately, so together they are
one sparse matrix per axis (at most four entries per output pixel). The output is produced in bands of rows that fit
the cache; no map of all queries at output size ever exists. Queries that cannot become a segment are dropped before
any resize. Within a band everything is vectorised over queries.

Shapes: B images, Q queries, K classes, (h, w) mask logits, (H, W) output.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "InstanceMasks",
    "binary_segmentation",
    "clean_small_regions",
    "distinct_queries",
    "instance_segmentation",
    "mask_nms",
    "mask_stability",
    "pack_masks",
    "panoptic_segmentation",
    "resize_class_logits",
    "semantic_segmentation",
    "unpack_masks",
]

Size = tuple[int, int]

# Elements (queries x rows x width) of one band: a few MB stay in the cache of a CPU core, accelerators want more work.
BAND_ELEMENTS_CPU = 1 << 20
BAND_ELEMENTS_ACCELERATOR = 1 << 26
# Areas of a band are summed in float32, which counts exactly up to here.
MAX_EXACT_COUNT = 1 << 24
# Bands that share one resize of columns on CPU.
BANDS_PER_GROUP = 4
# Output columns per matrix product on CPU; a block touches only the input columns it needs.
COLUMN_BLOCK = 64


# --------------------------------------------------------------------------------------------------------------------
# Resizing: padded size -> crop -> output size, fused
# --------------------------------------------------------------------------------------------------------------------
def _bilinear_taps(source: int, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower index, upper index and weight of the upper one for a 1-D bilinear resize (`align_corners=False`).

    Computed in float32 like `torch.nn.functional.interpolate`, so that rounding agrees with it.
    """
    scale = torch.tensor(source / target, dtype=torch.float32)
    position = (scale * (torch.arange(target, dtype=torch.float32) + 0.5) - 0.5).clamp_(min=0)
    lower = position.to(torch.int64).clamp_(max=source - 1)
    upper = (lower + 1).clamp_(max=source - 1)
    return lower, upper, position - lower


@dataclass(frozen=True)
class _Axis:
    """One axis of the fused resize: output i = sum over t of weights[i, t] * input[indices[i, t]].

    Shape: indices and weights (output size, 4), on the CPU.
    """

    indices: Tensor
    weights: Tensor
    size: int  # of the input

    @classmethod
    def fused(cls, size: int, padded: int, cropped: int, output: int, canvas: int | None = None) -> "_Axis":
        up_lower, up_upper, up_weight = _bilinear_taps(size, padded)
        # Of a canvas larger than the output only the first pixels are made.
        down_lower, down_upper, down_weight = (taps[:output] for taps in _bilinear_taps(cropped, canvas or output))
        indices, weights = [], []
        for rows, row_weight in ((down_lower, 1 - down_weight), (down_upper, down_weight)):
            indices += [up_lower[rows], up_upper[rows]]
            weights += [row_weight * (1 - up_weight[rows]), row_weight * up_weight[rows]]
        return cls(torch.stack(indices, 1), torch.stack(weights, 1), size)

    def dense(self) -> Tensor:
        """The same operator as a matrix (output size, input size)."""
        matrix = torch.zeros(len(self.indices), self.size)
        return matrix.scatter_add_(1, self.indices, self.weights)

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Half-open range of inputs that outputs [start, stop) read."""
        part = self.indices[start:stop]
        return int(part.min()), int(part.max()) + 1


def _gather_axis(values: Tensor, dim: int, indices: Tensor, weights: Tensor) -> Tensor:
    shape = [1] * values.ndim
    shape[dim] = -1
    result = values.index_select(dim, indices[:, 0]) * weights[:, 0].reshape(shape)
    for tap in range(1, indices.shape[1]):
        result.addcmul_(values.index_select(dim, indices[:, tap]), weights[:, tap].reshape(shape))
    return result


class _BandResizer:
    """Resizes mask logits (Q, h, w) to (H, W) by way of the padded size and a crop, a band of rows at a time."""

    def __init__(
        self,
        mask_logits: Tensor,
        padded_size: Size,
        image_size: Size,
        output_size: Size,
        canvas_size: Size | None = None,
    ):
        # One conversion of the small input; float32 from here on, whatever the model's dtype.
        self.mask_logits = mask_logits.to(torch.float32).contiguous()
        num_queries, height, width = mask_logits.shape
        self.output_size = output_size
        canvas = output_size if canvas_size is None else canvas_size
        self.rows_axis = _Axis.fused(height, padded_size[0], image_size[0], output_size[0], canvas[0])
        self.columns_axis = _Axis.fused(width, padded_size[1], image_size[1], output_size[1], canvas[1])
        on_cpu = mask_logits.device.type == "cpu"
        budget = BAND_ELEMENTS_CPU if on_cpu else BAND_ELEMENTS_ACCELERATOR
        rows = budget // max(1, num_queries * output_size[1])
        self.band_rows = max(1, min(rows, MAX_EXACT_COUNT // output_size[1], output_size[0]))

    def bands(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields (rows, logits (Q, rows, W) float32). The buffer is reused: consume or copy it before the next band."""
        if self.mask_logits.device.type == "cpu":
            return self._bands_by_matrix_product()
        return self._bands_by_gather()

    def _row_slices(self) -> list[slice]:
        height = self.output_size[0]
        return [slice(row, min(row + self.band_rows, height)) for row in range(0, height, self.band_rows)]

    def _bands_by_gather(self) -> Iterator[tuple[slice, Tensor]]:
        device = self.mask_logits.device
        column_indices, column_weights = self.columns_axis.indices.to(device), self.columns_axis.weights.to(device)
        row_indices, row_weights = self.rows_axis.indices.to(device), self.rows_axis.weights.to(device)
        for rows in self._row_slices():
            start, stop = self.rows_axis.span(rows.start, rows.stop)
            wide = _gather_axis(self.mask_logits[:, start:stop], 2, column_indices, column_weights)
            yield rows, _gather_axis(wide, 1, row_indices[rows] - start, row_weights[rows])

    def _bands_by_matrix_product(self) -> Iterator[tuple[slice, Tensor]]:
        # On CPU small dense blocks of the two operators are several times faster than gathers.
        num_queries, _, width = self.mask_logits.shape
        out_width = self.output_size[1]
        rows_matrix, columns_matrix = self.rows_axis.dense(), self.columns_axis.dense().t().contiguous()
        blocks = []
        for start in range(0, out_width, COLUMN_BLOCK):
            stop = min(start + COLUMN_BLOCK, out_width)
            first, last = self.columns_axis.span(start, stop)
            blocks.append((slice(start, stop), slice(first, last), columns_matrix[first:last, start:stop].contiguous()))
        slices = self._row_slices()
        spans = [self.rows_axis.span(rows.start, rows.stop) for rows in slices]
        # Neighbouring bands share input rows, so columns are resized for several bands at once.
        groups = [
            range(first, min(first + BANDS_PER_GROUP, len(slices))) for first in range(0, len(slices), BANDS_PER_GROUP)
        ]
        most_inputs = max(spans[group[-1]][1] - spans[group[0]][0] for group in groups)
        wide_buffer = torch.empty(num_queries * most_inputs * out_width)
        band_buffer = torch.empty(num_queries * self.band_rows * out_width)
        for group in groups:
            first_input, last_input = spans[group[0]][0], spans[group[-1]][1]
            narrow = self.mask_logits[:, first_input:last_input].reshape(-1, width)  # (Q * inputs, w)
            wide = wide_buffer[: len(narrow) * out_width].view(len(narrow), out_width)
            for out_columns, in_columns, block in blocks:
                torch.mm(narrow[:, in_columns], block, out=wide[:, out_columns])
            wide = wide.view(num_queries, -1, out_width)
            for index in group:
                rows, (start, stop) = slices[index], spans[index]
                outputs = rows.stop - rows.start
                band = band_buffer[: num_queries * outputs * out_width].view(num_queries, outputs, out_width)
                matrix = rows_matrix[rows, start:stop].expand(num_queries, -1, -1)
                torch.bmm(matrix, wide[:, start - first_input : stop - first_input], out=band)
                yield rows, band


# --------------------------------------------------------------------------------------------------------------------
# Small vectorised pieces
# --------------------------------------------------------------------------------------------------------------------
def _first_argmax(values: Tensor, ramp: Tensor, scratch: Tensor) -> Tensor:
    """Index of the first maximum over dim 0, several times faster than `argmax` on CPU (inner loops stay contiguous).

    Shape: values (N, ...), ramp (N, 1, ...) = N, N-1, ..., 1, scratch like values (overwritten); result (...), int64.
    """
    torch.eq(values, values.amax(0), out=scratch)
    scratch.mul_(ramp)
    # Where all values are NaN nothing matches; the clamp keeps the index legal.
    return (len(values) - scratch.amax(0)).to(torch.int64).clamp_(max=len(values) - 1)


def _ramp(length: int, device: torch.device) -> Tensor:
    return torch.arange(length, 0, -1, dtype=torch.float32, device=device).view(-1, 1, 1)


def _count(indices: Tensor, length: int) -> Tensor:
    """Histogram of indices in [0, length), int64 (bincount would synchronise an accelerator)."""
    indices = indices.flatten()
    if indices.device.type == "cpu":
        return torch.bincount(indices, minlength=length)
    counts = torch.zeros(length, dtype=torch.int64, device=indices.device)
    return counts.scatter_add_(0, indices, torch.ones_like(indices))


def _precise(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def _logit(probability: float, name: str) -> float:
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, got {probability}.")
    if probability in (0.0, 1.0):
        return math.inf if probability else -math.inf
    return math.log(probability / (1 - probability))


def pack_masks(masks: Tensor) -> Tensor:
    """Packs boolean masks to bits along the width, first pixel in the highest bit (numpy's `packbits` order).

    Shape: masks (..., W) bool; result (..., ceil(W / 8)) uint8, on the same device.
    """
    if masks.device.type == "cpu":
        return torch.from_numpy(np.packbits(masks.numpy(), axis=-1))
    padding = -masks.shape[-1] % 8
    bits = torch.nn.functional.pad(masks.to(torch.float32), (0, padding)).unflatten(-1, (-1, 8))
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.float32, device=masks.device)
    return (bits * powers).sum(-1).to(torch.uint8)


def unpack_masks(packed: Tensor, width: int) -> Tensor:
    """Inverse of `pack_masks`.

    Shape: packed (..., ceil(W / 8)) uint8; result (..., W) bool.
    """
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    bits = (packed.unsqueeze(-1) >> shifts) & 1  # (..., W / 8, 8)
    return bits.flatten(-2)[..., :width].to(torch.bool)


def _check_and_complete_sizes(
    mask_logits: Tensor,
    padded_size: Size | None,
    image_sizes: Sequence[Size] | None,
    output_sizes: Sequence[Size] | None,
) -> tuple[Size, list[Size], list[Size]]:
    batch_size, (height, width) = len(mask_logits), mask_logits.shape[-2:]
    padded = (int(padded_size[0]), int(padded_size[1])) if padded_size is not None else (height, width)

    def complete(sizes: Sequence[Size] | None, default: list[Size], name: str) -> list[Size]:
        if sizes is None:
            return default
        if len(sizes) != batch_size:
            raise ValueError(
                f"{name} has {len(sizes)} entries for a batch of {batch_size} images; give one (height, width) each."
            )
        result = [(int(size[0]), int(size[1])) for size in sizes]
        for size in result:
            if min(size) < 1:
                raise ValueError(f"{name} must be at least (1, 1), got {size}.")
        return result

    images = complete(image_sizes, [padded] * batch_size, "image_sizes")
    for size in images:
        if size[0] > padded[0] or size[1] > padded[1]:
            raise ValueError(f"Image size {size} exceeds the padded size {padded} it is cropped from.")
    return padded, images, complete(output_sizes, images, "output_sizes")


def _check_logits(class_logits: Tensor, mask_logits: Tensor) -> None:
    if class_logits.ndim != 3 or mask_logits.ndim != 4 or class_logits.shape[:2] != mask_logits.shape[:2]:
        raise ValueError(
            "Class logits must be (B, Q, K + 1) and mask logits (B, Q, h, w) with equal B and Q, got "
            f"{tuple(class_logits.shape)} and {tuple(mask_logits.shape)}."
        )


# --------------------------------------------------------------------------------------------------------------------
# The four tasks
# --------------------------------------------------------------------------------------------------------------------
@torch.no_grad()
def semantic_segmentation(
    class_logits: Tensor,
    mask_logits: Tensor,
    *,
    padded_size: Size | None = None,
    image_sizes: Sequence[Size] | None = None,
    output_sizes: Sequence[Size] | None = None,
    canvas_sizes: Sequence[Size] | None = None,
    return_scores: bool = False,
) -> tuple[list[Tensor], list[Tensor] | None]:
    """Class map per image: argmax of the sum over queries of class probability times mask probability.

    The no-object class (last) is dropped after the softmax.

    Args:
        class_logits: logits of K classes and no-object.
        mask_logits: mask logits at the model's output stride.
        padded_size: size of the network input; default: that of the mask logits.
        image_sizes: size of each image inside the padded input (top left); default: no padding.
        output_sizes: size of each result; default: `image_sizes`.
        canvas_sizes: size to which each image is resized before its top left part of `output_sizes` is taken, for
            inputs padded to a square; default: `output_sizes`.
        return_scores: whether to return the class scores as well (K float maps at output size).

    Shape:
        class_logits (B, Q, K + 1), mask_logits (B, Q, h, w); maps (H, W) int64, scores (K, H, W) float32.

    Returns:
        The list of maps, and the list of scores or None.

    Raises:
        ValueError: if shapes or sizes do not fit together.
    """
    _check_logits(class_logits, mask_logits)
    padded, images, outputs = _check_and_complete_sizes(mask_logits, padded_size, image_sizes, output_sizes)
    canvases: Sequence[Size | None] = canvas_sizes or [None] * len(outputs)
    device = mask_logits.device
    with torch.autocast(device.type, enabled=False):
        class_probabilities = class_logits.float().softmax(-1)[..., :-1]
        ramp = _ramp(class_probabilities.shape[-1], device)
        maps: list[Tensor] = []
        scores: list[Tensor] = []
        for index, output_size in enumerate(outputs):
            weights = class_probabilities[index].t().contiguous()  # (K, Q)
            label_map = torch.empty(output_size, dtype=torch.int64, device=device)
            num_labels = len(weights)
            score_map = torch.empty((num_labels, *output_size), device=device) if return_scores else None
            for rows, band in _BandResizer(
                mask_logits[index], padded, images[index], output_size, canvases[index]
            ).bands():
                band_scores = (weights @ band.sigmoid_().flatten(1)).view(num_labels, *band.shape[1:])
                label_map[rows] = _first_argmax(band_scores, ramp, torch.empty_like(band_scores))
                if score_map is not None:
                    score_map[:, rows] = band_scores
            maps.append(label_map)
            if score_map is not None:
                scores.append(score_map)
    return maps, scores if return_scores else None


@torch.no_grad()
def resize_class_logits(
    logits: Tensor, padded_size: Size, image_sizes: Sequence[Size], output_sizes: Sequence[Size]
) -> list[Tensor]:
    """Resizes class logits per pixel to the images.

    Bilinearly, straight from the network's output if nothing was padded, else by way of the padded input, of which the
    image is cut out.

    Args:
        logits: Of a semantic model.
        padded_size: Height and width of its input.
        image_sizes: Size of each image inside the input, at its top left.
        output_sizes: Size of each result.

    Shape:
        logits: `(B, K, h, w)`; per image `(K, H, W)`, float32.
    """
    results = []
    for scores, inner, target in zip(logits.float().split(1), image_sizes, output_sizes):
        if tuple(inner) != tuple(padded_size):
            scores = functional.interpolate(scores, tuple(padded_size), mode="bilinear", align_corners=False)
            scores = scores[:, :, : inner[0], : inner[1]]
        results.append(functional.interpolate(scores, tuple(target), mode="bilinear", align_corners=False)[0])
    return results


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

    The host waits twice per batch: for the scores and for the table of segments.

    Args:
        class_logits: logits of K classes and no-object.
        mask_logits: mask logits at the model's output stride.
        padded_size: size of the network input; default: that of the mask logits.
        image_sizes: size of each image inside the padded input (top left); default: no padding.
        output_sizes: size of each result; default: `image_sizes`.
        canvas_sizes: size to which each image is resized before its top left part of `output_sizes` is taken, for
            inputs padded to a square; default: `output_sizes`.
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
    _check_logits(class_logits, mask_logits)
    padded, images, outputs = _check_and_complete_sizes(mask_logits, padded_size, image_sizes, output_sizes)
    canvases: Sequence[Size | None] = canvas_sizes or [None] * len(outputs)
    logit_threshold = _logit(mask_threshold, "mask_threshold")
    no_object = class_logits.shape[-1] - 1
    # First wait: the classes decide which masks are resized at all.
    best = class_logits.float().softmax(-1).max(-1)
    scores, labels = torch.stack([best.values, best.indices.float()]).cpu()  # (B, Q) each, in one copy
    labels = labels.to(torch.int64)
    kept_queries = (labels.ne(no_object) & scores.gt(threshold)).numpy()
    if query_scores is not None:
        scores = scores * query_scores.float().cpu()
    fused = torch.tensor(sorted(label_ids_to_fuse), dtype=torch.int64)

    maps: list[Tensor] = []
    tables: list[Tensor] = []
    kept: list[Tensor] = []
    with torch.autocast(mask_logits.device.type, enabled=False):
        for index in range(len(mask_logits)):
            queries = torch.from_numpy(np.flatnonzero(kept_queries[index]))
            kept.append(queries)
            if len(queries) == 0:
                maps.append(torch.zeros(outputs[index], dtype=torch.int32, device=mask_logits.device))
                continue
            query_labels = labels[index, queries]
            if suppress_duplicates:
                distinct = distinct_queries(
                    mask_logits[index].index_select(0, queries.to(mask_logits.device)),
                    scores[index, queries].to(mask_logits.device),
                    torch.isin(query_labels, fused).to(mask_logits.device),
                    padded_size=padded,
                    image_size=images[index],
                    mask_threshold=mask_threshold,
                )
                queries = queries[distinct.cpu()]
                kept[-1], query_labels = queries, labels[index, queries]
            id_map, table = _panoptic_of_image(
                _BandResizer(
                    mask_logits[index].index_select(0, queries.to(mask_logits.device)),
                    padded,
                    images[index],
                    outputs[index],
                    canvases[index],
                ),
                scores[index, queries].to(mask_logits.device),
                query_labels.to(mask_logits.device),
                torch.isin(query_labels, fused).to(mask_logits.device),
                logit_threshold,
                overlap_mask_area_threshold,
                min_segment_area,
            )
            maps.append(id_map)
            tables.append(table)

    # Second wait: ids and areas of all images at once.
    rows = iter(torch.cat(tables).tolist() if tables else [])
    fused_labels = set(fused.tolist())
    results = []
    for index, id_map in enumerate(maps):
        segments: dict[int, dict[str, Any]] = {}
        for query in kept[index].tolist():
            segment_id, area = next(rows)
            if segment_id == 0:
                continue
            label = int(labels[index, query])
            segment = segments.setdefault(
                segment_id,
                {
                    "id": segment_id,
                    "label_id": label,
                    "was_fused": label in fused_labels,
                    "score": float(scores[index, query]),
                    "area": 0,
                },
            )
            segment["area"] += area
        results.append((id_map, list(segments.values())))
    return results


def _panoptic_of_image(
    resizer: _BandResizer,
    scores: Tensor,
    labels: Tensor,
    is_fused: Tensor,
    logit_threshold: float,
    overlap_threshold: float,
    min_area: int = 0,
) -> tuple[Tensor, Tensor]:
    """Id map (H, W) int32 of one image and the table (N, 2) int64 of segment id (0 = dropped) and painted area."""
    num_queries, device = len(scores), scores.device
    ramp, score_column = _ramp(num_queries, device), scores.view(-1, 1, 1)
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
        winner = _first_argmax(band.sigmoid_().mul_(score_column), ramp, scratch)  # (rows, W)
        painted = (winner + 1) * inside.gather(0, winner.unsqueeze(0))[0].to(torch.int64)
        won_area += _count(winner, num_queries)
        painted_area += _count(painted, num_queries + 1)
        painted_map[rows] = painted
    painted_area = painted_area[1:]

    visible = _precise(won_area) / _precise(own_area.clamp(min=1))
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
    id_map = lookup.index_select(0, painted_map.flatten()).view(resizer.output_size)
    return id_map, torch.stack([ids, painted_area], 1)


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
        padded_size: size of the network input; default: that of the mask logits.
        image_sizes: size of each image inside the padded input (top left); default: no padding.
        output_sizes: size of each result; default: `image_sizes`.
        canvas_sizes: size to which each image is resized before its top left part of `output_sizes` is taken, for
            inputs padded to a square; default: `output_sizes`.
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
    _check_logits(class_logits, mask_logits)
    padded, images, outputs = _check_and_complete_sizes(mask_logits, padded_size, image_sizes, output_sizes)
    canvases: Sequence[Size | None] = canvas_sizes or [None] * len(outputs)
    logit_threshold = _logit(mask_threshold, "mask_threshold")
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
            if suppress_duplicates:
                is_thing &= _distinct_pairs(
                    mask_logits[index],
                    queries,
                    class_scores[index],
                    is_thing,
                    None if query_scores is None else query_scores[index],
                    padded,
                    images[index],
                    mask_threshold,
                )
            # Several pairs may share a query: its mask is resized once.
            unique_queries, mask_indices = queries[is_thing].unique(return_inverse=True)
            logits = mask_logits[index].index_select(0, unique_queries.to(mask_logits.device))
            packed, area, mean_probability = _instance_masks_of_image(
                _BandResizer(logits, padded, images[index], outputs[index], canvases[index]), logit_threshold
            )
            scores = class_scores[index, is_thing] * mean_probability[mask_indices]
            if query_scores is not None:
                scores = scores * query_scores[index].float().cpu()[queries[is_thing]]
            order = scores.argsort(descending=True, stable=True)
            order = order[(scores[order] >= threshold) & (area[mask_indices[order]] >= min_segment_area)]
            mask_indices = mask_indices[order]
            used, mask_indices = mask_indices.unique(return_inverse=True)
            packed = packed.index_select(0, used.to(packed.device))
            results.append(
                InstanceMasks(
                    scores=scores[order],
                    label_ids=labels[is_thing][order],
                    areas=area[used][mask_indices],
                    mask_indices=mask_indices,
                    packed_masks=packed,
                    segmentation=_topmost_instance(packed, mask_indices, outputs[index][1]),
                )
            )
    return results


def _instance_masks_of_image(resizer: _BandResizer, logit_threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Packed masks (M, H, ceil(W / 8)) on the device; areas and mean probabilities inside (M,) on the CPU."""
    num_masks, device = len(resizer.mask_logits), resizer.mask_logits.device
    height, width = resizer.output_size
    packed = torch.empty((num_masks, height, (width + 7) // 8), dtype=torch.uint8, device=device)
    sums = _precise(torch.zeros((2, num_masks), device=device))
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
    return packed, area.to(torch.int64), (total / (area + 1e-6)).to(torch.float32)


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


@torch.no_grad()
def binary_segmentation(
    mask_logits: Tensor,
    *,
    padded_size: Size | None = None,
    image_sizes: Sequence[Size] | None = None,
    output_sizes: Sequence[Size] | None = None,
    canvas_sizes: Sequence[Size] | None = None,
    mask_threshold: float = 0.5,
    return_probabilities: bool = False,
) -> list[Tensor]:
    """Binary masks (foreground probability above a threshold) at output size, per image.

    Args:
        mask_logits: mask logits at the model's output stride, N masks per image.
        padded_size: size of the network input; default: that of the mask logits.
        image_sizes: size of each image inside the padded input (top left); default: no padding.
        output_sizes: size of each result; default: `image_sizes`.
        canvas_sizes: size to which each image is resized before its top left part of `output_sizes` is taken, for
            inputs padded to a square; default: `output_sizes`.
        mask_threshold: probability above which a pixel is foreground.
        return_probabilities: whether to return float32 probabilities instead of booleans.

    Shape:
        mask_logits (B, h, w) or (B, N, h, w); results (H, W) or (N, H, W).

    Raises:
        ValueError: if shapes, sizes or the threshold are not legal.
    """
    if mask_logits.ndim not in (3, 4):
        raise ValueError(f"mask_logits must be (B, h, w) or (B, N, h, w), got {tuple(mask_logits.shape)}.")
    padded, images, outputs = _check_and_complete_sizes(mask_logits, padded_size, image_sizes, output_sizes)
    canvases: Sequence[Size | None] = canvas_sizes or [None] * len(outputs)
    logit_threshold = _logit(mask_threshold, "mask_threshold")
    dtype = torch.float32 if return_probabilities else torch.bool
    results = []
    with torch.autocast(mask_logits.device.type, enabled=False):
        for index, output_size in enumerate(outputs):
            logits = mask_logits[index] if mask_logits.ndim == 4 else mask_logits[index : index + 1]
            masks = torch.empty((len(logits), *output_size), dtype=dtype, device=mask_logits.device)
            if len(logits):
                for rows, band in _BandResizer(logits, padded, images[index], output_size, canvases[index]).bands():
                    masks[:, rows] = band.sigmoid_() if return_probabilities else band > logit_threshold
            results.append(masks if mask_logits.ndim == 4 else masks[0])
    return results


# --------------------------------------------------------------------------------------------------------------------
# Duplicates
# --------------------------------------------------------------------------------------------------------------------
@torch.no_grad()
def distinct_queries(
    mask_logits: Tensor,
    scores: Tensor,
    exempt: Tensor | None = None,
    *,
    padded_size: Size | None = None,
    image_size: Size | None = None,
    mask_threshold: float = 0.5,
    cover_threshold: float = 0.5,
) -> Tensor:
    """Tells which queries of an image remain when duplicates give way, greedily by score.

    From the best down, a query that remains removes every worse one of whose mask it covers a share of
    `cover_threshold`. Masks are compared as the model gives them, before any resize. A query's score is its class
    probability times the mean probability inside its mask. Empty masks are removed by any other.

    Args:
        mask_logits: of the queries of one image.
        scores: class probabilities.
        exempt: queries that neither remove nor are removed, such as those of stuff; default: none.
        padded_size: size of the network input; default: that of the mask logits.
        image_size: size of the image inside it (top left); default: no padding.
        mask_threshold: smallest mask probability of a pixel, inclusive.
        cover_threshold: smallest share that removes.

    Shape:
        mask_logits (N, h, w); scores, exempt (N,); result (N,) bool.
    """
    height, width = mask_logits.shape[-2:]
    if padded_size is not None and image_size is not None:  # what lies in the padding counts for nothing
        height = math.ceil(height * image_size[0] / padded_size[0])
        width = math.ceil(width * image_size[1] / padded_size[1])
    logits = mask_logits[:, :height, :width].float()
    masks = logits >= _logit(mask_threshold, "mask_threshold")
    inside = (logits.sigmoid() * masks).flatten(1).sum(1) / (masks.flatten(1).sum(1) + 1e-6)
    keep = torch.zeros(len(masks), dtype=torch.bool, device=masks.device) if exempt is None else exempt.clone()
    candidates = (~keep).nonzero()[:, 0]
    chosen = mask_nms(masks[candidates], (scores * inside)[candidates], 1.1, cover_threshold)
    keep[candidates[chosen]] = True
    return keep


def _distinct_pairs(
    mask_logits: Tensor,
    queries: Tensor,
    class_scores: Tensor,
    is_thing: Tensor,
    query_scores: Tensor | None,
    padded_size: Size,
    image_size: Size,
    mask_threshold: float,
) -> Tensor:
    """Tells which (query, class) pairs, best first, belong to queries that remain. Shape: all (N,), on the CPU."""
    things = queries[is_thing]
    used, inverse = things.unique(return_inverse=True)
    best = torch.zeros(len(used)).scatter_reduce_(0, inverse, class_scores[is_thing], reduce="amax")
    if query_scores is not None:
        best = best * query_scores.float().cpu()[used]
    device = mask_logits.device
    distinct = distinct_queries(
        mask_logits.index_select(0, used.to(device)),
        best.to(device),
        padded_size=padded_size,
        image_size=image_size,
        mask_threshold=mask_threshold,
    ).cpu()
    keep = torch.zeros_like(is_thing)
    keep[is_thing] = distinct[inverse]
    return keep


# --------------------------------------------------------------------------------------------------------------------
# Sets of class-agnostic masks
# --------------------------------------------------------------------------------------------------------------------
NMS_RULES = ("or", "and", "iou")
# Candidates that are compared with all others at once, and pixels per matrix product: bound the memory.
NMS_BLOCK = 64
NMS_PIXELS = 1 << 15
NMS_EPSILON = 1e-6


def _intersections(few: Tensor, many: Tensor) -> Tensor:
    """Pixels common to masks of two sets. Shape: bool (n, S) and (m, S); result (n, m) float32, exact below 2^24."""
    common = torch.zeros((len(few), len(many)), device=many.device)
    for start in range(0, many.shape[1], NMS_PIXELS):
        common += few[:, start : start + NMS_PIXELS].float() @ many[:, start : start + NMS_PIXELS].float().t()
    return common


@torch.no_grad()
def mask_nms(
    masks: Tensor, scores: Tensor, iou_threshold: float = 0.5, cover_threshold: float = 0.7, rule: str = "or"
) -> Tensor:
    """Non-maximum suppression of masks by their pixels (Unpair-Seg, algorithm 1).

    From the best mask down, a kept mask removes every worse one that repeats it (IoU) or lies inside it (cover: the
    share of the worse mask inside the better). Candidates are taken in blocks of equal treatment: one matrix product
    gives all overlaps of a block with what is left, and suppression within a block is solved by iteration to its fixed
    point, so that no loop runs over pairs of masks. The result is that of the sequential rule.

    Args:
        masks: Binary masks.
        scores: Quality of each.
        iou_threshold: Smallest IoU that removes.
        cover_threshold: Smallest cover that removes. Empty masks count as covered.
        rule: `"or"` removes at one of the two (the authors' code); `"and"` where both are exceeded, as printed, which
            never removes a part of a kept object; `"iou"` ignores cover.

    Returns:
        Indices of kept masks, best first.

    Shape:
        masks `(N, H, W)` bool; scores `(N,)`; result `(n,)` int64.

    Raises:
        ValueError: for an unknown rule, or scores that do not fit.
    """
    if rule not in NMS_RULES:
        raise ValueError(f"NMS rule {rule!r} is unknown; choose one of {', '.join(NMS_RULES)}.")
    if masks.ndim != 3 or scores.shape != masks.shape[:1]:
        raise ValueError(
            f"Masks must be (N, H, W) with one score each, got {tuple(masks.shape)}, {tuple(scores.shape)}."
        )
    order = scores.argsort(descending=True, stable=True)
    if not len(order):
        return order
    flat = masks.flatten(1)
    areas = flat.sum(1).float()
    kept: list[Tensor] = []
    while len(order):
        block, rest = order[:NMS_BLOCK], order
        common = _intersections(flat[block], flat[rest])  # (n, m), n first of m
        area, own = areas[rest], areas[block][:, None]
        iou = (common + NMS_EPSILON) / (own + area - common + NMS_EPSILON)
        cover = (common + NMS_EPSILON) / (area + NMS_EPSILON)
        if rule == "or":
            removes = (iou >= iou_threshold) | (cover >= cover_threshold)
        elif rule == "and":
            removes = (iou > iou_threshold) & (cover > cover_threshold)
        else:
            removes = iou >= iou_threshold
        removes &= torch.ones_like(removes).triu(1)  # only worse masks
        inside = removes[:, : len(block)]
        alive = torch.ones(len(block), dtype=torch.bool, device=masks.device)
        while True:
            survivors = ~(inside & alive[:, None]).any(0)
            if torch.equal(survivors, alive):
                break
            alive = survivors
        kept.append(block[alive])
        gone = (removes & alive[:, None]).any(0)
        order = rest[len(block) :][~gone[len(block) :]]
    return torch.cat(kept)


def mask_stability(mask_logits: Tensor, threshold: float = 0.5, offset: float = 0.1) -> Tensor:
    """Stability of masks: area above `threshold + offset` by area above `threshold - offset`, of logits.

    NaN where even the larger area is empty, so that such a mask passes no threshold.

    Shape: mask_logits (..., H, W); result (...).
    """
    strict = (mask_logits > threshold + offset).flatten(-2).sum(-1)
    loose = (mask_logits > threshold - offset).flatten(-2).sum(-1)
    return strict / loose


def clean_small_regions(masks: np.ndarray, min_area: int) -> np.ndarray:
    """Fills holes, then drops islands, smaller than an area; a mask of small islands only keeps its largest.

    Pixels touching at a corner are connected.

    Shape: masks (N, H, W) bool; result likewise.
    """
    from scipy import ndimage

    cleaned = np.array(masks, dtype=bool)
    for index in range(len(cleaned)):
        for holes in (True, False):
            regions, count = ndimage.label(cleaned[index] != holes, structure=np.ones((3, 3), dtype=int))
            sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
            small = sizes < min_area
            if not small.any():
                continue
            if holes:
                cleaned[index] |= np.concatenate(([False], small))[regions]
            else:
                large = ~small if not small.all() else np.arange(count) == sizes.argmax()
                cleaned[index] = np.concatenate(([False], large))[regions]
    return cleaned
