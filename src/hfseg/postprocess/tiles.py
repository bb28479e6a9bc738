# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Outputs of a resize in tiles, on a CPU: bounds of the logits of each, and the resize of some queries in some tiles.

A resized logit is a weighted mean of inputs, so their largest and smallest value near a tile bound every logit in it.
Who cannot matter in a tile is left out of it before anything is resized.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .resizing import Axis, BandResizer

__all__ = ["TileGrid", "tiles_pay"]

# Inputs that a tile's side covers, about; fewer leave out more queries, more have less to look up.
INPUTS_PER_TILE = 6
TILE_SIDES = (8, 16, 32, 64)
# An output that is smaller than its input reads many inputs per pixel: bands are as fast there.
MOST_INPUTS = 24
# Side of the blocks of inputs whose extremes are kept.
BLOCK = 2
# With fewer queries there is little to leave out.
FEWEST_QUERIES = 4
# Logits of one batch of tiles, and inputs of one batch of queries whose extremes are found, which fit the cache.
BATCH_ELEMENTS = 1 << 21
EXTREMES_ELEMENTS = 1 << 19
LIMITS = (torch.minimum, torch.maximum)


@dataclass(frozen=True)
class _Strips:
    """One axis in tiles: the first input that each reads, and the weights of its inputs.

    Shape: first (n,), weights (n, side, inputs).
    """

    first: Tensor
    weights: Tensor

    @classmethod
    def of(cls, axis: Axis, side: int) -> "_Strips":
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

    def reduce(self, values: Tensor, larger: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Largest (or smallest) value near each tile along dim 1; by slices, as reductions of short axes are slow."""
        last = values[:, -1:].expand(-1, -values.shape[1] % BLOCK, -1)
        even = values if last.shape[1] == 0 else torch.cat((values, last), 1)
        blocks = larger(even[:, 0::BLOCK], even[:, 1::BLOCK])
        windows = self.windows(blocks.shape[1])
        result = blocks.index_select(1, windows[:, 0])
        for place in range(1, windows.shape[1]):
            result = larger(result, blocks.index_select(1, windows[:, place]))
        return result


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


class TileGrid:
    """The outputs of a resize in tiles, numbered row by row; those at the right and bottom may reach beyond the image.

    Args:
        resizer: see `tiles_pay`.
    """

    def __init__(self, resizer: BandResizer):
        self.logits, self.output_size = resizer.mask_logits, resizer.output_size
        self.side_y, self.side_x = _side(resizer.rows_axis), _side(resizer.columns_axis)
        self.rows = _Strips.of(resizer.rows_axis, self.side_y)
        self.columns = _Strips.of(resizer.columns_axis, self.side_x)
        self.down, self.across = len(self.rows.first), len(self.columns.first)

    def __len__(self) -> int:
        return self.down * self.across

    def extremes(self) -> tuple[Tensor, Tensor] | None:
        """Smallest and largest input near each tile, None if an input is not finite. Shape: twice (Q, tiles)."""
        parts: list[tuple[Tensor, Tensor]] = []
        step = max(1, EXTREMES_ELEMENTS // max(1, self.logits[0].numel()))
        for part in self.logits.split(step):
            near_rows = (self.rows.reduce(part, choose).transpose(1, 2).contiguous() for choose in LIMITS)
            low, high = (self.columns.reduce(near, choose).transpose(1, 2) for near, choose in zip(near_rows, LIMITS))
            parts.append((low, high))
        smallest, largest = (torch.cat(some).flatten(1) for some in zip(*parts))
        if not bool((smallest.isfinite() & largest.isfinite()).all()):  # a NaN is both extremes of its tiles
            return None
        return smallest, largest

    def batches(self, alive: Tensor, among: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Tiles with about equally many queries, together; all tiles, or those `among` which are asked for.

        Shape: alive (Q, tiles), among (n,); yields tiles (t,), their queries (t, k), ascending, and which of these
            count (t, k).
        """
        area = self.side_y * self.side_x
        if among is not None:
            for tiles, queries, counts in self.batches(alive[:, among]):
                yield among[tiles], queries, counts
            return
        tile, query = alive.t().nonzero(as_tuple=True)
        numbers = alive.sum(0)
        place = torch.arange(len(tile)) - (numbers.cumsum(0) - numbers)[tile]
        order = numbers.argsort()
        start, sizes = 0, numbers[order]
        while start < len(order):
            # As many as the largest of them allows; sizes ascend, so the last is the largest.
            guess = max(1, BATCH_ELEMENTS // (area * max(1, int(sizes[start]))))
            stop = min(start + guess, len(order))
            allowed = max(1, BATCH_ELEMENTS // (area * max(1, int(sizes[stop - 1]))))
            tiles = order[start : min(start + allowed, stop)]
            start += len(tiles)
            width = int(numbers[tiles].amax())
            slot = torch.full((len(numbers),), -1)
            slot[tiles] = torch.arange(len(tiles))
            mine = slot[tile] >= 0
            queries = torch.zeros(len(tiles), width, dtype=torch.int64)
            queries[slot[tile[mine]], place[mine]] = query[mine]
            yield tiles, queries, torch.arange(width) < numbers[tiles][:, None]

    def resize(self, tiles: Tensor, queries: Tensor) -> Tensor:
        """Logits of some queries in some tiles. Shape: tiles (t,), queries (t, k) -> (t, side, k, side)."""
        ty, tx = tiles // self.across, tiles % self.across
        height, width = self.logits.shape[1:]
        y = (self.rows.first[ty][:, None] + torch.arange(self.rows.inputs)).clamp_(max=height - 1)
        x = (self.columns.first[tx][:, None] + torch.arange(self.columns.inputs)).clamp_(max=width - 1)
        places = (queries[:, None] * height + y[:, :, None])[..., None] * width + x[:, None, None]
        narrow = self.logits.view(-1).index_select(0, places.view(-1)).view(places.shape)  # (t, inputs, k, inputs)
        wide = narrow.flatten(1, 2) @ self.columns.weights[tx].transpose(1, 2)
        resized = self.rows.weights[ty] @ wide.view(len(tiles), self.rows.inputs, -1)
        return resized.view(len(tiles), self.side_y, queries.shape[1], self.side_x)

    def inside(self, tiles: Tensor) -> Tensor | None:
        """Which outputs lie in the image, None if all of all tiles do. Shape: tiles (t,) -> (t, side, side)."""
        height, width = self.output_size
        if not (height % self.side_y or width % self.side_x):
            return None
        ty, tx = tiles // self.across, tiles % self.across
        y = ty[:, None] * self.side_y + torch.arange(self.side_y) < height
        x = tx[:, None] * self.side_x + torch.arange(self.side_x) < width
        return y[:, :, None] & x[:, None]

    def whole(self, tiled: Tensor) -> Tensor:
        """Puts tiles together. Shape: (tiles, side, side) -> (H, W)."""
        tiled = tiled.view(self.down, self.across, self.side_y, self.side_x).transpose(1, 2)
        whole = tiled.reshape(self.down * self.side_y, self.across * self.side_x)
        return whole[: self.output_size[0], : self.output_size[1]]
