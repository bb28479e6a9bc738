# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Semantic segmentation by overlapping windows whose class scores are averaged.

The image is resized and normalized once by the image processor; windows are cut out of the network input, so that a
window the size of the image is the plain prediction. Windows are worked off row by row: what lies above the next row
is finished, is resized to the result and leaves the memory, which holds scores for about one row of windows.

Shapes: K classes, (h, w) network input, (H, W) result.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..postprocess.reductions import descending, first_argmax
from .scores import Predict, Size, check_size, image_size, output_scores, pad_to_divisor, prepare

__all__ = ["gaussian_weights", "sliding_window_scores", "sliding_window_segmentation", "window_starts"]

WEIGHTINGS = ("mean", "gaussian")
# Scores whose largest is looked for at once: they stay in the cache.
ARGMAX_ELEMENTS = 1 << 20


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First positions of windows that cover 0 .. length - 1; the last window is moved back to end with the image.

    Raises:
        ValueError: A stride below 1 or above the window, which would leave gaps.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride {stride} must be between 1 and the window, {window}.")
    if length <= window:
        return [0]
    return [*range(0, length - window, stride), length - window]


@functools.lru_cache(maxsize=8)
def gaussian_weights(size: Size, deviation: float = 0.125) -> Tensor:
    """Weights that fall off from the middle of a window to its border.

    A product of two Gaussians with a standard deviation of `deviation` times the side, 1 at the middle, and nowhere
    below 1e-3, so that pixels that only a corner covers keep a sound average.

    Shape:
        (h, w), float32.
    """
    lines = []
    for side in size:
        distance = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
        lines.append(torch.exp(-0.5 * (distance / (deviation * side)) ** 2))
    return torch.outer(*lines).clamp(min=1e-3).to(torch.float32)


@dataclass
class _Sums:
    """Weighted sums of scores, and of weights.

    Attributes:
        keep: Whether finished rows stay in memory; else there is room for one row of windows.
        scores: `(K, h, w)`.
    """

    keep: bool = False
    scores: Tensor | None = None


def _bands(
    pixel_values: Tensor,
    predict: Predict,
    image_processor: Any,
    window: Size,
    stride: Size,
    weighting: str,
    batch_size: int,
    kind: str,
    sums: _Sums,
) -> Iterator[Tensor]:
    """Averaged scores (K, rows, w) from the top down, each band as soon as no further window touches it.

    A band is overwritten when the next one is asked for.
    """
    height, width = pixel_values.shape[-2:]
    size = (min(window[0], height), min(window[1], width))
    rows, columns = window_starts(height, window[0], stride[0]), window_starts(width, window[1], stride[1])
    weights = torch.ones(size) if weighting == "mean" else gaussian_weights(size)
    weights = weights.to(pixel_values.device)
    totals = sums.scores  # (K, rows, w)
    room = height if sums.keep else size[0]
    weight_sums = weights.new_zeros((room, width))
    for number, top in enumerate(rows):
        inside = slice(top, top + size[0]) if sums.keep else slice(0, size[0])
        for first in range(0, len(columns), batch_size):
            lefts = columns[first : first + batch_size]
            windows = [pixel_values[:, :, top : top + size[0], left : left + size[1]] for left in lefts]
            batch = pad_to_divisor(torch.cat(windows), image_processor)
            outputs = predict(batch)
            padded = (batch.shape[-2], batch.shape[-1])
            sizes = [size] * len(lefts)
            for left, scores in zip(lefts, output_scores(outputs, padded, sizes, sizes, kind)):
                if totals is None:
                    totals = sums.scores = scores.new_zeros((len(scores), room, width))
                    weights, weight_sums = weights.to(scores.device), weight_sums.to(scores.device)
                own = totals[:, inside, left : left + size[1]]
                own = own.add_(scores) if weighting == "mean" else own.addcmul_(scores, weights)
                weight_sums[inside, left : left + size[1]] += weights
        assert totals is not None
        finished = (rows[number + 1] if number + 1 < len(rows) else height) - top
        done = slice(inside.start, inside.start + finished)
        yield totals[:, done].div_(weight_sums[done])
        if not sums.keep:
            _move_up(totals, finished)
            _move_up(weight_sums[None], finished)


def _move_up(sums: Tensor, rows: int) -> None:
    """Moves rows to the top, in place, and fills up with zeros. Shape: sums (K, h, w)."""
    height = sums.shape[1]
    for first in range(rows, height, rows):  # pieces that do not overlap what they are written to
        piece = sums[:, first : first + rows]
        sums[:, first - rows : first - rows + piece.shape[1]] = piece
    sums[:, max(height - rows, 0) :].zero_()


def _resized_bands(bands: Iterator[Tensor], source: Size, target: Size) -> Iterator[Tensor]:
    """Bands (K, rows, W) of the bilinearly resized scores (`align_corners=False`), holding no more rows than needed."""
    if source == target:
        yield from bands
        return
    position = ((torch.arange(target[0], dtype=torch.float64) + 0.5) * (source[0] / target[0]) - 0.5).clamp_(min=0)
    lower = position.to(torch.int64).clamp_(max=source[0] - 1)
    upper = (lower + 1).clamp_(max=source[0] - 1)
    fraction = (position - lower).to(torch.float32)
    held: Tensor | None = None
    held_from, done = 0, 0
    for band in bands:
        # Columns need nothing from other rows: they are resized as the rows come.
        band = functional.interpolate(band[None], (band.shape[1], target[1]), mode="bilinear", align_corners=False)[0]
        held = band if held is None else torch.cat([held, band], dim=1)
        ready = int((upper < held_from + held.shape[1]).sum())
        if ready > done:
            rows = slice(done, ready)
            weight = fraction[rows, None].to(held.device)
            above = held[:, (lower[rows] - held_from).to(held.device)]
            below = held[:, (upper[rows] - held_from).to(held.device)]
            yield torch.lerp(above, below, weight)
            done = ready
        end = held_from + held.shape[1]
        keep_from = min(int(lower[done]), end) if done < target[0] else end
        held, held_from = held[:, keep_from - held_from :], keep_from


