# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Queries from pixels: local maxima of a heat map of object centers become queries.

A learned query stands for a region of the training images; where objects are small, alike and many, it has nothing to
hold on to. Here every likely object gets a query of its own, made of the encoded token at its center. The heat map is
CenterNet's (Zhou et al., "Objects as Points", 2019), with 3x3 maximum pooling in place of non-maximum suppression. That
encoder tokens become queries is the mixed query selection of DINO (Zhang et al., ICLR 2023) and Mask DINO (Li et al.,
CVPR 2023); there they are ranked by a classifier and give boxes. A query's position is a sine code in pixels, which
means the same in a crop and in a whole image.

Where there are fewer maxima than queries, the hottest cells beside them fill up. Other queries do not look at these,
but they stand for objects like the maxima: on the flat heat of a large object the maximum may be a poor place, and
matching gives the object to a cell beside it.

The number of queries is constant, so that a program can be exported for all image sizes; which of them stand for an
object is a mask. There is no transfer to the host.

Shape legend: B images, Q queries, C channels, T = h * w tokens of the map.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from .mask_positions import UNIT, cell_centers
from .positions import sine_code

# Bias of a heat map that is to start near 5 %, whatever it sees.
HEAT_BIAS = -3.0


class PixelQueries(NamedTuple):
    """Queries that come from pixels.

    Attributes:
        heat_logits: Logits of the heat map, `(B, h, w)`.
        content: What the queries start from, `(B, Q, C)`.
        positions: Their position code, `(B, Q, C)`.
        anchors: (x, y) of their pixels in units of 16 input pixels, `(B, Q, 2)`, float32.
        valid: Whether a query's heat is at least the threshold, boolean `(B, Q)`.
        peaks: Whether it is also a local maximum, which other queries may look at, boolean `(B, Q)`.
    """

    heat_logits: torch.Tensor
    content: torch.Tensor
    positions: torch.Tensor
    anchors: torch.Tensor
    valid: torch.Tensor
    peaks: torch.Tensor


class PixelQuerySelection(nn.Module):
    """Predicts a heat map of object centers and turns its local maxima into queries.

    Args:
        hidden_size: Channels C.
        num_queries: Queries in training.
        max_queries: Queries in evaluation.
        threshold: Smallest heat of a valid query.
        stride: Input pixels per cell of the map.
    """

    def __init__(self, hidden_size: int, num_queries: int, max_queries: int, threshold: float, stride: int = 8):
        super().__init__()
        self.num_queries, self.max_queries = num_queries, max_queries
        self.threshold, self.stride = threshold, stride
        self.convolution = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.heat = nn.Conv2d(hidden_size, 1, 1)
        self.content = nn.Linear(hidden_size, hidden_size)

    def forward(self, tokens: torch.Tensor, size: tuple[int, int]) -> PixelQueries:
        """Chooses queries.

        Args:
            tokens: Of the finest map, row-major.
            size: `(height, width)` of the map.

        Shape:
            tokens: `(B, T, C)`; output: see `PixelQueries`.
        """
        maps = tokens.transpose(1, 2).unflatten(2, size)  # (B, C, h, w)
        heat_logits = self.heat(F.relu(self.convolution(maps))).float()  # (B, 1, h, w)
        number = self.num_queries if self.training else self.max_queries
        indices, valid, peaks = select_peaks(heat_logits.detach()[:, 0], number, self.threshold)
        content = self.content(tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])))
        x, y = cell_centers(size, self.stride, tokens.device)
        anchors = torch.stack((x.flatten()[indices], y.flatten()[indices]), dim=-1)  # (B, Q, 2)
        positions = sine_code(anchors * UNIT, tokens.shape[-1]).to(tokens.dtype)
        return PixelQueries(heat_logits[:, 0], content, positions, anchors, valid, peaks)


def select_peaks(
    heat_logits: torch.Tensor, number: int, threshold: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Chooses the highest local maxima of a heat map; where there are too few, the highest other cells.

    Args:
        heat_logits: Logits of the heat.
        number: Cells to choose; a map may have fewer.
        threshold: Smallest heat of a valid cell, 0..1.

    Returns:
        Row-major indices in ascending order, whether each is a cell of the map with at least the threshold, and whether
        it is a local maximum besides.

    Shape:
        heat_logits: `(B, h, w)`; output: int64 and twice boolean, `(B, number)`.
    """
    largest = F.max_pool2d(heat_logits.unsqueeze(1), 3, stride=1, padding=1)[:, 0]
    is_peak = (heat_logits >= largest).flatten(1)  # (B, T)
    scores = heat_logits.flatten(1)
    # Cells beside a maximum come after all maxima; cells beyond the map, without which a small map has too few, last.
    ranking = F.pad(torch.where(is_peak, scores, scores - 1e4), (0, number), value=-1e9)
    indices = ranking.topk(number, dim=1).indices.sort(dim=1).values  # the order of rows does not depend on rounding
    valid = F.pad(scores.sigmoid() >= threshold, (0, number)).gather(1, indices)
    peaks = F.pad(is_peak, (0, number)).gather(1, indices) & valid
    last = scores.shape[1] - 1
    return indices.clamp(max=last), valid, peaks
