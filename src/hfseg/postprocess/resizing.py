# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Mask logits to any size by way of the padded input, in bands of rows that fit the cache.

Resizing to the padded network input, cropping to the image and resizing to the output are linear and act on rows and
columns separately, so together they are one sparse matrix per axis (at most four entries per output pixel). No map of
all queries at output size ever exists.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .sizes import Size

# Elements (queries x rows x width) of one band: a few MB stay in the cache of a CPU core, accelerators want more work.
BAND_ELEMENTS_CPU = 1 << 20
BAND_ELEMENTS_ACCELERATOR = 1 << 26
# Areas of a band are summed in float32, which counts exactly up to here.
MAX_EXACT_COUNT = 1 << 24
# Bands that share one resize of columns on CPU.
BANDS_PER_GROUP = 4
# Output columns per matrix product on CPU; a block touches only the input columns it needs.
COLUMN_BLOCK = 64
# Output rows of one query at a time, where only a part of the output is made.
REGION_ROWS = 64


def bilinear_taps(source: int, target: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower index, upper index and weight of the upper one for a 1-D bilinear resize (`align_corners=False`).

    Computed in float32 like `torch.nn.functional.interpolate`, so that rounding agrees with it.
    """
    scale = torch.tensor(source / target, dtype=torch.float32)
    position = (scale * (torch.arange(target, dtype=torch.float32) + 0.5) - 0.5).clamp_(min=0)
    lower = position.to(torch.int64).clamp_(max=source - 1)
    upper = (lower + 1).clamp_(max=source - 1)
    return lower, upper, position - lower


@dataclass(frozen=True)
class Axis:
    """One axis of the fused resize: output i = sum over t of weights[i, t] * input[indices[i, t]].

    Shape: indices and weights (output size, 4), on the CPU.
    """

    indices: Tensor
    weights: Tensor
    size: int  # of the input

    @classmethod
    def fused(cls, size: int, padded: int, cropped: int, output: int, canvas: int | None = None) -> "Axis":
        up_lower, up_upper, up_weight = bilinear_taps(size, padded)
        # Of a canvas larger than the output only the first pixels are made.
        down_lower, down_upper, down_weight = (taps[:output] for taps in bilinear_taps(cropped, canvas or output))
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


class BandResizer:
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
        self.rows_axis = Axis.fused(height, padded_size[0], image_size[0], output_size[0], canvas[0])
        self.columns_axis = Axis.fused(width, padded_size[1], image_size[1], output_size[1], canvas[1])
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

    def at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Logits of all queries at some outputs. Shape: (n,), (n,) -> (Q, n), float32."""
        device, inputs = self.mask_logits.device, self.mask_logits.flatten(1)
        y, x = self.rows_axis.indices[rows.cpu()].to(device), self.columns_axis.indices[columns.cpu()].to(device)
        by_row = self.rows_axis.weights[rows.cpu()].to(device)
        by_column = self.columns_axis.weights[columns.cpu()].to(device)
        result = inputs.new_zeros(len(inputs), len(rows))
        for row in range(y.shape[1]):
            for column in range(x.shape[1]):
                picked = inputs.index_select(1, y[:, row] * self.columns_axis.size + x[:, column])
                result.addcmul_(picked, by_row[:, row] * by_column[:, column])
        return result

    @cached_property
    def _dense(self) -> tuple[Tensor, list[tuple[slice, slice, Tensor]]]:
        """Operator of the rows, and of the columns in blocks: outputs, the inputs they read, matrix.

        On CPU small dense blocks are several times faster than gathers.
        """
        columns_matrix = self.columns_axis.dense().t().contiguous()
        blocks = []
        for start in range(0, self.output_size[1], COLUMN_BLOCK):
            stop = min(start + COLUMN_BLOCK, self.output_size[1])
            first, last = self.columns_axis.span(start, stop)
            blocks.append((slice(start, stop), slice(first, last), columns_matrix[first:last, start:stop].contiguous()))
        return self.rows_axis.dense(), blocks

    def regions(self, level: float) -> list[tuple[int, int, int, int] | None]:
        """Per query the part of the output outside of which no logit exceeds `level`, or None if there is none.

        Every output is a weighted mean of at most 16 inputs, so it exceeds a level only where an input does. Columns
        are widened to whole blocks.

        Returns:
            Half-open (top, bottom, left, right) in output pixels.
        """
        # Rounding may lift a mean above its largest input.
        level = level - 1e-5 * abs(level) if math.isfinite(level) else level
        passes = self.mask_logits > level
        found: list[tuple[int, int, int, int] | None] = []
        rows = passes.any(2)[:, self.rows_axis.indices].any(2).numpy()  # (Q, H)
        columns = passes.any(1)[:, self.columns_axis.indices].any(2).numpy()  # (Q, W)
        for row, column in zip(rows, columns):
            y, x = np.flatnonzero(row), np.flatnonzero(column)
            if not (len(y) and len(x)):
                found.append(None)
                continue
            left, right = x[0] // COLUMN_BLOCK * COLUMN_BLOCK, -(-(x[-1] + 1) // COLUMN_BLOCK) * COLUMN_BLOCK
            found.append((int(y[0]), int(y[-1]) + 1, int(left), min(int(right), self.output_size[1])))
        return found

    def bands_of(self, query: int, region: tuple[int, int, int, int]) -> Iterator[tuple[slice, Tensor]]:
        """Yields (rows, logits (rows, columns of the region)) of one query, on CPU; as `bands` up to rounding."""
        top, bottom, left, right = region
        rows_matrix, blocks = self._dense
        first, last = self.rows_axis.span(top, bottom)
        narrow = self.mask_logits[query, first:last]
        wide = torch.empty(last - first, right - left)
        for out_columns, in_columns, block in blocks[left // COLUMN_BLOCK : -(-right // COLUMN_BLOCK)]:
            columns = slice(out_columns.start - left, out_columns.stop - left)
            torch.mm(narrow[:, in_columns], block, out=wide[:, columns])
        step = max(1, min(REGION_ROWS, BAND_ELEMENTS_CPU // (right - left)))
        for row in range(top, bottom, step):
            rows = slice(row, min(row + step, bottom))
            start, stop = self.rows_axis.span(rows.start, rows.stop)
            yield rows, rows_matrix[rows, start:stop] @ wide[start - first : stop - first]

    def _bands_by_matrix_product(self) -> Iterator[tuple[slice, Tensor]]:
        num_queries, _, width = self.mask_logits.shape
        out_width = self.output_size[1]
        rows_matrix, blocks = self._dense
        slices = self._row_slices()
        spans = [self.rows_axis.span(rows.start, rows.stop) for rows in slices]
        # Neighboring bands share input rows, so columns are resized for several bands at once.
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