def _score_bands(
    image: Any,
    predict: Predict,
    image_processor: Any,
    window: Any,
    stride: Any,
    weighting: str,
    target_size: Size | None,
    batch_size: int,
    kind: str,
    changes: dict[str, Any],
    sums: _Sums,
) -> tuple[Size, Iterator[Tensor]]:
    """Size of the result, and its bands of scores (K, rows, W) from the top down."""
    window = check_size("window", window)
    stride = tuple(max(1, side // 2) for side in window) if stride is None else check_size("stride", stride)
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting is {weighting!r}; must be one of {', '.join(WEIGHTINGS)}.")
    for name, wide, step in zip(("height", "width"), window, stride):
        if step > wide:
            raise ValueError(f"stride {stride} exceeds the window {window} in {name}; pixels would be left out.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    target = image_size(image) if target_size is None else check_size("target_size", target_size)
    pixel_values = prepare(image, image_processor, **changes)
    size = (pixel_values.shape[-2], pixel_values.shape[-1])
    if size[0] <= window[0] and size[1] <= window[1]:
        sums.keep = False

        def whole() -> Iterator[Tensor]:
            # Logits resized before the sigmoid, as in a plain prediction.
            padded = pad_to_divisor(pixel_values, image_processor)
            outputs = predict(padded)
            yield output_scores(outputs, (padded.shape[-2], padded.shape[-1]), [size], [target], kind)[0]

        return target, whole()
    sums.keep = sums.keep and size == target
    bands = _bands(pixel_values, predict, image_processor, window, stride, weighting, batch_size, kind, sums)
    return target, _resized_bands(bands, size, target)


@torch.no_grad()
def sliding_window_scores(
    image: Any,
    predict: Predict,
    image_processor: Any,
    *,
    window: Any,
    stride: Any = None,
    weighting: str = "mean",
    target_size: Size | None = None,
    batch_size: int = 1,
    kind: str = "probabilities",
    **changes: Any,
) -> Tensor:
    """Class scores of an image, averaged over overlapping windows.

    At every pixel of the network input the result is `sum(weight * score) / sum(weight)` over the windows that cover
    it; it is then resized bilinearly. An image not larger than one window is predicted whole.

    Args:
        image: PIL image, array (H, W, 3) or tensor (3, H, W).
        predict: Function from pixel values (B, 3, ., .) to model outputs, see `output_scores`.
        image_processor: The model's; it resizes the whole image. With `do_resize=False` windows slide over the
            image's own pixels.
        window: Height and width in pixels of the network input (or one number).
        stride: Step between windows; default: half a window.
        weighting: "mean" (all pixels of a window count the same) or "gaussian" (see `gaussian_weights`).
        target_size: Height and width of the result; default: the image's.
        batch_size: Windows per call of `predict`.
        kind: What is averaged, "probabilities" or "logits" (see `output_scores`).
        **changes: Settings of the processor for this call.

    Shape:
        (K, H, W), float32. This is the large form; `sliding_window_segmentation` needs a row of windows only.

    Raises:
        ValueError: Sizes, stride or weighting that are not legal.
    """
    sums = _Sums(keep=True)
    target, bands = _score_bands(
        image, predict, image_processor, window, stride, weighting, target_size, batch_size, kind, changes, sums
    )
    result: Tensor | None = None
    row = 0
    for band in bands:
        if sums.keep:
            continue
        if result is None:
            result = band.new_empty((len(band), *target))
        result[:, row : row + band.shape[1]] = band
        row += band.shape[1]
    result = sums.scores if sums.keep else result
    assert result is not None
    return result


@torch.no_grad()
def sliding_window_segmentation(
    image: Any,
    predict: Predict,
    image_processor: Any,
    *,
    window: Any,
    stride: Any = None,
    weighting: str = "mean",
    target_size: Size | None = None,
    batch_size: int = 1,
    kind: str = "probabilities",
    **changes: Any,
) -> Tensor:
    """Class map of an image from scores averaged over overlapping windows.

    Arguments and errors as `sliding_window_scores`, whose argmax it is, with memory for one row of windows.

    Shape:
        (H, W), int64.
    """
    target, bands = _score_bands(
        image, predict, image_processor, window, stride, weighting, target_size, batch_size, kind, changes, _Sums()
    )
    result = torch.empty(target, dtype=torch.int64)
    row = 0
    for band in bands:
        ramp = descending(len(band), band.device)
        for part in band.split(max(1, ARGMAX_ELEMENTS // band[:, 0].numel()), dim=1):
            result[row : row + part.shape[1]] = first_argmax(part, ramp, torch.empty_like(part)).cpu()
            row += part.shape[1]
    return result
