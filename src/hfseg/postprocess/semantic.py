# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Class maps from queries or from class logits per pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .contests import classes_in_tiles
from .reductions import descending, first_argmax
from .resizing import BandResizer
from .sizes import Size, check_logits, complete_sizes
from .tiles import tiles_pay

# A class that some query gives this probability is likely; if more than this share is, all are compared at once.
LIKELY = 0.02
LARGEST_SHARE = 0.7
# Elements of the classes that are resized at once.
CHUNK_ELEMENTS = 1 << 22
# Scores are compared with a bound that rounding cannot reach.
MARGIN = 1 + 1e-4


@dataclass(frozen=True)
class LikelyClasses:
    """Finds the class of largest score, and computes scores of unlikely classes only where one of them could win.

    At no pixel does an unlikely class score more than the sum over queries of the largest probability that the query
    gives any of them, times the mask probability: one product more for a bound of all of them.

    Attributes:
        likely, unlikely: Classes, ascending, `(n,)` and `(K - n,)`.
        bounded: Weights of the likely classes, then those of the bound, `(n + 1, Q)`.
        others: Weights of the unlikely classes, `(K - n, Q)`.
    """

    likely: Tensor
    unlikely: Tensor
    bounded: Tensor
    others: Tensor

    @classmethod
    def of(cls, weights: Tensor) -> "LikelyClasses | None":
        """Splits the classes, None if most are likely or none is. Shape: weights (K, Q), on the CPU."""
        is_likely = weights.amax(1) >= LIKELY if weights.numel() else torch.zeros(0, dtype=torch.bool)
        number = int(is_likely.sum())
        if not 0 < number <= LARGEST_SHARE * len(weights):
            return None
        others = weights[~is_likely]
        bounded = torch.cat((weights[is_likely], others.amax(0, keepdim=True)))
        return cls(is_likely.nonzero()[:, 0], (~is_likely).nonzero()[:, 0], bounded, others)

    def best(self, probabilities: Tensor) -> Tensor:
        """Class of each pixel, the first of equal ones. Shape: mask probabilities (Q, S) -> (S,), int64."""
        scores = self.bounded @ probabilities
        scores, bound = scores[:-1], scores[-1]
        ramp = torch.arange(len(scores), 0, -1, dtype=torch.float32)[:, None]
        best = self.likely[first_argmax(scores, ramp, torch.empty_like(scores))]
        values = scores.amax(0)
        (open_pixels,) = (~(values > bound * MARGIN)).nonzero(as_tuple=True)
        if len(open_pixels):
            scores = self.others @ probabilities.index_select(1, open_pixels)
            ramp = torch.arange(len(scores), 0, -1, dtype=torch.float32)[:, None]
            rival = self.unlikely[first_argmax(scores, ramp, torch.empty_like(scores))]
            value, before, mine = scores.amax(0), values[open_pixels], best[open_pixels]
            wins = (value > before) | ((value == before) & (rival < mine))
            best[open_pixels] = torch.where(wins, rival, mine)
        return best


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
        padded_size, image_sizes, output_sizes, canvas_sizes: see `hfseg.postprocess.sizes`.
        return_scores: whether to return the class scores as well (K float maps at output size).

    Shape:
        class_logits (B, Q, K + 1), mask_logits (B, Q, h, w); maps (H, W) int64, scores (K, H, W) float32.

    Returns:
        The list of maps, and the list of scores or None.

    Raises:
        ValueError: if shapes or sizes do not fit together.
    """
    check_logits(class_logits, mask_logits)
    geometry = complete_sizes(mask_logits, padded_size, image_sizes, output_sizes, canvas_sizes)
    device = mask_logits.device
    with torch.autocast(device.type, enabled=False):
        class_probabilities = class_logits.float().softmax(-1)[..., :-1]
        ramp = descending(class_probabilities.shape[-1], device)
        maps: list[Tensor] = []
        scores: list[Tensor] = []
        for index, output_size in enumerate(geometry.outputs):
            weights = class_probabilities[index].t().contiguous()  # (K, Q)
            resizer = BandResizer(mask_logits[index], *geometry.of(index))
            won = None if return_scores or not tiles_pay(resizer) else classes_in_tiles(resizer, weights)
            if won is not None:
                maps.append(won)
                continue
            label_map = torch.empty(output_size, dtype=torch.int64, device=device)
            num_labels = len(weights)
            score_map = torch.empty((num_labels, *output_size), device=device) if return_scores else None
            few = None if return_scores or device.type != "cpu" else LikelyClasses.of(weights)
            for rows, band in resizer.bands():
                if few is not None:
                    label_map[rows] = few.best(band.sigmoid_().flatten(1)).view(band.shape[1:])
                    continue
                band_scores = (weights @ band.sigmoid_().flatten(1)).view(num_labels, *band.shape[1:])
                label_map[rows] = first_argmax(band_scores, ramp, torch.empty_like(band_scores))
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

    Bilinearly and in one step: each pixel of a result reads the logits at its own place in the input, whether the input
    was padded or not, so that the same image with and without padding has the same class map wherever its logits agree.
    Places beyond the center of the image's last pixel, where only padding follows, are those of that center.

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
        if tuple(inner) == tuple(padded_size):
            if tuple(scores.shape[-2:]) != tuple(target):  # of equal size the copy is exact, and as dear as the resize
                scores = functional.interpolate(scores, tuple(target), mode="bilinear", align_corners=False)
            results.append(scores[0])
            continue
        rows, columns = (
            _taps(*sizes, logits.device) for sizes in zip(scores.shape[-2:], padded_size, inner, target, strict=True)
        )
        result = scores.new_empty(scores.shape[1], *target)
        step = max(1, CHUNK_ELEMENTS // (target[0] * target[1]))
        for start in range(0, len(result), step):
            wide = _between(scores[0, start : start + step], 1, *rows)
            result[start : start + step] = _between(wide, 2, *columns)
        results.append(result)
    return results


def _taps(size: int, padded: int, inside: int, output: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper logit and the upper one's weight for each pixel of one axis of the output. Shape: (output,)."""
    pixel = (torch.arange(output, dtype=torch.float64) + 0.5) * (inside / output) - 0.5  # of the network's input
    place = ((pixel.clamp(0, inside - 1) + 0.5) * (size / padded) - 0.5).clamp_(min=0)
    lower = place.long().clamp_(max=size - 1)
    upper = (lower + 1).clamp_(max=size - 1)
    return lower.to(device), upper.to(device), (place - lower).float().to(device)


def _between(values: Tensor, dim: int, lower: Tensor, upper: Tensor, weight: Tensor) -> Tensor:
    """Interpolates along an axis."""
    weight = weight.view(-1, *[1] * (values.ndim - 1 - dim))
    return torch.lerp(values.index_select(dim, lower), values.index_select(dim, upper), weight)
