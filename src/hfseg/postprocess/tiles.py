# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Which query wins which pixel, tile by tile, on a CPU: most queries cannot win anywhere in most tiles.

A resized logit is a weighted mean of inputs. Their largest and smallest value near a tile bound every logit in it, so
a query whose best score stays below the worst score of another one is left out of the tile before anything is resized.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .resizing import Axis, BandResizer

__all__ = ["Contest", "contest_in_tiles", "tiles_pay"]

# Inputs that a tile's side covers, about; fewer leave out more queries, more have less to look up.
INPUTS_PER_TILE = 6
TILE_SIDES = (8, 16, 32, 64)
# An output that is smaller than its input reads many inputs per pixel: bands are as fast there.
MOST_INPUTS = 24
# Side of the blocks of inputs whose extremes are kept.
BLOCK = 2
# With fewer queries there is little to leave out.
FEWEST_QUERIES = 4
# If more of all pairs of query and tile take part, bands of all queries are as fast.
LARGEST_SHARE = 0.3
# Logits of one batch of tiles, and inputs of one batch of queries whose extremes are found, which fit the cache.
BATCH_ELEMENTS = 1 << 21
EXTREMES_ELEMENTS = 1 << 19
LIMITS = (torch.minimum, torch.maximum)
# Bounds are compared with a distance that rounding cannot bridge.
MARGIN = 1e-4


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


@dataclass(frozen=True)
class _Tiles:
    """One axis in tiles: the first input that each reads, and the weights of its inputs.

    Shape: first (n,), weights (n, side, inputs).
    """

    first: Tensor
    weights: Tensor

    @classmethod
    def of(cls, axis: Axis, side: int) -> "_Tiles":
        """Cuts an axis. The last tile repeats the last output."""
        outputs = len(axis.indices)
        number = -(-outputs // side)
        places = torch.arange(number * side).clamp_(max=outputs - 1)
        indices, weights = axis.indices[places].view(number, -1), axis.weights[places]
        first = indices.amin(1)
        offsets = (indices - first[:, None]).view(number, side, -1)
        dense = torch.zeros(number, side, int(offsets.amax()) + 1)
        return cls(first, dense.scatter_add_(2, offsets, weights.view(number, side, -1)))

    @property
    def inputs(self) -> int:
        return self.weights.shape[2]

    def windows(self, blocks: int) -> Tensor:
        """Blocks of inputs that each tile may read, `(n, most)`; of few blocks the last is repeated."""
        last = (self.first + self.inputs - 1) // BLOCK
        most = int((last - self.first // BLOCK).amax()) + 1
        return (self.first[:, None] // BLOCK + torch.arange(most)).clamp_(max=blocks - 1)


def _side(axis: Axis) -> int:
    scale = len(axis.indices) / max(axis.size, 1)
    return min(TILE_SIDES, key=lambda side: abs(side - INPUTS_PER_TILE * scale))


def tiles_pay(resizer: BandResizer) -> bool:
    """Whether to go by tiles: on a CPU, for some queries, and no heavy reduction of size."""
    logits = resizer.mask_logits
    if logits.device.type != "cpu" or len(logits) < FEWEST_QUERIES:
        return False
    inputs = max(axis.size / len(axis.indices) * _side(axis) for axis in (resizer.rows_axis, resizer.columns_axis))
    return inputs <= MOST_INPUTS


def _reduce(values: Tensor, tiles: _Tiles, larger: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Largest (or smallest) value near each tile along dim 1; by slices, as reductions of short axes are slow."""
    last = values[:, -1:].expand(-1, -values.shape[1] % BLOCK, -1)
    even = values if last.shape[1] == 0 else torch.cat((values, last), 1)
    blocks = larger(even[:, 0::BLOCK], even[:, 1::BLOCK])
    windows = tiles.windows(blocks.shape[1])
    result = blocks.index_select(1, windows[:, 0])
    for place in range(1, windows.shape[1]):
        result = larger(result, blocks.index_select(1, windows[:, place]))
    return result


def _extremes(logits: Tensor, rows: _Tiles, columns: _Tiles) -> tuple[Tensor, Tensor]:
    """Smallest and largest input near each tile. Shape: (N, h, w) -> twice (N, tile rows, tile columns)."""
    parts: list[tuple[Tensor, Tensor]] = []
    step = max(1, EXTREMES_ELEMENTS // max(1, logits[0].numel()))
    for part in logits.split(step):
        near_rows = (_reduce(part, rows, choose).transpose(1, 2).contiguous() for choose in LIMITS)
        low, high = (_reduce(near, columns, choose).transpose(1, 2) for near, choose in zip(near_rows, LIMITS))
        parts.append((low, high))
    return torch.cat([low for low, _ in parts]), torch.cat([high for _, high in parts])


def _alive(rows: _Tiles, columns: _Tiles, logits: Tensor, scores: Tensor, logit_threshold: float) -> Tensor | None:
    """Whether a query can win a pixel of a tile or has pixels of its own there; in every tile one can.

    None if an input is not finite.

    Shape: logits (N, h, w), scores (N,); result (N, tiles).
    """
    smallest, largest = _extremes(logits, rows, columns)
    if not bool((smallest.isfinite() & largest.isfinite()).all()):  # a NaN is both extremes of its tiles
        return None
    column = scores.view(-1, 1, 1)
    best_of_worst = (smallest.sigmoid_() * column).amax(0)
    own = largest >= logit_threshold - MARGIN * (1 + abs(logit_threshold))
    return (own | (largest.sigmoid_() * column >= best_of_worst * (1 - MARGIN))).flatten(1)


def _batches(alive: Tensor, side_product: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Tiles with about equally many queries, together.

    Shape: alive (N, T); yields tiles (t,), their queries (t, k), ascending, and which of these count (t, k).
    """
    tile, query = alive.t().nonzero(as_tuple=True)
    numbers = alive.sum(0)
    place = torch.arange(len(tile)) - (numbers.cumsum(0) - numbers)[tile]
    order = numbers.argsort()
    start, sizes = 0, numbers[order]
    while start < len(order):
        # As many as the largest of them allows; sizes ascend, so the last is the largest.
        guess = max(1, BATCH_ELEMENTS // (side_product * max(1, int(sizes[start]))))
        stop = min(start + guess, len(order))
        allowed = max(1, BATCH_ELEMENTS // (side_product * max(1, int(sizes[stop - 1]))))
        tiles = order[start : min(start + allowed, stop)]
        start += len(tiles)
        width = int(numbers[tiles].amax())
        slot = torch.full((len(numbers),), -1)
        slot[tiles] = torch.arange(len(tiles))
        mine = slot[tile] >= 0
        queries = torch.zeros(len(tiles), width, dtype=torch.int64)
        queries[slot[tile[mine]], place[mine]] = query[mine]
        yield tiles, queries, torch.arange(width) < numbers[tiles][:, None]


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
    logits, (height, width) = resizer.mask_logits, resizer.output_size
    number = len(logits)
    side_y, side_x = _side(resizer.rows_axis), _side(resizer.columns_axis)
    rows, columns = _Tiles.of(resizer.rows_axis, side_y), _Tiles.of(resizer.columns_axis, side_x)
    alive = _alive(rows, columns, logits, scores, logit_threshold)
    if alive is None or alive.count_nonzero() > LARGEST_SHARE * alive.numel():
        return None
    tiles_down, tiles_across = len(rows.first), len(columns.first)
    winners = torch.empty(tiles_down * tiles_across, side_y, side_x, dtype=torch.int32)
    painted = torch.empty_like(winners)
    own_area = torch.zeros(number, dtype=torch.int64)
    inside_y = torch.arange(tiles_down * side_y).view(tiles_down, side_y) < height
    inside_x = torch.arange(tiles_across * side_x).view(tiles_across, side_x) < width
    ragged = bool(height % side_y or width % side_x)
    most_y, most_x = resizer.rows_axis.size - 1, resizer.columns_axis.size - 1
    for tiles, queries, counts in _batches(alive, side_y * side_x):
        ty, tx = tiles // tiles_across, tiles % tiles_across
        y = (rows.first[ty][:, None] + torch.arange(rows.inputs)).clamp_(max=most_y)
        x = (columns.first[tx][:, None] + torch.arange(columns.inputs)).clamp_(max=most_x)
        places = (queries[:, None] * logits.shape[1] + y[:, :, None])[..., None] * logits.shape[2] + x[:, None, None]
        narrow = logits.view(-1).index_select(0, places.view(-1)).view(places.shape)  # (t, inputs, k, inputs)
        wide = narrow.flatten(1, 2) @ columns.weights[tx].transpose(1, 2)
        resized = rows.weights[ty] @ wide.view(len(tiles), rows.inputs, -1)
        resized = resized.view(len(tiles), side_y, queries.shape[1], side_x)  # (t, y, k, x)
        passes = resized >= logit_threshold
        valid = passes
        if ragged:
            valid = passes & (inside_y[ty][:, :, None] & inside_x[tx][:, None])[:, :, None]
        own_area.index_add_(0, queries.flatten(), (valid.sum(3).sum(1) * counts).flatten())
        values = resized.sigmoid_().mul_(torch.where(counts, scores[queries], -1.0)[:, None, :, None])
        best, slot = values[:, :, 0], torch.zeros(len(tiles), side_y, side_x, dtype=torch.int64)
        for other in range(1, queries.shape[1]):
            better = values[:, :, other] > best
            best = torch.where(better, values[:, :, other], best)
            slot.masked_fill_(better, other)
        winner = queries.gather(1, slot.flatten(1)).view_as(slot)
        winners[tiles] = winner.to(torch.int32)
        shown = passes.gather(2, slot[:, :, None])[:, :, 0]
        painted[tiles] = ((winner + 1) * shown).to(torch.int32)

    def whole(tiled: Tensor) -> Tensor:
        tiled = tiled.view(tiles_down, tiles_across, side_y, side_x).transpose(1, 2)
        return tiled.reshape(tiles_down * side_y, tiles_across * side_x)[:height, :width]

    painted_map = whole(painted).contiguous()
    won_area = torch.bincount(whole(winners).flatten(), minlength=number)
    painted_area = torch.bincount(painted_map.flatten(), minlength=number + 1)[1:]
    return Contest(own_area, won_area, painted_area, painted_map)
